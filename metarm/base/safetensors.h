// The safetensors container: an 8-byte little-endian header length, a JSON header, then the tensors' bytes.
// Nothing here knows about torch; tensors are spans of bytes in a memory-mapped file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "metarm/base/file.h"

namespace metarm {

enum class DType { f32, f16, bf16, f64, i64, i32, i16, i8, u8, boolean };
std::size_t size_of(DType dtype);          // bytes of one element
std::string_view safetensors_name(DType);  // "F32", "BF16", ...

struct TensorBytes {
  std::string name;
  DType dtype;
  std::vector<std::int64_t> shape;
  std::span<const std::byte> bytes;  // points into the mapped file
};

// A memory-mapped safetensors file. Throws input errors for anything malformed: a truncated file, a header longer than the
// file, offsets that overlap, leave gaps or disagree with shape and type, a name that occurs twice.
class SafetensorsFile {
 public:
  static SafetensorsFile open(const std::string& path);
  // Parses from bytes that outlive the result (fuzzing, tests). `where` names them in errors.
  static SafetensorsFile parse(std::span<const std::byte> bytes, const std::string& where);

  const std::vector<TensorBytes>& tensors() const { return tensors_; }
  const std::map<std::string, std::string>& metadata() const { return metadata_; }

 private:
  MappedFile file_;
  std::vector<TensorBytes> tensors_;
  std::map<std::string, std::string> metadata_;
};

// Writes `path` atomically (see file.h). Tensors' bytes follow the order given, without gaps, from an offset that is a multiple of 8.
void save_safetensors(const std::string& path, std::span<const TensorBytes> tensors, const std::map<std::string, std::string>& metadata);

// The same for tensors that are made one at a time: `bytes(i)` is called once for each in turn, and what it returns need live until the
// next call only.
struct TensorShape {
  std::string name;
  DType dtype;
  std::vector<std::int64_t> shape;
};
void save_safetensors(const std::string& path, std::span<const TensorShape> tensors, const std::map<std::string, std::string>& metadata,
                      const std::function<std::span<const std::byte>(std::size_t i)>& bytes);

}  // namespace metarm

// The GGUF container, versions 2 and 3, little-endian: metadata by key, then descriptions of tensors, then their bytes. Tensors stay as
// they lie in the mapped file; gguf_dequantize.h turns them into floats.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "metarm/base/file.h"

namespace metarm {

// The tensor types that metarm reads, by their numbers in files.
enum class GgufType : std::uint32_t {
  f32 = 0,
  f16 = 1,
  q4_0 = 2,
  q4_1 = 3,
  q5_0 = 6,
  q5_1 = 7,
  q8_0 = 8,
  q4_k = 12,
  q5_k = 13,
  q6_k = 14,
  bf16 = 30
};
struct GgufTypeInfo {
  GgufType type;
  std::string_view name;      // "Q4_K"
  std::size_t values, bytes;  // of one block
};
const GgufTypeInfo& info_of(GgufType type);

// Whole numbers are widened to 64 bits, float32 to double; texts point into the file. A list holds values of one kind; lists of lists are
// an input error.
using GgufValue = std::variant<bool, std::uint64_t, std::int64_t, double, std::string_view,  //
                               std::vector<bool>, std::vector<std::uint64_t>, std::vector<std::int64_t>, std::vector<double>,
                               std::vector<std::string_view>>;

struct GgufTensor {
  std::string_view name;
  GgufType type;
  std::vector<std::int64_t> shape;   // outermost first, as Python's gguf and Hugging Face write it; at most 4, each over 0
  std::span<const std::byte> bytes;  // rows (the last dimension) are whole blocks
  std::int64_t count() const;        // of values
};

// Input errors `file: ...` for anything malformed: truncated, lengths beyond the file, a key or tensor that occurs twice, tensors that
// overlap or are misaligned, types and versions that are not supported. Nothing larger than the file is allocated for what a damaged one
// claims.
class GgufFile {
 public:
  static GgufFile open(const std::string& path);
  // Parses from bytes that outlive the result. `where` names them in errors.
  static GgufFile parse(std::span<const std::byte> bytes, const std::string& where);

  const std::string& where() const { return where_; }
  const std::map<std::string_view, GgufValue>& metadata() const { return metadata_; }
  const std::vector<GgufTensor>& tensors() const { return tensors_; }  // in the order of the file
  const GgufTensor* find_tensor(std::string_view name) const;          // null when there is none

  // Checked access: nullopt or null when the key is absent, input error `file: key: expected text, got a list of texts` when it is of
  // another kind.
  std::optional<std::string_view> text(std::string_view key) const;
  std::optional<std::int64_t> integer(std::string_view key) const;  // from 0 to 2^30: every count in a model is far below
  std::optional<double> number(std::string_view key) const;
  std::optional<bool> flag(std::string_view key) const;
  const std::vector<std::string_view>* texts(std::string_view key) const;
  const std::vector<double>* numbers(std::string_view key) const;
  const std::vector<std::int64_t>* integers(std::string_view key) const;
  std::int64_t require_integer(std::string_view key) const;  // input error when absent, too
  double require_number(std::string_view key) const;

 private:
  template <class T>
  const T* find(std::string_view key) const;
  [[noreturn]] void fail_missing(std::string_view key) const;

  MappedFile file_;
  std::string where_;
  std::map<std::string_view, GgufValue> metadata_;
  std::vector<GgufTensor> tensors_;
  std::map<std::string_view, std::size_t> tensor_by_name_;
};

}  // namespace metarm

// The safetensors files of a checkpoint directory, one or sharded, as torch tensors over mapped memory.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "metarm/base/safetensors.h"

namespace metarm {

class TensorFiles {
 public:
  // model.safetensors, or the shards that model.safetensors.index.json lists. Input error when there is neither, saying what was found
  // instead.
  static TensorFiles open(const std::string& directory);
  // One file of any name.
  static TensorFiles open_file(const std::string& path);

  bool contains(const std::string& name) const { return by_name_.contains(name); }
  std::vector<std::string> names() const;
  // A view of the mapped file, valid as long as this object; input error for a missing name or a type that is not float.
  at::Tensor float_tensor(const std::string& name) const;
  std::string where(const std::string& name) const;  // `path: name`

 private:
  void add(const std::string& path);
  struct Entry {
    std::string path;
    TensorBytes bytes;
  };
  std::string place_;  // the file, or the index of the shards
  std::vector<SafetensorsFile> files_;
  std::map<std::string, Entry> by_name_;
};

// Writes named tensors (contiguous, on any device) as model.safetensors, or in shards of at most `shard_bytes` with an index, into
// `directory`. Each tensor is asked for when it is its turn, so that only one shard is in memory. Input error where a narrower
// type makes a weight infinite.
struct NamedTensor {
  std::string name;
  std::vector<std::int64_t> shape;
  std::function<at::Tensor()> make;
};
void save_tensor_file(const std::string& path, const std::vector<NamedTensor>& tensors, at::ScalarType dtype);
void save_tensor_files(const std::string& directory, const std::vector<NamedTensor>& tensors, at::ScalarType dtype,
                       std::int64_t shard_bytes);

DType to_dtype(at::ScalarType type);
at::ScalarType to_scalar_type(DType dtype);

}  // namespace metarm

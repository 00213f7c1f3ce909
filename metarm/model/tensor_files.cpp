#include "metarm/model/tensor_files.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <filesystem>
#include <functional>
#include <set>

#include "metarm/base/error.h"
#include "metarm/base/json_lines.h"

namespace metarm {

namespace fs = std::filesystem;

DType to_dtype(at::ScalarType type) {
  switch (type) {
    case at::kFloat: return DType::f32;
    case at::kHalf: return DType::f16;
    case at::kBFloat16: return DType::bf16;
    case at::kDouble: return DType::f64;
    case at::kLong: return DType::i64;
    default: fail_internal("no safetensors type for {}", at::toString(type));
  }
}

at::ScalarType to_scalar_type(DType dtype) {
  switch (dtype) {
    case DType::f32: return at::kFloat;
    case DType::f16: return at::kHalf;
    case DType::bf16: return at::kBFloat16;
    case DType::f64: return at::kDouble;
    case DType::i64: return at::kLong;
    case DType::i32: return at::kInt;
    case DType::i16: return at::kShort;
    case DType::i8: return at::kChar;
    case DType::u8: return at::kByte;
    case DType::boolean: return at::kBool;
  }
  fail_internal("unknown safetensors type");
}

void TensorFiles::add(const std::string& path) {
  const SafetensorsFile& file = files_.emplace_back(SafetensorsFile::open(path));
  for (const TensorBytes& bytes : file.tensors())
    if (!by_name_.emplace(bytes.name, Entry{path, bytes}).second)
      fail_input("{}: {}: expected each tensor once, got it in two shards", path, bytes.name);
}

TensorFiles TensorFiles::open_file(const std::string& path) {
  TensorFiles files;
  files.add(files.place_ = path);
  return files;
}

namespace {

std::set<std::string> shard_names(const std::string& index_path) {
  const Json index = load_json(index_path);
  if (!index.is_object() || !index.contains("weight_map") || !index["weight_map"].is_object())
    fail_input("{}: weight_map: expected an object of tensor names to file names", index_path);
  std::set<std::string> shards;
  for (const auto& [name, file] : index["weight_map"].items()) {
    if (!file.is_string() || file.get<std::string>().find('/') != std::string::npos)
      fail_input("{}: weight_map: {}: expected a file name, got {}", index_path, name, file.dump());
    shards.insert(file.get<std::string>());
  }
  return shards;
}

[[noreturn]] void fail_without_weights(const std::string& directory) {
  for (const char* other :
       {"pytorch_model.bin", "pytorch_model.bin.index.json", "consolidated.00.pth", "tf_model.h5", "flax_model.msgpack"})
    if (fs::exists(fs::path(directory) / other))
      fail_input("{}: expected model.safetensors, got only {}; save it again with safetensors (save_pretrained does)", directory, other);
  fail_input("{}: expected model.safetensors or model.safetensors.index.json, got neither", directory);
}

}  // namespace

TensorFiles TensorFiles::open(const std::string& directory) {
  const fs::path single = fs::path(directory) / "model.safetensors", index = fs::path(directory) / "model.safetensors.index.json";
  TensorFiles files;
  if (fs::exists(single)) {
    files.add(files.place_ = single.string());
  } else if (fs::exists(index)) {
    files.place_ = index.string();
    for (const std::string& shard : shard_names(index.string())) files.add((fs::path(directory) / shard).string());
  } else {
    fail_without_weights(directory);
  }
  return files;
}

std::vector<std::string> TensorFiles::names() const {
  std::vector<std::string> names;
  for (const auto& [name, entry] : by_name_) names.push_back(name);
  return names;
}

std::string TensorFiles::where(const std::string& name) const {
  const auto found = by_name_.find(name);
  return found == by_name_.end() ? name : fmt::format("{}: {}", found->second.path, name);
}

at::Tensor TensorFiles::float_tensor(const std::string& name) const {
  const auto found = by_name_.find(name);
  if (found == by_name_.end()) fail_input("{}: expected a tensor {}, got none", place_, name);
  const TensorBytes& bytes = found->second.bytes;
  if (bytes.dtype != DType::f32 && bytes.dtype != DType::f16 && bytes.dtype != DType::bf16)
    fail_input("{}: expected type F32, F16 or BF16, got {}", where(name), safetensors_name(bytes.dtype));
  auto* data = const_cast<std::byte*>(bytes.bytes.data());  // from_blob takes no const pointer; nothing writes to the view
  return at::from_blob(data, bytes.shape, at::TensorOptions().dtype(to_scalar_type(bytes.dtype)));
}

namespace {

struct Shard {
  std::size_t begin, end;
  std::int64_t bytes;
};

std::vector<Shard> split_shards(const std::vector<NamedTensor>& tensors, std::int64_t element_bytes, std::int64_t shard_bytes) {
  std::vector<Shard> shards;
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    std::int64_t bytes = element_bytes;
    for (std::int64_t extent : tensors[i].shape) bytes *= extent;
    if (shards.empty() || shards.back().bytes + bytes > shard_bytes) shards.push_back({i, i, 0});
    shards.back().end = i + 1;
    shards.back().bytes += bytes;
  }
  return shards;
}

void save_shard(const std::string& path, const std::vector<NamedTensor>& tensors, const Shard& shard, at::ScalarType dtype) {
  std::vector<at::Tensor> kept;
  std::vector<TensorBytes> bytes;
  for (std::size_t i = shard.begin; i < shard.end; ++i) {
    const at::Tensor& tensor = kept.emplace_back(tensors[i].make().to(at::kCPU, dtype).contiguous());
    if (dtype != at::kFloat && !at::isfinite(tensor).all().item<bool>())
      fail_input("{}: {}: expected finite weights that {} holds, got others; write float32", path, tensors[i].name, at::toString(dtype));
    bytes.push_back({tensors[i].name,
                     to_dtype(dtype),
                     tensors[i].shape,
                     {static_cast<const std::byte*>(tensor.const_data_ptr()), static_cast<std::size_t>(tensor.nbytes())}});
  }
  save_safetensors(path, bytes, {{"format", "pt"}});
}

}  // namespace

void save_tensor_file(const std::string& path, const std::vector<NamedTensor>& tensors, at::ScalarType dtype) {
  save_shard(path, tensors, {0, tensors.size(), 0}, dtype);
}

void save_tensor_files(const std::string& directory, const std::vector<NamedTensor>& tensors, at::ScalarType dtype,
                       std::int64_t shard_bytes) {
  const std::vector<Shard> shards = split_shards(tensors, static_cast<std::int64_t>(c10::elementSize(dtype)), shard_bytes);
  if (shards.size() == 1) return save_shard((fs::path(directory) / "model.safetensors").string(), tensors, shards[0], dtype);
  Json map = Json::object();
  std::int64_t total = 0;
  for (std::size_t i = 0; i < shards.size(); ++i) {
    const std::string file = fmt::format("model-{:05}-of-{:05}.safetensors", i + 1, shards.size());
    save_shard((fs::path(directory) / file).string(), tensors, shards[i], dtype);
    for (std::size_t t = shards[i].begin; t < shards[i].end; ++t) map[tensors[t].name] = file;
    total += shards[i].bytes;
  }
  write_file((fs::path(directory) / "model.safetensors.index.json").string(),
             Json{{"metadata", {{"total_size", total}}}, {"weight_map", map}}.dump(2) + "\n");
}

}  // namespace metarm

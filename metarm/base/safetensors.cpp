#include "metarm/base/safetensors.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <optional>
#include <utility>

#include "metarm/base/error.h"
#include "metarm/base/json_lines.h"

namespace metarm {
namespace {

static_assert(std::endian::native == std::endian::little, "safetensors are little-endian and are mapped as they are");

constexpr std::uint64_t kMaxHeaderBytes = 100'000'000;  // the reference library's limit

struct DTypeRow {
  DType dtype;
  std::string_view name;
  std::size_t size;
};
constexpr DTypeRow kDTypes[] = {
    {DType::f32, "F32", 4}, {DType::f16, "F16", 2}, {DType::bf16, "BF16", 2}, {DType::f64, "F64", 8}, {DType::i64, "I64", 8},
    {DType::i32, "I32", 4}, {DType::i16, "I16", 2}, {DType::i8, "I8", 1},     {DType::u8, "U8", 1},   {DType::boolean, "BOOL", 1},
};

const DTypeRow& row_of(DType dtype) {
  return *std::find_if(std::begin(kDTypes), std::end(kDTypes), [&](const DTypeRow& row) { return row.dtype == dtype; });
}

DType parse_dtype(const std::string& name, const std::string& where) {
  std::string known;
  for (const DTypeRow& row : kDTypes) {
    if (row.name == name) return row.dtype;
    known += fmt::format("{}{}", known.empty() ? "" : ", ", row.name);
  }
  fail_input("{}: dtype: expected one of {}, got {}; convert the checkpoint to BF16 or F32", where, known, name);
}

std::uint64_t unsigned_value(const Json& value, const char* field, const std::string& where) {
  if (!value.is_number_unsigned() || value.get<std::uint64_t>() > INT64_MAX)
    fail_input("{}: {}: expected whole numbers from 0, got {}", where, field, value.is_number() ? value.dump() : json_type_name(value));
  return value.get<std::uint64_t>();
}

std::vector<std::int64_t> parse_shape(const Json& tensor, const std::string& where) {
  const Json& list = require_field(tensor, "shape", where);
  if (!list.is_array()) fail_input("{}: shape: expected a list, got {}", where, json_type_name(list));
  std::vector<std::int64_t> shape;
  for (const Json& size : list) shape.push_back(static_cast<std::int64_t>(unsigned_value(size, "shape", where)));
  return shape;
}

// nullopt when the product does not fit.
std::optional<std::uint64_t> byte_count(const std::vector<std::int64_t>& shape, DType dtype) {
  std::uint64_t count = size_of(dtype);
  for (const std::int64_t size : shape)
    if (__builtin_mul_overflow(count, static_cast<std::uint64_t>(size), &count)) return std::nullopt;
  return count;
}

TensorBytes parse_tensor(const std::string& name, const Json& json, std::span<const std::byte> data, const std::string& file) {
  const std::string where = fmt::format("{}: {}", file, name);
  if (!json.is_object()) fail_input("{}: expected an object, got {}", where, json_type_name(json));
  TensorBytes tensor{name, parse_dtype(text_field(json, "dtype", where), where), parse_shape(json, where), {}};
  const Json& offsets = require_field(json, "data_offsets", where);
  if (!offsets.is_array() || offsets.size() != 2) fail_input("{}: data_offsets: expected two numbers, got {}", where, offsets.dump());
  const std::uint64_t begin = unsigned_value(offsets[0], "data_offsets", where);
  const std::uint64_t end = unsigned_value(offsets[1], "data_offsets", where);
  if (begin > end || end > data.size())
    fail_input("{}: expected offsets within the {} bytes of data, got {} to {}; the file is cut off or damaged", where, data.size(), begin,
               end);
  const auto expected = byte_count(tensor.shape, tensor.dtype);
  if (expected != end - begin)
    fail_input("{}: expected as many bytes as shape {} of {} takes, got {}", where, json.at("shape").dump(), safetensors_name(tensor.dtype),
               end - begin);
  tensor.bytes = data.subspan(begin, end - begin);
  return tensor;
}

// The format allows neither gaps nor overlaps, so that no byte of a file goes unseen.
void check_coverage(std::vector<TensorBytes>& tensors, std::span<const std::byte> data, const std::string& where) {
  std::stable_sort(tensors.begin(), tensors.end(), [](const TensorBytes& a, const TensorBytes& b) {
    return std::pair(a.bytes.data(), a.bytes.size()) < std::pair(b.bytes.data(), b.bytes.size());
  });
  const std::byte* next = data.data();
  for (const TensorBytes& tensor : tensors) {
    if (tensor.bytes.data() != next)
      fail_input("{}: {}: expected its data to start at byte {}, got {}; tensors {}", where, tensor.name, next - data.data(),
                 tensor.bytes.data() - data.data(), tensor.bytes.data() < next ? "overlap" : "leave a gap");
    next += tensor.bytes.size();
  }
  if (next != data.data() + data.size())
    fail_input("{}: expected {} bytes of data, got {}; bytes after the last tensor", where, next - data.data(), data.size());
}

std::map<std::string, std::string> parse_metadata(const Json& json, const std::string& where) {
  std::map<std::string, std::string> metadata;
  if (!json.is_object()) fail_input("{}: __metadata__: expected an object, got {}", where, json_type_name(json));
  for (const auto& [key, value] : json.items()) metadata[key] = text_field(json, key.c_str(), where + ": __metadata__");
  return metadata;
}

std::string make_header(std::span<const TensorShape> tensors, const std::map<std::string, std::string>& metadata) {
  Json header = Json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  std::uint64_t offset = 0;
  for (const TensorShape& tensor : tensors) {
    const auto size = byte_count(tensor.shape, tensor.dtype);
    if (!size || header.contains(tensor.name)) fail_internal("{}: expected one tensor of that name with a size that fits", tensor.name);
    header[tensor.name] = {{"dtype", safetensors_name(tensor.dtype)}, {"shape", tensor.shape}, {"data_offsets", {offset, offset + *size}}};
    offset += *size;
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  return text;
}

}  // namespace

std::size_t size_of(DType dtype) { return row_of(dtype).size; }
std::string_view safetensors_name(DType dtype) { return row_of(dtype).name; }

SafetensorsFile SafetensorsFile::parse(std::span<const std::byte> bytes, const std::string& where) {
  std::uint64_t header_size = 0;
  if (bytes.size() < sizeof header_size) fail_input("{}: expected a safetensors file, got {} bytes", where, bytes.size());
  std::memcpy(&header_size, bytes.data(), sizeof header_size);
  const std::uint64_t most = std::min<std::uint64_t>(kMaxHeaderBytes, bytes.size() - sizeof header_size);
  if (header_size > most)
    fail_input("{}: expected a safetensors header of at most {} bytes, got {}; the file is cut off or no safetensors", where, most,
               header_size);
  const auto* text = reinterpret_cast<const char*>(bytes.data()) + sizeof header_size;
  const Json header = parse_json({text, header_size}, where + ": header");
  if (!header.is_object()) fail_input("{}: header: expected an object, got {}", where, json_type_name(header));

  SafetensorsFile file;
  const std::span<const std::byte> data = bytes.subspan(sizeof header_size + header_size);
  for (const auto& [name, value] : header.items()) {
    if (name == "__metadata__")
      file.metadata_ = parse_metadata(value, where);
    else
      file.tensors_.push_back(parse_tensor(name, value, data, where));
  }
  check_coverage(file.tensors_, data, where);
  return file;
}

SafetensorsFile SafetensorsFile::open(const std::string& path) {
  MappedFile mapped(path);
  SafetensorsFile file = parse(mapped.bytes(), path);
  file.file_ = std::move(mapped);
  return file;
}

void save_safetensors(const std::string& path, std::span<const TensorShape> tensors, const std::map<std::string, std::string>& metadata,
                      const std::function<std::span<const std::byte>(std::size_t i)>& bytes) {
  const std::string header = make_header(tensors, metadata);
  const std::uint64_t header_size = header.size();
  AtomicFile file(path);
  file.write(std::as_bytes(std::span(&header_size, 1)));
  file.write(header);
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const std::span<const std::byte> data = bytes(i);
    if (byte_count(tensors[i].shape, tensors[i].dtype) != data.size())
      fail_internal("{}: expected as many bytes as its shape takes, got {}", tensors[i].name, data.size());
    file.write(data);
  }
  file.commit();
}

void save_safetensors(const std::string& path, std::span<const TensorBytes> tensors, const std::map<std::string, std::string>& metadata) {
  std::vector<TensorShape> shapes;
  for (const TensorBytes& tensor : tensors) shapes.push_back({tensor.name, tensor.dtype, tensor.shape});
  save_safetensors(path, shapes, metadata, [&](std::size_t i) { return tensors[i].bytes; });
}

}  // namespace metarm

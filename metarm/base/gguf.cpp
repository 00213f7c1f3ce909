#include "metarm/base/gguf.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include "metarm/base/error.h"
#include "metarm/base/json_lines.h"

namespace metarm {

namespace {

static_assert(std::endian::native == std::endian::little, "GGUF files are read as little-endian");

constexpr GgufTypeInfo kTypes[] = {
    {GgufType::f32, "F32", 1, 4},       {GgufType::f16, "F16", 1, 2},       {GgufType::bf16, "BF16", 1, 2},
    {GgufType::q8_0, "Q8_0", 32, 34},   {GgufType::q4_0, "Q4_0", 32, 18},   {GgufType::q4_1, "Q4_1", 32, 20},
    {GgufType::q5_0, "Q5_0", 32, 22},   {GgufType::q5_1, "Q5_1", 32, 24},   {GgufType::q4_k, "Q4_K", 256, 144},
    {GgufType::q5_k, "Q5_K", 256, 176}, {GgufType::q6_k, "Q6_K", 256, 210},
};

constexpr std::uint64_t kDefaultAlignment = 32;

// The kinds of metadata values, by their numbers in files.
enum class Kind : std::uint32_t { u8, i8, u16, i16, u32, i32, f32, boolean, text, list, u64, i64, f64, count_ };

// Takes values off the front of what is left of a file.
class Reader {
 public:
  Reader(std::span<const std::byte> bytes, const std::string& where) : bytes_(bytes), where_(where) {}

  std::size_t position() const { return position_; }
  std::size_t left() const { return bytes_.size() - position_; }
  const std::string& where() const { return where_; }

  std::span<const std::byte> take(std::uint64_t count, std::string_view what) {
    if (count > left())
      fail_input("{}: expected {} bytes for {} at byte {}, got {} up to the end; the file is cut off or damaged", where_, count, what,
                 position_, left());
    const auto taken = bytes_.subspan(position_, count);
    position_ += count;
    return taken;
  }
  template <class T>
  T number(std::string_view what) {
    T value;
    std::memcpy(&value, take(sizeof value, what).data(), sizeof value);
    return value;
  }
  std::string_view text(std::string_view what) {
    const auto length = number<std::uint64_t>(what);
    const auto bytes = take(length, what);
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }
  // A key or a tensor's name: errors print them, so that they must be one line of text.
  std::string_view name(std::string_view what) {
    const std::string_view name = text(what);
    if (!is_valid_utf8(name) || std::any_of(name.begin(), name.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20; }))
      fail_input("{}: expected {} of UTF-8 text without control characters before byte {}, got other bytes", where_, what, position_);
    return name;
  }

 private:
  std::span<const std::byte> bytes_;
  std::size_t position_ = 0;
  const std::string& where_;
};

bool read_bool(Reader& reader, std::string_view key) {
  const auto value = reader.number<std::uint8_t>(key);
  if (value > 1) fail_input("{}: {}: expected a boolean of 0 or 1, got {}", reader.where(), key, value);
  return value == 1;
}

// Calls `visit` with a function that reads one value of `kind`, and with the least number of bytes that it takes.
template <class Visit>
GgufValue visit_kind(Kind kind, std::string_view key, const std::string& where, Visit&& visit) {
  const auto as = [&]<class Stored, class Widened>(Stored, Widened) {
    return visit([key](Reader& reader) { return static_cast<Widened>(reader.number<Stored>(key)); }, sizeof(Stored));
  };
  switch (kind) {
    case Kind::u8: return as(std::uint8_t{}, std::uint64_t{});
    case Kind::i8: return as(std::int8_t{}, std::int64_t{});
    case Kind::u16: return as(std::uint16_t{}, std::uint64_t{});
    case Kind::i16: return as(std::int16_t{}, std::int64_t{});
    case Kind::u32: return as(std::uint32_t{}, std::uint64_t{});
    case Kind::i32: return as(std::int32_t{}, std::int64_t{});
    case Kind::f32: return as(float{}, double{});
    case Kind::u64: return as(std::uint64_t{}, std::uint64_t{});
    case Kind::i64: return as(std::int64_t{}, std::int64_t{});
    case Kind::f64: return as(double{}, double{});
    case Kind::boolean: return visit([key](Reader& reader) { return read_bool(reader, key); }, std::size_t{1});
    case Kind::text: return visit([key](Reader& reader) { return reader.text(key); }, sizeof(std::uint64_t));
    case Kind::list: fail_input("{}: {}: expected a list of numbers, booleans or texts, got a list of lists", where, key);
    case Kind::count_: break;
  }
  fail_input("{}: {}: expected a kind of value from 0 to {}, got {}", where, key, static_cast<std::uint32_t>(Kind::count_) - 1,
             static_cast<std::uint32_t>(kind));
}

GgufValue read_list(Reader& reader, std::string_view key) {
  const auto kind = static_cast<Kind>(reader.number<std::uint32_t>(key));
  const auto count = reader.number<std::uint64_t>(key);
  return visit_kind(kind, key, reader.where(), [&](auto read, std::size_t least_bytes) -> GgufValue {
    if (count > reader.left() / least_bytes)
      fail_input("{}: {}: expected a list that fits into the {} bytes left, got {} values; the file is cut off or damaged", reader.where(),
                 key, reader.left(), count);
    std::vector<decltype(read(reader))> values;
    values.reserve(count);
    for (std::uint64_t i = 0; i < count; ++i) values.push_back(read(reader));
    return values;
  });
}

GgufValue read_value(Reader& reader, std::string_view key) {
  const auto kind = static_cast<Kind>(reader.number<std::uint32_t>(key));
  if (kind == Kind::list) return read_list(reader, key);
  return visit_kind(kind, key, reader.where(), [&](auto read, std::size_t) -> GgufValue { return read(reader); });
}

struct Header {
  std::uint64_t tensors, values;
};

Header read_header(Reader& reader) {
  const auto magic = reader.take(4, "the magic bytes GGUF");
  if (std::memcmp(magic.data(), "GGUF", 4) != 0) fail_input("{}: expected a GGUF file, got other first bytes", reader.where());
  const auto version = reader.number<std::uint32_t>("the version");
  if ((version & 0xffffU) == 0 && version != 0)
    fail_input("{}: expected a little-endian GGUF file, got a big-endian one; convert it with gguf-convert-endian", reader.where());
  if (version != 2 && version != 3) fail_input("{}: expected GGUF version 2 or 3, got {}", reader.where(), version);
  Header header{};
  header.tensors = reader.number<std::uint64_t>("the number of tensors");
  header.values = reader.number<std::uint64_t>("the number of metadata values");
  return header;
}

GgufType parse_type(std::uint32_t type, const std::string& where) {
  std::string known;
  for (const GgufTypeInfo& row : kTypes) {
    if (static_cast<std::uint32_t>(row.type) == type) return row.type;
    known += fmt::format("{}{}", known.empty() ? "" : ", ", row.name);
  }
  fail_input("{}: expected a type of {}, got type number {}; take another quantization of the model", where, known, type);
}

struct Described {
  GgufTensor tensor;
  std::uint64_t offset, size;
};

Described read_tensor(Reader& reader) {
  Described described{};
  GgufTensor& tensor = described.tensor;
  tensor.name = reader.name("a tensor's name");
  const std::string where = fmt::format("{}: {}", reader.where(), tensor.name);
  const auto dimensions = reader.number<std::uint32_t>("a tensor's dimensions");
  if (dimensions == 0 || dimensions > 4) fail_input("{}: expected 1 to 4 dimensions, got {}", where, dimensions);
  std::uint64_t count = 1;
  for (std::uint32_t i = 0; i < dimensions; ++i) {
    const auto size = reader.number<std::uint64_t>("a tensor's dimensions");
    if (size == 0 || size > INT64_MAX || __builtin_mul_overflow(count, size, &count))
      fail_input("{}: expected sizes over 0 that fit into the file, got {}", where, size);
    tensor.shape.insert(tensor.shape.begin(), static_cast<std::int64_t>(size));
  }
  tensor.type = parse_type(reader.number<std::uint32_t>("a tensor's type"), where);
  described.offset = reader.number<std::uint64_t>("a tensor's offset");
  const GgufTypeInfo& info = info_of(tensor.type);
  if (static_cast<std::uint64_t>(tensor.shape.back()) % info.values != 0)
    fail_input("{}: expected rows of whole {} blocks of {} values, got {} values", where, info.name, info.values, tensor.shape.back());
  if (__builtin_mul_overflow(count / info.values, info.bytes, &described.size))
    fail_input("{}: expected a size that fits into the file, got {} values", where, count);
  return described;
}

std::uint64_t read_alignment(const GgufFile& file) {
  const auto alignment = static_cast<std::uint64_t>(file.integer("general.alignment").value_or(kDefaultAlignment));
  if (!std::has_single_bit(alignment)) fail_input("{}: general.alignment: expected a power of two, got {}", file.where(), alignment);
  return alignment;
}

void place(std::vector<Described>& tensors, std::span<const std::byte> data, std::uint64_t alignment, const std::string& where) {
  std::vector<Described*> order;
  for (Described& described : tensors) {
    const auto& [tensor, offset, size] = described;
    if (offset % alignment != 0)
      fail_input("{}: {}: expected an offset that is a multiple of {}, got {}", where, tensor.name, alignment, offset);
    if (offset > data.size() || size > data.size() - offset)
      fail_input("{}: {}: expected {} bytes at offset {} of the data, got {} bytes of data; the file is cut off or damaged", where,
                 tensor.name, size, offset, data.size());
    described.tensor.bytes = data.subspan(offset, size);
    order.push_back(&described);
  }
  std::sort(order.begin(), order.end(), [](const Described* a, const Described* b) { return a->offset < b->offset; });
  for (std::size_t i = 1; i < order.size(); ++i)
    if (order[i]->offset < order[i - 1]->offset + order[i - 1]->size)
      fail_input("{}: {}: expected tensors that do not overlap, got one that begins within {}", where, order[i]->tensor.name,
                 order[i - 1]->tensor.name);
}

}  // namespace

const GgufTypeInfo& info_of(GgufType type) {
  return *std::find_if(std::begin(kTypes), std::end(kTypes), [&](const GgufTypeInfo& row) { return row.type == type; });
}

std::int64_t GgufTensor::count() const { return static_cast<std::int64_t>(bytes.size() / info_of(type).bytes * info_of(type).values); }

GgufFile GgufFile::parse(std::span<const std::byte> bytes, const std::string& where) {
  Reader reader(bytes, where);
  const Header header = read_header(reader);
  GgufFile file;
  file.where_ = where;
  for (std::uint64_t i = 0; i < header.values; ++i) {
    const std::string_view key = reader.name("a metadata key");
    if (!file.metadata_.emplace(key, read_value(reader, key)).second) fail_input("{}: {}: expected a key once, got it twice", where, key);
  }
  std::vector<Described> described;
  for (std::uint64_t i = 0; i < header.tensors; ++i) {
    described.push_back(read_tensor(reader));
    if (!file.tensor_by_name_.emplace(described.back().tensor.name, i).second)
      fail_input("{}: {}: expected a tensor once, got it twice", where, described.back().tensor.name);
  }
  const std::uint64_t alignment = read_alignment(file);
  if (!described.empty()) {
    reader.take((alignment - reader.position() % alignment) % alignment, "the padding before the tensors");
    place(described, bytes.subspan(reader.position()), alignment, where);
  }
  for (Described& tensor : described) file.tensors_.push_back(std::move(tensor.tensor));
  return file;
}

GgufFile GgufFile::open(const std::string& path) {
  MappedFile mapped(path);
  GgufFile file = parse(mapped.bytes(), path);
  file.file_ = std::move(mapped);
  return file;
}

}  // namespace metarm

#include "metarm/base/error.h"
#include "metarm/base/gguf.h"

namespace metarm {

namespace {

constexpr std::int64_t kMaxInteger = std::int64_t{1} << 30;

template <class T>
constexpr std::string_view kind_name() {
  if constexpr (std::is_same_v<T, bool>) return "a boolean";
  if constexpr (std::is_same_v<T, std::uint64_t> || std::is_same_v<T, std::int64_t>) return "a whole number";
  if constexpr (std::is_same_v<T, double>) return "a number";
  if constexpr (std::is_same_v<T, std::string_view>) return "text";
  if constexpr (std::is_same_v<T, std::vector<bool>>) return "a list of booleans";
  if constexpr (std::is_same_v<T, std::vector<std::uint64_t>> || std::is_same_v<T, std::vector<std::int64_t>>)
    return "a list of whole numbers";
  if constexpr (std::is_same_v<T, std::vector<double>>) return "a list of numbers";
  return "a list of texts";
}

std::string_view kind_of(const GgufValue& value) {
  return std::visit([]<class T>(const T&) { return kind_name<T>(); }, value);
}

}  // namespace

template <class T>
const T* GgufFile::find(std::string_view key) const {
  const auto found = metadata_.find(key);
  if (found == metadata_.end()) return nullptr;
  const T* value = std::get_if<T>(&found->second);
  if (value == nullptr) fail_input("{}: {}: expected {}, got {}", where_, key, kind_name<T>(), kind_of(found->second));
  return value;
}

void GgufFile::fail_missing(std::string_view key) const { fail_input("{}: {}: expected a value, got none", where_, key); }

const GgufTensor* GgufFile::find_tensor(std::string_view name) const {
  const auto found = tensor_by_name_.find(name);
  return found == tensor_by_name_.end() ? nullptr : &tensors_[found->second];
}

std::optional<std::string_view> GgufFile::text(std::string_view key) const {
  const auto* value = find<std::string_view>(key);
  return value ? std::optional(*value) : std::nullopt;
}

std::optional<bool> GgufFile::flag(std::string_view key) const {
  const auto* value = find<bool>(key);
  return value ? std::optional(*value) : std::nullopt;
}

std::optional<std::int64_t> GgufFile::integer(std::string_view key) const {
  const auto found = metadata_.find(key);
  if (found == metadata_.end()) return std::nullopt;
  const auto* is_unsigned = std::get_if<std::uint64_t>(&found->second);
  const auto* is_signed = std::get_if<std::int64_t>(&found->second);
  if (is_unsigned == nullptr && is_signed == nullptr)
    fail_input("{}: {}: expected a whole number, got {}", where_, key, kind_of(found->second));
  const bool fits = is_unsigned ? *is_unsigned <= kMaxInteger : *is_signed >= 0 && *is_signed <= kMaxInteger;
  if (!fits)
    fail_input("{}: {}: expected a whole number from 0 to {}, got {}", where_, key, kMaxInteger,
               is_unsigned ? fmt::to_string(*is_unsigned) : fmt::to_string(*is_signed));
  return is_unsigned ? static_cast<std::int64_t>(*is_unsigned) : *is_signed;
}

std::optional<double> GgufFile::number(std::string_view key) const {
  const auto* value = find<double>(key);
  return value ? std::optional(*value) : std::nullopt;
}

const std::vector<std::string_view>* GgufFile::texts(std::string_view key) const { return find<std::vector<std::string_view>>(key); }
const std::vector<double>* GgufFile::numbers(std::string_view key) const { return find<std::vector<double>>(key); }
const std::vector<std::int64_t>* GgufFile::integers(std::string_view key) const { return find<std::vector<std::int64_t>>(key); }

std::int64_t GgufFile::require_integer(std::string_view key) const {
  const auto value = integer(key);
  if (!value) fail_missing(key);
  return *value;
}

double GgufFile::require_number(std::string_view key) const {
  const auto value = number(key);
  if (!value) fail_missing(key);
  return *value;
}

}  // namespace metarm

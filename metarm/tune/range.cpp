#include "metarm/tune/range.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <optional>
#include <utility>

#include "metarm/base/error.h"
#include "metarm/base/random.h"

namespace metarm {

namespace {

struct Number {
  double value;
  bool whole;
};

Number number_of(const ConfigEntry& entry) {
  if (const auto* whole = std::get_if<std::int64_t>(&entry.value)) return {static_cast<double>(*whole), true};
  const auto* real = std::get_if<double>(&entry.value);
  if (real == nullptr || !std::isfinite(*real)) fail_input("{}: expected a finite number", entry.where);
  return {*real, false};
}

std::string text_of(const ConfigEntry& entry) {
  const auto* text = std::get_if<std::string>(&entry.value);
  if (text == nullptr || text->empty()) fail_input("{}: expected text in quotes", entry.where);
  return *text;
}

std::vector<ConfigValue> choices_of(const ConfigEntry& entry) {
  const auto* texts = std::get_if<std::vector<std::string>>(&entry.value);
  if (texts == nullptr || texts->size() < 2) fail_input("{}: expected a list of two texts at least, [\"a\", \"b\"]", entry.where);
  for (std::size_t i = 1; i < texts->size(); ++i)
    if (std::find(texts->begin(), texts->begin() + static_cast<std::ptrdiff_t>(i), (*texts)[i]) !=
        texts->begin() + static_cast<std::ptrdiff_t>(i))
      fail_input("{}: expected each choice once, got '{}' twice", entry.where, (*texts)[i]);
  return {texts->begin(), texts->end()};
}

bool is_log(const ConfigEntry& entry) {
  const std::string scale = text_of(entry);
  if (scale != "linear" && scale != "log") fail_input("{}: expected linear or log, got '{}'", entry.where, scale);
  return scale == "log";
}

void check_ends(const Range& range, const std::optional<Number>& low, const std::optional<Number>& high, bool has_scale) {
  if (!range.choices.empty()) {
    if (low || high || has_scale) fail_input("{}: {}: expected either choices, or low and high, got both", range.where, range.option);
    return;
  }
  if (!low || !high) fail_input("{}: {}: expected low and high, or choices, got neither whole", range.where, range.option);
  if (range.low >= range.high)
    fail_input("{}: {}: expected low below high, got {} and {}", range.where, range.option, range.low, range.high);
  if (range.log && range.low <= 0) fail_input("{}: {}: expected low above 0 with scale log, got {}", range.where, range.option, range.low);
}

Range read_range(const ConfigTable& table) {
  Range range;
  range.where = table.where;
  std::optional<Number> low, high;
  bool has_scale = false;
  for (const ConfigEntry& entry : table.entries) {
    if (entry.key == "option") {
      range.option = text_of(entry);
      std::ranges::replace(range.option, '-', '_');
    } else if (entry.key == "low") {
      low = number_of(entry);
    } else if (entry.key == "high") {
      high = number_of(entry);
    } else if (entry.key == "scale") {
      range.log = is_log(entry);
      has_scale = true;
    } else if (entry.key == "choices") {
      range.choices = choices_of(entry);
    } else {
      fail_input("{}: expected option, low, high, scale or choices, got {}", entry.where, entry.key);
    }
  }
  if (range.option.empty()) fail_input("{}: option: expected the name of one, got none", range.where);
  range.low = low ? low->value : 0;
  range.high = high ? high->value : 0;
  range.whole = low && high && low->whole && high->whole;
  check_ends(range, low, high, has_scale);
  return range;
}

template <class T>
ConfigValue parse_choice(const Range& range, const std::string& text) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size())
    fail_input("{}: {}: expected choices that are {}numbers, got '{}'", range.where, range.option, std::is_integral_v<T> ? "whole " : "",
               text);
  return value;
}

ConfigValue fit_choice(const Range& range, const std::string& text, const FieldValue& field) {
  if (std::holds_alternative<std::int64_t>(field)) return parse_choice<std::int64_t>(range, text);
  if (std::holds_alternative<double>(field)) return parse_choice<double>(range, text);
  if (std::holds_alternative<std::vector<std::string>>(field)) return std::vector<std::string>{text};
  if (!std::holds_alternative<bool>(field)) return text;
  if (text != "true" && text != "false") fail_input("{}: {}: expected choices true and false, got '{}'", range.where, range.option, text);
  return text == "true";
}

double with_four_digits(double value) { return std::strtod(fmt::format("{:.4g}", value).c_str(), nullptr); }

// share: [0, 1) of the range.
ConfigValue value_at(const Range& range, double share) {
  if (!range.choices.empty()) return range.choices[static_cast<std::size_t>(share * static_cast<double>(range.choices.size()))];
  const double end = range.high + (range.whole ? 1 : 0);  // each whole number has a part as wide as the others'
  const double value =
      range.log ? std::exp(std::log(range.low) + share * (std::log(end) - std::log(range.low))) : range.low + share * (end - range.low);
  if (range.whole) return static_cast<std::int64_t>(std::clamp(std::floor(value), range.low, range.high));
  return std::clamp(with_four_digits(value), range.low, range.high);
}

}  // namespace

std::vector<Range> read_ranges(const std::vector<ConfigTable>& tables) {
  std::vector<Range> ranges;
  for (const ConfigTable& table : tables) {
    ranges.push_back(read_range(table));
    const std::string& option = ranges.back().option;
    if (std::ranges::count(ranges, option, &Range::option) > 1) fail_input("{}: expected one range for {}, got two", table.where, option);
  }
  return ranges;
}

void fit_range(Range& range, const Field& field) {
  for (ConfigValue& choice : range.choices) choice = fit_choice(range, std::get<std::string>(choice), field.value);
  if (!range.choices.empty()) return;
  const bool wants_whole = std::holds_alternative<std::int64_t>(field.value);
  if (!wants_whole && !std::holds_alternative<double>(field.value))
    fail_input("{}: {}: expected choices, got low and high: the option is no number", range.where, range.option);
  if (wants_whole && !range.whole)
    fail_input("{}: {}: expected low and high to be whole numbers, as the option is", range.where, range.option);
  range.whole = wants_whole;
  if (range.low < field.info.min || range.high > field.info.max)
    fail_input("{}: {}: expected low and high from {} to {}, got {} and {}", range.where, range.option, field.info.min, field.info.max,
               range.low, range.high);
}

std::vector<TrialValues> draw_trials(const std::vector<Range>& ranges, std::int64_t trials, std::uint64_t seed) {
  std::vector<TrialValues> drawn(static_cast<std::size_t>(trials));
  for (const Range& range : ranges) {
    const std::string purpose = "tune " + range.option;
    const std::vector<std::int64_t> parts = permutation(trials, RandomStream(seed, purpose));
    for (std::size_t i = 0; i < drawn.size(); ++i) {
      const double inside = RandomStream(seed, purpose, i + 1).uniform();
      drawn[i].push_back(value_at(range, (static_cast<double>(parts[i]) + inside) / static_cast<double>(trials)));
    }
  }
  return drawn;
}

std::string value_text(const ConfigValue& value) {
  if (const auto* flag = std::get_if<bool>(&value)) return *flag ? "true" : "false";
  if (const auto* whole = std::get_if<std::int64_t>(&value)) return fmt::to_string(*whole);
  if (const auto* real = std::get_if<double>(&value)) return fmt::format("{}", *real);
  if (const auto* text = std::get_if<std::string>(&value)) return *text;
  return fmt::to_string(fmt::join(std::get<std::vector<std::string>>(value), " "));
}

bool is_ordered(const Range& range) { return range.choices.empty(); }

}  // namespace metarm

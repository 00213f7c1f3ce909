#include "metarm/text/oniguruma.h"

#include <algorithm>
#include <string_view>

#include "metarm/base/error.h"

namespace metarm {

namespace {

// Unicode's white space: PCRE2's \s lacks U+0085 and has U+180E.
constexpr std::string_view kSpaces =
    "\\x{09}-\\x{0d}\\x{20}\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{3000}";
constexpr std::string_view kNoSpaces =
    "\\x{00}-\\x{08}\\x{0e}-\\x{1f}\\x{21}-\\x{84}\\x{86}-\\x{9f}\\x{a1}-\\x{167f}\\x{1681}-\\x{1fff}\\x{200b}-\\x{2027}"
    "\\x{202a}-\\x{202e}\\x{2030}-\\x{205e}\\x{2060}-\\x{2fff}\\x{3001}-\\x{10ffff}";
// Alphabetic, marks, decimal digits and connectors: PCRE2's \w lacks the marks. The ranges are the circled and squared letters.
constexpr std::string_view kWords =
    "\\p{L}\\p{M}\\p{Nl}\\p{Nd}\\p{Pc}\\x{24b6}-\\x{24e9}\\x{1f130}-\\x{1f149}\\x{1f150}-\\x{1f169}\\x{1f170}-\\x{1f189}";
constexpr std::string_view kLatinFractions = "\\x{b2}\\x{b3}\\x{b9}\\x{bc}-\\x{be}";  // words as well, outside of brackets only
constexpr std::string_view kOtherMeaning = "bBhHvVKCGNORXQE";                         // letters whose escape PCRE2 takes for something else
constexpr std::string_view kBinaryProperties[] = {"Alphabetic", "Uppercase", "Lowercase", "White_Space",          "Ideographic",
                                                  "Emoji",      "Any",       "Cased",     "Extended_Pictographic"};

class Translator {
 public:
  Translator(std::string_view from, const std::string& where) : from_(from), where_(where) {}

  std::string run() {
    while (at_ < from_.size()) step();
    return std::move(out_);
  }

 private:
  std::string_view rest() const { return from_.substr(at_); }

  [[noreturn]] void refuse(std::string_view construct) const {
    fail_input("{}: expected a regular expression that is supported, got `{}` in `{}`", where_, construct, from_);
  }

  void step() {
    const char c = from_[at_];
    if (c == '\\' && at_ + 1 < from_.size()) return escape();
    if (in_class_) return inside_class(c);
    if (c == '[') return open_class();
    if (rest().starts_with("(?")) check_flags();
    if (rest().starts_with("{,") && at_ + 2 < from_.size() && from_[at_ + 2] >= '0' && from_[at_ + 2] <= '9') {
      out_ += "{0,";
      at_ += 2;
      return;
    }
    out_ += c;
    ++at_;
  }

  void open_class() {
    in_class_ = true;
    for (const std::string_view start : {"[^]", "[]", "[^", "["}) {
      if (!rest().starts_with(start)) continue;
      if (start.ends_with(']')) refuse(start);
      out_ += start;
      at_ += start.size();
      return;
    }
  }

  void inside_class(char c) {
    if (c == '[') refuse(rest().substr(0, rest().find(']') + 1));
    if (rest().starts_with("&&")) refuse("&&");
    if (c == ']') in_class_ = false;
    out_ += c;
    ++at_;
  }

  // (?m) lets the dot match line ends there and moves ^ and $ here.
  void check_flags() const {
    const std::size_t end = rest().find_first_not_of("imx-", 2);
    if (end == std::string_view::npos || (rest()[end] != ')' && rest()[end] != ':')) return;
    if (rest().substr(0, end).find('m') != std::string_view::npos) refuse(rest().substr(0, end));
  }

  void set(std::string_view members, bool negated) {
    if (in_class_)
      out_ += members;
    else
      out_ += (negated ? "[^" : "[") + std::string(members) + "]";
  }

  void escape() {
    const char c = from_[at_ + 1];
    const std::string_view whole = from_.substr(at_, 2);
    if (kOtherMeaning.find(c) != std::string_view::npos || (c == 'W' && in_class_)) refuse(whole);
    if (c == 'p' || c == 'P') return property();
    if (c == 'u') return code_point();
    at_ += 2;
    switch (c) {
      case 's': return set(kSpaces, false);
      case 'S': return in_class_ ? set(kNoSpaces, false) : set(kSpaces, true);
      case 'w': return set(in_class_ ? std::string(kWords) : std::string(kWords) + std::string(kLatinFractions), false);
      case 'W': return set(std::string(kWords) + std::string(kLatinFractions), true);
      default: out_ += whole;
    }
  }

  void code_point() {
    const std::string_view digits = from_.substr(at_ + 2, 4);
    if (digits.size() < 4 || digits.find_first_not_of("0123456789abcdefABCDEF") != std::string_view::npos) refuse(rest().substr(0, 2));
    out_ += "\\x{" + std::string(digits) + "}";
    at_ += 6;
  }

  // A script's name means the script there, and its extensions too in PCRE2.
  void property() {
    const std::size_t end = rest().find('}');
    if (!rest().substr(2).starts_with('{') || end == std::string_view::npos) refuse(rest().substr(0, 2));
    std::string_view name = rest().substr(3, end - 3);
    out_ += rest().substr(0, 3);
    if (name.starts_with('^')) {
      out_ += '^';
      name.remove_prefix(1);
    }
    const bool is_script = name.size() > 2 && std::ranges::find(kBinaryProperties, name) == std::end(kBinaryProperties);
    out_ += (is_script ? "sc:" : "") + std::string(name) + "}";
    at_ += end + 1;
  }

  std::string_view from_;
  const std::string& where_;
  std::string out_;
  std::size_t at_ = 0;
  bool in_class_ = false;
};

}  // namespace

std::string to_pcre2(const std::string& expression, const std::string& where) { return Translator(expression, where).run(); }

}  // namespace metarm

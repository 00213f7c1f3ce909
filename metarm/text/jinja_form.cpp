#include "metarm/text/jinja_form.h"

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

namespace metarm {

namespace {

using Words = std::vector<std::string>;

constexpr char kQuote = '\'';
constexpr std::string_view kSpaces = " \t\n\r\f\v";

bool is_name(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_'; }

bool is_text(const std::string& word) { return word.front() == kQuote; }

enum class Kind { text, output, statement, comment };

struct Part {
  Kind kind;
  std::string_view body;           // without the brackets and markers
  char before = ' ', after = ' ';  // '-' or '+' beside the brackets
};

// Where the tag that starts at `begin` ends: the closing bracket outside of quotes.
std::size_t find_end(std::string_view jinja, std::size_t begin, std::string_view bracket, bool quotes) {
  char open = 0;
  for (std::size_t i = begin; i < jinja.size(); ++i) {
    if (open != 0) {
      if (jinja[i] == '\\')
        ++i;
      else if (jinja[i] == open)
        open = 0;
    } else if (jinja.substr(i).starts_with(bracket)) {
      return i;
    } else if (quotes && (jinja[i] == '\'' || jinja[i] == '"')) {
      open = jinja[i];
    }
  }
  return std::string_view::npos;
}

std::size_t find_tag(std::string_view jinja, std::size_t from) {
  while (from + 1 < jinja.size()) {
    const std::string_view start = jinja.substr(from, 2);
    if (start == "{{" || start == "{%" || start == "{#") return from;
    ++from;
  }
  return jinja.size();
}

std::optional<std::vector<Part>> cut(std::string_view jinja) {
  std::vector<Part> parts;
  for (std::size_t at = 0; at < jinja.size();) {
    const std::size_t tag = find_tag(jinja, at);
    parts.push_back({Kind::text, jinja.substr(at, tag - at)});
    if (tag == jinja.size()) break;
    const char mark = jinja[tag + 1];
    const Kind kind = mark == '{' ? Kind::output : mark == '%' ? Kind::statement : Kind::comment;
    const std::size_t end = find_end(jinja, tag + 2, mark == '{' ? "}}" : mark == '%' ? "%}" : "#}", kind != Kind::comment);
    if (end == std::string_view::npos) return std::nullopt;
    Part part{kind, jinja.substr(tag + 2, end - tag - 2)};
    if (part.body.starts_with('-') || part.body.starts_with('+')) part.before = part.body.front(), part.body.remove_prefix(1);
    if (part.body.ends_with('-') || part.body.ends_with('+')) part.after = part.body.back(), part.body.remove_suffix(1);
    parts.push_back(part);
    at = end + 2;
  }
  return parts;
}

// What the tags on both sides leave of a text.
std::string_view trim(std::string_view text, const Part* left, const Part* right) {
  bool starts_line = left == nullptr;
  if (left != nullptr && left->after == '-') {
    text.remove_prefix(std::min(text.find_first_not_of(kSpaces), text.size()));
  } else if (left != nullptr && left->kind != Kind::output && left->after != '+' && text.starts_with('\n')) {
    text.remove_prefix(1);
    starts_line = true;
  }
  if (right != nullptr && right->before == '-') {
    text = text.substr(0, text.find_last_not_of(kSpaces) + 1);
  } else if (right != nullptr && right->kind != Kind::output && right->before != '+') {
    const std::size_t kept = text.find_last_not_of(" \t\r\f\v") + 1;
    if (kept == 0 ? starts_line : text[kept - 1] == '\n') text = text.substr(0, kept);
  }
  return text;
}

std::optional<char> unescape(char c) {
  switch (c) {
    case 'n': return '\n';
    case 't': return '\t';
    case 'r': return '\r';
    case '\\':
    case '\'':
    case '"': return c;
    default: return std::nullopt;
  }
}

// Names, numbers, signs, and texts as a quote and their value.
std::optional<Words> words_of(std::string_view body) {
  Words words;
  for (std::size_t at = 0; at < body.size();) {
    const char c = body[at];
    if (kSpaces.find(c) != std::string_view::npos) {
      ++at;
    } else if (c == '\'' || c == '"') {
      std::string value(1, kQuote);
      for (++at; at < body.size() && body[at] != c; ++at) {
        std::optional<char> next = body[at];
        if (body[at] == '\\' && at + 1 < body.size()) next = unescape(body[++at]);
        if (!next) return std::nullopt;
        value += *next;
      }
      ++at;
      words.push_back(std::move(value));
    } else {
      std::size_t end = at;
      while (end < body.size() && is_name(body[end])) ++end;
      if (end == at) ++end;
      words.emplace_back(body.substr(at, end - at));
      at = end;
    }
  }
  return words;
}

// x['role'] as x.role, and exceptions without their words.
Words plain(const Words& words) {
  Words out;
  for (std::size_t i = 0; i < words.size(); ++i) {
    const auto at = [&](std::size_t k) { return i + k < words.size() ? std::string_view(words[i + k]) : std::string_view(); };
    const bool after_value = !out.empty() && (is_name(out.back().front()) || out.back() == "]" || out.back() == ")");
    if (after_value && at(0) == "[" && (at(1) == "'role" || at(1) == "'content") && at(2) == "]") {
      out.insert(out.end(), {".", words[i + 1].substr(1)});
      i += 2;
    } else if (at(0) == "raise_exception" && at(1) == "(" && at(2).starts_with(kQuote) && at(3) == ")") {
      out.insert(out.end(), {"raise_exception", "(", ")"});
      i += 3;
    } else {
      out.push_back(words[i]);
    }
  }
  return out;
}

bool binds_weaker_than_plus(const std::string& word) {
  for (const char* weaker : {"if", "else", "or", "and", "not", "in", "is", "~", "<", ">", "=", "!", "-"})
    if (word == weaker) return true;
  return false;
}

// The operands of a sum that holds a text literal, so that it joins texts; else the whole expression.
std::vector<Words> operands(const Words& words) {
  std::vector<Words> terms(1);
  int depth = 0;
  bool joins_texts = false;
  for (const std::string& word : words) {
    if (word == "(" || word == "[" || word == "{") ++depth;
    if (word == ")" || word == "]" || word == "}") --depth;
    if (depth == 0 && binds_weaker_than_plus(word)) return {words};
    if (depth == 0 && word == "+")
      terms.emplace_back();
    else
      terms.back().push_back(word);
  }
  for (const Words& term : terms) {
    if (term.empty()) return {words};
    if (term.size() == 1 && is_text(term.front())) joins_texts = true;
  }
  return joins_texts ? terms : std::vector<Words>{words};
}

// Control characters part what the form is made of; they occur in no template.
struct Form {
  std::string text;
  void add(const char* mark, const Words& words) {
    text += mark;
    for (const std::string& word : words) text += word + '\x1f';
    text += '\x1e';
  }
};

bool add_tag(Form& form, const Part& part) {
  if (part.kind == Kind::comment) return true;
  const std::optional<Words> words = words_of(part.body);
  if (!words || words->empty() || words->front() == "raw") return false;
  if (part.kind == Kind::output && std::ranges::find(*words, "{") != words->end()) return false;  // its end may be another
  if (part.kind == Kind::statement) {
    if (words->front() != "generation" && words->front() != "endgeneration") form.add("\x02", plain(*words));
    return true;
  }
  for (const Words& term : operands(plain(*words))) {
    if (term.size() == 1 && is_text(term.front()))
      form.text += term.front().substr(1);
    else
      form.add("\x03", term);
  }
  return true;
}

}  // namespace

std::string jinja_form(std::string_view jinja) {
  const bool has_marks = jinja.find_first_of("\x02\x03\x1e\x1f") != std::string_view::npos;
  if (jinja.ends_with('\n')) jinja.remove_suffix(1);  // Jinja drops one
  const std::optional<std::vector<Part>> parts = cut(jinja);
  if (!parts || has_marks || jinja.find("\r") != std::string_view::npos) return {};
  Form form;
  for (std::size_t i = 0; i < parts->size(); ++i) {
    const Part& part = (*parts)[i];
    if (part.kind == Kind::text)
      form.text += trim(part.body, i > 0 ? &(*parts)[i - 1] : nullptr, i + 1 < parts->size() ? &(*parts)[i + 1] : nullptr);
    else if (!add_tag(form, part))
      return {};
  }
  return form.text;
}

std::uint64_t jinja_digest(std::string_view jinja) {
  std::uint64_t digest = 0xcbf29ce484222325U;
  for (const char byte : jinja_form(jinja)) digest = (digest ^ static_cast<unsigned char>(byte)) * 0x100000001b3U;
  return digest;
}

}  // namespace metarm

#include "metarm/text/added_tokens.h"

#include "metarm/base/error.h"
#include "metarm/text/unicode.h"

namespace metarm {

void TextTrie::insert(std::string_view text, std::size_t value) {
  if (text.empty()) return;
  starts_[static_cast<unsigned char>(text[0])] = true;
  std::size_t node = 0;
  for (const char byte : text) {
    const auto [child, added] = nodes_[node].children.emplace(static_cast<unsigned char>(byte), nodes_.size());
    const std::size_t next = child->second;
    if (added) nodes_.emplace_back();
    node = next;
  }
  if (!nodes_[node].value) nodes_[node].value = value;
}

std::optional<TextTrie::Found> TextTrie::longest_at(std::string_view text, std::size_t position) const {
  std::optional<Found> found;
  std::size_t node = 0;
  for (std::size_t i = position; i < text.size(); ++i) {
    const auto child = nodes_[node].children.find(static_cast<unsigned char>(text[i]));
    if (child == nodes_[node].children.end()) break;
    node = child->second;
    if (nodes_[node].value) found = Found{i + 1, *nodes_[node].value};
  }
  return found;
}

AddedTokens AddedTokens::parse(const Json& json, const Normalizer& normalizer, const std::string& where) {
  AddedTokens added;
  if (json.is_null()) return added;
  if (!json.is_array()) fail_input("{}: added_tokens: expected a list, got {}", where, json_type_name(json));
  for (const Json& entry : json) {
    if (!entry.is_object()) fail_input("{}: added_tokens: expected objects, got {}", where, json_type_name(entry));
    const double id = number_field(entry, "id", where);
    if (id < 0 || id > (1 << 22)) fail_input("{}: added_tokens: expected an id, got {}", where, id);
    const auto flag = [&](const char* name) { return entry.contains(name) && entry[name] == true; };
    added.tokens_.push_back({static_cast<TokenId>(id), text_field(entry, "content", where), flag("single_word"), flag("lstrip"),
                             flag("rstrip"), flag("normalized"), flag("special")});
    const AddedToken& token = added.tokens_.back();
    (token.normalized ? added.normalized_ : added.raw_)
        .insert(token.normalized ? normalizer.apply(token.content) : token.content, added.tokens_.size() - 1);
  }
  return added;
}

namespace {

bool ends_with_word(std::string_view text) {
  std::size_t begin = text.size();
  while (begin > 0 && (static_cast<unsigned char>(text[begin - 1]) & 0xC0U) == 0x80U) --begin;
  if (begin == 0) return false;
  --begin;
  return is_word(next_code_point(text, begin));
}

bool starts_with_word(std::string_view text) {
  std::size_t position = 0;
  return !text.empty() && is_word(next_code_point(text, position));
}

std::size_t spaces_begin(std::string_view text) {  // of the run of spaces that ends `text`
  std::size_t begin = text.size();
  for (std::size_t position = 0; position < text.size();) {
    const std::size_t start = position;
    if (!is_whitespace(next_code_point(text, position)))
      begin = text.size();
    else if (begin == text.size())
      begin = start;
  }
  return begin;
}

std::size_t spaces_end(std::string_view text) {  // of the run of spaces that starts `text`
  std::size_t end = 0;
  for (std::size_t position = 0; position < text.size(); end = position)
    if (!is_whitespace(next_code_point(text, position))) break;
  return end;
}

}  // namespace

std::vector<Section> AddedTokens::find(std::string_view text, bool normalized) const {
  const TextTrie& trie = normalized ? normalized_ : raw_;
  std::vector<Section> sections;
  std::size_t covered = 0;
  for (std::size_t position = 0; position < text.size();) {
    const auto found = trie.may_start(text[position]) ? trie.longest_at(text, position) : std::nullopt;
    if (!found) {
      ++position;
      continue;
    }
    const AddedToken& token = tokens_[found->value];
    std::size_t begin = position, end = found->end;
    position = found->end;
    if (token.single_word && (ends_with_word(text.substr(0, begin)) || starts_with_word(text.substr(end)))) continue;
    if (token.lstrip) begin = std::max(covered, covered + spaces_begin(text.substr(covered, begin - std::min(begin, covered))));
    if (token.rstrip) end += spaces_end(text.substr(end));
    if (covered < begin) sections.push_back({covered, begin, std::nullopt});
    sections.push_back({begin, end, token.id});
    covered = end;
    position = std::max(position, end);
  }
  if (covered < text.size()) sections.push_back({covered, text.size(), std::nullopt});
  return sections;
}

}  // namespace metarm

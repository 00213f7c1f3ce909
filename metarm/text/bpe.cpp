#include "metarm/text/bpe.h"

#include <queue>

#include <fmt/format.h>

#include "metarm/base/error.h"
#include "metarm/text/unicode.h"

namespace metarm {

namespace {

constexpr TokenId kMaxId = 1 << 22;

std::uint64_t pair_key(TokenId left, TokenId right) {
  return (static_cast<std::uint64_t>(static_cast<std::uint32_t>(left)) << 32U) | static_cast<std::uint32_t>(right);
}

std::string optional_text(const Json& json, const char* field, const std::string& where) {
  return json.contains(field) && !json[field].is_null() ? text_field(json, field, where) : std::string();
}

// "a b" or ["a", "b"].
std::pair<std::string, std::string> parse_merge(const Json& json, const std::string& where) {
  if (json.is_array() && json.size() == 2 && json[0].is_string() && json[1].is_string()) return {json[0], json[1]};
  if (json.is_string()) {
    const auto& text = json.get_ref<const std::string&>();
    const std::size_t space = text.find(' ');
    if (space != std::string::npos && text.find(' ', space + 1) == std::string::npos)
      return {text.substr(0, space), text.substr(space + 1)};
  }
  fail_input("{}: merges: expected two tokens, got {}", where, json.dump());
}

}  // namespace

Bpe Bpe::parse(const Json& json, const std::string& where) {
  if (!json.is_object()) fail_input("{}: model: expected an object, got {}", where, json_type_name(json));
  // Old files leave the type out.
  const std::string type = json.contains("type") && !json["type"].is_null() ? text_field(json, "type", where) : "BPE";
  if (type != "BPE") fail_input("{}: model: expected BPE, got {}, which is not supported", where, type);
  Bpe bpe;
  const Json& vocabulary = require_field(json, "vocab", where);
  if (!vocabulary.is_object()) fail_input("{}: vocab: expected an object, got {}", where, json_type_name(vocabulary));
  bpe.vocabulary_.reserve(vocabulary.size());
  for (const auto& [token, id] : vocabulary.items()) {
    if (!id.is_number_integer() || id.get<std::int64_t>() < 0 || id.get<std::int64_t>() > kMaxId)
      fail_input("{}: vocab: {}: expected an id, got {}", where, token, id.dump());
    bpe.vocabulary_.emplace(token, id.get<TokenId>());
  }
  bpe.prefix_ = optional_text(json, "continuing_subword_prefix", where);
  bpe.suffix_ = optional_text(json, "end_of_word_suffix", where);
  bpe.fuse_unknown_ = json.value("fuse_unk", false);
  bpe.ignore_merges_ = json.value("ignore_merges", false);
  if (const std::string unknown = optional_text(json, "unk_token", where); !unknown.empty()) {
    const auto found = bpe.vocabulary_.find(unknown);
    if (found != bpe.vocabulary_.end()) bpe.unknown_ = found->second;
  }
  if (json.value("byte_fallback", false)) {
    for (int byte = 0; byte < 256; ++byte) {
      const auto found = bpe.vocabulary_.find(fmt::format("<0x{:02X}>", byte));
      bpe.byte_tokens_.push_back(found == bpe.vocabulary_.end() ? -1 : found->second);
    }
  }
  const Json& merges = require_field(json, "merges", where);
  if (!merges.is_array()) fail_input("{}: merges: expected a list, got {}", where, json_type_name(merges));
  bpe.merges_.reserve(merges.size());
  std::int32_t rank = 0;
  for (const Json& merge : merges) {
    const auto [left, right] = parse_merge(merge, where);
    const std::string joined = left + (right.starts_with(bpe.prefix_) ? right.substr(bpe.prefix_.size()) : right);
    const auto a = bpe.vocabulary_.find(left), b = bpe.vocabulary_.find(right), made = bpe.vocabulary_.find(joined);
    if (a == bpe.vocabulary_.end() || b == bpe.vocabulary_.end() || made == bpe.vocabulary_.end())
      fail_input("{}: merges: expected tokens of the vocabulary, got {}", where, merge.dump());
    bpe.merges_[pair_key(a->second, b->second)] = {rank++, made->second};
  }
  return bpe;
}

bool Bpe::add_bytes(std::string_view character, TokenIds& symbols) const {
  if (byte_tokens_.empty()) return false;
  for (const char byte : character)
    if (byte_tokens_[static_cast<unsigned char>(byte)] < 0) return false;
  for (const char byte : character) symbols.push_back(byte_tokens_[static_cast<unsigned char>(byte)]);
  return true;
}

TokenIds Bpe::to_symbols(std::string_view word) const {
  TokenIds symbols;
  bool pending_unknown = false;
  std::string decorated;
  for (std::size_t begin = 0; begin < word.size();) {
    const std::size_t end = std::min(word.size(), begin + utf8_length(static_cast<unsigned char>(word[begin])));
    std::string_view character = word.substr(begin, end - begin);
    if (!prefix_.empty() || !suffix_.empty()) {
      decorated = (begin > 0 ? prefix_ : std::string()) + std::string(character) + (end == word.size() ? suffix_ : std::string());
      character = decorated;
    }
    begin = end;
    if (const auto found = vocabulary_.find(character); found != vocabulary_.end()) {
      if (pending_unknown) symbols.push_back(*unknown_);
      symbols.push_back(found->second);
      pending_unknown = false;
    } else if (!add_bytes(character, symbols) && unknown_) {  // the library lets bytes overtake an unknown token
      if (pending_unknown && !fuse_unknown_) symbols.push_back(*unknown_);
      pending_unknown = true;
    }
  }
  if (pending_unknown) symbols.push_back(*unknown_);
  return symbols;
}

const Bpe::Merge* Bpe::find_merge(TokenId left, TokenId right) const {
  const auto found = merges_.find(pair_key(left, right));
  return found == merges_.end() ? nullptr : &found->second;
}

void Bpe::encode(std::string_view word, TokenIds& ids) const {
  if (ignore_merges_) {
    if (const auto found = vocabulary_.find(word); found != vocabulary_.end()) {
      ids.push_back(found->second);
      return;
    }
  }
  TokenIds symbols = to_symbols(word);
  const auto count = static_cast<std::int32_t>(symbols.size());
  std::vector<std::int32_t> next(symbols.size()), previous(symbols.size());
  for (std::int32_t i = 0; i < count; ++i) {
    next[static_cast<std::size_t>(i)] = i + 1;
    previous[static_cast<std::size_t>(i)] = i - 1;
  }
  struct Candidate {
    std::int32_t rank, left;
    TokenId left_id, right_id, made;
    bool operator<(const Candidate& other) const { return rank != other.rank ? rank > other.rank : left > other.left; }
  };
  std::priority_queue<Candidate> queue;
  constexpr TokenId kGone = -1;
  const auto symbol = [&](std::int32_t i) -> TokenId& { return symbols[static_cast<std::size_t>(i)]; };
  const auto consider = [&](std::int32_t left) {
    const std::int32_t right = left < 0 ? count : next[static_cast<std::size_t>(left)];
    if (right >= count) return;
    if (const Merge* merge = find_merge(symbol(left), symbol(right)))
      queue.push({merge->rank, left, symbol(left), symbol(right), merge->id});
  };
  for (std::int32_t i = 0; i < count; ++i) consider(i);
  while (!queue.empty()) {
    const Candidate top = queue.top();
    queue.pop();
    const std::int32_t right = next[static_cast<std::size_t>(top.left)];
    if (right >= count || symbol(top.left) != top.left_id || symbol(right) != top.right_id) continue;  // one of them has merged since
    symbol(top.left) = top.made;
    symbol(right) = kGone;
    const std::int32_t after = next[static_cast<std::size_t>(right)];
    next[static_cast<std::size_t>(top.left)] = after;
    if (after < count) previous[static_cast<std::size_t>(after)] = top.left;
    consider(previous[static_cast<std::size_t>(top.left)]);
    consider(top.left);
  }
  for (const TokenId id : symbols)
    if (id != kGone) ids.push_back(id);
}

}  // namespace metarm

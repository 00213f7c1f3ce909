#include "metarm/text/gguf_vocabulary.h"

#include <algorithm>
#include <string_view>
#include <tuple>
#include <unordered_map>

#include "metarm/base/error.h"
#include "metarm/base/json_lines.h"

namespace metarm {

namespace {

constexpr const char* kTokensKey = "tokenizer.ggml.tokens";
constexpr const char* kMergesKey = "tokenizer.ggml.merges";
constexpr const char* kScoresKey = "tokenizer.ggml.scores";
constexpr std::size_t kMaxTokenBytes = 1024;  // rebuilding merges takes the square of it

using Ids = std::unordered_map<std::string_view, std::size_t>;

bool is_padding(const GgufVocabulary& vocabulary, std::size_t id) {
  return vocabulary.kinds[id] == GgufTokenKind::unused && vocabulary.tokens[id] == fmt::format("[PAD{}]", id);
}

// Gemma's runs of spaces are stored as spaces, as they stand in a text; its merges know them with the space's replacement.
std::string respell_spaces(const std::string& token) {
  if (token.find_first_not_of(' ') != std::string::npos) return token;
  std::string respelled;
  for (std::size_t i = 0; i < token.size(); ++i) respelled += "\u2581";
  return respelled;
}

void load_kinds(const GgufFile& file, GgufVocabulary& vocabulary) {
  constexpr const char* key = "tokenizer.ggml.token_type";
  vocabulary.kinds.assign(vocabulary.tokens.size(), GgufTokenKind::normal);
  const auto* kinds = file.integers(key);
  if (kinds == nullptr) return;
  if (kinds->size() != vocabulary.tokens.size())
    fail_input("{}: {}: expected {} values, one a token, got {}", file.where(), key, vocabulary.tokens.size(), kinds->size());
  for (std::size_t id = 0; id < kinds->size(); ++id) {
    if ((*kinds)[id] < 1 || (*kinds)[id] > 6)
      fail_input("{}: {}: expected kinds from 1 to 6, got {} for token {}", file.where(), key, (*kinds)[id], id);
    vocabulary.kinds[id] = static_cast<GgufTokenKind>((*kinds)[id]);
  }
}

void load_tokens(const GgufFile& file, GgufVocabulary& vocabulary) {
  const auto* tokens = file.texts(kTokensKey);
  if (tokens == nullptr || tokens->empty()) fail_input("{}: {}: expected tokens, got none", file.where(), kTokensKey);
  vocabulary.tokens.assign(tokens->begin(), tokens->end());
  load_kinds(file, vocabulary);
  for (std::size_t id = 0; id < vocabulary.tokens.size(); ++id) {
    std::string& token = vocabulary.tokens[id];
    if (!is_valid_utf8(token)) fail_input("{}: {}: expected UTF-8, got other bytes for token {}", file.where(), kTokensKey, id);
    if (is_padding(vocabulary, id)) token.clear();
    if (vocabulary.gemma) token = respell_spaces(token);
  }
}

Ids index_tokens(const GgufFile& file, const GgufVocabulary& vocabulary) {
  Ids ids;
  for (std::size_t id = 0; id < vocabulary.tokens.size(); ++id) {
    if (vocabulary.tokens[id].empty()) continue;
    const auto [found, is_new] = ids.emplace(vocabulary.tokens[id], id);
    if (!is_new) fail_input("{}: {}: expected each token once, got token {} again as {}", file.where(), kTokensKey, found->second, id);
  }
  return ids;
}

void load_merges(const GgufFile& file, const std::vector<std::string_view>& merges, const Ids& ids, GgufVocabulary& vocabulary) {
  for (std::size_t i = 0; i < merges.size(); ++i) {
    const std::size_t space = merges[i].find(' ', 1);  // a token has no space, but may be one in a damaged file
    const std::string_view left = merges[i].substr(0, space), right = space == std::string_view::npos ? "" : merges[i].substr(space + 1);
    if (!ids.contains(left) || !ids.contains(right) || !ids.contains(std::string(left) + std::string(right)))
      fail_input("{}: {}: expected two tokens that make up a third, got something else as merge {}", file.where(), kMergesKey, i);
    vocabulary.merges.emplace_back(left, right);
  }
}

bool is_part_of_text(GgufTokenKind kind) {
  return kind != GgufTokenKind::control && kind != GgufTokenKind::unknown && kind != GgufTokenKind::byte;
}

struct ScoredMerge {
  double score;
  std::size_t left_length, right_length, left, right;  // lengths in characters
};

// Every way to make token `id` of two others, in the order of their ids.
void append_merges_of(std::size_t id, double score, const Ids& ids, const GgufVocabulary& vocabulary, std::vector<ScoredMerge>& merges) {
  const std::string_view token = vocabulary.tokens[id];
  const auto is_start = [](char c) { return (static_cast<unsigned char>(c) & 0xc0U) != 0x80U; };
  const auto length = static_cast<std::size_t>(std::count_if(token.begin(), token.end(), is_start));
  const std::size_t first = merges.size();
  for (std::size_t cut = 1, left_length = 1; cut < token.size(); ++cut) {
    if (!is_start(token[cut])) continue;
    const auto left = ids.find(token.substr(0, cut)), right = ids.find(token.substr(cut));
    if (left != ids.end() && right != ids.end() && is_part_of_text(vocabulary.kinds[left->second]) &&
        is_part_of_text(vocabulary.kinds[right->second]))
      merges.push_back({score, left_length, length - left_length, left->second, right->second});
    ++left_length;
  }
  std::sort(merges.begin() + static_cast<std::ptrdiff_t>(first), merges.end(),
            [](const ScoredMerge& a, const ScoredMerge& b) { return std::tie(a.left, a.right) < std::tie(b.left, b.right); });
}

// SentencePiece keeps no merges: a pair merges the earlier, the higher the score of what it makes. Gemma's scores say nothing about that;
// its ids do.
void rebuild_merges(const GgufFile& file, const Ids& ids, GgufVocabulary& vocabulary) {
  const auto* scores = file.numbers(kScoresKey);
  const std::size_t count = vocabulary.tokens.size();
  if (!vocabulary.gemma && (scores == nullptr || scores->size() != count))
    fail_input("{}: {}: expected {} values, one a token, got {}", file.where(), kScoresKey, count, scores ? scores->size() : 0);
  std::vector<ScoredMerge> merges;
  for (std::size_t id = 0; id < count; ++id) {
    if (!is_part_of_text(vocabulary.kinds[id])) continue;
    if (vocabulary.tokens[id].size() > kMaxTokenBytes)
      fail_input("{}: {}: expected tokens of at most {} bytes, got {} for token {}", file.where(), kTokensKey, kMaxTokenBytes,
                 vocabulary.tokens[id].size(), id);
    const double score = vocabulary.gemma ? -static_cast<double>(id) : (*scores)[id];
    if (!(score == score)) fail_input("{}: {}: expected numbers, got NaN for token {}", file.where(), kScoresKey, id);
    append_merges_of(id, score, ids, vocabulary, merges);
  }
  std::stable_sort(merges.begin(), merges.end(), [](const ScoredMerge& a, const ScoredMerge& b) {
    return std::tie(a.score, a.left_length, a.right_length) > std::tie(b.score, b.left_length, b.right_length);
  });
  for (const ScoredMerge& merge : merges) vocabulary.merges.emplace_back(vocabulary.tokens[merge.left], vocabulary.tokens[merge.right]);
}

std::optional<std::int64_t> load_id(const GgufFile& file, const char* key, const GgufVocabulary& vocabulary) {
  const auto id = file.integer(key);
  if (!id) return std::nullopt;
  if (*id >= static_cast<std::int64_t>(vocabulary.tokens.size()) || vocabulary.tokens[static_cast<std::size_t>(*id)].empty())
    fail_input("{}: {}: expected the id of one of {} tokens, got {}", file.where(), key, vocabulary.tokens.size(), *id);
  return id;
}

}  // namespace

GgufVocabulary load_gguf_vocabulary(const GgufFile& file) {
  constexpr const char* key = "tokenizer.ggml.model";
  const std::string_view model = file.text(key).value_or("none");
  if (model != "gpt2" && model != "llama") fail_input("{}: {}: expected gpt2 or llama, got {}", file.where(), key, model);
  GgufVocabulary vocabulary;
  vocabulary.byte_level = model == "gpt2";
  vocabulary.gemma = !vocabulary.byte_level && file.text("general.architecture").value_or("").starts_with("gemma");
  load_tokens(file, vocabulary);
  const Ids ids = index_tokens(file, vocabulary);
  if (const auto* merges = file.texts(kMergesKey))
    load_merges(file, *merges, ids, vocabulary);
  else if (vocabulary.byte_level)
    fail_input("{}: {}: expected merges, got none", file.where(), kMergesKey);
  else
    rebuild_merges(file, ids, vocabulary);
  vocabulary.bos = load_id(file, "tokenizer.ggml.bos_token_id", vocabulary);
  vocabulary.eos = load_id(file, "tokenizer.ggml.eos_token_id", vocabulary);
  vocabulary.pad = load_id(file, "tokenizer.ggml.padding_token_id", vocabulary);
  vocabulary.unk = load_id(file, "tokenizer.ggml.unknown_token_id", vocabulary);
  return vocabulary;
}

}  // namespace metarm

#include "metarm/collect/corruption.h"

#include <algorithm>
#include <vector>

#include "metarm/collect/passages.h"

namespace metarm {

std::optional<std::string> truncate_response(std::string_view text, double strength) {
  const std::vector<std::string_view> words = list_words(text);
  if (words.size() < 2) return std::nullopt;
  const std::string_view last = words[words.size() - share_of(strength, words.size(), 1, words.size() - 1) - 1];
  return std::string(text.substr(0, offset_in(text, last) + last.size()));
}

std::optional<std::string> repeat_sentences(std::string_view text, double strength, RandomStream stream) {
  const std::vector<std::string_view> sentences = list_sentences(text);
  if (sentences.empty()) return std::nullopt;
  const std::size_t length = share_of(strength, sentences.size(), 1, sentences.size());
  const std::size_t first = stream.below(sentences.size() - length + 1);
  const std::size_t begin = offset_in(text, sentences[first]);
  const std::string_view last = sentences[first + length - 1];
  const std::size_t end = offset_in(text, last) + last.size();
  const std::string_view run = text.substr(begin, end - begin);
  const char* between = text.find('\n', begin) < end ? "\n" : " ";
  return std::string(text.substr(0, end)).append(between).append(run).append(text.substr(end));
}

std::optional<std::string> shuffle_sentences(std::string_view text, double strength, RandomStream stream) {
  const std::vector<std::string_view> sentences = list_sentences(text);
  if (sentences.size() < 2) return std::nullopt;
  const std::size_t moved = share_of(strength, sentences.size(), 2, sentences.size());
  // Each of the first `moved` of a random order goes where the next one was: none stays.
  const std::vector<std::int64_t> order = permutation(static_cast<std::int64_t>(sentences.size()), stream);
  std::vector<std::string_view> placed = sentences;
  for (std::size_t i = 0; i < moved; ++i)
    placed[static_cast<std::size_t>(order[(i + 1) % moved])] = sentences[static_cast<std::size_t>(order[i])];
  std::string changed;
  std::size_t position = 0;
  for (std::size_t i = 0; i < sentences.size(); ++i) {
    const std::size_t begin = offset_in(text, sentences[i]);
    changed.append(text.substr(position, begin - position)).append(placed[i]);
    position = begin + sentences[i].size();
  }
  changed.append(text.substr(position));
  if (changed == text) return std::nullopt;
  return changed;
}

}  // namespace metarm

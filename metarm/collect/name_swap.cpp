#include "metarm/collect/name_swap.h"

#include <unicode/uchar.h>

#include <algorithm>
#include <map>
#include <set>

#include "metarm/collect/passages.h"
#include "metarm/text/unicode.h"

namespace metarm {

namespace {

// A word without the punctuation at its ends, and without "'s".
std::string_view core_of(std::string_view word) {
  std::size_t begin = word.size(), end = 0, position = 0;
  while (position < word.size()) {
    const std::size_t start = position;
    if (is_punctuation(next_code_point(word, position))) continue;
    begin = std::min(begin, start);
    end = position;
  }
  if (begin >= end) return {};
  std::string_view core = word.substr(begin, end - begin);
  for (const std::string_view possessive : {"'s", "’s"})
    if (core.ends_with(possessive)) core.remove_suffix(possessive.size());
  return core;
}

bool is_capitalised(std::string_view core) {
  if (core == "I" || core.starts_with("I'") || core.starts_with("I’")) return false;
  std::size_t position = 0;
  const auto first = static_cast<UChar32>(next_code_point(core, position));
  return u_isupper(first) || u_istitle(first);
}

bool is_number(std::string_view core) {
  return core[0] >= '0' && core[0] <= '9' && core.find_first_not_of("0123456789.,:") == std::string_view::npos;
}

// "1." or "2)", as before an item of a list.
bool numbers_item(std::string_view word, std::string_view core) {
  const std::string_view after = word.substr(offset_in(word, core) + core.size());
  return is_number(core) && (after.starts_with('.') || after.starts_with(')'));
}

// To `names` those within the sentence, to `beginnings` its first word where that has a capital.
void add_names(std::string_view text, std::string_view sentence, std::vector<FoundName>& names, std::vector<std::string_view>& beginnings) {
  std::size_t run_end = std::string_view::npos;  // where a name's next word would begin
  bool first = true;
  for (const std::string_view word : list_words(sentence)) {
    const std::string_view core = core_of(word);
    if (core.empty()) continue;
    const bool is_last = offset_in(sentence, word) + word.size() == sentence.size();
    if (first && !is_last && numbers_item(word, core)) continue;
    const std::size_t begin = offset_in(text, core), end = begin + core.size();
    if (is_number(core)) {
      names.push_back({NameKind::number, core});
    } else if (first && is_capitalised(core)) {
      beginnings.push_back(core);
    } else if (is_capitalised(core)) {
      if (begin == run_end)
        names.back().text = text.substr(offset_in(text, names.back().text), end - offset_in(text, names.back().text));
      else
        names.push_back({NameKind::name, core});
      run_end = end + 1;
    }
    first = false;
  }
}

// A sentence that begins with a name known from within another: its first words are that name, too.
void add_beginnings(std::string_view text, const std::vector<std::string_view>& beginnings, std::vector<FoundName>& names) {
  std::set<std::string_view> known;
  for (const FoundName& name : names) known.insert(name.text);
  for (const std::string_view word : beginnings) {
    const std::size_t begin = offset_in(text, word);
    const auto next = std::ranges::lower_bound(names, begin, {}, [&](const FoundName& name) { return offset_in(text, name.text); });
    const bool is_followed = next != names.end() && offset_in(text, next->text) == begin + word.size() + 1;
    const std::string_view run = text.substr(begin, word.size() + (is_followed ? 1 + next->text.size() : 0));
    if (is_followed && known.contains(run))
      next->text = run;
    else if (known.contains(word))
      names.insert(next, FoundName{NameKind::name, word});
  }
}

const std::string* draw_other(const std::vector<std::string>& pool, std::string_view text, RandomStream& stream) {
  if (pool.empty()) return nullptr;
  const std::size_t start = stream.below(pool.size());
  for (std::size_t i = 0; i < pool.size(); ++i) {
    const std::string& other = pool[(start + i) % pool.size()];
    if (text.find(other) == std::string_view::npos) return &other;
  }
  return nullptr;
}

}  // namespace

std::vector<FoundName> list_names(std::string_view text) {
  std::vector<FoundName> names;
  std::vector<std::string_view> beginnings;
  for (const std::string_view sentence : list_sentences(text)) add_names(text, sentence, names, beginnings);
  add_beginnings(text, beginnings, names);
  return names;
}

NamePool make_name_pool(const std::vector<std::string>& texts) {
  NamePool pool;
  std::set<std::string, std::less<>> seen;
  for (const std::string& text : texts)
    for (const FoundName& name : list_names(text))
      if (seen.emplace(name.text).second) (name.kind == NameKind::name ? pool.names : pool.numbers).emplace_back(name.text);
  return pool;
}

std::optional<std::string> swap_names(std::string_view text, double strength, const NamePool& pool, RandomStream stream) {
  const std::vector<FoundName> names = list_names(text);
  std::vector<FoundName> distinct;
  for (const FoundName& name : names)
    if (std::ranges::none_of(distinct, [&](const FoundName& other) { return other.text == name.text; })) distinct.push_back(name);
  if (distinct.empty()) return std::nullopt;

  std::map<std::string_view, const std::string*> replaced;
  const std::size_t wanted = share_of(strength, distinct.size(), 1, distinct.size());
  const std::vector<std::int64_t> order = permutation(static_cast<std::int64_t>(distinct.size()), RandomStream(stream.next()));
  for (std::size_t i = 0; i < distinct.size() && replaced.size() < wanted; ++i) {
    const FoundName& name = distinct[static_cast<std::size_t>(order[i])];
    if (const std::string* other = draw_other(name.kind == NameKind::name ? pool.names : pool.numbers, text, stream))
      replaced[name.text] = other;
  }
  if (replaced.empty()) return std::nullopt;

  std::string changed;
  std::size_t position = 0;
  for (const FoundName& name : names) {
    const auto found = replaced.find(name.text);
    if (found == replaced.end()) continue;
    const std::size_t begin = offset_in(text, name.text);
    changed.append(text.substr(position, begin - position)).append(*found->second);
    position = begin + name.text.size();
  }
  return changed.append(text.substr(position));
}

}  // namespace metarm

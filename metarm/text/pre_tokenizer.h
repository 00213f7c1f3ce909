// Pre-tokenizers of a tokenizer.json: a text to the words that the BPE model encodes one by one.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "metarm/base/json_lines.h"
#include "metarm/text/pattern.h"

namespace metarm {

enum class PreTokenizerKind { byte_level, split, digits, whitespace, whitespace_split, punctuation, metaspace };
enum class PrependScheme { always, first, never };
PrependScheme parse_prepend_scheme(const Json& json, const std::string& where);

struct PreTokenizerStep {
  PreTokenizerKind kind;
  Pattern pattern;                                   // split, byte_level's words
  SplitBehavior behavior = SplitBehavior::isolated;  // split, punctuation
  bool invert = false;                               // split: what lies between matches counts as the matches
  bool add_prefix_space = false, use_regex = true;   // byte_level
  bool individual_digits = false;                    // digits
  std::string replacement;                           // metaspace: ▁
  PrependScheme prepend = PrependScheme::always;
  bool splits = true;
};

class PreTokenizer {
 public:
  static PreTokenizer parse(const Json& json, const std::string& where);  // null: none. Input error that lists the supported kinds
  // `first`: the text begins where the whole input begins.
  std::vector<std::string> apply(std::string text, bool first) const;

 private:
  std::vector<PreTokenizerStep> steps_;
};

}  // namespace metarm

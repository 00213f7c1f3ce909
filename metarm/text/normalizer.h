// Normalizers of a tokenizer.json: text to text before anything is split.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "metarm/base/json_lines.h"
#include "metarm/text/pattern.h"

namespace metarm {

enum class NormalizerKind { nfc, nfd, nfkc, nfkd, lowercase, strip, strip_accents, prepend, replace };

struct NormalizerStep {
  NormalizerKind kind;
  std::string content;             // prepend, replace
  Pattern pattern;                 // replace
  bool left = true, right = true;  // strip
};

class Normalizer {
 public:
  static Normalizer parse(const Json& json, const std::string& where);  // null: none. Input error that lists the supported kinds
  bool empty() const { return steps_.empty(); }
  std::string apply(std::string_view text) const;

 private:
  std::vector<NormalizerStep> steps_;
};

}  // namespace metarm

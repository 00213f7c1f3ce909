// Post-processors of a tokenizer.json: the special tokens around a text.
#pragma once

#include <string>
#include <vector>

#include "metarm/base/json_lines.h"
#include "metarm/text/tokenizer.h"

namespace metarm {

struct PostProcessor {
  TokenIds before, after;  // what a single text gets

  static PostProcessor parse(const Json& json, const std::string& where);  // null: nothing. Input error that lists the supported kinds
};

}  // namespace metarm

// Regular expressions as the tokenizers library means them (Oniguruma's), for PCRE2 to compile.
#pragma once

#include <string>

namespace metarm {

// The same expression in PCRE2's words. Input error naming the construct where PCRE2 would mean something else by it.
std::string to_pcre2(const std::string& expression, const std::string& where);

}  // namespace metarm

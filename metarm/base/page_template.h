// Pages that need no other file: their parts put into a template.
#pragma once

#include <functional>
#include <string>
#include <string_view>

namespace metarm {

// The template with each {{NAME}} replaced by part(NAME); what a part holds is left as it is.
std::string fill_template(std::string_view text, const std::function<std::string(std::string_view name)>& part);

}  // namespace metarm

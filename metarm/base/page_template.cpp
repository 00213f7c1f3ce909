#include "metarm/base/page_template.h"

namespace metarm {

std::string fill_template(std::string_view text, const std::function<std::string(std::string_view name)>& part) {
  std::string page;
  for (std::size_t open; (open = text.find("{{")) != text.npos;) {
    const std::size_t close = text.find("}}", open);
    page += text.substr(0, open);
    page += part(text.substr(open + 2, close - open - 2));
    text.remove_prefix(close + 2);
  }
  return page += text;
}

}  // namespace metarm

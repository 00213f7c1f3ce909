// The page that `/` answers with: its parts in metarm/http/page/ and the charting library, which the build puts into the program.
#pragma once

#include <string>

namespace metarm {

// One HTML document that asks for nothing but the server's own paths.
const std::string& dashboard_page();
// Its Content-Security-Policy: the scripts that are in it, and no others.
const std::string& dashboard_policy();

}  // namespace metarm

// The time of day. Durations are a Stopwatch's.
#pragma once

#include <string>

namespace metarm {

double seconds_since_1970();
std::string utc_now();  // 2026-01-31T23:59:59Z

}  // namespace metarm

#include "metarm/base/wall_clock.h"

#include <fmt/chrono.h>

#include <chrono>
#include <ctime>

namespace metarm {

double seconds_since_1970() { return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count(); }

std::string utc_now() { return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(std::time(nullptr))); }

}  // namespace metarm

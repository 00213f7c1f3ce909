// What the server counts, as Prometheus reads it.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "metarm/http/reward_service.h"

namespace metarm {

class HttpMetrics {
 public:
  // `route` is one of the known paths, never what a client made up: each makes lines of its own.
  void add_request(const std::string& route, int status, double seconds);
  // Prometheus's text format: these counts, and the state of the service.
  std::string to_text(const RewardService& service) const;

 private:
  static constexpr std::array<double, 12> kBounds_s = {0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60, 300};
  struct Histogram {
    std::array<std::int64_t, kBounds_s.size()> below = {};  // at most the bound
    std::int64_t count = 0;
    double sum_s = 0;
  };

  mutable std::mutex mutex_;
  std::map<std::pair<std::string, int>, std::int64_t> requests_;  // by route and status
  std::map<std::string, Histogram> seconds_;                      // by route
};

}  // namespace metarm

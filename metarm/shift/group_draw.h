// Response groups from the shift log's file, new ones more often than old ones.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "metarm/data/rows.h"

namespace metarm {

struct GroupDraw {
  std::int64_t groups = 0;         // at most
  std::int64_t min_responses = 2;  // distinct ones
  std::int64_t max_responses = 8;  // the newest
  double half_life_s = 3600;       // a prompt whose newest response is this much older than another's has half its weight
  double now_s = 0;                // since 1970; what is newer is left out
  bool by_step = false;            // the trainer's steps are the time, also in the two above: 0 for rows without one
  std::uint64_t seed = 0;
};

// Prompts without replacement, each time one of those left with a probability by its weight 2^(-age / half life): the largest keys
// log(weight) - log(-log u), u uniform, which is the order of u^(1 / weight) (Efraimidis and Spirakis, "Weighted random sampling with a
// reservoir", Information Processing Letters 97, 2006). In that order; responses from old to new, one for each distinct text, with their
// rewards where one version gave them all. Equal arguments and rows give equal groups; by steps in whatever order the rows of a step came.
// Reads in a transaction of its own while others write. DatabaseError.
std::vector<ResponseGroup> draw_groups(const std::string& path, const GroupDraw& draw);

}  // namespace metarm

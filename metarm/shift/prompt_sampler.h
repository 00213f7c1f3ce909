// Which of the scored responses are kept when they come faster than the log may take them: nearly always all of a
// prompt's or none, so that groups stay whole.
#pragma once

#include <cstdint>

namespace metarm {

// A bucket of capacity C = rate * burst that fills by `rate` a second; each row that is kept takes one out, none is kept from an empty one.
// A prompt is kept with probability min(1, 2 level / C): everything while it is more than half full; under a steady excess of rows the
// level settles where the kept ones come at `rate`. So at most C + rate * t rows are kept in any t seconds. The draw is Bernoulli by prompt
// and ten minutes, a function of the seed; a lower level keeps a subset of the prompts that a higher one keeps.
class PromptSampler {
 public:
  PromptSampler(double rows_per_s, double burst_s, std::uint64_t seed);
  bool keep(std::uint64_t prompt, double now_s);  // `prompt`: a hash; for one thread at a time

 private:
  const double rate_, capacity_;
  const std::uint64_t seed_;
  double level_, filled_s_ = 0;
};

}  // namespace metarm

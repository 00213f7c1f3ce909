// Whether the responses that are scored now come from the same policy, as the reward model sees it, as those of its last alignment: a test
// that may be looked at after every response.
//
// Two streams are compared with their reference: the absolute reward difference of a prompt's first two responses, and the reward of its
// first. Two that are the same text have a difference of 0: a policy that repeats itself has shifted, too. One value a prompt: responses to
// one prompt are not independent, prompts are taken to be.
//
//   u_n = (#{v_i < v_n} + U (1 + #{i < n: v_i = v_n})) / n     U uniform, i over the reference and the stream up to n
//
// While reference and stream together are exchangeable, the u_n of the stream are independent and uniform, whatever the distribution (Vovk,
// Gammerman and Shafer, "Algorithmic learning in a random world", 2005: smoothed p-values). A jumper_martingale.h bets
// against that on each stream; capital of 2/alpha on either is an alarm. So a *period*, from a reference or the last period's end on,
// alarms falsely with probability at most alpha, whatever its distribution, whenever one looks. A period without alarm ends after
// `period_prompts` values of a stream, for both: the comparison with the reference begins anew, so that what the stream itself brought does
// not blur it for ever.
#pragma once

#include <cstdint>
#include <deque>
#include <span>
#include <unordered_map>
#include <vector>

#include "metarm/base/random.h"
#include "metarm/shift/jumper_martingale.h"

namespace metarm {

struct ShiftReference {
  std::vector<double> differences, rewards;  // one a prompt
};

struct ShiftTestOptions {
  double alpha = 0.01;  // of a false alarm in a period, at most
  std::int64_t period_prompts = 20'000;
  std::int64_t remembered_prompts = 16'384;  // a prompt counts again once as many others have come
  std::int64_t window_prompts = 512;         // of the figures that describe the stream
  double near_tie = 0;                       // a difference below this is a near tie; 0.1 of the reward deviation on pairs, usually
  std::uint64_t seed = 0;
};

// One of the two streams.
class StreamTest {
 public:
  StreamTest(std::vector<double> reference, std::int64_t window, RandomStream random);
  void add(double value);
  void show(double value);  // in the window alone
  void begin_period();

  double log_capital() const { return martingale_.log_capital(); }
  std::int64_t values() const { return values_; }                   // of this period
  std::span<const double> reference() const { return reference_; }  // sorted
  const std::deque<double>& window() const { return window_; }

 private:
  std::vector<double> reference_, sorted_;
  std::int64_t window_size_, values_ = 0;
  std::deque<double> window_;
  JumperMartingale martingale_;
  RandomStream random_;
};

struct StreamFigures {
  std::int64_t reference = 0, window = 0, period = 0;  // values
  double reference_mean = 0, window_mean = 0;          // of the last `window` values; 0 where there are none
  double distance = 0;        // Kolmogorov and Smirnov's, of window and reference: a description, the alarm does not come from it
  double log10_evidence = 0;  // of the capital
};

struct ShiftState {
  bool alarm = false;  // stays until the next reference; what comes after it is described, not tested
  double log10_threshold = 0;
  StreamFigures differences, rewards;
  double reference_near_ties = 0, window_near_ties = 0;  // shares of the differences
  std::int64_t periods = 0;                              // ended without an alarm
  std::int64_t reference_wanted = 0;                     // prompts; 0: there is a reference; else what follows alone is known
  std::int64_t reference_collected = 0;
};

// For one version of a reward model; another one needs another reference. For one thread at a time. Cost of a response: a search and a move
// in a sorted array of the period's values.
class ShiftTest {
 public:
  ShiftTest(const ShiftReference& reference, const ShiftTestOptions& options);
  // Takes the stream's first `prompts` differences, and the rewards that come with them, as its reference; where prompts come once only,
  // four times as many rewards. A `near_tie` of 0 becomes a tenth of those rewards' deviation.
  ShiftTest(std::int64_t prompts, const ShiftTestOptions& options);

  // A scored response; `prompt` and `response` are hashes of the texts. Further responses to a prompt count for nothing. Internal error for
  // a reward that is not finite. Returns whether the alarm went off here.
  bool add(std::uint64_t prompt, std::uint64_t response, float reward);
  std::int64_t groups() const { return groups_; }  // prompts with two distinct responses so far
  bool alarm() const { return alarm_; }
  ShiftState state() const;

 private:
  struct Seen {
    std::uint64_t response;
    float reward;
    bool complete = false, distinct = false;
  };
  void remember(std::uint64_t prompt, const Seen& seen);
  bool take(StreamTest& stream, std::vector<double>& collected, double value);
  void begin(const ShiftReference& reference);
  bool decide();

  ShiftTestOptions options_;
  StreamTest differences_, rewards_;
  std::unordered_map<std::uint64_t, Seen> seen_;
  std::deque<std::uint64_t> order_;  // of seen_, oldest first
  ShiftReference collected_;         // while `wanted_` is not 0
  std::int64_t wanted_ = 0, periods_ = 0, groups_ = 0;
  bool alarm_ = false;
};

// Largest distance of the two distribution functions; 0 where one is empty. `reference` is sorted.
double kolmogorov_distance(std::span<const double> reference, std::vector<double> values);

}  // namespace metarm

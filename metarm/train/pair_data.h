// The pairs that a reward model learns from and is evaluated on, for training and alignment.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "metarm/eval/statistics.h"
#include "metarm/train/loop.h"
#include "metarm/train/training_setup.h"

namespace metarm {

struct PairData {
  std::vector<EncodedPair> pairs, held_out;
};

// The rows of the files; what was skipped goes to the log. Input errors for bad rows.
std::vector<Pair> read_pair_rows(const std::vector<std::string>& files, const SequenceOptions& sequences, Log& log);

// The rows to learn from: the files', or with --bootstrap as many of those, drawn with replacement by `seed`.
std::vector<Pair> read_training_rows(const std::vector<std::string>& files, const RewardTrainingOptions& training,
                                     const SequenceOptions& sequences, std::uint64_t seed, Log& log);

// What was counted since `before`.
EncodeReport counted_since(const EncodeReport& before, EncodeReport now);
// Input error, naming `option`: no row is left of so many `kind`, for what `report` counted.
[[noreturn]] void fail_without_rows(const char* option, const char* kind, std::size_t rows, const EncodeReport& report,
                                    const SequenceOptions& sequences);

// The rows as `encode` makes them, one of Encoder's. Input error, naming `option` and the reasons, where none is left.
template <class EncodedRow>
std::vector<EncodedRow> encode_pairs(const std::vector<Pair>& rows, const char* option, Encoder& encoder,
                                     std::vector<EncodedRow> (Encoder::*encode)(const std::vector<Pair>&),
                                     const SequenceOptions& sequences) {
  const EncodeReport before = encoder.report();
  std::vector<EncodedRow> pairs = (encoder.*encode)(rows);
  if (pairs.empty()) fail_without_rows(option, "pairs", rows.size(), counted_since(before, encoder.report()), sequences);
  return pairs;
}

// Both.
template <class EncodedRow>
std::vector<EncodedRow> load_pairs(const std::vector<std::string>& files, const char* option, Encoder& encoder,
                                   std::vector<EncodedRow> (Encoder::*encode)(const std::vector<Pair>&), const SequenceOptions& sequences,
                                   Log& log) {
  return encode_pairs(read_pair_rows(files, sequences, log), option, encoder, encode, sequences);
}

// Of the rows of --pairs and the files of --eval-pairs; notes on what was left out go to the log. With --soft-labels T, a pair to learn
// from has the label σ(reward difference / T) of its row. Input errors for bad rows, rows without rewards there, and where no pair is left.
PairData load_pair_data(const TrainingSetup& setup, const std::vector<Pair>& rows, const RewardTrainingOptions& training,
                        const ScoringOptions& scoring, Log& log);

// Of a reward model, or of a policy's implicit rewards.
HeldOutFigures to_held_out_figures(const PairStatistics& statistics);

// All but the gradient and the state of an objective whose steps take pairs; both arguments must outlive it.
Objective make_pair_objective(const char* name, const TrainingSetup& setup, const PairData& data, std::int64_t steps_per_epoch,
                              std::int64_t tokens_per_batch);

}  // namespace metarm

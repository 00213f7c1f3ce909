// Options that several commands share, and what they resolve to on this machine.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <string>

#include "metarm/base/options.h"
#include "metarm/base/output_options.h"
#include "metarm/data/encode.h"
#include "metarm/model/reward_model.h"
#include "metarm/text/chat_template.h"

namespace metarm {

enum class DeviceChoice { automatic, cpu, cuda };
template <>
struct EnumNames<DeviceChoice> {
  static constexpr std::pair<DeviceChoice, const char*> values[] = {
      {DeviceChoice::automatic, "auto"}, {DeviceChoice::cpu, "cpu"}, {DeviceChoice::cuda, "cuda"}};
};
enum class DTypeChoice { automatic, float32, bfloat16 };
template <>
struct EnumNames<DTypeChoice> {
  static constexpr std::pair<DTypeChoice, const char*> values[] = {
      {DTypeChoice::automatic, "auto"}, {DTypeChoice::float32, "float32"}, {DTypeChoice::bfloat16, "bfloat16"}};
};
enum class PoolingChoice { automatic, last_not_pad, last };
template <>
struct EnumNames<PoolingChoice> {
  static constexpr std::pair<PoolingChoice, const char*> values[] = {
      {PoolingChoice::automatic, "auto"}, {PoolingChoice::last_not_pad, "last-not-pad"}, {PoolingChoice::last, "last"}};
};

// Every command that computes has these.
struct CommonOptions : OutputOptions {
  std::int64_t seed = 0;
  DeviceChoice device = DeviceChoice::automatic;
  DTypeChoice dtype = DTypeChoice::automatic;
  std::int64_t threads = 0;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit(self.seed, {.name = "seed", .help = "Seed of every random choice; equal seeds repeat a run.", .min = 0});
    visit(self.device, {.name = "device", .help = "Where to compute; auto: a CUDA GPU if there is one."});
    visit(self.dtype, {.name = "dtype",
                       .help = "Type of the forward and backward passes; auto: bfloat16 for training and sampling where the hardware "
                               "multiplies it, float32 for scoring. Weights of a training stay float32."});
    visit(self.threads, {.name = "threads", .help = "CPU threads; 0: all cores.", .min = 0, .max = 4096});
    OutputOptions::fields(self, visit);
  }
};

// How rows become token sequences, for every command that reads some.
struct SequenceOptions {
  std::int64_t max_length = 1024;
  std::int64_t tokens_per_batch = 8192;
  ChatFormat chat_template = ChatFormat::automatic;
  bool skip_bad_rows = false;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit(self.max_length, {.name = "max-length",
                            .help = "Tokens of a sequence at most: a longer one loses its prompt's oldest tokens; a response that alone is "
                                    "longer is left out. 0: no limit. [TRL max_length]",
                            .min = 0});
    visit(
        self.tokens_per_batch,
        {.name = "tokens-per-batch", .help = "Memory bound: tokens of one forward pass. Never changes results beyond rounding.", .min = 1});
    visit(self.chat_template, {.name = "chat-template", .help = "How conversations become text; auto: as the checkpoint says."});
    visit(self.skip_bad_rows, {.name = "skip-bad-rows", .help = "Count and report malformed rows instead of stopping at the first."});
  }

  BadRows bad_rows() const { return skip_bad_rows ? BadRows::skip : BadRows::stop; }
};

// How sequences become rewards, too, for every command that scores.
struct ScoringOptions : SequenceOptions {
  PoolingChoice pooling = PoolingChoice::automatic;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor&& visit) {
    SequenceOptions::fields(self, visit);
    visit(self.pooling, {.name = "pooling",
                         .help = "The token that carries the reward; auto: as the checkpoint was trained, else the last that is not "
                                 "padding, as transformers; last: the true last, as OpenRLHF, vLLM and SGLang."});
  }

  std::optional<Pooling> fixed_pooling() const;
};

// Sets the number of threads. Input error for --device cuda where there is none.
at::Device resolve_device(const CommonOptions& options);

enum class Work { scoring, training, sampling };
at::ScalarType resolve_dtype(const CommonOptions& options, at::Device device, Work work);

}  // namespace metarm

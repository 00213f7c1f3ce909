// Attention of one key/value head of one prompt's branches, one new token each (cpu_kernels_loops.h).
#pragma once

#include <cmath>
#include <initializer_list>

#include "metarm/model/cpu_attention_loops.h"

namespace metarm {
namespace {

// A row of logits over a run of keys, of which those in `seen` count.
struct LogitRun {
  float* logits;
  std::int64_t columns;  // a multiple of kColumns
  Seen seen;
};

// Logits to probabilities over both runs; 0 for keys that are not seen.
inline void soften(float softcap, const LogitRun& prompt, const LogitRun& own) {
  const float of_prompt = max_of(cap_logits(prompt.columns, prompt.seen, 1.0F, softcap, prompt.logits));
  const float of_own = max_of(cap_logits(own.columns, own.seen, 1.0F, softcap, own.logits)),
              highest = of_own > of_prompt ? of_own : of_prompt;
  const float scale = 1.0F / sum_of(take_shares(prompt.columns, prompt.seen, highest, prompt.logits, prompt.logits) +
                                    take_shares(own.columns, own.seen, highest, own.logits, own.logits));
  for (const LogitRun& run : {prompt, own})
    for (std::int64_t i = 0; i < run.columns; i += kWide) store(run.logits + i, load(run.logits + i) * scale);
}

template <class Element>
void append_token(const DecodeTask& task, const DecodeBranch& branch, const Element* row) {
  const std::int64_t place = branch.tokens - 1;
  for (std::int64_t e = 0; e < task.width; ++e) branch.key[e * task.own_stride + place] = load_one(row + task.key_offset + e);
  widen(row + task.value_offset, task.width, 1.0F, branch.value + place * task.value_stride);
}

template <class Element>
void attention_of_branches(const DecodeTask& task, const Element* qkv, Element* out) {
  static thread_local Scratch scratch;
  const std::int64_t padded = task.value_stride, prompt_columns = round_up(task.prompt_tokens, kColumns);
  const std::int64_t columns = prompt_columns + task.own_stride;
  const std::int64_t most = task.shared >= kSizes.query_rows ? 1 : kSizes.query_rows / task.shared;  // branches at once
  const std::int64_t most_rows = most * task.shared;
  float* const query = scratch.zero_floats(most_rows * (2 * padded + columns));
  float* const mixed = query + most_rows * padded;
  float* const logits = mixed + most_rows * padded;
  for (std::int64_t first = 0; first < task.branch_count; first += most) {
    const std::int64_t count = first + most < task.branch_count ? most : task.branch_count - first, rows = count * task.shared;
    for (std::int64_t b = 0; b < count; ++b) {
      const Element* row = qkv + (first + b) * task.row_stride;
      append_token(task, task.branches[first + b], row);
      for (std::int64_t h = 0; h < task.shared; ++h)
        widen(row + task.query_offset + h * task.width, task.width, task.scale, query + (b * task.shared + h) * padded);
    }
    multiply({rows, prompt_columns, task.width, query, padded, 1, task.prompt_key, task.prompt_stride, logits, columns, false});
    for (std::int64_t b = 0; b < count; ++b) {
      const DecodeBranch& branch = task.branches[first + b];
      const std::int64_t own_columns = round_up(branch.tokens, kColumns), row = b * task.shared;
      float* const of_branch = logits + row * columns;
      multiply({task.shared, own_columns, task.width, query + row * padded, padded, 1, branch.key, task.own_stride,
                of_branch + prompt_columns, columns, false});
      const std::int64_t newest = task.prompt_tokens + branch.tokens - 1, low = task.window > 0 ? newest - task.window + 1 : 0;
      const Seen prompt{low > 0 ? low : 0, task.prompt_tokens}, own{low > task.prompt_tokens ? low - task.prompt_tokens : 0, branch.tokens};
      for (std::int64_t h = 0; h < task.shared; ++h)
        soften(task.softcap, {of_branch + h * columns, prompt_columns, prompt},
               {of_branch + h * columns + prompt_columns, own_columns, own});
    }
    multiply({rows, padded, task.prompt_tokens, logits, columns, 1, task.prompt_value, padded, mixed, padded, false});
    for (std::int64_t b = 0; b < count; ++b) {
      const DecodeBranch& branch = task.branches[first + b];
      const std::int64_t row = b * task.shared;
      multiply({task.shared, padded, branch.tokens, logits + row * columns + prompt_columns, columns, 1, branch.value, padded,
                mixed + row * padded, padded, true});
      for (std::int64_t h = 0; h < task.shared; ++h)
        narrow(mixed + (row + h) * padded, task.width, 1.0F, out + (first + b) * task.out_stride + task.out_offset + h * task.width);
    }
  }
}

}  // namespace
}  // namespace metarm

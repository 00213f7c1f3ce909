// One reward model from several of one architecture, by averaging their weights (WARM, arXiv 2401.12187): docs/methods/ensembles.md.
#pragma once

#include <string>
#include <vector>

#include "metarm/base/log.h"
#include "metarm/base/options.h"
#include "metarm/base/output_options.h"
#include "metarm/model/checkpoint.h"

namespace metarm {

struct MergeOptions {
  std::vector<std::string> models;
  std::vector<std::string> weights;
  std::string output;
  SaveDType save_dtype = SaveDType::float32;
  OutputOptions common;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit(self.models, {.name = "models",
                        .help = "Reward models of one architecture that began from the same weights: Hugging Face directories, or PEFT "
                                "adapters', which are merged into their base. [WARM]",
                        .required = true});
    visit(self.weights, {.name = "weights", .help = "What each of them counts, in their order; the sum is made 1. None: all the same."});
    visit(self.output, {.name = "output", .help = "The Hugging Face directory to make; it must not exist.", .required = true});
    visit(self.save_dtype, {.name = "save-dtype", .help = "Type of the weights written; they are averaged in float32."});
    OutputOptions::fields(self.common, visit);
  }
};

// What each of `count` models counts, adding up to 1. Input error for a text that is no positive number, or another number of them.
std::vector<double> parse_merge_weights(const std::vector<std::string>& weights, std::size_t count);

// Writes sum w_i theta_i, heads included, as an ordinary checkpoint with the tokenizer of the first, whole or not at all. One model after
// another is in memory beside the sum. Input error for models that do not compute or read texts alike, saying what differs.
void merge_reward_models(const MergeOptions& options, Log& log);

}  // namespace metarm

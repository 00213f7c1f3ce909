// What `metarm explain` is asked.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "metarm/explain/influence.h"
#include "metarm/model/common_options.h"

namespace metarm {

enum class AttributionChoice { prefix, integrated, gradient_x_input, none };
template <>
struct EnumNames<AttributionChoice> {
  static constexpr std::pair<AttributionChoice, const char*> values[] = {{AttributionChoice::prefix, "prefix"},
                                                                         {AttributionChoice::integrated, "integrated"},
                                                                         {AttributionChoice::gradient_x_input, "gradient-x-input"},
                                                                         {AttributionChoice::none, "none"}};
};
template <>
struct EnumNames<InfluenceMeasure> {
  static constexpr std::pair<InfluenceMeasure, const char*> values[] = {{InfluenceMeasure::cosine, "cosine"},
                                                                        {InfluenceMeasure::dot, "dot"}};
};

template <>
struct EnumNames<InfluenceWeights> {
  static constexpr std::pair<InfluenceWeights, const char*> values[] = {{InfluenceWeights::head, "head"}, {InfluenceWeights::lora, "lora"}};
};

struct ExplainOptions {
  std::string model;
  std::vector<std::string> pairs;
  std::vector<std::string> responses;
  std::string output;
  std::int64_t limit = 0;
  AttributionChoice attribution = AttributionChoice::prefix;
  double tolerance = 0.05;
  std::int64_t points = 0;
  std::string compare;
  bool influence = false;
  std::vector<std::string> train_pairs;
  InfluenceMeasure influence_by = InfluenceMeasure::cosine;
  InfluenceWeights influence_weights = InfluenceWeights::head;
  std::int64_t projection = 8192;
  std::string index;
  std::int64_t top = 5;
  bool map = false;
  std::int64_t clusters = 0;
  ScoringOptions scoring;
  CommonOptions common;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit(self.model, {.name = "model", .help = "Reward model: a Hugging Face directory or a PEFT adapter's.", .required = true});
    visit(self.pairs,
          {.name = "pairs", .help = "Preference pairs whose rewards and reward differences are explained, JSON lines, .gz accepted."});
    visit(self.responses, {.name = "responses", .help = "Response groups whose rewards are explained."});
    visit(self.output, {.name = "output", .help = "Where the rows with their explanations go, one a pair or group.", .required = true});
    visit(self.limit, {.name = "limit",
                       .help = "Rows explained at most, of pairs and of groups: the first; with --compare those that changed most, of both "
                               "together. 0: all.",
                       .min = 0});
    visit(self.attribution,
          {.name = "attribution",
           .help = "How a reward is divided among its tokens: by what each token changes in the reward of the text so far, which adds up "
                   "exactly and takes one pass; integrated gradients (arXiv 1703.01365); the gradient times the input; or not at all."});
    visit(self.tolerance,
          {.name = "tolerance",
           .help = "The integral gets points, where it errs most, until the values add up to the reward, and to the reward difference, but "
                   "for this share; 512 points a text at about most.",
           .min = 1e-6,
           .max = 1});
    visit(self.points, {.name = "points", .help = "Points of the integral; 0: as --tolerance needs.", .min = 0, .max = 4096});
    visit(self.compare,
          {.name = "compare",
           .help = "Another reward model with the same tokenizer, such as --model aligned: what changed from --model to it, per "
                   "row and token; the rows that changed most first."});
    visit(self.influence,
          {.name = "influence",
           .help = "Which --train-pairs pull each pair's reward difference up or down, by the gradients of the pairs' losses.",
           .needs = "train-pairs"});
    visit(self.train_pairs, {.name = "train-pairs", .help = "Pairs that --model was trained on.", .needs = "influence"});
    visit(self.influence_by, {.name = "influence-by",
                              .help = "What training pairs are ordered by: the cosine of the two gradients, or their product.",
                              .needs = "influence"});
    visit(self.influence_weights,
          {.name = "influence-weights",
           .help = "Whose gradients: those of the reward head, exact and without a backward pass; or those of the LoRA matrices, "
                   "where --model is an adapter.",
           .needs = "influence"});
    visit(self.projection,
          {.name = "projection",
           .help = "Numbers to which --influence-weights lora projects a gradient at random, by --seed: cosines err by about 1 over "
                   "its root. 0: whole gradients, for tiny models. [LESS]",
           .min = 0,
           .max = 1 << 20,
           .needs = "influence"});
    visit(self.index, {.name = "index",
                       .help = "File of the training pairs' gradients: read where it is there, and must be of this model and these "
                               "pairs; else made and written.",
                       .needs = "influence"});
    visit(self.top, {.name = "top", .help = "Training pairs named for each pair, each way.", .min = 1, .needs = "influence"});
    visit(self.map,
          {.name = "map",
           .help = "Place each response in the plane of the two principal components of the hidden states that the reward is read "
                   "from."});
    visit(self.clusters,
          {.name = "clusters",
           .help = "Clusters of the rows explained, by those hidden states, shown on the map: of response groups alone, all of them, the "
                   "modes of `metarm align --balance-by clusters`. 0: none.",
           .min = 0,
           .needs = "map"});
    ScoringOptions::fields(self.scoring, visit);
    CommonOptions::fields(self.common, visit);
  }
};

}  // namespace metarm

// What `metarm augment` is told, beyond how a reward model scores.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "metarm/base/json_lines.h"
#include "metarm/base/options.h"
#include "metarm/collect/length_balance.h"
#include "metarm/collect/pseudo_labels.h"

namespace metarm {

enum class RowOrder { file, confidence };
template <>
struct EnumNames<RowOrder> {
  static constexpr std::pair<RowOrder, const char*> values[] = {{RowOrder::file, "file"}, {RowOrder::confidence, "confidence"}};
};

struct SourceOptions {
  std::vector<std::string> pairs, groups, judgements;
  bool keep_pairs = true;
  bool judged_ties = false;
  bool skip_bad_rows = false;  // of the command's options on sequences

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit(self.pairs, {.name = "pairs", .help = "Labelled pairs. JSON lines, .gz accepted."});
    visit(self.groups,
          {.name = "groups", .help = "Response groups with rewards, as metarm score writes them: pairs come from the rewards."});
    visit(self.judgements, {.name = "judgements", .help = "What metarm judge --output wrote: a pair for each win or loss."});
    visit(self.keep_pairs, {.name = "keep-pairs", .help = "Write the labelled pairs too, before what is made of them.", .needs = "pairs"});
    visit(self.judged_ties, {.name = "judged-ties",
                             .help = "Write a judge's ties too, in both orders with half the weight each; without, they are left out.",
                             .needs = "judgements"});
  }

  BadRows bad_rows() const { return skip_bad_rows ? BadRows::skip : BadRows::stop; }
};

struct PseudoLabelOptions {
  std::vector<std::string> ensemble, calibration_pairs, gold;
  PairChoice select = PairChoice::best_worst;
  double min_margin = 0;
  ConfidenceKind confidence = ConfidenceKind::margin;
  double min_agreement = 1;
  double min_confidence = 0;
  double first_confidence = 0;
  std::int64_t round = 1, rounds = 1;
  double max_overlap = 0;
  std::int64_t shingle_words = 3;
  double pseudo_weight = 1;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit(self.ensemble, {.name = "ensemble",
                          .help = "The same responses with other reward models' rewards, a file each: they vote on each pair.",
                          .needs = "groups"});
    visit(self.calibration_pairs,
          {.name = "calibration-pairs",
           .help = "Labelled pairs with chosen_reward and rejected_reward, a file a reward model, that of --groups first: their "
                   "temperatures make confidence of margins. Without, temperatures are 1."});
    visit(self.gold, {.name = "gold",
                      .help = "The same responses with rewards that count as labels, for a report of the pseudo-labels' accuracy; without, "
                              "a group's field `labels` counts.",
                      .needs = "groups"});
    visit(self.select,
          {.name = "select", .help = "best-worst: a group's best response against its worst; all: every pair.", .needs = "groups"});
    visit(self.min_margin, {.name = "min-margin", .help = "A pair's scores differ by more, in temperatures.", .min = 0, .needs = "groups"});
    visit(self.confidence, {.name = "confidence",
                            .help = "margin: the mean probability by the margins; agreement: the share of the reward models that agree.",
                            .needs = "groups"});
    visit(self.min_agreement, {.name = "min-agreement",
                               .help = "Share of the reward models, at least, that order a pair as it is labelled.",
                               .min = 0,
                               .max = 1,
                               .needs = "ensemble"});
    visit(self.min_confidence, {.name = "min-confidence", .help = "Pseudo-labels that are less sure are left out.", .min = 0, .max = 1});
    visit(self.first_confidence,
          {.name = "first-confidence",
           .help = "A curriculum: the threshold of round 1, which falls to --min-confidence in the last; 0: the same in all.",
           .min = 0,
           .max = 1});
    visit(self.round, {.name = "round", .help = "The present round, from 1.", .min = 1, .needs = "first-confidence"});
    visit(self.rounds, {.name = "rounds", .help = "Rounds in all.", .min = 1, .needs = "first-confidence"});
    visit(self.max_overlap, {.name = "max-overlap",
                             .help = "A response whose shingles overlap more with one before it in its group is left out; 0: none is.",
                             .min = 0,
                             .max = 1,
                             .needs = "groups"});
    visit(self.shingle_words, {.name = "shingle-words", .help = "Words of a shingle.", .min = 1, .max = 1000, .needs = "max-overlap"});
    visit(self.pseudo_weight, {.name = "pseudo-weight", .help = "Weight of the pairs of --groups and --judgements.", .min = 0});
  }
};

struct SyntheticOptions {
  double cross_chosen_share = 0, cross_rejected_share = 0, cross_neutral_share = 0;
  double truncate_share = 0, truncate_strength = 0.5;
  double repeat_share = 0, repeat_strength = 0.5;
  double shuffle_share = 0, shuffle_strength = 1;
  double swap_share = 0, swap_strength = 1;
  std::string rm;
  double min_label_gap = 0.2;
  double synthetic_weight = 1;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor&& visit) {
    const auto share = [&](auto& value, const char* name, const char* help) {
      visit(value, {.name = name, .help = help, .min = 0, .max = 1});
    };
    const auto strength = [&](auto& value, const char* name, const char* help, const char* needs) {
      visit(value, {.name = name, .help = help, .min = 0, .max = 1, .needs = needs});
    };
    share(self.cross_chosen_share, "cross-chosen-share",
          "Of the 4 pairs a row in which the chosen response beats one to another prompt (RRM), the share to write.");
    share(self.cross_rejected_share, "cross-rejected-share", "Of the 4 in which the rejected response does (RRM).");
    share(self.cross_neutral_share, "cross-neutral-share",
          "Of the 6 ties a row between responses to other prompts (RRM), each in both orders with half the weight.");
    share(self.truncate_share, "truncate-share", "Share of the pairs whose chosen response, cut off, becomes a rejected one.");
    strength(self.truncate_strength, "truncate-strength", "Share of its words that is cut off.", "truncate-share");
    share(self.repeat_share, "repeat-share", "Share of the pairs whose chosen response, with a part said twice, becomes a rejected one.");
    strength(self.repeat_strength, "repeat-strength", "Share of its sentences that is said twice.", "repeat-share");
    share(self.shuffle_share, "shuffle-share",
          "Share of the pairs whose chosen response, its sentences in another order, becomes a rejected one.");
    strength(self.shuffle_strength, "shuffle-strength", "Share of its sentences that moves.", "shuffle-share");
    share(self.swap_share, "swap-share",
          "Share of the pairs whose chosen response, with names and numbers of other responses, becomes a rejected one.");
    strength(self.swap_strength, "swap-strength", "Share of its names and numbers that is replaced.", "swap-share");
    visit(self.rm,
          {.name = "rm",
           .help = "Reward model, as metarm train makes it of the labelled pairs: of all these pairs, those whose label it is already "
                   "sure of are left out (RRM)."});
    visit(
        self.min_label_gap,
        {.name = "min-label-gap",
         .help = "A pair stays if the reward model's probability that the chosen response is better is this far, at least, from 1, or from "
                 "1/2 of a tie. [RRM: 0.2]",
         .min = 0,
         .max = 1,
         .needs = "rm"});
    visit(self.synthetic_weight, {.name = "synthetic-weight", .help = "Weight of all these pairs.", .min = 0});
  }
};

struct AugmentOptions {
  std::string output;
  SourceOptions sources;
  PseudoLabelOptions pseudo;
  SyntheticOptions synthetic;
  LengthBalance balance_lengths = LengthBalance::none;
  std::int64_t length_buckets = 10;
  RowOrder order = RowOrder::file;
  std::int64_t seed = 0;  // of the command's common options

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor&& visit) {
    SourceOptions::fields(self.sources, visit);
    visit(self.output, {.name = "output", .help = "Where the pairs go. JSON lines, packed where the name ends in .gz.", .required = true});
    PseudoLabelOptions::fields(self.pseudo, visit);
    SyntheticOptions::fields(self.synthetic, visit);
    visit(self.balance_lengths, {.name = "balance-lengths",
                                 .help = "Make the chosen response the longer one in half of the pairs, in each bucket of length "
                                         "differences: by their field `weight`, or by a draw that leaves pairs out."});
    visit(self.length_buckets, {.name = "length-buckets", .help = "Buckets of about as many pairs each.", .min = 1, .max = 1000});
    visit(self.order, {.name = "order",
                       .help = "file: labelled pairs, judged ones, pseudo-labels, synthetic ones; confidence: the surest first, for "
                               "metarm train --shuffle false. Pairs without confidence count as sure."});
  }
};

}  // namespace metarm

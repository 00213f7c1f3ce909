// `metarm align`: MetaRM (arXiv 2405.00438). One step, for n pairs and m response groups:
//
//   v  = ∇J(θ),   θ' = θ + η D(v),   g = ∇L(θ'),   θ ← optimizer step from θ with g             (first order)
//                                                                   or with g + η ∇²J(θ) D'(v)ᵀ g  (second order)
//
// with J the difference loss of the groups, L the pairwise loss of the pairs, and D as meta_direction.h says. `joint` steps with ∇L(θ) −
// λ∇J(θ), `none` with ∇L(θ), `importance` with ∇L(θ) of pairs weighted as importance.h says. η may follow the run, and so may how many
// steps are meta steps; the others are `none`'s (meta_pace.h).
//
// Figures of each step: j_before, j_after (J at θ and θ' on the step's groups), meta_step_ratio ‖θ' − θ‖/‖θ‖, meta_cosine cos(∇J, ∇L),
// kept_share of the meta step that the compute type keeps, loss (L where its gradient is taken); of `importance`, ImportanceWeights'.
#pragma once

#include <optional>
#include <string>

#include "metarm/base/log.h"
#include "metarm/meta/align_options.h"
#include "metarm/train/loop.h"

namespace metarm {

// All ranks call it; the folder is written by the first. nullopt: the run was finished already (--resume), nothing was done.
std::optional<TrainingSummary> align_reward_model(const AlignOptions& options, const Parsed& parsed, Ranks& ranks, Log& log);

}  // namespace metarm

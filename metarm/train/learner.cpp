#include "metarm/train/learner.h"

#include <ATen/ATen.h>

#include <cmath>
#include <filesystem>
#include <utility>

#include "metarm/base/file.h"
#include "metarm/train/schedule.h"

namespace metarm {

namespace {

std::vector<std::int64_t> in_updates(std::vector<std::int64_t> steps, std::int64_t updates_per_step) {
  for (std::int64_t& step : steps) step *= updates_per_step;
  return steps;
}

}  // namespace

Learner::Learner(TrainingSetup& setup, const TrainingOptions& training, LearnerOptions options, const RunState& state)
    : setup_(setup),
      training_(training),
      options_(std::move(options)),
      share_(setup.share()),
      optimizer_({training.optimizer, training.optimizer_dtype, training.weight_decay, training.l2_sp, setup.rates,
                  in_updates(setup.first_steps, options_.updates_per_step)},
                 setup.trainable->master(), share_.part()),
      state_{optimizer_.state(), state.numbers} {
  state_.tensors.insert(state_.tensors.end(), state.tensors.begin(), state.tensors.end());
}

void Learner::begin_step(std::int64_t step) const {
  const std::vector<at::Tensor>& leaves = setup_.trainable->leaves();
  for (std::size_t i = 0; i < leaves.size(); ++i) leaves[i].requires_grad_(setup_.rates[i] != 0 && step >= setup_.first_steps[i]);
}

void Learner::apply(const at::Tensor& gradient, std::int64_t update, Json& figures) {
  const std::string prefix = options_.name.empty() ? "" : options_.name + "_";
  at::Tensor own_gradient = share_.own(gradient);
  const double norm = clip_gradient(own_gradient, training_.max_grad_norm, share_);
  const double lr = scheduled_lr(training_.lr_schedule, options_.lr, training_.warmup_ratio, update, options_.updates);
  figures[prefix + "learning_rate"] = lr;
  if (!std::isfinite(norm)) {
    figures["skipped"] = 1;
    ++skipped_in_a_row_;
    return;
  }
  optimizer_.apply(own_gradient, lr, update);
  share_.complete(setup_.trainable->master().flat());
  figures[prefix + "gradient_norm"] = norm;
  skipped_in_a_row_ = 0;
}

std::string Learner::place_in(const std::string& folder) const {
  return options_.name.empty() ? folder : (std::filesystem::path(folder) / options_.name).string();
}

RunState Learner::whole_state() const {
  RunState whole{{}, state_.numbers};
  for (const auto& [name, part] : state_.tensors) whole.tensors.emplace_back(name, share_.whole_on_first(part.to(at::kFloat)));
  return whole;
}

void Learner::save_checkpoint(const std::string& folder, const RunState& whole) const {
  std::filesystem::create_directories(place_in(folder));
  metarm::save_checkpoint(setup_, place_in(folder), options_.merge_lora, whole);
}

void Learner::load_checkpoint(const std::string& folder, Log& log) { metarm::load_checkpoint(setup_, place_in(folder), state_, log); }

void Learner::save_model(const std::string& folder) const {
  if (options_.name.empty()) return setup_.save(folder, options_.merge_lora, training_.save_dtype);
  std::filesystem::remove_all(place_in(folder));  // of a run that was killed after it
  AtomicDirectory own(place_in(folder));
  setup_.save(own.path(), options_.merge_lora, training_.save_dtype);
  own.commit();
}

}  // namespace metarm

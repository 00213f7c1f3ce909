#include "metarm/train/loop.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <sys/resource.h>

#include <cmath>
#include <limits>
#include <utility>

#include "metarm/base/error.h"
#include "metarm/base/stopwatch.h"
#include "metarm/train/optimizer.h"
#include "metarm/train/schedule.h"

namespace metarm {

namespace {

constexpr int kMaxSkippedInARow = 10;
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

std::int64_t peak_memory_bytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss * 1024;
}

// JSON has no NaN, and any number in its place would be read as a measurement.
void drop_non_finite(Json& figures) {
  std::erase_if(figures.get_ref<Json::object_t&>(),
                [](const auto& figure) { return figure.second.is_number_float() && !std::isfinite(figure.second.template get<double>()); });
}

class Loop {
 public:
  Loop(TrainingSetup& setup, const Objective& objective, const TrainingOptions& training, RunDirectory& run, Log& log)
      : setup_(setup),
        objective_(objective),
        training_(training),
        run_(run),
        log_(log),
        share_(setup.share()),
        optimizer_(training.optimizer, training.optimizer_dtype, setup.trainable->master(), share_.part(), training.weight_decay),
        state_{optimizer_.state(), objective.state.numbers},
        gradient_(at::zeros_like(setup.trainable->master().flat())) {
    state_.tensors.insert(state_.tensors.end(), objective.state.tensors.begin(), objective.state.tensors.end());
    total_steps_ = training.max_steps > 0
                       ? training.max_steps
                       : static_cast<std::int64_t>(std::ceil(training.epochs * static_cast<double>(objective.steps_per_epoch)));
  }

  TrainingSummary run() {
    const std::int64_t first = run_.last_checkpoint().value_or(0);
    if (first > 0) {
      load_checkpoint(setup_, run_.checkpoint_path(first), state_, log_);
      log_.info(fmt::format("going on after step {} of {}", first, total_steps_));
    }
    setup_.ranks.barrier();  // all have read what is there
    run_.begin_at(first);
    for (std::int64_t step = first; step < total_steps_; ++step) {
      take_step(step);
      const std::int64_t done = step + 1;
      if (objective_.evaluate && is_due(done, training_.eval_steps)) evaluate(done);
      if (is_due(done, training_.save_steps)) save(done);
    }
    if (skipped_in_a_row_ > 1)  // one is a bad row; more, and the weights are beyond use
      fail_input("step {}: expected a finite gradient at the end, got {} in a row that are not; lower --lr", total_steps_,
                 skipped_in_a_row_);
    if (objective_.evaluate) evaluate(total_steps_);
    summary_.steps = total_steps_;
    summary_.skipped_steps = run_.skipped_steps();
    summary_.seconds = seconds();
    summary_.peak_memory_bytes = peak_memory_bytes();
    run_.save_model([&](const std::string& folder) { setup_.save(folder, training_.merge_lora, training_.save_dtype); });
    return std::move(summary_);
  }

 private:
  double seconds() const { return stopwatch_.seconds(); }
  // The end has its own evaluation and model.
  bool is_due(std::int64_t done, std::int64_t every) const { return every > 0 && done % every == 0 && done < total_steps_; }

  void take_step(std::int64_t step) {
    const double begin = seconds();
    Json figures = Json::object();
    for (std::int64_t update = 0; update < objective_.updates_per_step; ++update) {
      gradient_.zero_();
      figures.update(objective_.add_gradient(step, update, gradient_));
      apply_gradient(step, step * objective_.updates_per_step + update, figures);
    }
    figures["epoch"] = static_cast<double>(step + 1) / static_cast<double>(objective_.steps_per_epoch);
    const double step_seconds = seconds() - begin;
    const std::string rate = fmt::format("{}_per_s", objective_.rows);
    figures[rate] = figures[objective_.rows].get<double>() / step_seconds;
    figures["tokens_per_s"] = figures["tokens"].get<double>() / step_seconds;
    figures["peak_memory_bytes"] = peak_memory_bytes();
    drop_non_finite(figures);
    run_.record(step + 1, figures);
    log_.progress(objective_.name, step + 1, total_steps_,
                  fmt::format("{}, {:.2f} {}/s", objective_.progress(figures), figures.value(rate, kNaN), objective_.rows));
    summary_.last = std::move(figures);
  }

  void apply_gradient(std::int64_t step, std::int64_t update, Json& figures) {
    at::Tensor own_gradient = share_.own(gradient_);
    const double norm = clip_gradient(own_gradient, training_.max_grad_norm, share_);
    const double lr =
        scheduled_lr(training_.lr_schedule, training_.lr, training_.warmup_ratio, update, total_steps_ * objective_.updates_per_step);
    figures["learning_rate"] = lr;
    if (!std::isfinite(norm)) return skip(step, figures);
    optimizer_.apply(own_gradient, lr, update);
    share_.complete(setup_.trainable->master().flat());
    figures["gradient_norm"] = norm;
    skipped_in_a_row_ = 0;
  }

  void save(std::int64_t done) {
    RunState state{{}, state_.numbers};
    for (const auto& [name, part] : state_.tensors) state.tensors.emplace_back(name, share_.whole_on_first(part.to(at::kFloat)));
    run_.save_checkpoint(done, training_.save_total_limit,
                         [&](const std::string& folder) { save_checkpoint(setup_, folder, training_.merge_lora, state); });
  }

  void skip(std::int64_t step, Json& figures) {
    figures["skipped"] = 1;
    log_.warn(fmt::format("step {}: skipped, its gradient is not finite", step + 1));
    if (++skipped_in_a_row_ == kMaxSkippedInARow)
      fail_input("step {}: expected a finite gradient, got {} in a row that are not; lower --lr", step + 1, kMaxSkippedInARow);
  }

  void evaluate(std::int64_t step) {
    setup_.trainable->load_compute();
    HeldOutFigures evaluation = objective_.evaluate();
    run_.record(step, std::move(evaluation.figures));
    log_.info(fmt::format("step {}: {}", step, evaluation.text));
    summary_.evaluation = std::move(evaluation.summary);
  }

  TrainingSetup& setup_;
  const Objective& objective_;
  const TrainingOptions& training_;
  RunDirectory& run_;
  Log& log_;
  const Share share_;
  Optimizer optimizer_;
  RunState state_;
  at::Tensor gradient_;
  std::int64_t total_steps_ = 0;
  int skipped_in_a_row_ = 0;
  TrainingSummary summary_;
  Stopwatch stopwatch_;
};

}  // namespace

std::string figure_text(const Json& figures, const char* name) { return fmt::format("{} {:.3f}", name, figures.value(name, kNaN)); }

TrainingSummary run_training(TrainingSetup& setup, const Objective& objective, const TrainingOptions& training, RunDirectory& run,
                             Log& log) {
  return Loop(setup, objective, training, run, log).run();
}

Json to_json(const TrainingSummary& summary, const std::string& output) {
  Json json = {{"output", output},
               {"steps", summary.steps},
               {"skipped_steps", summary.skipped_steps},
               {"seconds", summary.seconds},
               {"peak_memory_bytes", summary.peak_memory_bytes},
               {"last", summary.last}};
  if (!summary.evaluation.is_null()) json["evaluation"] = summary.evaluation;
  return json;
}

std::string to_text(const TrainingSummary& summary, const std::string& output) {
  return fmt::format("{} steps{} in {:.1f} s, {:.2f} GB of memory at most: {}", summary.steps,
                     summary.skipped_steps > 0 ? fmt::format(" ({} of them skipped)", summary.skipped_steps) : "", summary.seconds,
                     static_cast<double>(summary.peak_memory_bytes) / 1e9, output);
}

}  // namespace metarm

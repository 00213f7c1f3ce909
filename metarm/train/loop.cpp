#include "metarm/train/loop.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>
#include <optional>
#include <utility>
#include <vector>

#include "metarm/base/error.h"
#include "metarm/base/stopwatch.h"
#include "metarm/train/early_stopping.h"
#include "metarm/train/learner.h"

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
      : setup_(setup), objective_(objective), training_(training), run_(run), log_(log), stopping_(training.early_stopping_patience) {
    total_steps_ = training.max_steps > 0
                       ? training.max_steps
                       : static_cast<std::int64_t>(std::ceil(training.epochs * static_cast<double>(objective.steps_per_epoch)));
    const std::int64_t updates = total_steps_ * objective.updates_per_step;
    RunState state = objective.state;
    std::ranges::copy(stopping_.numbers(), std::back_inserter(state.numbers));
    add(setup, objective.add_gradient, {training.lr, updates, objective.updates_per_step, training.merge_lora, ""}, state);
    if (const std::optional<SecondModel>& second = objective.second)
      add(second->setup, second->add_gradient, {second->lr, updates, objective.updates_per_step, second->merge_lora, second->name}, {});
    std::int64_t most = 0;
    for (const Trained& trained : trained_) most = std::max(most, trained.learner.weight_count());
    gradient_ = at::zeros({most}, setup.trainable->master().flat().options());
  }

  TrainingSummary run() {
    const std::int64_t first = run_.last_checkpoint().value_or(0);
    if (first > 0) {
      load(first);
      log_.info(fmt::format("going on after step {} of {}", first, total_steps_));
    }
    setup_.ranks.barrier();  // all have read what is there
    run_.begin_at(first);
    good_ = first - 1;
    try {
      summary_.steps = take_steps(first);
      if (summary_.steps == total_steps_) finish(first < total_steps_);
    } catch (const Error& error) {
      const std::optional<std::int64_t> good = run_.last_checkpoint(good_);
      if (error.kind() != ErrorKind::input || !good) throw;
      throw Error(error.kind(), fmt::format("{}; the last good checkpoint is {}", error.what(), run_.checkpoint_path(*good)));
    }
    if (stopping_.kept_step() > 0 && stopping_.kept_step() != summary_.steps) return_to_kept();
    run_.remove_old_checkpoints(total_steps_, training_.save_total_limit, stopping_.kept_step());
    summary_.skipped_steps = run_.skipped_steps();
    summary_.seconds = seconds();
    summary_.peak_memory_bytes = peak_memory_bytes();
    run_.save_model([&](const std::string& folder) {
      for (auto trained = trained_.rbegin(); trained != trained_.rend(); ++trained) trained->learner.save_model(folder);
    });
    return std::move(summary_);
  }

 private:
  struct Trained {
    Learner learner;
    const AddGradient& add_gradient;
  };

  void add(TrainingSetup& setup, const AddGradient& add_gradient, LearnerOptions options, const RunState& state) {
    trained_.push_back({Learner(setup, training_, std::move(options), state), add_gradient});
  }

  double seconds() const { return stopwatch_.seconds(); }
  // The end has its own evaluation and model, and a checkpoint only where that is the one asked for: from it a longer run goes on.
  bool is_due(std::int64_t done, std::int64_t every) const { return every > 0 && done % every == 0 && done < total_steps_; }

  // After how many steps it ended.
  std::int64_t take_steps(std::int64_t first) {
    std::int64_t done = first;
    while (done < total_steps_ && !stopping_.is_over()) {
      take_step(done);
      ++done;
      if (objective_.evaluate && is_due(done, training_.eval_steps)) evaluate(done);
      if (is_due(done, training_.save_steps) || stopping_.kept_step() == done) save(done);
    }
    if (skipped_in_a_row() > 1)  // one is a bad row; more, and the weights are beyond use
      fail_input("step {}: expected a finite gradient at the end, got {} in a row that are not; lower --lr", done, skipped_in_a_row());
    return done;
  }

  void take_step(std::int64_t step) {
    const double begin = seconds();
    Json figures = Json::object();
    for (const Trained& trained : trained_) trained.learner.begin_step(step);
    for (std::int64_t update = 0; update < objective_.updates_per_step; ++update) {
      for (Trained& trained : trained_) {
        at::Tensor gradient = gradient_.narrow(0, 0, trained.learner.weight_count()).zero_();
        figures.update(trained.add_gradient(step, update, gradient));
        trained.learner.apply(gradient, step * objective_.updates_per_step + update, figures);
      }
      if (skipped_in_a_row() > 0) skip(step);
    }
    figures["epoch"] = static_cast<double>(step + 1) / static_cast<double>(objective_.steps_per_epoch);
    const double step_seconds = seconds() - begin;
    const std::string rate = fmt::format("{}_per_s", objective_.rows);
    figures[rate] = figures[objective_.rows].get<double>() / step_seconds;
    figures["tokens_per_s"] = figures["tokens"].get<double>() / step_seconds;
    figures["peak_memory_bytes"] = peak_memory_bytes();
    drop_non_finite(figures);
    run_.record(step + 1, figures);
    if (!figures.contains("skipped")) confirm(step);
    log_.progress(objective_.name, step + 1, total_steps_,
                  fmt::format("{}, {:.2f} {}/s", objective_.progress(figures), figures.value(rate, kNaN), objective_.rows));
    summary_.last = std::move(figures);
  }

  int skipped_in_a_row() const {
    int most = 0;
    for (const Trained& trained : trained_) most = std::max(most, trained.learner.skipped_in_a_row());
    return most;
  }

  void skip(std::int64_t step) {
    log_.warn(fmt::format("step {}: skipped, its gradient is not finite", step + 1));
    if (skipped_in_a_row() == kMaxSkippedInARow)
      fail_input("step {}: expected a finite gradient, got {} in a row that are not; lower --lr", step + 1, kMaxSkippedInARow);
  }

  // A step went well from the weights after `steps` ones.
  void confirm(std::int64_t steps) {
    good_ = steps;
    if (std::exchange(has_new_checkpoint_, false)) run_.remove_old_checkpoints(good_, training_.save_total_limit, stopping_.kept_step());
  }

  void save(std::int64_t done) {
    std::vector<RunState> states;
    for (const Trained& trained : trained_) states.push_back(trained.learner.whole_state());
    run_.save_checkpoint(done, [&](const std::string& folder) {
      for (std::size_t i = 0; i < trained_.size(); ++i) trained_[i].learner.save_checkpoint(folder, states[i]);
    });
    has_new_checkpoint_ = true;
  }

  void evaluate(std::int64_t step, bool record = true) {
    setup_.trainable->load_compute();
    HeldOutFigures evaluation = objective_.evaluate();
    if (record) {
      // One at the end that is none of every --eval-steps is not there in a run that goes on.
      if (training_.eval_steps > 0 && step % training_.eval_steps == 0) stopping_.add(step, evaluation.figures.value("eval_loss", kNaN));
      run_.record(step, std::move(evaluation.figures));
    }
    log_.info(fmt::format("step {}: {}", step, evaluation.text));
    summary_.evaluation = std::move(evaluation.summary);
  }

  void load(std::int64_t step) {
    for (Trained& trained : trained_) trained.learner.load_checkpoint(run_.checkpoint_path(step), log_);
  }

  // A checkpoint comes after its step's evaluation: a run that goes on from the last one has it recorded.
  void finish(bool record) {
    if (objective_.evaluate) evaluate(total_steps_, record);
    if (training_.save_steps == total_steps_ && record) save(total_steps_);
  }

  void return_to_kept() {
    const std::int64_t best = stopping_.kept_step();
    log_.info(fmt::format("ended after step {}: the model is that of step {}, whose held-out loss is lowest", summary_.steps, best));
    load(best);
    evaluate(best, false);
  }

  TrainingSetup& setup_;
  const Objective& objective_;
  const TrainingOptions& training_;
  RunDirectory& run_;
  Log& log_;
  std::vector<Trained> trained_;
  EarlyStopping stopping_;
  at::Tensor gradient_;  // of one of them at a time
  std::int64_t total_steps_ = 0;
  std::int64_t good_ = 0;           // after so many steps the weights were good
  bool has_new_checkpoint_ = true;  // since older ones were removed; a killed run may have left one
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

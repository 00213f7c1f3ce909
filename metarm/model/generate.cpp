#include "metarm/model/generate.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <map>

#include "metarm/base/error.h"
#include "metarm/model/decode_cache.h"
#include "metarm/model/matrix_product.h"

namespace metarm {

namespace {

// Continuous batching: branches of all prompts that fit in memory grow together, a token a step; where branches have ended and left room,
// the next prompts come in.
class Generation {
 public:
  Generation(const Model& model, std::span<const TokenIds> prompts, const GenerateOptions& options,
             const std::function<void(std::int64_t, std::int64_t)>& progress)
      : model_(model),
        prompts_(prompts),
        options_(options),
        progress_(progress),
        slots_(most_slots()),
        cache_(model.spec, slots_, options.max_new_tokens, model.weights.at(Slot::token_embedding)),
        responses_(prompts.size(), std::vector<GeneratedResponse>(static_cast<std::size_t>(options.responses))) {
    for (std::int64_t slot = slots_; slot > 0; --slot) free_slots_.push_back(slot - 1);
  }

  std::vector<std::vector<GeneratedResponse>> run() {
    while (next_ < prompts_.size() || !active_.empty()) {
      if (next_ < prompts_.size()) admit();
      if (!active_.empty()) grow();
    }
    return std::move(responses_);
  }

 private:
  struct Branch {
    std::size_t prompt;
    std::int64_t response;  // of k
    std::int64_t slot;      // of the cache
  };
  // A branch's next token comes from this row of logits.
  struct Choice {
    Branch branch;
    std::int64_t row;
  };

  std::int64_t most_slots() const {
    const std::int64_t fitting = options_.tokens_per_batch / std::max<std::int64_t>(options_.max_new_tokens, 1);
    return std::clamp(fitting, options_.responses,
                      std::max<std::int64_t>(static_cast<std::int64_t>(prompts_.size()), 1) * options_.responses);
  }

  std::int64_t length_of(std::size_t prompt) const { return static_cast<std::int64_t>(prompts_[prompt].size()); }
  GeneratedResponse& response(const Branch& branch) { return responses_[branch.prompt][static_cast<std::size_t>(branch.response)]; }
  std::int64_t tokens_of(const Branch& branch) { return static_cast<std::int64_t>(response(branch).tokens.size()); }

  // Prompts are held until their last branch ends.
  bool fits(std::size_t prompt) const {
    const std::int64_t more = length_of(prompt) + options_.responses * options_.max_new_tokens;
    return static_cast<std::int64_t>(free_slots_.size()) >= options_.responses && held_ + more <= options_.tokens_per_batch;
  }

  // The pass of the next prompts, as many as fit, and their branches' first tokens.
  void admit() {
    const std::size_t begin = next_;
    std::vector<TokenTree> trees;
    std::vector<Branch> branches;
    for (; next_ < prompts_.size() && (fits(next_) || (active_.empty() && branches.empty())); ++next_) {
      if (prompts_[next_].empty()) fail_input("prompt {}: expected at least one token, got none", next_ + 1);
      trees.push_back(make_token_tree(prompts_.subspan(next_, 1)));
      held_ += length_of(next_) + options_.responses * options_.max_new_tokens;
      for (std::int64_t k = 0; k < options_.responses; ++k) {
        branches.push_back({next_, k, free_slots_.back()});
        free_slots_.pop_back();
      }
    }
    if (branches.empty()) return;
    const Batch batch = make_batch(trees);
    cache_.add_prompts(static_cast<std::int64_t>(begin), batch.segments);
    const Attention attention = [this](std::int64_t layer, const at::Tensor& qkv, const Rotary& rotary) {
      return cache_.attend_prompts(layer, qkv, rotary);
    };
    std::vector<std::int64_t> last;
    for (const Segment& segment : batch.segments) last.push_back(segment.end - 1);
    const at::Tensor hidden = run_layers(model_, batch.tokens, batch.positions, attention, {}, last);
    std::vector<Choice> choices;
    for (const Branch& branch : branches) choices.push_back({branch, static_cast<std::int64_t>(branch.prompt - begin)});
    choose_tokens(language_logits(model_, hidden), choices);
  }

  // One more token of every branch.
  void grow() {
    std::vector<std::int64_t> tokens, positions;
    std::vector<GrowingBranch> growing;
    std::vector<Choice> choices;
    for (const Branch& branch : active_) {
      const std::int64_t length = tokens_of(branch) - 1;  // read before
      tokens.push_back(response(branch).tokens.back());
      positions.push_back(length_of(branch.prompt) + length);
      growing.push_back({static_cast<std::int64_t>(branch.prompt), branch.slot, length});
      choices.push_back({branch, static_cast<std::int64_t>(choices.size())});
    }
    const Attention attention = [&](std::int64_t layer, const at::Tensor& qkv, const Rotary& rotary) {
      return cache_.attend_branches(layer, growing, qkv, rotary);
    };
    const at::Tensor hidden = run_layers(model_, tokens, positions, attention, {});
    active_.clear();
    choose_tokens(language_logits(model_, hidden), choices);
  }

  void choose_tokens(const at::Tensor& logits, std::span<const Choice> choices) {
    const at::Tensor logit_BV = logits.cpu().contiguous();
    const auto vocab = static_cast<std::size_t>(logit_BV.size(1));
    const float* data = logit_BV.const_data_ptr<float>();
    at::parallel_for(0, static_cast<std::int64_t>(choices.size()), 1, [&](std::int64_t from, std::int64_t to) {
      for (std::int64_t i = from; i < to; ++i) {
        const auto& [branch, row] = choices[static_cast<std::size_t>(i)];
        GeneratedResponse& generated = response(branch);
        TokenIds& tokens = generated.tokens;
        const std::span<const float> logit_V(data + static_cast<std::size_t>(row) * vocab, vocab);
        const std::uint64_t of_response =
            derive_seed(options_.seed, "sample", options_.first_prompt + branch.prompt, static_cast<std::uint64_t>(branch.response));
        RandomStream random(of_response, "token", tokens.size());
        tokens.push_back(sample_token(logit_V, options_.sampling, random));
        if (options_.log_probs)
          generated.log_probs.push_back(static_cast<float>(token_log_prob(logit_V, tokens.back(), options_.sampling.temperature)));
      }
    });
    tokens_ += static_cast<std::int64_t>(choices.size());
    for (const Choice& choice : choices) {
      if (goes_on(choice.branch))
        active_.push_back(choice.branch);
      else
        end(choice.branch);
    }
  }

  // Learned positions end somewhere, and the response with them.
  bool out_of_positions(const Branch& branch) {
    return model_.spec.positions == PositionKind::learned && length_of(branch.prompt) + tokens_of(branch) > model_.spec.max_positions;
  }

  bool goes_on(const Branch& branch) {
    GeneratedResponse& generated = response(branch);
    generated.ended = std::ranges::find(options_.end_tokens, generated.tokens.back()) != options_.end_tokens.end() ||
                      (options_.stop && options_.stop(branch.prompt, generated.tokens));
    return !generated.ended && !out_of_positions(branch) && tokens_of(branch) < options_.max_new_tokens;
  }

  void end(const Branch& branch) {
    free_slots_.push_back(branch.slot);
    held_ -= options_.max_new_tokens;
    if (++ended_[branch.prompt] < options_.responses) return;
    held_ -= length_of(branch.prompt);
    cache_.drop_prompt(static_cast<std::int64_t>(branch.prompt));
    ended_.erase(branch.prompt);
    if (progress_) progress_(++done_, tokens_);
  }

  const Model& model_;
  const std::span<const TokenIds> prompts_;
  const GenerateOptions& options_;
  const std::function<void(std::int64_t, std::int64_t)>& progress_;
  const std::int64_t slots_;
  DecodeCache cache_;
  std::vector<std::int64_t> free_slots_;
  std::size_t next_ = 0;                       // prompt that has not come in
  std::vector<Branch> active_;                 // those of one prompt follow one another
  std::map<std::size_t, std::int64_t> ended_;  // branches of each prompt that is held
  std::int64_t held_ = 0, done_ = 0, tokens_ = 0;
  std::vector<std::vector<GeneratedResponse>> responses_;
};

}  // namespace

void pack_for_generation(Model& model, bool int8) {
  const at::NoGradGuard no_grad;
  const at::Tensor& embedding = model.weights.at(Slot::token_embedding);
  const bool is_bfloat16 = embedding.scalar_type() == at::kBFloat16;
  if (!embedding.is_cpu()) return;
  const auto pack = [&](PackedType type) {
    model.packed = std::make_shared<const PackedWeights>(model.weights, model.spec.tied_embeddings, type);
  };
  if (int8)
    pack(PackedType::int8);
  else if (!is_bfloat16)
    pack(PackedType::float32);
  else if (has_pairs())
    pack(PackedType::bfloat16_pairs);
  else if (!multiplies_bfloat16())
    pack(PackedType::bfloat16);
}

std::vector<std::vector<GeneratedResponse>> generate(const Model& model, std::span<const TokenIds> prompts, const GenerateOptions& options,
                                                     const std::function<void(std::int64_t, std::int64_t)>& progress) {
  const at::NoGradGuard no_grad;
  return Generation(model, prompts, options, progress).run();
}

}  // namespace metarm

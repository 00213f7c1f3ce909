#include "metarm/model/generate.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>

#include "metarm/base/error.h"
#include "metarm/model/decode_cache.h"

namespace metarm {

namespace {

// Prompts [begin, end) and all their branches, from the prompts' pass to the last token.
class Cohort {
 public:
  Cohort(const Model& model, std::span<const TokenIds> prompts, std::size_t begin, std::size_t end, const GenerateOptions& options)
      : model_(model),
        options_(options),
        begin_(begin),
        batch_(pack(prompts, begin, end)),
        cache_(model.spec, batch_.segments, branch_prompts(end - begin), options.max_new_tokens) {
    for (std::size_t p = begin; p < end; ++p)
      for (std::int64_t k = 0; k < options.responses; ++k) active_.push_back({p - begin, k, static_cast<std::int64_t>(prompts[p].size())});
    responses_.resize(end - begin, std::vector<GeneratedResponse>(static_cast<std::size_t>(options.responses)));
  }

  std::vector<std::vector<GeneratedResponse>> run() {
    at::Tensor logit_BV = prompt_logits();
    for (std::int64_t step = 0; step < options_.max_new_tokens; ++step) {
      choose_tokens(logit_BV, step);
      drop_ended();
      if (active_.empty() || step + 1 == options_.max_new_tokens) break;
      logit_BV = branch_logits();
    }
    return std::move(responses_);
  }

 private:
  struct Branch {
    std::size_t prompt;     // within the cohort
    std::int64_t response;  // of k
    std::int64_t position;  // of the next token to be read
  };

  static Batch pack(std::span<const TokenIds> prompts, std::size_t begin, std::size_t end) {
    std::vector<TokenTree> trees;
    for (std::size_t p = begin; p < end; ++p) trees.push_back(make_token_tree(prompts.subspan(p, 1)));
    return make_batch(trees);
  }

  std::vector<std::int64_t> branch_prompts(std::size_t prompts) const {
    std::vector<std::int64_t> owner;
    for (std::size_t p = 0; p < prompts; ++p)
      owner.insert(owner.end(), static_cast<std::size_t>(options_.responses), static_cast<std::int64_t>(p));
    return owner;
  }

  GeneratedResponse& response(const Branch& branch) { return responses_[branch.prompt][static_cast<std::size_t>(branch.response)]; }
  at::Tensor on_device(const std::vector<std::int64_t>& values) const {
    return at::tensor(values, at::kLong).to(model_.weights.at(Slot::token_embedding).device());
  }

  at::Tensor prompt_logits() {
    const Attention attention = [this](std::int64_t layer, const at::Tensor& qkv, const Rotary& rotary) {
      return cache_.attend_prompts(layer, split_heads(model_.spec, qkv, rotary));
    };
    const at::Tensor hidden = run_layers(model_, batch_.tokens, batch_.positions, attention, {});
    std::vector<std::int64_t> last;
    for (const Branch& branch : active_) last.push_back(batch_.segments[branch.prompt].end - 1);
    return language_logits(model_, hidden.index_select(0, on_device(last)));
  }

  at::Tensor branch_logits() {
    std::vector<std::int64_t> tokens, positions;
    for (Branch& branch : active_) {
      tokens.push_back(response(branch).tokens.back());
      positions.push_back(branch.position++);
    }
    const Attention attention = [this](std::int64_t layer, const at::Tensor& qkv, const Rotary& rotary) {
      return cache_.attend_branches(layer, split_heads(model_.spec, qkv, rotary));
    };
    const at::Tensor hidden = run_layers(model_, tokens, positions, attention, {});
    cache_.advance();
    return language_logits(model_, hidden);
  }

  void choose_tokens(const at::Tensor& logits, std::int64_t step) {
    const at::Tensor logit_BV = logits.cpu().contiguous();
    const auto vocab = static_cast<std::size_t>(logit_BV.size(1));
    const float* data = logit_BV.const_data_ptr<float>();
    at::parallel_for(0, static_cast<std::int64_t>(active_.size()), 1, [&](std::int64_t from, std::int64_t to) {
      for (std::int64_t b = from; b < to; ++b) {
        const Branch& branch = active_[static_cast<std::size_t>(b)];
        const std::uint64_t of_response = derive_seed(options_.seed, "sample", options_.first_prompt + begin_ + branch.prompt,
                                                      static_cast<std::uint64_t>(branch.response));
        RandomStream random(of_response, "token", static_cast<std::uint64_t>(step));
        const TokenId token = sample_token({data + static_cast<std::size_t>(b) * vocab, vocab}, options_.sampling, random);
        response(branch).tokens.push_back(token);
      }
    });
  }

  // Learned positions end somewhere, and the response with them.
  bool out_of_positions(const Branch& branch) const {
    return model_.spec.positions == PositionKind::learned && branch.position >= model_.spec.max_positions;
  }

  void drop_ended() {
    std::vector<std::int64_t> kept;
    for (std::size_t b = 0; b < active_.size(); ++b) {
      GeneratedResponse& generated = response(active_[b]);
      generated.ended = std::ranges::find(options_.end_tokens, generated.tokens.back()) != options_.end_tokens.end() ||
                        (options_.stop && options_.stop(generated.tokens));
      if (!generated.ended && !out_of_positions(active_[b])) kept.push_back(static_cast<std::int64_t>(b));
    }
    if (kept.size() == active_.size()) return;
    std::vector<Branch> left;
    for (std::int64_t b : kept) left.push_back(active_[static_cast<std::size_t>(b)]);
    active_ = std::move(left);
    cache_.keep(kept);
  }

  const Model& model_;
  const GenerateOptions& options_;
  std::size_t begin_;
  Batch batch_;
  DecodeCache cache_;
  std::vector<Branch> active_;
  std::vector<std::vector<GeneratedResponse>> responses_;
};

}  // namespace

std::vector<std::vector<GeneratedResponse>> generate(const Model& model, std::span<const TokenIds> prompts, const GenerateOptions& options,
                                                     const std::function<void(std::int64_t, std::int64_t)>& progress) {
  const at::NoGradGuard no_grad;
  std::vector<std::vector<GeneratedResponse>> all;
  std::int64_t tokens = 0;
  for (std::size_t begin = 0; begin < prompts.size();) {
    std::size_t end = begin;
    for (std::int64_t held = 0; end < prompts.size(); ++end) {
      if (prompts[end].empty()) fail_input("prompt {}: expected at least one token, got none", end + 1);
      held += static_cast<std::int64_t>(prompts[end].size()) + options.responses * options.max_new_tokens;
      if (held > options.tokens_per_batch && end > begin) break;
    }
    for (std::vector<GeneratedResponse>& responses : Cohort(model, prompts, begin, end, options).run()) {
      for (const GeneratedResponse& response : responses) tokens += static_cast<std::int64_t>(response.tokens.size());
      all.push_back(std::move(responses));
    }
    begin = end;
    if (progress) progress(static_cast<std::int64_t>(begin), tokens);
  }
  return all;
}

}  // namespace metarm

// forward MODEL logits|rewards|log_probs|generate < JSON: runs a checkpoint on groups of token sequences, each group one token tree.
//   {"groups": [[[ids...], ...], ...], "tokens_per_batch": 1000}  ->  {"logits": per group, per sequence, per token [V]} or {"rewards": per
//   group, per sequence}
//   the same with {"response_tokens": per group, per sequence}  ->  {"log_probs": per group, per sequence, per response token}
//   {"prompts": [[ids...], ...], "max_new_tokens": 8, "responses": 2, "temperature": 0, "log_probs": false}  ->  {"tokens": per prompt, per
//   response, and "log_probs" likewise}
#include <torch/torch.h>

#include <iostream>
#include <iterator>

#include "metarm/base/error.h"
#include "metarm/model/checkpoint.h"
#include "metarm/model/generate.h"
#include "metarm/model/sequence_log_probs.h"

namespace metarm {
namespace {

using Groups = std::vector<std::vector<TokenIds>>;

std::vector<float> to_vector(const at::Tensor& tensor) {
  const at::Tensor flat = tensor.to(at::kFloat).contiguous();
  return {flat.const_data_ptr<float>(), flat.const_data_ptr<float>() + flat.numel()};
}

// Logits of a tree's tokens, put together again along each path.
Json group_logits(const Model& model, const std::vector<TokenIds>& group) {
  const TokenTree tree = make_token_tree(group);
  const Batch batch = make_batch(std::span(&tree, 1));
  const at::Tensor logit_NV = language_logits(model, run_batch(model, batch, {}));
  Json sequences = Json::array();
  for (const std::int64_t row : batch.row_segment) {
    const Segment& segment = batch.segments[static_cast<std::size_t>(row)];
    Json path = Json::array();
    for (std::int64_t i = segment.prefix_begin; i < segment.prefix_end; ++i) path.push_back(to_vector(logit_NV[i]));
    for (std::int64_t i = segment.begin; i < segment.end; ++i) path.push_back(to_vector(logit_NV[i]));
    sequences.push_back(std::move(path));
  }
  return sequences;
}

std::vector<GroupLogProbs> group_log_probs(const Model& model, const Json& request) {
  std::vector<std::vector<ResponseSequence>> groups;
  for (std::size_t i = 0; i < request["groups"].size(); ++i)
    for (auto& group = groups.emplace_back(); const TokenIds& tokens : request["groups"][i].get<std::vector<TokenIds>>())
      group.push_back({tokens, request["response_tokens"][i][group.size()].get<std::int64_t>()});
  return sequence_log_probs(model, groups, request["tokens_per_batch"]);
}

Json run(const std::string& directory, const std::string& what, const Json& request) {
  const at::NoGradGuard no_grad;
  const std::unique_ptr<Log> log = make_null_log();
  if (what == "rewards") {
    const LoadedRewardModel loaded = load_reward_model(directory, at::kFloat, at::kCPU, MissingHead::fail, 0, std::nullopt, *log);
    return {{"rewards", score_groups(loaded.reward_model, request["groups"].get<Groups>(), request["tokens_per_batch"])}};
  }
  const LoadedLanguageModel loaded = load_language_model(directory, at::kFloat, at::kCPU, *log);
  if (what == "logits") {
    Json logits = Json::array();
    for (const std::vector<TokenIds>& group : request["groups"].get<Groups>()) logits.push_back(group_logits(loaded.model, group));
    return {{"logits", logits}};
  }
  if (what == "log_probs") return {{"log_probs", group_log_probs(loaded.model, request)}};
  GenerateOptions options;
  options.responses = request["responses"];
  options.max_new_tokens = request["max_new_tokens"];
  options.sampling.temperature = request["temperature"];
  options.tokens_per_batch = request.value("tokens_per_batch", 100000);
  options.end_tokens = request.value("end_tokens", std::vector<TokenId>{});
  options.log_probs = request.value("log_probs", false);
  Json tokens = Json::array(), log_probs = Json::array();
  for (const auto& responses : generate(loaded.model, request["prompts"].get<std::vector<TokenIds>>(), options)) {
    Json branch = Json::array(), branch_log_probs = Json::array();
    for (const GeneratedResponse& response : responses) {
      branch.push_back(response.tokens);
      branch_log_probs.push_back(response.log_probs);
    }
    tokens.push_back(branch);
    log_probs.push_back(branch_log_probs);
  }
  return {{"tokens", tokens}, {"log_probs", log_probs}};
}

}  // namespace
}  // namespace metarm

int main(int argc, char** argv) {
  if (argc != 3) return 64;
  try {
    const std::string input(std::istreambuf_iterator<char>(std::cin), {});
    std::cout << metarm::run(argv[1], argv[2], metarm::Json::parse(input)) << "\n";
  } catch (const metarm::Error& error) {
    std::cerr << error.what() << "\n";
    return metarm::exit_code(error.kind());
  }
}

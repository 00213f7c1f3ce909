// The protocols of inference engines: vLLM and SGLang.
#include <fmt/format.h>

#include "metarm/base/error.h"
#include "metarm/base/wall_clock.h"
#include "metarm/http/protocol_parts.h"
#include "metarm/http/protocols.h"

namespace metarm {

namespace {

// vLLM's `input` is scored as it stands, `messages` by the chat template.
std::vector<ScoreItem> vllm_items(const Json& body) {
  if (body.contains("messages")) {
    std::vector<ScoreItem> items;
    items.push_back({{}, parse_content(body["messages"], "messages", "body"), TextForm::response, "messages"});
    return items;
  }
  return text_items(body["input"], flag(body, "add_special_tokens", true) ? TextForm::written : TextForm::literal, "input");
}

// The newest name that is given counts.
double activated(const Json& body, float reward) {
  return flag(body, "use_activation", flag(body, "activation", flag(body, "softmax", true))) ? sigmoid(reward) : reward;
}

Json usage(const Scores& scores) {
  const std::int64_t tokens = scores.total_tokens();
  return {{"prompt_tokens", tokens}, {"total_tokens", tokens}, {"completion_tokens", 0}, {"prompt_tokens_details", nullptr}};
}

Json vllm_list(const char* prefix, const Json& body, const Scores& scores, Json data) {
  return {{"id", make_id(prefix, body)}, {"object", "list"},        {"created", static_cast<std::int64_t>(seconds_since_1970())},
          {"model", scores.model},       {"data", std::move(data)}, {"usage", usage(scores)}};
}

Json as_list(const Json& value) { return value.is_array() ? value : Json::array({value}); }

// `text_1` and `text_2` by pairs, or one with each of the other. Newer names are `queries` and `documents`.
std::vector<ScoreItem> vllm_pairs(const Json& body) {
  const bool newer = body.contains("queries");
  const char *first = newer ? "queries" : "text_1", *second = newer ? "documents" : "text_2";
  const Json prompts = as_list(body[first]), responses = as_list(body[second]);
  if (prompts.size() != 1 && prompts.size() != responses.size())
    fail_input("{}: expected one text or as many as in {}, {}, got {}", first, second, responses.size(), prompts.size());
  std::vector<ScoreItem> items;
  for (std::size_t i = 0; i < responses.size(); ++i)
    items.push_back(pair_item(prompts[prompts.size() == 1 ? 0 : i], responses[i], fmt::format("{}[{}]", second, i)));
  return items;
}

}  // namespace

Json answer_vllm_classify(const Json& body, Scoring& scoring) {
  const Scores scores = scoring.score(body, vllm_items(body));
  Json data = Json::array();
  for (const auto& reward : scores.rewards)
    data.push_back(
        {{"index", data.size()}, {"label", scoring.reply().label}, {"probs", Json::array({activated(body, *reward)})}, {"num_classes", 1}});
  return vllm_list("classify", body, scores, std::move(data));
}

Json answer_vllm_pooling(const Json& body, Scoring& scoring) {
  const Scores scores = scoring.score(body, vllm_items(body));
  Json data = Json::array();
  for (const auto& reward : scores.rewards)
    data.push_back({{"index", data.size()}, {"object", "pooling"}, {"data", Json::array({activated(body, *reward)})}});
  return vllm_list("pool", body, scores, std::move(data));
}

Json answer_vllm_score(const Json& body, Scoring& scoring) {
  const Scores scores = scoring.score(body, vllm_pairs(body));
  Json data = Json::array();
  for (const auto& reward : scores.rewards)
    data.push_back({{"index", data.size()}, {"object", "score"}, {"score", activated(body, *reward)}});
  return vllm_list("score", body, scores, std::move(data));
}

Json answer_vllm_rerank(const Json& body, Scoring& scoring) {
  const Json& documents = body["documents"];
  std::vector<ScoreItem> items;
  for (std::size_t i = 0; i < documents.size(); ++i)
    items.push_back(pair_item(body["query"], documents[i], fmt::format("documents[{}]", i)));
  const Scores scores = scoring.score(body, std::move(items));
  std::vector<double> relevance;
  for (const auto& reward : scores.rewards) relevance.push_back(activated(body, *reward));

  std::vector<std::size_t> order = best_first(relevance);
  const std::size_t top = body.contains("top_n") && body["top_n"].is_number() ? body["top_n"].get<std::size_t>() : 0;
  if (top > 0 && top < order.size()) order.resize(top);
  Json results = Json::array();
  for (const std::size_t i : order)
    results.push_back({{"index", i}, {"document", {{"text", documents[i]}}}, {"relevance_score", relevance[i]}});
  return {{"id", make_id("rerank", body)},
          {"model", scores.model},
          {"usage", {{"prompt_tokens", scores.total_tokens()}, {"total_tokens", scores.total_tokens()}}},
          {"results", std::move(results)}};
}

Json answer_sglang_classify(const Json& body, Scoring& scoring) {
  const Scores scores = scoring.score(body, text_items(body["text"], TextForm::written, "text"));
  Json list = Json::array();
  for (std::size_t i = 0; i < scores.rewards.size(); ++i)
    list.push_back({{"embedding", Json::array({*scores.rewards[i]})},
                    {"meta_info", {{"id", make_id("classify", body)}, {"prompt_tokens", scores.tokens[i]}}}});
  return body["text"].is_string() ? list.front() : list;
}

Json answer_sglang_embeddings(const Json& body, Scoring& scoring) {
  const Scores scores = scoring.score(body, text_items(body["input"], TextForm::written, "input"));
  Json data = Json::array();
  for (const auto& reward : scores.rewards)
    data.push_back({{"object", "embedding"}, {"index", data.size()}, {"embedding", Json::array({*reward})}});
  return {{"object", "list"}, {"data", std::move(data)}, {"model", scores.model}, {"usage", usage(scores)}};
}

Json list_models(const RewardService& service) {
  Json data = Json::array();
  for (const ServedModel& model : service.models())
    data.push_back({{"id", model.name},
                    {"object", "model"},
                    {"created", model.loaded_at_s},
                    {"owned_by", "metarm"},
                    {"parent", nullptr},
                    {"max_model_len", model.max_length > 0 ? Json(model.max_length) : Json(nullptr)},
                    {"version", model.version}});
  return {{"object", "list"}, {"data", std::move(data)}};
}

}  // namespace metarm

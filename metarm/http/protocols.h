// The bodies of the protocols that clients of reward models speak, each as one function from a request's body to its answer's.
//
//   metarm    /v1/rewards: the rows of `metarm score`, rewards as they are
//   OpenRLHF  /get_reward (openrlhf/cli/serve_rm.py): texts with their special tokens, rewards as they are
//   vLLM      /classify, /pooling, /score, /rerank: the sigmoid, unless `use_activation` (once `activation`, `softmax`) is false
//   SGLang    /classify with `text`, /v1/embeddings: rewards as they are
//   TEI       /predict, /rerank with `texts` (Hugging Face's text-embeddings-inference): the sigmoid, unless `raw_scores` is true
//
// A body has been checked against its schema in openapi.json. Input errors name the field; refusals are those of Scoring.
#pragma once

#include "metarm/base/json_lines.h"
#include "metarm/http/scoring.h"

namespace metarm {

Json answer_rewards(const Json& body, Scoring& scoring);
Json answer_get_reward(const Json& body, Scoring& scoring);

Json answer_vllm_classify(const Json& body, Scoring& scoring);
Json answer_vllm_pooling(const Json& body, Scoring& scoring);
Json answer_vllm_score(const Json& body, Scoring& scoring);
Json answer_vllm_rerank(const Json& body, Scoring& scoring);

Json answer_sglang_classify(const Json& body, Scoring& scoring);
Json answer_sglang_embeddings(const Json& body, Scoring& scoring);

Json answer_tei_predict(const Json& body, Scoring& scoring);
Json answer_tei_rerank(const Json& body, Scoring& scoring);

// The answer of /v1/models.
Json list_models(const RewardService& service);

}  // namespace metarm

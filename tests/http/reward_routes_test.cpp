#include "metarm/http/reward_routes.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <future>

#include "metarm/base/file.h"
#include "tests/http/fake_service.h"
#include "tests/support/temporary_folder.h"

namespace metarm {
namespace {

// Keeps the lines.
class ListLog : public Log {
 public:
  void message(LogLevel level, const std::string& text) override { (level == LogLevel::info ? lines : warnings).push_back(text); }
  void progress(std::string_view, std::int64_t, std::int64_t, std::string_view) override {}
  std::vector<std::string> lines, warnings;
};

std::string header(const HttpResponse& response, const std::string& name) {
  const auto found = std::ranges::find(response.headers, name, [](const auto& entry) { return entry.first; });
  return found == response.headers.end() ? "" : found->second;
}

class RewardRoutesTest : public testing::Test {
 protected:
  HttpResponse send(const std::string& method, const std::string& path, const std::string& body = "", const std::string& key = "") {
    HttpRequest request{.method = method,
                        .path = path,
                        .authorization = key.empty() ? "" : fmt::format("Bearer {}", key),
                        .client = "127.0.0.1",
                        .host = "127.0.0.1",
                        .step = {},
                        .body = "",
                        .abandoned = {}};
    if (std::optional<HttpResponse> answer = routes().answer_head(request)) return *answer;
    request.body = body;
    return routes().answer(request);
  }
  HttpResponse post(const std::string& path, const std::string& body, const std::string& key = "") { return send("POST", path, body, key); }
  Json posted(const std::string& path, const std::string& body) {
    const HttpResponse response = post(path, body);
    EXPECT_EQ(response.status, 200) << response.body;
    return parse_json(response.body, "answer");
  }
  Json refused(int status, const std::string& path, const std::string& body) {
    const HttpResponse response = post(path, body);
    EXPECT_EQ(response.status, status) << response.body;
    EXPECT_EQ(response.body.find('\n'), std::string::npos);
    return parse_json(response.body, "answer");
  }
  RewardRoutes& routes() {
    if (!routes_) routes_ = std::make_unique<RewardRoutes>(service_, keys_, options_, log_);
    return *routes_;
  }
  void use_keys() {
    write_file(folder_ / "keys", "score 0123456789abcdef\nadmin fedcba9876543210\n");
    keys_ = ApiKeys::load(folder_ / "keys");
  }

  RouteOptions options_{.max_rows = 5, .request_timeout_s = 10};
  TemporaryFolder folder_;
  FakeService service_;
  ListLog log_;
  ApiKeys keys_;
  std::unique_ptr<RewardRoutes> routes_;
};

TEST_F(RewardRoutesTest, RowsOfEveryKindAreRewarded) {
  const Json answer = posted("/v1/rewards", R"({"model": "rm", "rows": [{"prompt": "Hi", "responses": ["a", "bb"]}, {"text": "ccc"},
      {"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}]}, {"prompt": [{"role": "user", "content": "x"}], "response": "dddd"}]})");
  EXPECT_EQ(answer["rows"], parse_json(R"([{"rewards": [1, 2]}, {"reward": 3}, {"reward": 2}, {"reward": 4}])", "expected"));
  EXPECT_EQ(answer["version"], "v1");
  EXPECT_EQ(answer["model"], "rm");
  EXPECT_EQ(answer["usage"]["tokens"], 12);
}

TEST_F(RewardRoutesTest, AResponseThatIsTooLongHasNoReward) {
  const std::string body = fmt::format(R"({{"rows": [{{"prompt": "Hi", "responses": ["a", "{:b<101}"]}}]}})", "");
  EXPECT_EQ(posted("/v1/rewards", body)["rows"][0]["rewards"], Json({1, nullptr}));
  const Json error = refused(422, "/get_reward", fmt::format(R"({{"query": ["a", "{:b<101}"]}})", ""))["error"];
  EXPECT_EQ(error["message"],
            "query[1]: expected at most 100 tokens, got more; --max-length of the server and the model's positions say how many");
  EXPECT_EQ(error["param"], "query[1]");
}

TEST_F(RewardRoutesTest, FormsOfTextsAreThoseOfTheProtocols) {
  posted("/get_reward", R"({"query": ["a"]})");
  posted("/classify", R"({"input": "a"})");
  posted("/classify", R"({"input": "a", "add_special_tokens": false})");
  posted("/classify", R"({"input": [[5, 6]]})");
  posted("/classify", R"({"text": "a"})");
  posted("/rerank", R"({"query": "q", "texts": ["a"]})");
  ASSERT_EQ(service_.asked.size(), 6);
  EXPECT_EQ(service_.asked[0].form, TextForm::literal);
  EXPECT_EQ(service_.asked[1].form, TextForm::written);
  EXPECT_EQ(service_.asked[2].form, TextForm::literal);
  EXPECT_EQ(std::get<TokenIds>(service_.asked[3].text), (TokenIds{5, 6}));
  EXPECT_EQ(service_.asked[4].form, TextForm::written);
  EXPECT_EQ(service_.asked[5].form, TextForm::response);
  EXPECT_EQ(service_.asked[5].prompt, Content("q"));
}

TEST_F(RewardRoutesTest, OneTextOfABatchOrAPair) {
  EXPECT_EQ(posted("/predict", R"({"inputs": "aa", "raw_scores": true})"),
            parse_json(R"([{"label": "LABEL_0", "score": 2.0}])", "expected"));
  EXPECT_EQ(posted("/predict", R"({"inputs": ["p", "aa"], "raw_scores": true})").size(), 1);
  EXPECT_EQ(posted("/predict", R"({"inputs": [["aa"], ["b"]], "raw_scores": true})").size(), 2);
  EXPECT_EQ(refused(422, "/predict", R"({"inputs": ["a", "b", "c"]})")["error_type"], "Validation");
}

TEST_F(RewardRoutesTest, EmptyListsAreRefusedAsTeiDoesIt) {
  EXPECT_EQ(refused(400, "/predict", R"({"inputs": []})"),
            parse_json(R"({"error": "inputs: expected some texts, got none", "error_type": "Empty"})", "expected"));
  EXPECT_EQ(refused(400, "/rerank", R"({"query": "q", "texts": []})"),
            parse_json(R"({"error": "texts: expected some texts, got none", "error_type": "Empty"})", "expected"));
  EXPECT_EQ(refused(422, "/predict", R"({"inputs": [[]]})")["error_type"], "Validation");
  EXPECT_EQ(refused(400, "/predict", "{")["error_type"], "Validation");
  EXPECT_TRUE(service_.asked.empty());
  EXPECT_EQ(posted("/rerank", R"({"query": "q", "documents": []})")["results"], Json::array()) << "vLLM's is no error";
}

TEST_F(RewardRoutesTest, ActivationByItsNewestName) {
  const auto probability = [&](const std::string& fields) {
    return posted("/classify", R"({"input": "aa")" + fields + "}")["data"][0]["probs"][0].get<double>();
  };
  const double activated = probability("");
  EXPECT_NEAR(activated, 1 / (1 + std::exp(-2.0)), 1e-6);
  for (const char* name : {"use_activation", "activation", "softmax"}) {
    EXPECT_EQ(probability(fmt::format(R"(, "{}": false)", name)), 2) << name;
    EXPECT_EQ(probability(fmt::format(R"(, "{}": true)", name)), activated) << name;
    EXPECT_EQ(probability(fmt::format(R"(, "{}": null)", name)), activated) << name;
  }
  EXPECT_EQ(probability(R"(, "activation": false, "softmax": true)"), 2);
  EXPECT_EQ(probability(R"(, "use_activation": true, "activation": false, "softmax": false)"), activated);
  EXPECT_EQ(posted("/pooling", R"({"input": "aa", "softmax": false})")["data"][0]["data"][0], 2.0);
  EXPECT_EQ(posted("/score", R"({"text_1": "p", "text_2": "aa", "softmax": false})")["data"][0]["score"], 2.0);
  EXPECT_EQ(posted("/score", R"({"queries": "p", "documents": "aa", "softmax": false})")["data"][0]["score"], 2.0);
  EXPECT_EQ(posted("/rerank", R"({"query": "p", "documents": ["aa"], "softmax": false})")["results"][0]["relevance_score"], 2.0);
  for (const char* body : {R"({"input": "a", "softmax": 1})", R"({"messages": [{"role": "user", "content": "a"}], "softmax": 1})"})
    EXPECT_EQ(refused(400, "/classify", body)["error"]["param"], "softmax");
}

TEST_F(RewardRoutesTest, LabelsAreTheCheckpoints) {
  service_.label = "helpful";
  EXPECT_EQ(posted("/predict", R"({"inputs": "aa"})")[0]["label"], "helpful");
  EXPECT_EQ(posted("/predict", R"({"inputs": [["aa"], ["b"]]})")[1][0]["label"], "helpful");
  EXPECT_EQ(posted("/v1/classify", R"({"input": ["aa", "b"]})")["data"][1]["label"], "helpful");
}

TEST_F(RewardRoutesTest, TheFieldThatIsWrongIsNamed) {
  const auto message = [&](int status, const char* path, const char* body) {
    return refused(status, path, body)["error"]["message"].get<std::string>();
  };
  EXPECT_EQ(message(422, "/v1/rewards", R"({"rows": [{"prompt": null, "responses": []}]})"),
            "rows[0].prompt: expected text or a list, got null");
  EXPECT_EQ(message(422, "/v1/rewards", R"({"rows": [{"prompt": "a"}]})"),
            "rows[0]: expected prompt with responses, prompt with response, text, or messages, got an object without");
  EXPECT_EQ(message(422, "/v1/rewards", R"({"rows": [{"messages": [{"role": "robot", "content": "x"}]}]})"),
            R"(rows[0].messages[0].role: expected "system", "user" or "assistant", got "robot")");
  EXPECT_EQ(message(422, "/v1/rewards", R"({"rows": [], "rwos": 1})"),
            R"(body: expected the fields attributions, model and rows, got "rwos")");
  EXPECT_EQ(message(400, "/classify", R"({"input": "a", "use_activation": 1})"),
            "use_activation: expected true or false or null, got number");
  EXPECT_EQ(message(400, "/score", R"({"text_1": ["a", "b"], "text_2": ["c"]})"),
            "text_1: expected one text or as many as in text_2, 1, got 2");
  EXPECT_EQ(message(404, "/v1/rewards", R"({"model": "other", "rows": [{"text": "a"}]})"), "model: expected one of rm, got another");
  EXPECT_EQ(message(413, "/get_reward", R"({"query": ["a", "b", "c", "d", "e", "f"]})"),
            "body: expected at most 5 texts, got 6; send them in several requests");
}

TEST_F(RewardRoutesTest, NoBodyMakesAnInternalError) {
  const std::string deep(5000, '[');
  for (const std::string& body :
       {std::string(), std::string("{"), std::string("[]"), std::string("null"), std::string("{\"rows\": \"\xff\"}"), deep,
        std::string(R"({"rows": 1, "rows": 2})"), std::string(R"({"input": [1e400]})"), std::string(R"({"inputs": [[]]})"),
        std::string(R"({"input": [99999999999]})"), std::string(R"({"query": "q", "documents": [], "top_n": 1e99})")})
    for (const char* path :
         {"/v1/rewards", "/get_reward", "/classify", "/pooling", "/score", "/rerank", "/v1/embeddings", "/predict", "/v2/rerank"}) {
      const HttpResponse response = post(path, body);
      EXPECT_TRUE(response.status == 400 || response.status == 422 || response.status == 200)
          << path << " " << body << " " << response.status;
      EXPECT_EQ(response.body.find('\n'), std::string::npos);
    }
}

TEST_F(RewardRoutesTest, OutcomesAreStatuses) {
  const char* body = R"({"rows": [{"text": "a"}]})";
  service_.outcome = ScoreOutcome::full;
  const HttpResponse full = post("/v1/rewards", body);
  EXPECT_EQ(full.status, 429);
  EXPECT_EQ(header(full, "Retry-After"), "3");
  EXPECT_EQ(parse_json(post("/predict", R"({"inputs": "a"})").body, "answer")["error_type"], "Overloaded");
  service_.outcome = ScoreOutcome::late;
  EXPECT_EQ(post("/v1/rewards", body).status, 503);
  service_.outcome = ScoreOutcome::closing;
  EXPECT_EQ(post("/v1/rewards", body).status, 503);
  service_.outcome = ScoreOutcome::abandoned;
  EXPECT_EQ(post("/v1/rewards", body).status, 499);
  service_.broken = true;
  EXPECT_EQ(post("/predict", R"({"inputs": "a"})").status, 424) << "as text-embeddings-inference says it";
  const HttpResponse broken = post("/v1/rewards", body);
  EXPECT_EQ(broken.status, 500);
  EXPECT_EQ(broken.body.find("secret"), std::string::npos);
  EXPECT_NE(log_.warnings.back().find("secret"), std::string::npos);
}

TEST_F(RewardRoutesTest, KeysAndRoles) {
  const char* back = R"({"version": 1})";
  EXPECT_EQ(post("/v1/rollback", back).status, 403) << "without keys nobody may change what is served";
  EXPECT_EQ(post("/v1/align", "{}").status, 403);
  EXPECT_EQ(send("GET", "/v1/samples").status, 200);
  routes_.reset();
  use_keys();
  const std::string score = "0123456789abcdef", admin = "fedcba9876543210", body = R"({"rows": [{"text": "a"}]})";
  EXPECT_EQ(post("/v1/rewards", body).status, 401);
  EXPECT_EQ(post("/v1/rewards", body, "0123456789abcdee").status, 401);
  EXPECT_EQ(post("/v1/rewards", body, score).status, 200);
  EXPECT_EQ(post("/v1/rewards", body, admin).status, 200);
  EXPECT_EQ(send("GET", "/metrics").status, 401);
  EXPECT_EQ(send("GET", "/health").status, 200);
  for (const char* path : {"/v1/status", "/v1/versions", "/v1/samples", "/v1/models", "/openapi.json"})
    EXPECT_EQ(send("GET", path).status, 401) << path;
  EXPECT_EQ(send("GET", "/v1/status", "", score).status, 200);
  EXPECT_EQ(send("GET", "/v1/samples", "", score).status, 403);
  EXPECT_EQ(send("GET", "/v1/samples", "", admin).status, 200);
  EXPECT_EQ(post("/v1/rollback", back).status, 401);
  EXPECT_EQ(post("/v1/rollback", back, score).status, 403);
  EXPECT_EQ(post("/v1/align", "{}", score).status, 403);
  EXPECT_EQ(service_.rolled_back, 0);
  EXPECT_FALSE(service_.aligning);
  EXPECT_EQ(parse_json(post("/v1/rollback", back, admin).body, "answer")["id"], "v1");
  EXPECT_EQ(service_.rolled_back, 1);
  EXPECT_EQ(post("/v1/rollback", R"({"version": 7})", admin).status, 422);
  EXPECT_EQ(post("/v1/align", "{}", admin).status, 202);
  EXPECT_EQ(post("/v1/align", "{}", admin).status, 409) << "one is running";
}

TEST_F(RewardRoutesTest, AKeyMayComeAsThePasswordOfBasic) {
  use_keys();
  const auto asked_with = [&](const std::string& authorization, const std::string& path) {
    HttpRequest request;
    request.method = "POST";
    request.path = path;
    request.authorization = authorization;
    return routes().answer_head(request).value_or(HttpResponse());
  };
  const std::string score = "Basic bWV0YXJtOjAxMjM0NTY3ODlhYmNkZWY=", admin = "Basic eDpmZWRjYmE5ODc2NTQzMjEw";
  EXPECT_EQ(asked_with(score, "/get_reward").status, 200);
  EXPECT_EQ(asked_with(admin, "/get_reward").status, 200) << "the user may have any name";
  EXPECT_EQ(asked_with(score, "/v1/align").status, 403);
  EXPECT_EQ(asked_with(admin, "/v1/align").status, 200);
  for (const char* wrong : {"Basic bWV0YXJtOjAxMjM0NTY3ODlhYmNkZWU=", "Basic bWV0YXJtOjAxMjM0NTY3ODlhYmNkZWY", "Basic 0123456789abcdef",
                            "Basic metarm:0123456789abcdef", "Basic"}) {
    const HttpResponse refusal = asked_with(wrong, "/get_reward");
    EXPECT_EQ(refusal.status, 401) << wrong;
    EXPECT_EQ(header(refusal, "WWW-Authenticate"), "Bearer") << "or browsers would ask for a password, and keep it";
  }
}

TEST_F(RewardRoutesTest, WhatNamesFilesIsForAdministrators) {
  EXPECT_EQ(parse_json(send("GET", "/v1/status").body, "answer")["state"], "all of it") << "without keys, of whom there are no others";
  routes_.reset();
  use_keys();
  EXPECT_EQ(parse_json(send("GET", "/v1/status", "", "0123456789abcdef").body, "answer")["state"], "well");
  EXPECT_EQ(parse_json(send("GET", "/v1/status", "", "fedcba9876543210").body, "answer")["state"], "all of it");
}

TEST_F(RewardRoutesTest, PagesFromElsewhereMayNotAskAServerWithoutKeys) {
  const auto asked_by = [&](const std::string& origin, const std::string& key = "") {
    HttpRequest request;
    request.method = "POST";
    request.path = "/v1/rewards";
    request.host = "127.0.0.1";
    request.origin = origin;
    request.authorization = key.empty() ? "" : "Bearer " + key;
    const std::optional<HttpResponse> refusal = routes().answer_head(request);
    return refusal ? refusal->status : 200;
  };
  for (const char* origin : {"", "127.0.0.1", "localhost"}) EXPECT_EQ(asked_by(origin), 200) << origin;
  for (const char* origin : {"evil.example", "null", "127.evil.example"}) EXPECT_EQ(asked_by(origin), 403) << origin;
  routes_.reset();
  use_keys();
  EXPECT_EQ(asked_by("evil.example", "0123456789abcdef"), 200);
}

TEST_F(RewardRoutesTest, RequestsBeyondThoseThatMayWaitAreRefusedAtOnce) {
  options_.answers_at_once = 1;
  std::promise<void> begun, go_on;
  service_.before_scoring = [&] {
    begun.set_value();
    go_on.get_future().wait();
  };
  const char* body = R"({"rows": [{"text": "a"}]})";
  routes();
  auto first = std::async(std::launch::async, [&] { return post("/v1/rewards", body).status; });
  begun.get_future().wait();
  const HttpResponse second = post("/v1/rewards", body);
  EXPECT_EQ(second.status, 429);
  EXPECT_EQ(header(second, "Retry-After"), "1");
  EXPECT_EQ(send("GET", "/health").status, 200);
  go_on.set_value();
  EXPECT_EQ(first.get(), 200);
  service_.before_scoring = [] {};
  EXPECT_EQ(post("/v1/rewards", body).status, 200);
}

TEST_F(RewardRoutesTest, SharesOfTokensComeWhereTheyAreAskedFor) {
  const Json answer =
      posted("/v1/rewards", R"({"rows": [{"prompt": "Hi", "responses": ["a", "bb"]}, {"text": "ccc"}], "attributions": true})");
  const Json share = parse_json(R"({"tokens": ["to", "ken"], "values": [0.5, 0.25], "baseline_reward": 1.5})", "expected");
  EXPECT_EQ(answer["rows"][0]["attributions"], Json::array({share, share}));
  EXPECT_EQ(answer["rows"][1]["attribution"], share);
  EXPECT_FALSE(posted("/v1/rewards", R"({"rows": [{"text": "c"}], "attributions": false})")["rows"][0].contains("attribution"));
}

TEST_F(RewardRoutesTest, TheTrainersStepAndTheToldPrompts) {
  HttpRequest request;
  request.method = "POST";
  request.path = "/get_reward";
  request.step = "17";
  request.body = R"({"query": ["ab"], "prompts": ["a"]})";
  EXPECT_EQ(routes().answer(request).status, 200);
  EXPECT_EQ(service_.step, 17);
  EXPECT_EQ(std::get<std::string>(service_.asked.back().told_prompt.value()), "a");
  for (const char* wrong : {"", "-1", "x", "1.5", "9999999999999999999"}) {
    request.step = wrong;
    EXPECT_EQ(routes().answer(request).status, 422) << wrong;
  }
}

TEST_F(RewardRoutesTest, PathsAndMethods) {
  EXPECT_EQ(send("GET", "/nowhere").status, 404);
  const HttpResponse wrong = send("GET", "/v1/rewards");
  EXPECT_EQ(wrong.status, 405);
  EXPECT_EQ(header(wrong, "Allow"), "POST");
  EXPECT_EQ(send("GET", "/ready").status, 200);
  routes().close();
  EXPECT_EQ(send("GET", "/ready").status, 503);
  EXPECT_EQ(send("GET", "/health").status, 200);
}

TEST_F(RewardRoutesTest, CountsAndLogsHoldNoTexts) {
  post("/v1/rewards", R"({"rows": [{"text": "confidential"}]})");
  post("/v1/rewards", R"({"rows": [{"text": "confidential", "x": 1}]})");
  const std::string page = send("GET", "/metrics").body;
  for (const char* line :
       {"metarm_requests_total{route=\"/v1/rewards\",status=\"200\"} 1\n",
        "metarm_requests_total{route=\"/v1/rewards\",status=\"422\"} 1\n", "metarm_request_seconds_count{route=\"/v1/rewards\"} 2\n",
        "metarm_request_seconds_bucket{route=\"/v1/rewards\",le=\"+Inf\"} 2\n", "metarm_model_info{model=\"rm\",version=\"v1\"} 1\n",
        "metarm_rows_total{model=\"rm\"} 3\n", "metarm_truncated_total{model=\"rm\"} 2\n", "metarm_too_long_total{model=\"rm\"} 1\n",
        "metarm_queue_rows 5\n", "metarm_queue_tokens 50\n"})
    EXPECT_NE(page.find(line), std::string::npos) << line << page;
  const Json line = parse_json(log_.lines[0], "log");
  EXPECT_EQ(line["path"], "/v1/rewards");
  EXPECT_EQ(line["status"], 200);
  EXPECT_EQ(line["rows"], 1);
  EXPECT_EQ(line["tokens"], 12);
  for (const std::string& text : log_.lines) EXPECT_EQ(text.find("confidential"), std::string::npos);
  EXPECT_TRUE(log_.warnings.empty());
}

}  // namespace
}  // namespace metarm

#include "metarm/remote/failure.h"

#include <gtest/gtest.h>

#include "metarm/base/json_lines.h"

namespace metarm {
namespace {

TEST(Failure, WhichStatusesPass) {
  for (const long status : {408L, 409L, 429L, 500L, 502L, 503L, 504L, 529L})
    EXPECT_TRUE(http_failure("u", status, "", 0).passing) << status;
  for (const long status : {201L, 301L, 400L, 401L, 403L, 404L, 413L, 422L}) {
    const Failure failure = http_failure("u", status, "", 0);
    EXPECT_FALSE(failure.passing) << status;
    EXPECT_EQ(failure.kind, ErrorKind::input);
  }
  EXPECT_EQ(http_failure("u", 503, "", 0).kind, ErrorKind::io);
}

TEST(Failure, ServersAreQuotedOnOneLine) {
  const std::pair<std::string, std::string> cases[] = {{R"({"error": {"message": "too\n  long\t", "code": 4}})", "\"too long\""},
                                                       {R"({"error": "overloaded", "error_type": "x"})", "\"overloaded\""},
                                                       {R"({"object": "error", "message": "no"})", "\"no\""},
                                                       {R"({"error": null, "message": "no"})", "\"no\""},
                                                       {R"({"detail": [1]})", "\"[1]\""},
                                                       {R"({"other": 1})", "\"{\"other\": 1}\""},
                                                       {"<html>\r\n502", "\"<html> 502\""},
                                                       {"", ""},
                                                       {" \n", ""},
                                                       {R"({"error": {"message": ""}})", ""},
                                                       {"\xff\xfe", "\"\xef\xbf\xbd\xef\xbf\xbd\""}};
  for (const auto& [body, quoted] : cases) EXPECT_EQ(quote_reason(body), quoted) << body;
}

TEST(Failure, LongReasonsAreCutAtACharacter) {
  std::string text = "x";
  while (text.size() < 5000) text += "\xc3\xa9";
  const std::string quoted = quote_reason(text);
  EXPECT_LT(quoted.size(), 320U);
  EXPECT_TRUE(quoted.ends_with("...\""));
  EXPECT_TRUE(is_valid_utf8(quoted));
}

TEST(BackOff, DoublesUpToHalfAMinuteWithJitter) {
  double longest = 0.5;
  for (std::int64_t failures = 1; failures < 100; ++failures, longest = std::min(30.0, 2 * longest)) {
    double least = 1e9, most = 0;
    for (std::int64_t request = 0; request < 200; ++request) {
      const double wait = back_off_s(request, failures);
      least = std::min(least, wait);
      most = std::max(most, wait);
    }
    EXPECT_GE(least, longest / 2);
    EXPECT_LT(most, longest);
    EXPECT_LT(least, 0.55 * longest);
    EXPECT_GT(most, 0.95 * longest);
  }
}

}  // namespace
}  // namespace metarm

#include "metarm/http/api_keys.h"

#include <gtest/gtest.h>

#include "metarm/base/error.h"
#include "metarm/base/file.h"
#include "tests/support/temporary_folder.h"

namespace metarm {
namespace {

class ApiKeysTest : public testing::Test {
 protected:
  ApiKeys load(const std::string& text) {
    write_file(path_, text);
    return ApiKeys::load(path_);
  }
  std::string fault(const std::string& text) {
    try {
      load(text);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::input);
      return error.what();
    }
    return "";
  }

  TemporaryFolder folder_;
  std::string path_ = folder_ / "keys";
};

TEST_F(ApiKeysTest, RolesByKey) {
  const ApiKeys keys = load("# of the trainers\nscore  0123456789abcdef\r\n\n admin\tfedcba9876543210 \n");
  EXPECT_EQ(keys.role("0123456789abcdef"), Role::score);
  EXPECT_EQ(keys.role("fedcba9876543210"), Role::admin);
  EXPECT_EQ(keys.role("0123456789abcdeF"), std::nullopt);
  EXPECT_EQ(keys.role("0123456789abcde"), std::nullopt);
  EXPECT_EQ(keys.role(""), std::nullopt);
}

TEST_F(ApiKeysTest, FaultsNameTheLineAndNeverTheKey) {
  EXPECT_NE(fault("score 0123456789abcdef\nscore secret\n").find(":2: expected a key of at least 16 characters, got 6"), std::string::npos);
  EXPECT_NE(fault("0123456789abcdefSECRET\n").find(":1: expected `score KEY` or `admin KEY`"), std::string::npos);
  EXPECT_EQ(fault("0123456789abcdefSECRET\n").find("SECRET"), std::string::npos);
  EXPECT_NE(fault("score 0123456789abcdef\nadmin 0123456789abcdef").find(":2: expected each key once"), std::string::npos);
  EXPECT_NE(fault("score 0123456789 abcdef").find("got other characters"), std::string::npos);
  EXPECT_NE(fault("# nothing\n").find("got none"), std::string::npos);
}

TEST(GivenKey, IsWhatFollowsBearer) {
  EXPECT_EQ(given_key("Bearer abc"), "abc");
  EXPECT_EQ(given_key("Bearer  abc "), "abc");
  EXPECT_EQ(given_key("bearer abc"), "abc") << "names of schemes have no case";
  EXPECT_EQ(given_key("Digest abc"), "");
  EXPECT_EQ(given_key("Bearer"), "");
  EXPECT_EQ(given_key(""), "");
}

TEST(GivenKey, IsThePasswordOfBasic) {
  EXPECT_EQ(given_key("Basic bWV0YXJtOmFiYw=="), "abc");
  EXPECT_EQ(given_key("basic  bWV0YXJtOmFi "), "ab");
  EXPECT_EQ(given_key("Basic OmFiYw=="), "abc") << "of a user without a name";
  EXPECT_EQ(given_key("Basic bWV0YXJtOmE6Yg=="), "a:b") << "a key may have a colon";
  EXPECT_EQ(given_key("Basic bWV0YXJtOmFiYz8+fg=="), "abc?>~");
  EXPECT_EQ(given_key("Bearer bWV0YXJtOmFiYw=="), "bWV0YXJtOmFiYw==") << "is no Basic";
}

TEST(GivenKey, IsNoneWhereBasicIsMalformed) {
  ASSERT_EQ(given_key("Basic bWV0YXJtOmFiYw=="), "abc");
  for (const char* malformed :
       {"Basic", "Basic ", "Basic bWV0YXJt", "Basic bWV0YXJtOmFiYw=", "Basic bWV0YXJtOmFiYw",
        "Basic bWV0YXJtOmFiYw======", "Basic bWV0YXJtOmFiYx==", "Basic bWV0 XJtOmFiYw==", "Basic bWV0----YXJtOmFiYw==",
        "Basic bW==YXJtOmFiYw==", "Basic ====", "Basic metarm:abc", "BasicmbWV0YXJtOmFiYw=="})
    EXPECT_EQ(given_key(malformed), "") << malformed;
}

}  // namespace
}  // namespace metarm

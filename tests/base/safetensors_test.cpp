#include "metarm/base/safetensors.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

#include "metarm/base/error.h"
#include "tests/support/temporary_folder.h"

namespace metarm {
namespace {

std::string raw(const std::string& header, std::size_t data, std::uint64_t claimed = 0) {
  const std::uint64_t length = claimed ? claimed : header.size();
  std::string bytes(8, '\0');
  std::memcpy(bytes.data(), &length, 8);
  return bytes + header + std::string(data, '\0');
}

std::string error_of(const std::string& bytes) {
  try {
    SafetensorsFile::parse(std::as_bytes(std::span(bytes)), "m.safetensors");
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::input);
    EXPECT_TRUE(std::string(error.what()).starts_with("m.safetensors: ")) << error.what();
    return error.what();
  }
  return "none";
}

TEST(Safetensors, RoundTrip) {
  TemporaryFolder folder;
  const std::vector<float> values = {1, -2.5f, 3};
  const std::vector<std::int64_t> whole = {7};
  const TensorBytes tensors[] = {{"b", DType::f32, {3, 1}, std::as_bytes(std::span(values))},
                                 {"a", DType::i64, {}, std::as_bytes(std::span(whole))},
                                 {"empty", DType::bf16, {0, 4}, {}}};
  save_safetensors(folder / "m", tensors, {{"format", "pt"}});
  const auto file = SafetensorsFile::open(folder / "m");
  EXPECT_EQ(file.metadata().at("format"), "pt");
  ASSERT_EQ(file.tensors().size(), 3u);
  for (const TensorBytes& wanted : tensors) {
    const auto found = std::ranges::find(file.tensors(), wanted.name, &TensorBytes::name);
    ASSERT_NE(found, file.tensors().end());
    EXPECT_EQ(found->dtype, wanted.dtype);
    EXPECT_EQ(found->shape, wanted.shape);
    EXPECT_TRUE(std::ranges::equal(found->bytes, wanted.bytes));
  }
}

TEST(Safetensors, DamagedHeaders) {
  const std::string one = R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})";
  EXPECT_EQ(error_of(raw(one, 4)), "none");
  EXPECT_NE(error_of("abc").find("got 3 bytes"), std::string::npos);
  EXPECT_NE(error_of(raw(one, 4, std::uint64_t{1} << 60)).find("1152921504606846976"), std::string::npos);
  EXPECT_NE(error_of(raw(one, 3)).find("cut off"), std::string::npos);
  EXPECT_NE(error_of(raw(one, 5)).find("bytes after the last tensor"), std::string::npos);
  EXPECT_NE(error_of(raw(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}})", 4)).find("shape [2]"), std::string::npos);
  EXPECT_NE(error_of(raw(R"({"a":{"dtype":"F8","shape":[4],"data_offsets":[0,4]}})", 4)).find("dtype"), std::string::npos);
  EXPECT_NE(
      error_of(raw(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[2,6]}})", 6))
          .find("overlap"),
      std::string::npos);
  EXPECT_NE(error_of(raw(R"({"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,4]}})", 4)).find("shape"),
            std::string::npos);
  EXPECT_NE(
      error_of(raw(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})", 8))
          .find("twice"),
      std::string::npos);
}

}  // namespace
}  // namespace metarm

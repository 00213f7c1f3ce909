#include "metarm/base/gguf.h"

#include <gtest/gtest.h>

#include <cstring>

#include "metarm/base/error.h"

namespace metarm {
namespace {

// Builds GGUF files byte by byte.
struct Writer {
  std::string bytes;

  template <class T>
  Writer& number(T value) {
    bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
    return *this;
  }
  Writer& text(std::string_view text) {
    number<std::uint64_t>(text.size());
    bytes += text;
    return *this;
  }
  Writer& header(std::uint64_t tensors, std::uint64_t values, std::uint32_t version = 3) {
    bytes += "GGUF";
    return number(version).number(tensors).number(values);
  }
  Writer& tensor(std::string_view name, std::vector<std::uint64_t> sizes, std::uint32_t type, std::uint64_t offset) {
    text(name).number(static_cast<std::uint32_t>(sizes.size()));
    for (const std::uint64_t size : sizes) number(size);
    return number(type).number(offset);
  }
  Writer& pad(std::size_t data) {
    bytes.resize((bytes.size() + 31) / 32 * 32);
    bytes.append(data, '\1');
    return *this;
  }
  GgufFile parse() const { return GgufFile::parse(std::as_bytes(std::span(bytes)), "model.gguf"); }
};

constexpr std::uint32_t kU32 = 4, kF32 = 6, kText = 8, kList = 9, kU64 = 10;

std::string error_of(const Writer& writer) {
  try {
    writer.parse();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::input);
    return error.what();
  }
  return "none";
}

void expect_error(const Writer& writer, const std::string& part) {
  const std::string message = error_of(writer);
  EXPECT_TRUE(message.starts_with("model.gguf: ")) << message;
  EXPECT_NE(message.find(part), std::string::npos) << message;
}

TEST(Gguf, ReadsValuesAndTensors) {
  Writer writer;
  writer.header(2, 3).text("a.count").number(kU32).number(7U).text("a.rate").number(kF32).number(0.5F);
  writer.text("a.words").number(kList).number(kText).number<std::uint64_t>(2).text("one").text("two");
  writer.tensor("x", {4, 2}, 0, 0).tensor("y", {32}, 8, 32).pad(32 + 34);
  const GgufFile file = writer.parse();
  EXPECT_EQ(file.integer("a.count"), 7);
  EXPECT_EQ(file.number("a.rate"), 0.5);
  EXPECT_EQ(*file.texts("a.words"), (std::vector<std::string_view>{"one", "two"}));
  EXPECT_EQ(file.text("a.missing"), std::nullopt);
  ASSERT_EQ(file.tensors().size(), 2U);
  EXPECT_EQ(file.find_tensor("x")->shape, (std::vector<std::int64_t>{2, 4}));
  EXPECT_EQ(file.find_tensor("y")->bytes.size(), 34U);
  EXPECT_EQ(file.find_tensor("y")->count(), 32);
  EXPECT_EQ(file.find_tensor("z"), nullptr);
}

TEST(Gguf, WrongKindNamesBoth) {
  Writer writer;
  writer.header(0, 1).text("a").number(kU32).number(7U);
  const GgufFile file = writer.parse();
  try {
    file.text("a");
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "model.gguf: a: expected text, got a whole number");
  }
}

TEST(Gguf, EveryCutIsAnInputError) {
  Writer writer;
  writer.header(1, 2).text("a").number(kText).text("b").text("c").number(kList).number(kU32).number<std::uint64_t>(1).number(1U);
  writer.tensor("x", {4}, 0, 0).pad(16);
  EXPECT_EQ(error_of(writer), "none");
  for (std::size_t size = 0; size < writer.bytes.size(); ++size) expect_error({writer.bytes.substr(0, size)}, "expected");
}

TEST(Gguf, ClaimsBeyondTheFile) {
  constexpr std::uint64_t kHuge = std::uint64_t{1} << 60;
  expect_error(Writer().header(kHuge, 0), "cut off");
  expect_error(Writer().header(0, kHuge), "cut off");
  expect_error(Writer().header(0, 1).number(kHuge), "cut off");
  expect_error(Writer().header(0, 1).text("a").number(kText).number(kHuge), "cut off");
  for (const std::uint32_t kind : {0U, kText, kU64})
    expect_error(Writer().header(0, 1).text("a").number(kList).number(kind).number(kHuge), "cut off");
  expect_error(Writer().header(1, 0).tensor("x", {kHuge}, 0, 0).pad(64), "cut off");
  expect_error(Writer().header(1, 0).tensor("x", {kHuge, kHuge}, 0, 0).pad(64), "fit into the file");
  expect_error(Writer().header(1, 0).tensor("x", {4}, 0, kHuge).pad(64), "cut off");
}

TEST(Gguf, RefusesWhatIsNotSupported) {
  expect_error({"GGML file"}, "expected a GGUF file");
  expect_error(Writer().header(0, 0, 1), "version 2 or 3, got 1");
  expect_error(Writer().header(0, 0, 3U << 24), "big-endian");
  expect_error(Writer().header(0, 1).text("a").number(99U), "kind of value");
  expect_error(Writer().header(0, 1).text("a").number(kList).number(kList).number<std::uint64_t>(0), "list of lists");
  expect_error(Writer().header(1, 0).tensor("x", {256}, 10, 0).pad(256),
               "x: expected a type of F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q4_K, Q5_K, Q6_K, got type number 10");
}

TEST(Gguf, RefusesTensorsOutOfPlace) {
  expect_error(Writer().header(1, 0).tensor("x", {4}, 0, 4).pad(64), "multiple of 32");
  expect_error(Writer().header(2, 0).tensor("x", {9}, 0, 0).tensor("y", {4}, 0, 32).pad(64),
               "y: expected tensors that do not overlap, got one that begins within x");
  expect_error(Writer().header(2, 0).tensor("x", {4}, 0, 0).tensor("x", {4}, 0, 32).pad(64), "expected a tensor once");
  expect_error(Writer().header(1, 0).tensor("x", {16}, 8, 0).pad(64), "whole Q8_0 blocks of 32");
  expect_error(Writer().header(1, 0).tensor("x", {0}, 0, 0).pad(64), "sizes over 0");
  expect_error(Writer().header(1, 0).tensor("x", {}, 0, 0).pad(64), "1 to 4 dimensions");
  expect_error(Writer().header(1, 1).text("general.alignment").number(kU32).number(0U).tensor("x", {4}, 0, 0).pad(64), "power of two");
  expect_error(Writer().header(1, 1).text("general.alignment").number(kU32).number(24U).tensor("x", {4}, 0, 0).pad(64), "power of two");
}

TEST(Gguf, RefusesNamesThatAreNoText) {
  expect_error(Writer().header(0, 1).text("a\nb").number(kU32).number(7U), "a metadata key of UTF-8 text");
  expect_error(Writer().header(1, 0).tensor("\xff", {4}, 0, 0).pad(64), "a tensor's name of UTF-8 text");
  expect_error(Writer().header(0, 2).text("a").number(kU32).number(7U).text("a").number(kU32).number(7U), "expected a key once");
}

}  // namespace
}  // namespace metarm

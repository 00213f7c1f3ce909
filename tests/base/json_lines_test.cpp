#include "metarm/base/json_lines.h"

#include <gtest/gtest.h>

#include "metarm/base/error.h"
#include "metarm/base/file.h"
#include "tests/support/temporary_folder.h"

namespace metarm {
namespace {

std::string error_of(std::string_view text) {
  try {
    parse_json(text, "a.json");
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::input);
    return error.what();
  }
  return "none";
}

TEST(Json, ErrorsNameThePlace) {
  EXPECT_EQ(error_of(R"({"a": 1})"), "none");
  EXPECT_TRUE(error_of(R"({"a": })").starts_with("a.json: expected JSON, got an error at byte 7"));
  EXPECT_EQ(error_of(R"({"a": 1, "a": 2})"), "a.json: expected each key once, got \"a\" twice");
  EXPECT_NE(error_of("{\"a\": \"\xff\"}").find("UTF-8"), std::string::npos);
  EXPECT_NE(error_of(std::string(300, '[') + std::string(300, ']')).find("256"), std::string::npos);
  EXPECT_EQ(error_of(std::string(200, '[') + std::string(200, ']')), "none");
}

TEST(Utf8, OnlyTheShortestFormsOfRealCodePoints) {
  for (const char* good : {"", "a", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80", "\xf4\x8f\xbf\xbf"}) EXPECT_TRUE(is_valid_utf8(good));
  for (const char* bad : {"\x80", "\xc0\xaf", "\xc3", "\xe0\x80\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xf8\x88\x80\x80\x80"})
    EXPECT_FALSE(is_valid_utf8(bad)) << bad;
}

TEST(Fields, WrongTypesAreErrors) {
  const Json object = {{"text", "a"}, {"number", 1.5}, {"null", nullptr}};
  EXPECT_EQ(text_field(object, "text", "f:1"), "a");
  EXPECT_EQ(number_field(object, "number", "f:1"), 1.5);
  const auto message = [&](const char* field) -> std::string {
    try {
      text_field(object, field, "f:1");
    } catch (const Error& error) {
      return error.what();
    }
    return "none";
  };
  EXPECT_EQ(message("null"), "f:1: null: expected text, got null");
  EXPECT_EQ(message("number"), "f:1: number: expected text, got number");
  EXPECT_NE(message("absent").find("f:1: absent: expected"), std::string::npos);
}

struct RowsFile {
  TemporaryFolder folder;
  std::string path = folder / "rows.jsonl";
  BadRowReport read(const std::string& text, BadRows bad_rows, std::vector<std::int64_t>* lines = nullptr) const {
    write_file(path, text);
    return for_each_row({path}, bad_rows, [&](const JsonRow& row) {
      text_field(row.value, "a", row.where());
      if (lines) lines->push_back(row.line);
    });
  }
};

TEST(Rows, SkippingCountsAndKeepsTheFirstErrors) {
  const RowsFile file;
  std::vector<std::int64_t> lines;
  const BadRowReport report = file.read("{\"a\": \"x\"}\n\n[1]\n{\"a\": 1}\n{\n{\"a\": \"y\"}\n", BadRows::skip, &lines);
  EXPECT_EQ(lines, (std::vector<std::int64_t>{1, 6}));
  EXPECT_EQ(report.rows, 5);
  EXPECT_EQ(report.skipped, 3);
  ASSERT_EQ(report.first_errors.size(), 3u);
  EXPECT_NE(report.first_errors[1].find("rows.jsonl:4: a: expected text, got number"), std::string::npos);
}

TEST(Rows, StoppingNamesFileAndLine) {
  const RowsFile file;
  try {
    file.read("{\"a\": \"x\"}\n{\"a\": null}\n", BadRows::stop);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(std::string(error.what()), file.path + ":2: a: expected text, got null");
  }
}

TEST(Rows, OtherErrorsDoNotBlameTheRow) {
  const RowsFile file;
  write_file(file.path, "{}\n");
  for (const BadRows bad_rows : {BadRows::stop, BadRows::skip}) {
    try {
      for_each_row({file.path}, bad_rows, [](const JsonRow&) { fail_io("out: disk full"); });
      FAIL();
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::io);
      EXPECT_STREQ(error.what(), "out: disk full");
    }
  }
}

TEST(Rows, EmptyFileIsAnError) {
  const RowsFile file;
  EXPECT_THROW(file.read("\n\n", BadRows::stop), Error);
}

}  // namespace
}  // namespace metarm

#include "metarm/report/page.h"

#include <gtest/gtest.h>

#include "metarm/base/error.h"
#include "metarm/base/file.h"

namespace metarm {
namespace {

std::string between(const std::string& text, const std::string& begin, const std::string& end) {
  const std::size_t from = text.find(begin) + begin.size();
  return text.substr(from, text.find(end, from) - from);
}

TEST(Page, FilesAreThoseOfTheSource) {
  const std::string source = METARM_SOURCE_DIR;
  EXPECT_EQ(page_file("chart.js"), read_file(source + "/metarm/report/page/chart.js"));
  EXPECT_EQ(page_file("uPlot.iife.min.js"), read_file(source + "/third_party/uplot/uPlot.iife.min.js"));
  EXPECT_THROW(page_file("nothing.js"), Error);
}

TEST(Page, DataCannotLeaveItsElement) {
  const Json data = {{"text", "</script><script>alert(1)</script><!-- <script {{data}} {{nothing}} \u2028 \" \\ &lt;"}};
  const std::string json = between(make_page(data), R"(<script type="application/json" id="data">)", "</script>");
  EXPECT_EQ(json.find('<'), json.npos);
  EXPECT_EQ(Json::parse(json), data);
}

TEST(Page, NeedsNoOtherFileAndKeepsTheLibrarysLicence) {
  const std::string page = make_page(Json::object());
  for (const char* outside : {"src=", "@import", "url(", "<link rel=\"stylesheet\"", "innerHTML"})
    EXPECT_EQ(page.find(outside), page.npos) << outside;
  EXPECT_EQ(page.find("{{"), page.npos);
  EXPECT_NE(page.find("Permission is hereby granted"), page.npos);
  EXPECT_NE(page.find("default-src 'none'"), page.npos);
}

}  // namespace
}  // namespace metarm

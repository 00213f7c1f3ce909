#include "metarm/base/journal.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "metarm/base/error.h"
#include "metarm/base/file.h"
#include "tests/support/error_of.h"
#include "tests/support/temporary_folder.h"

namespace metarm {
namespace {

struct Folder {
  TemporaryFolder folder;
  std::string path = folder / "kept.jsonl";

  std::vector<std::string> rows() const {
    std::vector<std::string> rows;
    Journal journal(path,
                    [&](const JsonRow& row) { rows.push_back(row.where().substr(folder.path().size() + 1) + " " + row.value.dump()); });
    return rows;
  }
  void add(std::string_view bytes) const { std::ofstream(path, std::ios::app) << bytes; }
};

TEST(Journal, KeepsWhatWasAdded) {
  const Folder folder;
  {
    Journal journal(folder.path, [](const JsonRow&) { FAIL(); });
    journal.append({{"text", "two\nlines"}});
    EXPECT_EQ(read_file(folder.path), "{\"text\":\"two\\nlines\"}\n");  // before it is closed: a kill loses nothing
    journal.append({{"n", 1}});
  }
  EXPECT_EQ(folder.rows(), (std::vector<std::string>{R"(kept.jsonl:1 {"text":"two\nlines"})", R"(kept.jsonl:2 {"n":1})"}));
}

TEST(Journal, CutsATornLineOff) {
  const Folder folder;
  for (const char* torn : {"{\"n\": 2", "{\"n\": 2}", "{"}) {
    folder.add("{\"n\":1}\n");
    folder.add(torn);
    EXPECT_EQ(folder.rows().size(), 1U);
    {
      Journal journal(folder.path, [](const JsonRow&) {});
      journal.append({{"n", 3}});
    }
    EXPECT_EQ(read_file(folder.path), "{\"n\":1}\n{\"n\":3}\n");
    std::filesystem::remove(folder.path);
  }
}

TEST(Journal, OtherDamageIsAnErrorThatNamesTheLine) {
  for (const char* bad : {"{\"n\": \n", "[]\n", "\n", "\xff\n", "chosen\nno end"}) {
    const Folder folder;
    folder.add("{\"n\":1}\n");
    folder.add(bad);
    const std::string before = read_file(folder.path);
    EXPECT_NE(error_of([&] { folder.rows(); }).find("kept.jsonl:2: expected"), std::string::npos) << bad;
    EXPECT_EQ(read_file(folder.path), before) << "another's file was changed";
  }
  const Folder folder;
  folder.add("{\"another\": \"file\"}");
  EXPECT_NE(error_of([&] { folder.rows(); }).find("remove the file"), std::string::npos);
  EXPECT_EQ(read_file(folder.path), "{\"another\": \"file\"}");
}

TEST(Journal, OneAtATime) {
  const Folder folder;
  const auto open = [&] { Journal journal(folder.path, [](const JsonRow&) {}); };
  {
    Journal journal(folder.path, [](const JsonRow&) {});
    EXPECT_NE(error_of(open).find("expected no other process"), std::string::npos);
    journal.append({{"n", 1}});
    journal.remove();
    EXPECT_EQ(error_of(open), "none");  // another file by now
  }
  EXPECT_EQ(error_of(open), "none");
}

TEST(Journal, LeavesNoEmptyFile) {
  const Folder folder;
  EXPECT_TRUE(folder.rows().empty());
  EXPECT_FALSE(std::filesystem::exists(folder.path));
}

TEST(Journal, SaysWhatItCannotWrite) {
  const Folder folder;
  std::filesystem::create_directory(folder.path);
  EXPECT_NE(error_of([&] { folder.rows(); }).find("kept.jsonl: expected to write"), std::string::npos);
  EXPECT_NE(error_of([] { Journal journal("/nowhere/at/all", [](const JsonRow&) {}); }).find("/nowhere/at/all: expected to write"),
            std::string::npos);
}

}  // namespace
}  // namespace metarm

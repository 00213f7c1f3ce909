#include "metarm/shift/rm_versions.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <thread>

#include "metarm/base/error.h"
#include "metarm/base/file.h"
#include "metarm/base/random.h"
#include "tests/shift/child.h"
#include "tests/support/error_of.h"
#include "tests/support/temporary_folder.h"

namespace metarm {
namespace {

namespace fs = std::filesystem;

// A folder with the files of a checkpoint, of which each says `text`.
std::string make_checkpoint(const std::string& path, const std::string& text) {
  fs::create_directories(path + "/sub");
  for (const char* name : {"/config.json", "/model.safetensors", "/sub/more"}) std::ofstream(path + name) << text;
  return path;
}

RmVersion admitted(std::int64_t parent = 0) {
  RmVersion version;
  version.parent = parent;
  version.admitted = true;
  return version;
}

struct RmVersionsTest : testing::Test {
  TemporaryFolder folder;
  std::string place = folder / "rm";

  RmVersion first(RmVersions& versions) {
    RmVersion version = admitted();
    version.checkpoint = make_checkpoint(folder / "original", "original");
    return versions.add_outside(version);
  }
};

TEST_F(RmVersionsTest, KeepsWhatIsKnownOfEachVersion) {
  {
    RmVersions versions(place);
    EXPECT_FALSE(versions.current());
    EXPECT_EQ(first(versions).number, 1);
    versions.make_current(1);
    RmVersion next = admitted(1);
    next.admitted = false;
    next.reasons = {"rejected: accuracy", "scale kept"};
    next.measures = {{"accuracy", 0.625}};
    next.map = {0.3, -1.75};
    EXPECT_EQ(versions.add(make_checkpoint(folder / "run", "second"), next).number, 2);
  }
  EXPECT_FALSE(fs::exists(folder / "run"));
  const RmVersions versions(place);
  ASSERT_EQ(versions.all().size(), 2U);
  EXPECT_EQ(versions.current()->number, 1);
  EXPECT_EQ(versions.version(1).checkpoint, folder / "original");
  EXPECT_EQ(versions.version(1).parent, 0);
  const RmVersion second = versions.version(2);
  EXPECT_EQ(second.parent, 1);
  EXPECT_FALSE(second.admitted);
  EXPECT_EQ(second.reasons, (std::vector<std::string>{"rejected: accuracy", "scale kept"}));
  EXPECT_EQ(second.measures, (Json{{"accuracy", 0.625}}));
  EXPECT_EQ(second.map.scale, 0.3);
  EXPECT_EQ(second.map.offset, -1.75);
  EXPECT_EQ(second.checkpoint, place + "/versions/0002");
  EXPECT_EQ(read_file(second.checkpoint + "/sub/more"), "second");
  EXPECT_EQ(second.created.size(), std::string("2026-01-31T12:00:00Z").size());
}

TEST_F(RmVersionsTest, GoesForwardAndBackAmongAdmittedOnes) {
  RmVersions versions(place);
  first(versions);
  versions.add(make_checkpoint(folder / "run", "second"), admitted(1));
  RmVersion rejected = admitted(2);
  rejected.admitted = false;
  versions.add(make_checkpoint(folder / "run", "third"), rejected);
  for (const std::int64_t number : {1, 2, 1, 2}) {
    versions.make_current(number);
    EXPECT_EQ(versions.current()->number, number);
  }
  EXPECT_EQ(read_file(place + "/current/config.json"), "second");  // for other tools
  EXPECT_NE(error_of([&] { versions.make_current(3); }).find("expected an admitted version to serve, got 3, which was rejected"),
            std::string::npos);
  EXPECT_NE(error_of([&] { versions.make_current(4); }).find("expected a version of 1 to 3, got 4"), std::string::npos);
  fs::remove_all(folder / "original");
  EXPECT_NE(error_of([&] { versions.make_current(1); }).find("expected the checkpoint of version 1, got no folder"), std::string::npos);
  EXPECT_EQ(versions.current()->number, 2);
}

TEST_F(RmVersionsTest, RemovesWhatAKillLeftAndKeepsTheRest) {
  {
    RmVersions versions(place);
    first(versions);
    versions.make_current(1);
  }
  fs::create_directories(place + "/versions/0002.tmp-123-0");
  fs::create_symlink("versions/0002", place + "/current.tmp-123-0");
  RmVersions versions(place);
  EXPECT_EQ(versions.all().size(), 1U);
  EXPECT_EQ(versions.current()->number, 1);
  EXPECT_FALSE(fs::exists(fs::symlink_status(place + "/current.tmp-123-0")));
  EXPECT_FALSE(fs::exists(place + "/versions/0002.tmp-123-0"));
}

TEST_F(RmVersionsTest, NobodyElseReadsANewFolder) {
  for (const std::string& name : {std::string("/deep/er/state"), std::string("/state/")}) {
    const RmVersions versions(place + name);
    EXPECT_EQ(fs::status(place + name).permissions(), fs::perms::owner_all) << name;
  }
}

TEST_F(RmVersionsTest, SaysWhatIsWrong) {
  RmVersions versions(place);
  EXPECT_NE(error_of([&] { RmVersions other(place); }).find("got one that does; stop it, or name another folder"), std::string::npos);
  EXPECT_NE(error_of([&] { versions.add(folder / "none", admitted()); }).find("expected a folder with a checkpoint"), std::string::npos);
  const TemporaryFolder broken;
  fs::create_directories(broken / "versions/0001");
  std::ofstream(broken / "versions/0001/manifest.json") << R"({"parent": null, "created": "x", "admitted": 1})";
  EXPECT_NE(error_of([&] { RmVersions read(broken.path()); }).find("manifest.json: admitted: expected true or false, got number"),
            std::string::npos);
}

// Adds versions and makes each current, until it is killed; says which one is current.
int add_until_killed(const std::string& folder, int output) {
  RmVersions versions(folder + "/rm");
  for (;;) {
    const std::int64_t next = static_cast<std::int64_t>(versions.all().size()) + 1;
    const std::string run = folder + "/run";
    fs::remove_all(run);
    versions.add(make_checkpoint(run, fmt::format("{}", next)), admitted(next - 1));
    versions.make_current(next);
    const std::string said = fmt::format("{}\n", next);
    if (write(output, said.data(), said.size()) < 0) return 1;
  }
}

TEST_F(RmVersionsTest, AKillNeverLeavesAHalfVersionCurrent) {
  RandomStream random(4, "kill times");
  std::int64_t said = 0;
  for (int life = 0; life < 25; ++life) {
    Child child([&](int output) { return add_until_killed(folder.path(), output); });
    std::string lines;
    if (life % 5 != 4) lines = child.read_some();  // every fifth may be killed before its first
    std::this_thread::sleep_for(std::chrono::microseconds(random.below(60'000)));
    child.kill();
    lines += child.read_all();
    if (!lines.empty()) said = std::stoll(lines.substr(lines.rfind('\n', lines.size() - 2) + 1));
    const RmVersions versions(place);
    const std::int64_t current = versions.current() ? versions.current()->number : 0;
    ASSERT_GE(current, said) << "what was made current is not";
    for (const RmVersion& version : versions.all())
      for (const char* name : {"/config.json", "/model.safetensors", "/sub/more"})
        ASSERT_EQ(read_file(version.checkpoint + name), fmt::format("{}", version.number));
    said = current;
  }
  EXPECT_GE(said, 20);
}

}  // namespace
}  // namespace metarm

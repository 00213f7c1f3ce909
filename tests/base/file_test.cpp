#include "metarm/base/file.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "metarm/base/error.h"
#include "tests/support/temporary_folder.h"

namespace metarm {
namespace {

namespace fs = std::filesystem;

std::size_t count_entries(const std::string& folder) {
  return static_cast<std::size_t>(std::distance(fs::directory_iterator(folder), fs::directory_iterator()));
}

TEST(AtomicFile, AppearsAtCommitOnly) {
  TemporaryFolder folder;
  {
    AtomicFile file(folder / "a.txt");
    file.write("one\n");
    EXPECT_FALSE(fs::exists(folder / "a.txt"));
    file.commit();
  }
  EXPECT_EQ(read_file(folder / "a.txt"), "one\n");
  EXPECT_EQ(count_entries(folder.path()), 1u);
}

TEST(AtomicFile, WithoutCommitLeavesWhatWasThere) {
  TemporaryFolder folder;
  write_file(folder / "a.txt", "before");
  { AtomicFile(folder / "a.txt").write("half"); }
  EXPECT_EQ(read_file(folder / "a.txt"), "before");
  EXPECT_EQ(count_entries(folder.path()), 1u);
}

TEST(AtomicFile, MissingFolderIsAnErrorThatNamesThePath) {
  TemporaryFolder folder;
  try {
    AtomicFile file(folder / "none/a.txt");
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("none/a.txt"), std::string::npos) << error.what();
  }
}

TEST(AtomicDirectory, AppearsAtCommitOnly) {
  TemporaryFolder folder;
  {
    AtomicDirectory directory(folder / "out");
    write_file(directory.path() + "/a", "x");
    EXPECT_FALSE(fs::exists(folder / "out/a"));
    directory.commit();
  }
  EXPECT_EQ(read_file(folder / "out/a"), "x");
  { AtomicDirectory abandoned(folder / "other"); }
  EXPECT_EQ(count_entries(folder.path()), 1u);
}

TEST(AtomicDirectory, NeverReplacesAFilledFolder) {
  TemporaryFolder folder;
  fs::create_directory(folder / "out");
  { AtomicDirectory empty_is_fine(folder / "out"); }
  write_file(folder / "out/a", "x");
  EXPECT_THROW(AtomicDirectory(folder / "out"), Error);
  EXPECT_EQ(read_file(folder / "out/a"), "x");
}

TEST(Gzip, IsWrittenByNameAndReadByContent) {
  TemporaryFolder folder;
  write_file(folder / "a.gz", "one\ntwo\n");
  fs::copy(folder / "a.gz", folder / "renamed");
  EXPECT_EQ(read_file(folder / "renamed"), "one\ntwo\n");
  std::ifstream raw(folder / "a.gz", std::ios::binary);
  EXPECT_EQ(raw.get(), 0x1f);
}

TEST(Gzip, AtomicFilesPackWhatComesInPieces) {
  TemporaryFolder folder;
  AtomicFile file(folder / "a.gz");
  std::string text;
  for (int i = 0; i < 100000; ++i) {
    const std::string line = fmt::format("line {}\n", i * 7919 % 100003);
    file.write(line);
    text += line;
  }
  file.commit();
  EXPECT_EQ(read_file(folder / "a.gz"), text);
  EXPECT_LT(fs::file_size(folder / "a.gz"), text.size() / 2);
  write_file(folder / "empty.gz", "");
  EXPECT_GT(fs::file_size(folder / "empty.gz"), 0u);
  EXPECT_EQ(read_file(folder / "empty.gz"), "");
}

TEST(Temporaries, AreKnownByTheirNames) {
  TemporaryFolder folder;
  const AtomicFile file(folder / "a.txt");
  const AtomicDirectory directory(folder / "out");
  for (const fs::directory_entry& entry : fs::directory_iterator(folder.path())) EXPECT_TRUE(is_temporary(entry.path().string()));
  for (const char* name : {"a.txt", "a.tmp-", "a.tmp-12", "a.tmp-12-", "a.tmp-12-x", "a.tmp-12-3.txt", "tmp-1-2"})
    EXPECT_FALSE(is_temporary(name)) << name;
}

TEST(Temporaries, UnfinishedOnesAreRemovedOnRequest) {
  TemporaryFolder folder;
  AtomicFile done(folder / "done.txt"), unfinished(folder / "unfinished.txt");
  const AtomicDirectory directory(folder / "out");
  write_file(directory.path() + "/a", "x");
  done.commit();
  remove_unfinished_outputs();
  EXPECT_EQ(count_entries(folder.path()), 1u);
  EXPECT_TRUE(fs::exists(folder / "done.txt"));
}

std::string bytes_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

TEST(Gzip, MembersFollowOneAnother) {
  TemporaryFolder folder;
  std::string large;
  for (int i = 0; i < 200000; ++i) large += fmt::format("{}\n", i * 7919 % 100003);
  write_file(folder / "a.gz", "one\n");
  write_file(folder / "b.gz", large);
  write_file(folder / "empty.gz", "");
  const std::string one = bytes_of(folder / "a.gz"), other = bytes_of(folder / "b.gz"), empty = bytes_of(folder / "empty.gz");
  const auto read = [&](const std::string& bytes) {
    std::ofstream(folder / "joined", std::ios::binary) << bytes;
    return read_file(folder / "joined");
  };
  EXPECT_EQ(read(one + other + empty + one), "one\n" + large + "one\n");
  EXPECT_EQ(read(one + std::string(100000, '\0')), "one\n");
  EXPECT_EQ(read(""), "");
  EXPECT_EQ(read("\x1f"), "\x1f");
  // zlib's own reader ends a file in silence where a later member's header is damaged.
  std::string damaged = one;
  damaged[1] ^= 1;
  for (const std::string& rest :
       {damaged, std::string("x"), std::string("junkjunk"), one.substr(0, 1), one.substr(0, 5), std::string(9, '\0') + "x"})
    EXPECT_THROW(read(one + rest), Error) << rest.size();
  std::string flipped = one;
  flipped[flipped.size() - 6] ^= 1;
  EXPECT_THROW(read(flipped), Error);
}

TEST(Gzip, CutOffIsAnError) {
  TemporaryFolder folder;
  write_file(folder / "a.gz", std::string(10000, 'x') + "end");
  fs::resize_file(folder / "a.gz", fs::file_size(folder / "a.gz") / 2);
  EXPECT_THROW(read_file(folder / "a.gz"), Error);
}

TEST(Lines, EndsAndNumbers) {
  TemporaryFolder folder;
  write_file(folder / "a", "one\r\n\nthree");
  std::vector<std::pair<std::string, std::int64_t>> lines;
  for_each_line(folder / "a", [&](std::string_view line, std::int64_t number) { lines.emplace_back(line, number); });
  EXPECT_EQ(lines, (std::vector<std::pair<std::string, std::int64_t>>{{"one", 1}, {"", 2}, {"three", 3}}));
}

TEST(MappedFile, EmptyFileIsAnEmptySpan) {
  TemporaryFolder folder;
  write_file(folder / "a", "");
  EXPECT_TRUE(MappedFile(folder / "a").bytes().empty());
  EXPECT_THROW(MappedFile(folder / "none"), Error);
}

}  // namespace
}  // namespace metarm

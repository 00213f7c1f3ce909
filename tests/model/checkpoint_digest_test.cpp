// A digest is of every file that decides a score, those of an adapter's base and of an ensemble's members too.
#include "metarm/model/checkpoint_digest.h"

#include <gtest/gtest.h>

#include <array>
#include <filesystem>

#include "metarm/base/file.h"
#include "tests/support/temporary_folder.h"

namespace metarm {
namespace {

TEST(CheckpointDigest, IsOfTheBaseAndOfTheMembersToo) {
  const TemporaryFolder folder;
  for (const char* name : {"base", "adapter", "other", "ensemble"}) std::filesystem::create_directory(folder / name);
  write_file(folder / "base/model.safetensors", "weights");
  write_file(folder / "other/model.safetensors", "others");
  write_file(folder / "adapter/adapter_config.json", R"({"base_model_name_or_path": "../base"})");
  write_file(folder / "ensemble/ensemble.json",
             R"({"aggregate": "mean", "members": [{"directory": "../adapter"}, {"directory": "../other"}]})");
  const auto digests = [&] {
    return std::array{digest_checkpoint(folder / "other"), digest_checkpoint(folder / "adapter"), digest_checkpoint(folder / "ensemble")};
  };
  const auto before = digests();
  EXPECT_EQ(digests(), before);
  write_file(folder / "base/notes.md", "decides nothing");
  EXPECT_EQ(digests(), before);
  write_file(folder / "base/model.safetensors", "changed");
  const auto after = digests();
  EXPECT_EQ(after[0], before[0]);
  EXPECT_NE(after[1], before[1]);
  EXPECT_NE(after[2], before[2]);
}

}  // namespace
}  // namespace metarm

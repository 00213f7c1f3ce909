// What counts as another call of the same command.
#include "metarm/base/resolved_options.h"

#include <gtest/gtest.h>

namespace metarm {
namespace {

TEST(ResolvedOptions, WhatChangesNoResultIsNoDifference) {
  const std::string then = "# metarm train\nlr = 0.1\nquiet = false\nthreads = 1\nold = 2\n";
  EXPECT_EQ(find_difference(then, then), "");
  EXPECT_EQ(find_difference(then, "# metarm train\nlr = 0.1\nquiet = true\nthreads = 4\nnew = 3\n"), "");
  EXPECT_EQ(find_difference(then, "# metarm train\nlr = 0.2\nquiet = false\n"), "lr = 0.2 instead of 0.1");
  EXPECT_EQ(find_difference(then, "# metarm sft\nlr = 0.1\n"), "metarm sft");
  EXPECT_EQ(find_difference("python train.py 1", "python train.py 2"), "python train.py 2");
}

TEST(ResolvedOptions, AreKeysAndValues) {
  EXPECT_EQ(parse_resolved("# metarm train\nname = \"a = b\"\nlist = [1, 2]\n"),
            (std::map<std::string, std::string>{{"name", "\"a = b\""}, {"list", "[1, 2]"}}));
}

}  // namespace
}  // namespace metarm

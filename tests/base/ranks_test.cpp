#include "metarm/base/ranks.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "metarm/base/error.h"

namespace metarm {
namespace {

TEST(Parts, CoverTheVectorOnceAtMultiplesOf64) {
  for (const std::int64_t total : {0, 1, 63, 64, 65, 1000, 100000})
    for (const int size : {1, 2, 3, 7}) {
      std::int64_t end = 0;
      for (int rank = 0; rank < size; ++rank) {
        const Part part = part_of(total, rank, size);
        EXPECT_EQ(part.begin, end);
        EXPECT_TRUE(part.begin % 64 == 0 || part.begin == total);
        end = part.end;
      }
      EXPECT_EQ(end, total);
    }
}

TEST(Rows, FallToOneRankEachAndCostsAreNear) {
  const std::vector<std::int64_t> costs = {900, 100, 500, 400, 300, 100, 300, 200};
  for (const int size : {1, 2, 3}) {
    std::vector<int> taken(costs.size(), 0);
    std::vector<std::int64_t> loads;
    for (int rank = 0; rank < size; ++rank) {
      std::int64_t load = 0;
      const std::vector<std::int64_t> rows = rows_of_rank(costs, rank, size);
      EXPECT_TRUE(std::ranges::is_sorted(rows));
      for (const std::int64_t row : rows) {
        ++taken[static_cast<std::size_t>(row)];
        load += costs[static_cast<std::size_t>(row)];
      }
      loads.push_back(load);
    }
    EXPECT_TRUE(std::ranges::all_of(taken, [](int times) { return times == 1; }));
    EXPECT_LE(std::ranges::max(loads) - std::ranges::min(loads), 100);
  }
}

TEST(Rows, AreFewerThanRanks) {
  const std::vector<std::int64_t> costs = {5, 9};
  EXPECT_EQ(rows_of_rank(costs, 0, 3), std::vector<std::int64_t>{1});
  EXPECT_EQ(rows_of_rank(costs, 1, 3), std::vector<std::int64_t>{0});
  EXPECT_TRUE(rows_of_rank(costs, 2, 3).empty());
}

TEST(ConsecutiveRows, CoverAllOnceAndCostsAreNear) {
  const std::vector<std::int64_t> costs = {10, 10, 80, 10, 10, 10, 10, 10, 10, 40};
  for (const int size : {1, 2, 4, 20}) {
    std::int64_t end = 0;
    for (int rank = 0; rank < size; ++rank) {
      const Part rows = consecutive_rows_of_rank(costs, rank, size);
      EXPECT_EQ(rows.begin, end);
      end = rows.end;
    }
    EXPECT_EQ(end, 10);
  }
  EXPECT_EQ(consecutive_rows_of_rank(costs, 0, 2).end, 3);
}

TEST(OneRank, HasAllWithoutAnyOther) {
  const std::unique_ptr<Ranks> ranks = make_single_rank();
  EXPECT_TRUE(ranks->first());
  EXPECT_EQ(ranks->size(), 1);
  EXPECT_GE(ranks->cores(), 1);
  EXPECT_EQ(ranks->gather_to_first("text"), std::vector<std::string>{"text"});
}

TEST(Ranks, WithoutMpiAreAnErrorThatSaysSo) {
  if (METARM_MPI) GTEST_SKIP() << "this build has MPI";
  try {
    make_mpi_ranks(2);
    FAIL() << "expected an error";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::input);
    EXPECT_NE(std::string(error.what()).find("built without MPI"), std::string::npos);
  }
}

}  // namespace
}  // namespace metarm

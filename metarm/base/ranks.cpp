#include "metarm/base/ranks.h"

#include <algorithm>
#include <functional>
#include <numeric>
#include <thread>

#include "metarm/base/error.h"

namespace metarm {

Part part_of(std::int64_t total, int rank, int size) {
  constexpr std::int64_t kBlock = 64;
  const std::int64_t blocks = (total + kBlock - 1) / kBlock, length = (blocks + size - 1) / size * kBlock;
  return {std::min(total, rank * length), std::min(total, (rank + 1) * length)};
}

std::vector<std::int64_t> rows_of_rank(std::span<const std::int64_t> costs, int rank, int size) {
  std::vector<std::int64_t> order(costs.size());
  std::iota(order.begin(), order.end(), 0);
  std::ranges::stable_sort(order, std::greater<>{}, [&](std::int64_t row) { return costs[static_cast<std::size_t>(row)]; });
  std::vector<std::int64_t> load(static_cast<std::size_t>(size), 0), rows;
  for (const std::int64_t row : order) {
    const auto least = std::ranges::min_element(load);
    *least += costs[static_cast<std::size_t>(row)];
    if (least - load.begin() == rank) rows.push_back(row);
  }
  std::ranges::sort(rows);
  return rows;
}

Part consecutive_rows_of_rank(std::span<const std::int64_t> costs, int rank, int size) {
  const std::int64_t total = std::accumulate(costs.begin(), costs.end(), std::int64_t{0});
  // A row is its rank's in whose share of the costs its middle lies.
  Part rows{0, 0};
  std::int64_t before = 0;
  for (const std::int64_t cost : costs) {
    const std::int64_t owner = total > 0 ? std::min<std::int64_t>((2 * before + cost) * size / (2 * total), size - 1) : 0;
    rows.begin += owner < rank;
    rows.end += owner <= rank;
    before += cost;
  }
  return rows;
}

namespace {

class SingleRank : public Ranks {
 public:
  int rank() const override { return 0; }
  int size() const override { return 1; }
  std::int64_t cores() const override { return std::max(1U, std::thread::hardware_concurrency()); }
  void sum(std::span<double>) override {}
  void start_sum(std::span<float>, int) override {}
  void wait() override {}
  void drop_sums() override {}
  void gather_parts(std::span<float>) override {}
  void gather_to_first(std::span<const float> part, std::span<float> whole) override { std::ranges::copy(part, whole.begin()); }
  std::vector<std::string> gather_to_first(const std::string& text) override { return {text}; }
  void barrier() override {}
  bool claim_report() override { return true; }
  void end_all(int) override {}
};

}  // namespace

std::unique_ptr<Ranks> make_single_rank() { return std::make_unique<SingleRank>(); }

}  // namespace metarm

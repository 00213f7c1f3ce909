// Which rows a step takes: a function of (seed, step), so that a resumed run continues where it stopped.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace metarm {

// `size` rows of as many, at least one, drawn with replacement.
std::vector<std::int64_t> draw_with_replacement(std::int64_t size, std::uint64_t seed);

class DataOrder {
 public:
  // `size` rows, at least one; each epoch in an order of its own, or as given. `purpose` keeps orders of one seed apart.
  DataOrder(std::int64_t size, std::uint64_t seed, std::string purpose, bool shuffle);

  std::int64_t steps_per_epoch(std::int64_t batch_size) const { return (size_ + batch_size - 1) / batch_size; }
  // Batch `step` of epochs laid end to end; the last batch of an epoch may be smaller.
  std::vector<std::int64_t> batch(std::int64_t step, std::int64_t batch_size);
  // Rows [step * count, (step + 1) * count) of the endless stream of epochs: always `count` rows.
  std::vector<std::int64_t> stream(std::int64_t step, std::int64_t count);

 private:
  std::int64_t at(std::int64_t epoch, std::int64_t position);

  std::int64_t size_;
  std::uint64_t seed_;
  std::string purpose_;
  bool shuffle_;
  std::int64_t order_epoch_ = -1;
  std::vector<std::int64_t> order_;  // of order_epoch_
};

}  // namespace metarm

#include "metarm/train/data_order.h"

#include <algorithm>
#include <utility>

#include "metarm/base/random.h"

namespace metarm {

std::vector<std::int64_t> draw_with_replacement(std::int64_t size, std::uint64_t seed) {
  RandomStream random(seed, "bootstrap pairs");
  std::vector<std::int64_t> rows;
  for (std::int64_t i = 0; i < size; ++i) rows.push_back(static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(size))));
  return rows;
}

DataOrder::DataOrder(std::int64_t size, std::uint64_t seed, std::string purpose, bool shuffle)
    : size_(size), seed_(seed), purpose_(std::move(purpose)), shuffle_(shuffle) {}

std::int64_t DataOrder::at(std::int64_t epoch, std::int64_t position) {
  if (!shuffle_) return position;
  if (epoch != order_epoch_) {
    order_ = permutation(size_, RandomStream(seed_, purpose_, static_cast<std::uint64_t>(epoch)));
    order_epoch_ = epoch;
  }
  return order_[static_cast<std::size_t>(position)];
}

std::vector<std::int64_t> DataOrder::batch(std::int64_t step, std::int64_t batch_size) {
  const std::int64_t epoch = step / steps_per_epoch(batch_size), begin = step % steps_per_epoch(batch_size) * batch_size;
  std::vector<std::int64_t> rows;
  for (std::int64_t i = begin; i < std::min(begin + batch_size, size_); ++i) rows.push_back(at(epoch, i));
  return rows;
}

std::vector<std::int64_t> DataOrder::stream(std::int64_t step, std::int64_t count) {
  std::vector<std::int64_t> rows;
  for (std::int64_t i = step * count; i < (step + 1) * count; ++i) rows.push_back(at(i / size_, i % size_));
  return rows;
}

}  // namespace metarm

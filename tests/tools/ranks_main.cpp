// Run as `mpirun -n R ranks R`: what the seam and the bucketed gradient sum promise, checked on every rank. Ends 1 with a line for the
// first promise that is broken.
#include <ATen/ATen.h>
#include <fmt/format.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "metarm/base/error.h"
#include "metarm/base/ranks.h"
#include "metarm/train/gradient_sum.h"
#include "metarm/train/share.h"

namespace metarm {
namespace {

void expect(bool holds, const std::string& what) {
  if (!holds) fail_internal("{}", what);
}

void check_parts(Ranks& ranks, std::int64_t total) {
  std::vector<float> whole(static_cast<std::size_t>(total), -1.0F);
  const Part part = part_of(total, ranks.rank(), ranks.size());
  for (std::int64_t i = part.begin; i < part.end; ++i) whole[static_cast<std::size_t>(i)] = static_cast<float>(i);
  std::vector<float> first(ranks.first() ? whole.size() : 0);
  ranks.gather_to_first(std::span(whole).subspan(static_cast<std::size_t>(part.begin), static_cast<std::size_t>(part.size())), first);
  ranks.gather_parts(whole);
  for (std::size_t i = 0; i < whole.size(); ++i)
    expect(whole[i] == static_cast<float>(i), fmt::format("gather_parts of {} at {}", total, i));
  expect(!ranks.first() || first == whole, fmt::format("gather_to_first of {}", total));
}

void check_figures(Ranks& ranks) {
  std::array<double, 2> values = {1.0, static_cast<double>(ranks.rank())};
  ranks.sum(values);
  expect(values[0] == ranks.size() && values[1] == ranks.size() * (ranks.size() - 1) / 2.0, "sum");
  const std::vector<std::string> texts = ranks.gather_to_first(std::string(static_cast<std::size_t>(ranks.rank()) * 1000, 'x'));
  expect(texts.size() == (ranks.first() ? static_cast<std::size_t>(ranks.size()) : 0), "texts are the first rank's");
  for (std::size_t r = 0; r < texts.size(); ++r) expect(texts[r].size() == r * 1000, "texts in order");
}

// Leaves of ten sizes; a loss whose gradient is (rank + 1) times the leaf's place in each element. One rank may have no rows.
void check_gradient(Ranks& ranks, std::int64_t bucket, int idle_rank) {
  std::vector<TensorInfo> infos;
  for (std::int64_t i = 0; i < 10; ++i) infos.push_back({fmt::format("w{}", i), {i * i * 7 + 1, 3}, true});
  FlatTensors master(infos, at::kFloat, at::kCPU);
  Trainable trainable(master, at::kFloat, false);
  at::Tensor gradient = at::zeros_like(master.flat());
  GradientSum sum(ranks, trainable, gradient, bucket);
  double factor = 0;
  for (int r = 0; r < ranks.size(); ++r) factor += r == idle_rank ? 0 : 2.0 * (r + 1);
  if (ranks.rank() != idle_rank)
    for (const bool last : {false, true}) {  // two passes: the first only accumulates
      at::Tensor loss = at::zeros({});
      for (std::size_t i = 0; i < 10; ++i) loss = loss + trainable.leaves()[i].sum() * static_cast<double>(i) * (ranks.rank() + 1.0);
      if (last) sum.before_last_pass();
      loss.backward();
    }
  sum.finish();
  const Share share(ranks, gradient.numel());
  const at::Tensor whole = share.whole(share.own(gradient));
  for (std::size_t i = 0; i < 10; ++i) {
    const at::Tensor of_leaf = whole.narrow(0, master.offset(i), master.tensor(i).numel());
    expect(of_leaf.eq(factor * static_cast<double>(i)).all().item<bool>(), fmt::format("gradient of leaf {} in buckets of {}", i, bucket));
    expect(!trainable.leaves()[i].grad().defined(), "leaves are cleared");
  }
  const at::Tensor first = share.whole_on_first(share.own(gradient));
  expect(ranks.first() ? first.equal(whole) : !first.defined(), "whole_on_first");
  expect(std::abs(share.length(share.own(gradient)) / whole.norm().item<double>() - 1) < 1e-6, "length");
  const at::Tensor fresh = share.own(whole).clone();
  expect(share.whole(fresh).equal(whole), "whole of a part that is no view");
}

int run(int size) {
  const std::unique_ptr<Ranks> ranks = size > 1 ? make_mpi_ranks(size) : make_single_rank();
  try {
    check_figures(*ranks);
    for (const std::int64_t total : {0, 1, 63, 64, 130, 1000, 3000001}) check_parts(*ranks, total);
    for (const std::int64_t bucket : {7, 64, 1000, 1 << 20})
      for (const int idle : {-1, ranks->size() > 1 ? ranks->size() - 1 : -1}) check_gradient(*ranks, bucket, idle);
    ranks->barrier();
    return 0;
  } catch (const std::exception& error) {
    fmt::print(stderr, "rank {}: {}\n", ranks->rank(), error.what());
    ranks->end_all(1);
    return 1;
  }
}

}  // namespace
}  // namespace metarm

int main(int argc, char** argv) { return metarm::run(argc > 1 ? std::atoi(argv[1]) : 1); }

// Runs a fuzz target over a corpus: replay FOLDER [MUTATIONS]. Each file as it is, then that many damaged copies of it, drawn from a fixed
// seed: cut off, bits flipped, bytes overwritten, pieces repeated. Without libFuzzer, so that every test run can do it.
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <random>
#include <vector>

#include "tests/fuzz/target.h"

namespace {

using Bytes = std::vector<std::uint8_t>;

Bytes read(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

Bytes damage(Bytes bytes, std::mt19937_64& random) {
  const auto below = [&](std::size_t n) { return static_cast<std::size_t>(random() % std::max<std::size_t>(n, 1)); };
  for (std::size_t times = 1 + below(4); times > 0 && !bytes.empty(); --times) {
    const std::size_t at = below(bytes.size());
    const std::size_t length = std::min(bytes.size() - at, 1 + below(32));
    const auto from = bytes.begin() + static_cast<std::ptrdiff_t>(at);
    switch (below(5)) {
      case 0: bytes.resize(at); break;
      case 1: bytes[at] ^= static_cast<std::uint8_t>(1u << below(8)); break;
      case 2: std::generate_n(from, length, [&] { return static_cast<std::uint8_t>(random()); }); break;
      case 3: std::fill_n(from, std::min<std::size_t>(length, 8), below(2) == 0 ? 0xff : 0x00); break;
      default: {
        const Bytes piece(from, from + static_cast<std::ptrdiff_t>(length));
        bytes.insert(bytes.begin() + static_cast<std::ptrdiff_t>(below(bytes.size())), piece.begin(), piece.end());
      }
    }
  }
  return bytes;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) return std::cerr << "replay: expected a folder\n", 2;
  const int mutations = argc > 2 ? std::atoi(argv[2]) : 0;
  std::vector<std::filesystem::path> paths;
  for (const auto& entry : std::filesystem::directory_iterator(argv[1])) paths.push_back(entry.path());
  std::ranges::sort(paths);
  if (paths.empty()) return std::cerr << argv[1] << ": expected a corpus, got no files\n", 2;
  for (const auto& path : paths) {
    std::cout << path.filename().string() << std::endl;  // flushed: the last one named is the one that failed
    const Bytes bytes = read(path);
    LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
    std::mt19937_64 random(1);
    for (int i = 0; i < mutations; ++i) {
      const Bytes damaged = damage(bytes, random);
      LLVMFuzzerTestOneInput(damaged.data(), damaged.size());
    }
  }
}

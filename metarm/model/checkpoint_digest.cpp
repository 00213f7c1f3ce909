#include "metarm/model/checkpoint_digest.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <set>

#include "metarm/base/file.h"
#include "metarm/base/random.h"
#include "metarm/model/ensemble_config.h"
#include "metarm/model/lora.h"

namespace metarm {

namespace {

namespace fs = std::filesystem;

bool decides_scores(const fs::path& file) {
  static const std::set<std::string> kTypes = {".json", ".safetensors", ".bin", ".pt", ".jinja", ".txt"};
  if (file.filename() == "manifest.json") return false;  // of shift/rm_versions.h: about the checkpoint, not of it
  return fs::is_regular_file(file) && kTypes.contains(file.extension().string());
}

}  // namespace

// Four lanes, since each step of one waits for the one before.
std::uint64_t digest_bytes(std::span<const std::byte> bytes) {
  constexpr std::size_t kWord = sizeof(std::uint64_t), kLanes = 4;
  std::array<std::uint64_t, kLanes> lanes = {1, 2, 3, 4};
  const auto word = [&](std::size_t at) {
    std::uint64_t value = 0;
    std::memcpy(&value, bytes.data() + at, std::min(kWord, bytes.size() - at));
    return value;
  };
  std::size_t at = 0;
  for (; at + kLanes * kWord <= bytes.size(); at += kLanes * kWord)
    for (std::size_t lane = 0; lane < kLanes; ++lane) lanes[lane] = mix64(lanes[lane] ^ word(at + lane * kWord));
  for (; at < bytes.size(); at += kWord) lanes[0] = mix64(lanes[0] ^ word(at));
  std::uint64_t digest = bytes.size();
  for (const std::uint64_t lane : lanes) digest = mix64(digest ^ lane);
  return digest;
}

std::string digest_checkpoint(const std::string& directory) {
  std::set<fs::path> files;
  for (const fs::directory_entry& entry : fs::directory_iterator(directory))
    if (decides_scores(entry.path())) files.insert(entry.path());
  std::uint64_t digest = 1;
  for (const fs::path& file : files) {
    const std::string name = file.filename().string();
    digest = mix64(digest ^ digest_bytes(std::as_bytes(std::span(name))));
    digest = mix64(digest ^ digest_bytes(MappedFile(file.string()).bytes()));
  }
  const auto add = [&](const std::string& other) {
    const std::string of_other = digest_checkpoint(other);
    digest = mix64(digest ^ digest_bytes(std::as_bytes(std::span(of_other))));
  };
  if (is_adapter(directory)) add(adapter_base(directory));
  if (is_ensemble(directory))
    for (const EnsembleConfig::Member& member : load_ensemble_config(directory).members) add(member.directory);
  return fmt::format("{:016x}", digest);
}

}  // namespace metarm

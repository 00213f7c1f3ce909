#include "metarm/shift/rm_versions.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <utility>

#include "metarm/base/error.h"
#include "metarm/base/file.h"
#include "metarm/base/wall_clock.h"

namespace metarm {

namespace {

namespace fs = std::filesystem;
constexpr const char* kManifest = "/manifest.json";

std::string name_of(std::int64_t number) { return fmt::format("{:04}", number); }

// 0: not a version's name.
std::int64_t number_of(const std::string& name) {
  if (name.size() < 4 || name.size() > 15 || name.find_first_not_of("0123456789") != std::string::npos) return 0;
  const std::int64_t number = std::stoll(name);
  return name == name_of(number) ? number : 0;
}

void move(const std::string& from, const std::string& to) {
  if (rename(from.c_str(), to.c_str()) == 0) return;
  fail_io("{}: expected to move it to {}, got: {}{}", from, to, std::strerror(errno),
          errno == EXDEV ? "; make it on the file system of the versions" : "");
}

void sync_tree(const std::string& directory) {
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator(directory))
    if (entry.is_regular_file() || entry.is_directory()) sync_directory(entry.path().string());
  sync_directory(directory);
}

Json manifest_of(const RmVersion& version, const std::string& own_folder) {
  Json manifest = {{"parent", nullptr},
                   {"created", version.created},
                   {"admitted", version.admitted},
                   {"reasons", version.reasons},
                   {"measures", version.measures},
                   {"reward_scale", version.map.scale},
                   {"reward_offset", version.map.offset}};
  if (version.parent != 0) manifest["parent"] = version.parent;
  if (version.checkpoint != own_folder) manifest["checkpoint"] = version.checkpoint;
  return manifest;
}

bool flag_field(const Json& object, const char* field, const std::string& where) {
  const Json& value = require_field(object, field, where);
  if (!value.is_boolean()) fail_input("{}: {}: expected true or false, got {}", where, field, json_type_name(value));
  return value.get<bool>();
}

}  // namespace

RmVersions::RmVersions(const std::string& folder) : folder_(fs::absolute(folder).lexically_normal().string()) {
  std::error_code error;
  if (folder_.ends_with('/')) folder_.pop_back();
  fs::create_directories(fs::path(folder_).parent_path(), error);
  mkdir(folder_.c_str(), 0700);  // where it is there already, the next line says whether it can be used
  fs::create_directories(folder_ + "/versions", error);
  if (error) fail_io("{}: expected to make this folder, got: {}", folder_, error.message());
  lock_ = open((folder_ + "/lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (lock_ < 0) fail_io("{}/lock: expected to write, got: {}", folder_, std::strerror(errno));
  try {
    if (flock(lock_, LOCK_EX | LOCK_NB) != 0)
      fail_input("{}: expected no other process to use it, got one that does; stop it, or name another folder", folder_);
    remove_leftovers();
    for (const fs::directory_entry& entry : fs::directory_iterator(folder_ + "/versions"))
      if (const std::int64_t number = number_of(entry.path().filename().string()); number != 0) versions_.push_back(load(number));
  } catch (...) {
    close(lock_);
    throw;
  }
  std::sort(versions_.begin(), versions_.end(), [](const RmVersion& a, const RmVersion& b) { return a.number < b.number; });
}

RmVersions::~RmVersions() { close(lock_); }

std::string RmVersions::path_of(std::int64_t number) const { return folder_ + "/versions/" + name_of(number); }

void RmVersions::remove_leftovers() {
  for (const std::string& place : {folder_, folder_ + "/versions"}) {
    std::vector<fs::path> left;
    for (const fs::directory_entry& entry : fs::directory_iterator(place))
      if (is_temporary(entry.path().string())) left.push_back(entry.path());
    for (const fs::path& path : left) fs::remove_all(path);
  }
}

RmVersion RmVersions::load(std::int64_t number) const {
  const std::string path = path_of(number), where = path + kManifest;
  const Json manifest = load_json(where);
  RmVersion version;
  version.number = number;
  if (!require_field(manifest, "parent", where).is_null())
    version.parent = static_cast<std::int64_t>(number_field(manifest, "parent", where));
  version.created = text_field(manifest, "created", where);
  version.admitted = flag_field(manifest, "admitted", where);
  for (const Json& reason : require_field(manifest, "reasons", where))
    version.reasons.push_back(reason.is_string() ? reason.get<std::string>() : reason.dump());
  version.measures = require_field(manifest, "measures", where);
  version.map = {number_field(manifest, "reward_scale", where), number_field(manifest, "reward_offset", where)};
  version.checkpoint = manifest.contains("checkpoint") ? text_field(manifest, "checkpoint", where) : path;
  return version;
}

std::optional<RmVersion> RmVersions::current() const {
  std::error_code none;
  const fs::path target = fs::read_symlink(folder_ + "/current", none);
  if (none) return std::nullopt;
  return version(number_of(target.filename().string()));
}

RmVersion RmVersions::version(std::int64_t number) const {
  const auto found = std::find_if(versions_.begin(), versions_.end(), [&](const RmVersion& version) { return version.number == number; });
  if (found != versions_.end()) return *found;
  fail_input("{}: expected a version of 1 to {}, got {}", folder_, versions_.empty() ? 0 : versions_.back().number, number);
}

void RmVersions::number_and_date(RmVersion& version) const {
  version.number = versions_.empty() ? 1 : versions_.back().number + 1;
  version.created = utc_now();
}

RmVersion RmVersions::add_outside(RmVersion version) {
  number_and_date(version);
  version.checkpoint = fs::absolute(version.checkpoint).lexically_normal().string();
  if (!fs::is_directory(version.checkpoint)) fail_input("{}: expected a folder with a checkpoint, got none", version.checkpoint);
  const std::string path = path_of(version.number);
  AtomicDirectory made(path);
  write_file(made.path() + kManifest, manifest_of(version, path).dump(2) + "\n");
  made.commit();
  return versions_.emplace_back(std::move(version));
}

RmVersion RmVersions::add(const std::string& directory, RmVersion version) {
  if (!fs::is_directory(directory)) fail_input("{}: expected a folder with a checkpoint, got none", directory);
  number_and_date(version);
  const std::string path = path_of(version.number);
  version.checkpoint = path;
  write_file(directory + kManifest, manifest_of(version, path).dump(2) + "\n");
  sync_tree(directory);
  move(directory, path);
  const RmVersion& added = versions_.emplace_back(std::move(version));
  sync_directory(folder_ + "/versions");
  return added;
}

void RmVersions::make_current(std::int64_t number) {
  const RmVersion chosen = version(number);
  if (!chosen.admitted) fail_input("{}: expected an admitted version to serve, got {}, which was rejected", folder_, number);
  if (!fs::is_directory(chosen.checkpoint))
    fail_input("{}: expected the checkpoint of version {}, got no folder", chosen.checkpoint, number);
  const std::string link = fmt::format("{}/current.tmp-{}-0", folder_, getpid());  // a name that is_temporary() knows
  unlink(link.c_str());
  const std::string target = "versions/" + name_of(number);
  if (symlink(target.c_str(), link.c_str()) != 0) fail_io("{}: expected to write, got: {}", link, std::strerror(errno));
  move(link, folder_ + "/current");
  sync_directory(folder_);
}

}  // namespace metarm

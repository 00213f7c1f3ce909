// The versions of a served reward model, on disk:
//
//   FOLDER/versions/0001/manifest.json    where it comes from, what was measured, whether it was admitted and why
//   FOLDER/versions/0002/...              the checkpoint's files beside its manifest
//   FOLDER/current -> versions/0002       the one to serve: other tools may open FOLDER/current where the checkpoint is the version's own
//
// A version appears whole, synced to disk, by one rename, and so does `current`: whenever the process is killed, `current` names a whole,
// admitted version or is what it was. Versions are never changed and never removed here. For one thread at a time.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "metarm/base/json_lines.h"
#include "metarm/shift/guard.h"

namespace metarm {

struct RmVersion {
  std::int64_t number = 0;  // from 1
  std::int64_t parent = 0;  // the version that it was aligned from; 0: none
  std::string created;      // UTC, 2026-01-31T12:00:00Z
  bool admitted = false;
  std::vector<std::string> reasons;  // the guard's, or an operator's
  Json measures = Json::object();    // whatever was measured
  AffineMap map;                     // from the checkpoint's rewards to those served
  std::string checkpoint;            // its folder: the version's own, or an absolute path elsewhere
};

class RmVersions {
 public:
  // Makes the folder where there is none, for its owner alone; removes what a killed process left half done. One process at a time: input
  // error while another has it open. Input error for a version whose manifest cannot be read, io error where the folder cannot be written.
  explicit RmVersions(const std::string& folder);
  RmVersions(const RmVersions&) = delete;
  RmVersions& operator=(const RmVersions&) = delete;
  ~RmVersions();

  const std::vector<RmVersion>& all() const { return versions_; }  // by number
  std::optional<RmVersion> current() const;                        // none: none was made current yet
  RmVersion version(std::int64_t number) const;                    // input error that lists those that there are

  // A version whose checkpoint stays where it is, as the first one's does. `version.checkpoint` says where; number and created are set
  // here.
  RmVersion add_outside(RmVersion version);
  // A version of the checkpoint in `directory`, a finished folder on the same file system, which becomes the version's own. Killed or
  // failed before the end, `directory` is as it was, but for a manifest.json. Input error where it is none.
  RmVersion add(const std::string& directory, RmVersion version);
  // Serves this one from now on, forward or back. Input error for one that was not admitted, or whose checkpoint is gone.
  void make_current(std::int64_t number);

 private:
  std::string path_of(std::int64_t number) const;
  RmVersion load(std::int64_t number) const;
  void remove_leftovers();
  void number_and_date(RmVersion& version) const;

  std::string folder_;
  int lock_ = -1;
  std::vector<RmVersion> versions_;
};

}  // namespace metarm

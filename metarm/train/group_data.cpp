#include "metarm/train/group_data.h"

#include <utility>

#include "metarm/train/pair_data.h"

namespace metarm {

std::vector<ResponseGroup> read_group_rows(const std::vector<std::string>& files, const SequenceOptions& sequences, Log& log) {
  Rows<ResponseGroup> rows = read_response_groups(files, sequences.bad_rows(), 2);
  log_skipped(rows.report, log);
  return std::move(rows.rows);
}

std::vector<EncodedGroup> encode_groups(const std::vector<ResponseGroup>& rows, Encoder encoder, const SequenceOptions& sequences,
                                        Log& log) {
  std::vector<EncodedGroup> groups = encoder.groups(rows);
  if (groups.empty()) fail_without_rows("--responses", "groups", rows.size(), encoder.report(), sequences);
  for (const std::string& note : encoder.report().notes()) log.info(note);
  return groups;
}

}  // namespace metarm

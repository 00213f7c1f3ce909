// Unlabelled response groups (--responses), for alignment and consistency.
#pragma once

#include <string>
#include <vector>

#include "metarm/base/log.h"
#include "metarm/data/encode.h"
#include "metarm/data/rows.h"
#include "metarm/model/common_options.h"

namespace metarm {

// The rows of the files, each with at least two responses; what was skipped goes to the log. Input errors for bad rows.
std::vector<ResponseGroup> read_group_rows(const std::vector<std::string>& files, const SequenceOptions& sequences, Log& log);

// The encoder's notes go to the log, or where no group is left into an input error.
std::vector<EncodedGroup> encode_groups(const std::vector<ResponseGroup>& rows, Encoder encoder, const SequenceOptions& sequences,
                                        Log& log);

}  // namespace metarm

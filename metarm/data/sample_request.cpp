#include "metarm/data/sample_request.h"

namespace metarm {

ResponseGroup begin_group(const SampleRequest& request, const Prompt& row) {
  ResponseGroup group;
  group.prompt = row.prompt;
  group.policy = request.policy;
  group.id = row.id;
  group.subset = row.subset;
  group.round = request.round;
  return group;
}

}  // namespace metarm

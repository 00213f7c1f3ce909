// Figures as JSON, for programs (docs/evaluation.md lists the keys), and as lines for people. What is undefined is null in JSON.
#pragma once

#include <string>

#include "metarm/base/json_lines.h"
#include "metarm/eval/evaluation.h"

namespace metarm {

Json to_json(const PairStatistics& statistics);
Json to_json(const Evaluation& evaluation);
std::string to_text(const Evaluation& evaluation);

}  // namespace metarm

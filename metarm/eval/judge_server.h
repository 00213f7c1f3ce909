// An LLM behind a server as the judge.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "metarm/eval/judge.h"
#include "metarm/remote/server.h"

namespace metarm {

// One judgement a comparison. Each is asked in both orders, at temperature 0: a win or a loss needs the same verdict twice, anything else
// is a tie, so that a judge that favours a place gains nothing by it. Equal responses are a tie unasked. Answers are added to options.cache
// as they come, and what is there is not asked again. Errors as run_exchange, which asks again for an answer that is broken or has no text;
// `where` is a's row.
std::vector<Judgement> judge_by_server(const JudgeOptions& options, const Server& server, std::span<const MatchedGroups> groups,
                                       std::span<const Comparison> comparisons, JudgeUse& use, Log& log);

}  // namespace metarm

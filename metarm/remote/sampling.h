// Response groups from a policy behind a server: what `metarm sample --server` does. The way to policies too large for one machine.
#pragma once

#include <cstdint>

#include "metarm/base/log.h"
#include "metarm/data/sample_request.h"
#include "metarm/remote/server.h"

namespace metarm {

// Samples and writes the groups, in the order of their prompts, to request.output, which appears whole or not at all. What has been
// received is kept in OUTPUT.partial as it comes; the same call after a kill or an error goes on from there, and removes it in the end.
// Input error where OUTPUT.partial was begun with other settings or prompts. The server's address may change between the two.
//
// A prompt is asked for all its responses at once; where fewer come, for the rest again; where the server refuses that, for one at a time.
// Each request has a seed of its own, a function of `seed`, the prompt's and its first response's place, for servers that heed it.
// Errors as run_exchange; an answer without text is one that it tries again, so that no empty response stands for what was not said.
SampleSummary sample_from_server(const SampleRequest& request, const Server& server, std::uint64_t seed, Log& log);

}  // namespace metarm

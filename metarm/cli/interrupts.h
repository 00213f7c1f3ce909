// What an interrupted program does before it ends.
#pragma once

#include <functional>

namespace metarm {

// SIGINT, SIGTERM and SIGHUP remove unfinished outputs, then end the program as they would have. To be called before any thread starts.
// Signals that whoever started the program ignores, as nohup does, stay ignored.
void remove_outputs_when_interrupted();

// From now on the first such signal calls `stop`, from a thread of its own, and the program goes on; the next one ends it as above.
void stop_when_interrupted(std::function<void()> stop);

}  // namespace metarm

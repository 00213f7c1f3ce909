// What an interrupted program does before it ends.
#pragma once

namespace metarm {

// SIGINT, SIGTERM and SIGHUP remove unfinished outputs, then end the program as they would have. To be called before any thread starts.
// Signals that whoever started the program ignores, as nohup does, stay ignored.
void remove_outputs_when_interrupted();

}  // namespace metarm

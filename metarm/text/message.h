// A conversation, as chat templates and rows on disk see it.
#pragma once

#include <string>
#include <vector>

namespace metarm {

struct Message {
  std::string role;     // system, user or assistant
  std::string content;  // UTF-8
  bool operator==(const Message&) const = default;
};
using Conversation = std::vector<Message>;

}  // namespace metarm

// The text of a conversation in each chat format. Roles and their order are checked by whoever calls.
#pragma once

#include <string>

#include "metarm/text/chat_template.h"

namespace metarm {

struct ChatText {
  ChatFormat format;
  const std::string& bos;
  const std::string& eos;
};

std::string render_chat(const ChatText& chat, const Conversation& conversation, bool add_generation_prompt);

}  // namespace metarm

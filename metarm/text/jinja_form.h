// A normal form of chat templates: two Jinja programs with the same form print the same text. Only what cannot change the output is
// evened out: white space inside tags, and what `-` markers and transformers' trim_blocks and lstrip_blocks remove outside them; quotes
// and escapes of texts; message['role'] for message.role; {{ 'a' + b }} for a{{ b }}; comments; the words of exceptions; transformers'
// {% generation %} marks.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace metarm {

// Empty where the program holds what is not understood here: a tag without an end, {% raw %}, a dictionary that is printed, other escapes.
std::string jinja_form(std::string_view jinja);
std::uint64_t jinja_digest(std::string_view jinja);  // FNV-1a of the form

}  // namespace metarm

// What an LLM judge is asked, and what is read from its answer.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace metarm {

// The question when users give none of their own. The page on judging shows it.
extern const char* const kJudgePrompt;

struct JudgeTexts {
  std::string_view prompt, first, second;
};
// A template with {prompt}, {first} and {second}, each at least once: input error `where: expected {first}, got a text without it`, or for
// bytes that are not UTF-8.
void check_judge_prompt(std::string_view text, const std::string& where);
// Puts the texts into the template, in one pass: what they hold is never taken for a place.
std::string fill_judge_prompt(std::string_view text, const JudgeTexts& texts);

enum class Verdict { first, second, tie };
// The last of [[1]], [[2]] and [[tie]] in the answer; none where it has none of them.
std::optional<Verdict> parse_verdict(std::string_view answer);

}  // namespace metarm

#include "metarm/remote/completion.h"

#include "tests/fuzz/target.h"

// A server's answer, good or bad.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view body = metarm::as_text(data, size);
  const std::string reason = metarm::quote_reason(body);
  if (!metarm::is_valid_utf8(reason) || reason.find('\n') != reason.npos) throw std::string("a reason that is no line of text");
  metarm::expect_input_errors_only([&] {
    const metarm::Completion completion = metarm::parse_completion(metarm::parse_json(body, "fuzz"), "fuzz");
    if (completion.choices.empty()) throw std::string("an answer without choices");
  });
  return 0;
}

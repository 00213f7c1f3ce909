#include "metarm/text/tokenizer.h"

#include "tests/fuzz/target.h"

// A tokenizer.json; what follows a zero byte is text to encode with it.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input = metarm::as_text(data, size);
  const std::size_t end = std::min(input.find('\0'), input.size());
  metarm::expect_input_errors_only([&] {
    const auto tokenizer = metarm::Tokenizer::parse(input.substr(0, end), "fuzz");
    for (const std::string_view text : {std::string_view("It's 2 x 3 = 6,\n\n  \xc3\xa9t\xc3\xa9 \xf0\x9f\x98\x80<s>"), input.substr(end)})
      metarm::expect_input_errors_only([&] {
        const metarm::TokenIds ids = tokenizer.encode(text, true);
        tokenizer.decode(ids, false);
        tokenizer.decode(ids, true);
      });
    const metarm::TokenId odd[] = {-1, 0, static_cast<metarm::TokenId>(tokenizer.vocab_size()), 1 << 30};
    metarm::expect_input_errors_only([&] { tokenizer.decode(odd, false); });
  });
  return 0;
}

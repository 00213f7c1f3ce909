#include "metarm/data/rows.h"

#include "tests/fuzz/target.h"

// JSON lines, each tried as every kind of row.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view rest = metarm::as_text(data, size);
  for (std::int64_t line = 1; !rest.empty(); ++line) {
    const std::size_t end = std::min(rest.find('\n'), rest.size());
    metarm::expect_input_errors_only([&] {
      const metarm::JsonRow row{metarm::parse_json(rest.substr(0, end), "fuzz"), "fuzz", line};
      metarm::expect_input_errors_only([&] { metarm::recognise_row(row); });
      metarm::expect_input_errors_only([&] { metarm::implicit_prompt(metarm::parse_pair(row).chosen); });
      metarm::expect_input_errors_only([&] { metarm::parse_prompt(row); });
      metarm::expect_input_errors_only([&] { metarm::to_json(metarm::parse_response_group(row, 2)).dump(); });
    });
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return 0;
}

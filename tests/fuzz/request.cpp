#include <algorithm>
#include <memory>
#include <string>

#include "metarm/base/file.h"
#include "metarm/http/reward_routes.h"
#include "tests/fuzz/target.h"
#include "tests/http/fake_service.h"
#include "tests/support/temporary_folder.h"

namespace {

const std::string kKey = "an-administrator";

metarm::ApiKeys make_keys() {
  const metarm::TemporaryFolder folder;
  metarm::write_file(folder / "keys", "admin " + kKey + "\n");
  return metarm::ApiKeys::load(folder / "keys");
}

}  // namespace

// A request to the reward server, good or bad: its path in the first line, then its body.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static metarm::FakeService service;
  static const std::unique_ptr<metarm::Log> log = metarm::make_null_log();
  static metarm::RewardRoutes routes(service, make_keys(), {}, *log);
  const std::string_view text = metarm::as_text(data, size);
  const std::size_t line = std::min(text.find('\n'), text.size());
  metarm::HttpRequest request;
  request.method = "POST";
  request.authorization = "Bearer " + kKey;
  request.path = text.substr(0, line);
  if (routes.answer_head(request)) return 0;
  request.body = text.substr(std::min(line + 1, text.size()));
  const metarm::HttpResponse response = routes.answer(request);
  service.asked.clear();
  if (response.status >= 500 || response.body.find('\n') != std::string::npos) throw std::string("a request that is the server's fault");
  metarm::parse_json(response.body, "fuzz");
  return 0;
}

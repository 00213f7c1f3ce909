#include "metarm/http/dashboard.h"

#include <fmt/format.h>
#include <openssl/evp.h>
#include <openssl/sha.h>

#include <string_view>

#include "metarm/base/error.h"
#include "metarm/base/page_template.h"

namespace metarm {

std::string_view http_file(std::string_view name);  // CMakeLists.txt lists them

namespace {

// In this order they are one script, the first three of them those of the report; dashboard.js, which begins, is the last.
constexpr const char* kScripts[] = {"format.js",     "chart.js",   "samples.js", "server.js",   "words.js",
                                    "live_chart.js", "dialogs.js", "tiles.js",   "versions.js", "shift.js",
                                    "throughput.js", "recent.js",  "events.js",  "dashboard.js"};

std::string style() {
  return fmt::format("{}\n{}\n{}\n{}", http_file("uPlot.min.css"), http_file("style.css"), http_file("parts.css"), http_file("serve.css"));
}

std::string library() { return fmt::format("/*\n{}\n*/\n{}", http_file("LICENSE"), http_file("uPlot.iife.min.js")); }

std::string script() {
  std::string text = "(() => {\n\"use strict\";\n";
  for (const char* name : kScripts) text += http_file(name);
  return text + "})();\n";
}

std::string part(std::string_view name) {
  if (name == "style") return style();
  if (name == "library") return library();
  if (name == "script") return script();
  fail_internal("dashboard: expected a part of the page, got {{{{{}}}}}", name);
}

// The browser's name of a script that it may run: 'sha256-...'.
std::string script_hash(const std::string& text) {
  unsigned char digest[SHA256_DIGEST_LENGTH];
  SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest);
  unsigned char encoded[4 * ((SHA256_DIGEST_LENGTH + 2) / 3) + 1];
  EVP_EncodeBlock(encoded, digest, SHA256_DIGEST_LENGTH);
  return fmt::format("'sha256-{}'", reinterpret_cast<const char*>(encoded));
}

}  // namespace

const std::string& dashboard_page() {
  static const std::string page = fill_template(http_file("index.html"), part);
  return page;
}

const std::string& dashboard_policy() {
  static const std::string policy = fmt::format(
      "default-src 'none'; style-src 'unsafe-inline'; img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
      "frame-ancestors 'none'; script-src {} {}",
      script_hash(library()), script_hash(script()));
  return policy;
}

}  // namespace metarm

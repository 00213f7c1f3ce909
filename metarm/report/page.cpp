#include "metarm/report/page.h"

#include <fmt/format.h>

#include "metarm/base/error.h"
#include "metarm/base/page_template.h"

namespace metarm {

namespace {

// In this order they are one script; main.js, which begins, is the last.
constexpr const char* kScripts[] = {"format.js", "figures.js", "chart.js",           "overview.js",     "rounds.js",   "training.js",
                                    "tuning.js", "samples.js", "explanation_map.js", "explanations.js", "settings.js", "main.js"};

std::string comment(std::string_view text) { return fmt::format("/*\n{}\n*/\n", text); }

std::string style() {
  return fmt::format("{}\n{}\n{}\n{}", page_file("uPlot.min.css"), page_file("style.css"), page_file("parts.css"),
                     page_file("explanations.css"));
}

std::string library() { return comment(page_file("LICENSE")) + std::string(page_file("uPlot.iife.min.js")); }

std::string script() {
  std::string text = "(() => {\n\"use strict\";\n";
  for (const char* name : kScripts) text += page_file(name);
  return text + "})();\n";
}

// JSON may have < in texts alone, where \u003c is the same. A folder's name may be no UTF-8.
std::string embedded_json(const Json& data) {
  std::string text;
  for (const char c : data.dump(-1, ' ', false, Json::error_handler_t::replace))
    if (c == '<')
      text += "\\u003c";
    else
      text += c;
  return text;
}

std::string part(std::string_view name, const Json& data) {
  if (name == "style") return style();
  if (name == "library") return library();
  if (name == "script") return script();
  if (name == "data") return embedded_json(data);
  fail_internal("page: expected a part of the page, got {{{{{}}}}}", name);
}

}  // namespace

std::string make_page(const Json& data) {
  return fill_template(page_file("index.html"), [&](std::string_view name) { return part(name, data); });
}

}  // namespace metarm

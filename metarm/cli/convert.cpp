#include <fmt/format.h>

#include "metarm/base/json_lines.h"
#include "metarm/cli/command.h"
#include "metarm/model/checkpoint.h"
#include "metarm/model/common_options.h"
#include "metarm/model/convert_gguf.h"

namespace metarm {

namespace {

struct ConvertOptions {
  std::string input;
  std::string output;
  SaveDType save_dtype = SaveDType::float32;
  OutputOptions common;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit(self.input, {.name = "input", .help = "A GGUF file.", .required = true});
    visit(self.output, {.name = "output", .help = "The Hugging Face directory to make; it must not exist.", .required = true});
    visit(self.save_dtype, {.name = "save-dtype", .help = "Type of the weights written; float32 holds every GGUF type exactly."});
    OutputOptions::fields(self.common, visit);
  }
};

DType to_container(SaveDType dtype) {
  switch (dtype) {
    case SaveDType::float32: return DType::f32;
    case SaveDType::bfloat16: return DType::bf16;
    case SaveDType::float16: return DType::f16;
  }
  return DType::f32;
}

void run_convert(const ConvertOptions& options, const Parsed&, Log& log) {
  convert_gguf(options.input, options.output, to_container(options.save_dtype), log);
  if (options.common.json)
    print_out(Json{{"output", options.output}}.dump());
  else
    log.result(fmt::format("wrote {}", options.output));
}

}  // namespace

Command convert_command() { return make_command<ConvertOptions, run_convert>("convert", "a GGUF file to a Hugging Face directory"); }

}  // namespace metarm

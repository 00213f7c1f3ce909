#include "metarm/base/gguf.h"

#include <vector>

#include "metarm/base/gguf_dequantize.h"
#include "metarm/text/gguf_tokenizer.h"
#include "metarm/text/tokenizer.h"
#include "tests/fuzz/target.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  metarm::expect_input_errors_only([&] {
    const auto file = metarm::GgufFile::parse(std::as_bytes(std::span(data, size)), "fuzz");
    for (const metarm::GgufTensor& tensor : file.tensors()) {
      std::vector<float> values(static_cast<std::size_t>(tensor.count()));
      metarm::dequantize(tensor.type, tensor.bytes, values);
    }
    metarm::Tokenizer::parse(metarm::make_tokenizer_texts(file).tokenizer, "fuzz").encode("Hello, world", true);
  });
  return 0;
}

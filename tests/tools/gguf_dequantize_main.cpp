// gguf_dequantize FILE NAME > values: a tensor of a GGUF file as raw float32.
#include <iostream>

#include "metarm/base/error.h"
#include "metarm/base/gguf_dequantize.h"

int main(int count, char** arguments) {
  if (count != 3) return 2;
  try {
    const metarm::GgufFile file = metarm::GgufFile::open(arguments[1]);
    const metarm::GgufTensor* tensor = file.find_tensor(arguments[2]);
    if (tensor == nullptr) metarm::fail_input("{}: expected a tensor {}, got none", arguments[1], arguments[2]);
    std::vector<float> values(static_cast<std::size_t>(tensor->count()));
    metarm::dequantize(tensor->type, tensor->bytes, values);
    std::cout.write(reinterpret_cast<const char*>(values.data()), static_cast<std::streamsize>(values.size() * sizeof(float)));
    return 0;
  } catch (const metarm::Error& error) {
    std::cerr << error.what() << '\n';
    return metarm::exit_code(error.kind());
  }
}

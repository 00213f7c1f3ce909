#include "metarm/model/convert_gguf.h"

#include <cmath>
#include <cstring>
#include <filesystem>
#include <set>

#include "metarm/base/error.h"
#include "metarm/base/gguf_dequantize.h"
#include "metarm/base/half.h"
#include "metarm/model/families.h"
#include "metarm/model/gguf_config.h"
#include "metarm/model/gguf_names.h"
#include "metarm/text/gguf_tokenizer.h"

namespace metarm {

namespace {

// One tensor to write, and where it comes from.
struct Conversion {
  const GgufTensor* source;
  TensorName name;
  std::vector<std::int64_t> source_shape;
  std::vector<std::int64_t> shape() const {
    return name.layout == Layout::transposed ? std::vector{source_shape[1], source_shape[0]} : source_shape;
  }
};

std::string to_text(const std::vector<std::int64_t>& shape) { return Json(shape).dump(); }

std::vector<Conversion> list_conversions(const GgufFile& file, const ModelSpec& spec) {
  std::vector<Conversion> conversions;
  std::map<std::pair<Slot, std::int64_t>, std::vector<std::int64_t>> shapes;
  for (const SlotInfo& slot : list_slots(spec, HeadKind::language_model)) shapes[{slot.slot, slot.layer}] = slot.info.shape;
  for (TensorName& name : list_tensor_names(spec, HeadKind::language_model)) {
    const auto gguf_name = gguf_tensor_name(spec.family, name.name);
    if (!gguf_name) fail_internal("{}: no GGUF name", name.name);
    const GgufTensor* source = file.find_tensor(*gguf_name);
    if (source == nullptr) fail_input("{}: {}: expected a tensor, got none", file.where(), *gguf_name);
    std::vector<std::int64_t> shape = shapes.at({name.slot, name.layer});
    shape[0] = name.row_end - name.row_begin;
    if (source->shape != shape)
      fail_input("{}: {}: expected shape {}, got {}", file.where(), *gguf_name, to_text(shape), to_text(source->shape));
    conversions.push_back({source, std::move(name), std::move(shape)});
  }
  return conversions;
}

void check_all_used(const GgufFile& file, const std::vector<Conversion>& conversions, const std::string& model_type) {
  std::set<std::string_view> used = {"rope_freqs.weight"};
  for (const Conversion& conversion : conversions) used.insert(conversion.source->name);
  for (const GgufTensor& tensor : file.tensors())
    if (!used.contains(tensor.name))
      fail_input("{}: {}: expected the tensors of a {} model only, got one more, which is not supported", file.where(), tensor.name,
                 model_type);
}

void check_vocabulary(const GgufFile& file, const ModelSpec& spec) {
  constexpr const char* key = "tokenizer.ggml.tokens";
  const auto* tokens = file.texts(key);
  if (tokens != nullptr && tokens->size() > static_cast<std::size_t>(spec.vocab_size))
    fail_input("{}: {}: expected at most {} tokens, as token_embd.weight has rows, got {}", file.where(), key, spec.vocab_size,
               tokens->size());
}

// Which row of the source each row of the tensor to write is.
std::int64_t source_row(const ModelSpec& spec, const TensorName& name, std::int64_t row) {
  const std::int64_t width = spec.head_width;
  const bool rotary_pairs = spec.family == Family::llama ||
                            spec.family == Family::mistral;  // rows i and i + E/2 of a head, which turn together, lie side by side
  const bool query_or_key =
      (name.slot == Slot::qkv_weight || name.slot == Slot::qkv_bias) && name.row_end <= (spec.heads + spec.kv_heads) * width;
  if (rotary_pairs && query_or_key) {
    const std::int64_t in_head = row % width;
    return row - in_head + 2 * (in_head % (width / 2)) + in_head / (width / 2);
  }
  if (name.layout == Layout::interleaved_heads) {
    const std::int64_t head = row / (3 * width), part = row / width % 3;
    return (part * spec.heads + head) * width + row % width;
  }
  return row;
}

std::vector<float> arrange(const ModelSpec& spec, const Conversion& conversion, const std::vector<float>& source) {
  const auto rows = static_cast<std::size_t>(conversion.source_shape[0]), columns = source.size() / rows;
  std::vector<float> arranged(source.size());
  for (std::size_t row = 0; row < rows; ++row) {
    const float* from =
        source.data() + static_cast<std::size_t>(source_row(spec, conversion.name, static_cast<std::int64_t>(row))) * columns;
    if (conversion.name.layout == Layout::transposed)
      for (std::size_t column = 0; column < columns; ++column) arranged[column * rows + row] = from[column];
    else
      std::copy(from, from + columns, arranged.data() + row * columns);
  }
  return arranged;
}

bool is_norm(Slot slot) {
  return slot == Slot::attention_norm_weight || slot == Slot::attention_post_norm_weight || slot == Slot::mlp_norm_weight ||
         slot == Slot::mlp_post_norm_weight || slot == Slot::final_norm_weight;
}

std::vector<float> make_values(const GgufFile& file, const ModelSpec& spec, const Conversion& conversion) {
  std::vector<float> values(static_cast<std::size_t>(conversion.source->count()));
  dequantize(conversion.source->type, conversion.source->bytes, values);
  for (const float value : values)
    if (!std::isfinite(value)) fail_input("{}: {}: expected finite values, got {}", file.where(), conversion.source->name, value);
  if (spec.norm_adds_one && is_norm(conversion.name.slot))
    for (float& value : values) value -= 1;
  return arrange(spec, conversion, values);
}

std::vector<std::byte> to_bytes(const std::vector<float>& values, DType dtype) {
  std::vector<std::byte> bytes(values.size() * size_of(dtype));
  if (dtype == DType::f32) {
    std::memcpy(bytes.data(), values.data(), bytes.size());
    return bytes;
  }
  auto* out = reinterpret_cast<std::uint16_t*>(bytes.data());
  for (const float value : values) *out++ = dtype == DType::f16 ? float_to_half(value) : float_to_bfloat16(value);
  return bytes;
}

void save_tensors(const std::string& path, const GgufFile& file, const ModelSpec& spec, const std::vector<Conversion>& conversions,
                  DType dtype, Log& log) {
  std::vector<TensorShape> tensors;
  for (const Conversion& conversion : conversions) tensors.push_back({conversion.name.name, dtype, conversion.shape()});
  std::vector<std::byte> bytes;
  save_safetensors(path, tensors, {{"format", "pt"}}, [&](std::size_t i) {
    const Conversion& conversion = conversions[i];
    const std::vector<float> values = make_values(file, spec, conversion);
    constexpr float kMaxHalf = 65504;
    for (const float value : values)
      if (dtype == DType::f16 && std::abs(value) > kMaxHalf)
        fail_input("{}: {}: expected values that float16 holds, got {}; write bfloat16 or float32", file.where(), conversion.source->name,
                   value);
    bytes = to_bytes(values, dtype);
    log.progress("convert", static_cast<std::int64_t>(i) + 1, static_cast<std::int64_t>(conversions.size()), "");
    return std::span<const std::byte>(bytes);
  });
}

const char* torch_dtype(DType dtype) {
  switch (dtype) {
    case DType::f32: return "float32";
    case DType::f16: return "float16";
    case DType::bf16: return "bfloat16";
    default: fail_internal("convert: expected f32, f16 or bf16, got {}", safetensors_name(dtype));
  }
}

// Generation ends at the end of a turn, too, where that is a token of its own.
Json generation_config(const GgufFile& file, const Json& config) {
  Json generation = Json::object();
  for (const char* field : {"bos_token_id", "eos_token_id", "pad_token_id"})
    if (!config[field].is_null()) generation[field] = config[field];
  const auto turn_end = file.integer("tokenizer.ggml.eot_token_id");
  if (turn_end && generation.contains("eos_token_id") && generation["eos_token_id"] != *turn_end)
    generation["eos_token_id"] = {config["eos_token_id"], *turn_end};
  return generation;
}

}  // namespace

void convert_gguf(const std::string& input, const std::string& output_directory, DType dtype, Log& log) {
  const GgufFile file = GgufFile::open(input);
  Json config = make_gguf_config(file);
  config["torch_dtype"] = torch_dtype(dtype);
  const ModelSpec spec = parse_model_spec(config, input);
  const std::vector<Conversion> conversions = list_conversions(file, spec);
  check_all_used(file, conversions, config["model_type"].get<std::string>());
  check_vocabulary(file, spec);
  const TokenizerTexts tokenizer = make_tokenizer_texts(file);

  AtomicDirectory directory(output_directory);
  const std::filesystem::path folder = directory.path();
  save_tensors((folder / "model.safetensors").string(), file, spec, conversions, dtype, log);
  write_file((folder / "config.json").string(), config.dump(2) + "\n");
  write_file((folder / "generation_config.json").string(), generation_config(file, config).dump(2) + "\n");
  write_file((folder / "tokenizer.json").string(), tokenizer.tokenizer);
  write_file((folder / "tokenizer_config.json").string(), tokenizer.tokenizer_config);
  write_file((folder / "special_tokens_map.json").string(), tokenizer.special_tokens_map);
  directory.commit();
}

}  // namespace metarm

#include "metarm/model/lora.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "metarm/base/error.h"
#include "metarm/base/random.h"

namespace metarm {

namespace {

bool is_linear(Slot slot) {
  return slot == Slot::qkv_weight || slot == Slot::attention_out_weight || slot == Slot::up_weight || slot == Slot::down_weight;
}

std::vector<LoraModule> list_linear_modules(const ModelSpec& spec) {
  std::vector<LoraModule> modules;
  for (const TensorName& name : list_tensor_names(spec, HeadKind::reward)) {
    if (!is_linear(name.slot)) continue;
    const std::int64_t in = name.slot == Slot::down_weight            ? spec.mlp_width
                            : name.slot == Slot::attention_out_weight ? spec.heads * spec.head_width
                                                                      : spec.width;
    modules.push_back({name.name.substr(0, name.name.rfind(".weight")), name, in, name.row_end - name.row_begin});
  }
  return modules;
}

}  // namespace

Lora make_lora(const ModelSpec& spec, const LoraOptions& options) {
  Lora lora{options, list_linear_modules(spec)};
  if (options.layers > spec.layers)
    fail_input("--lora-layers: expected at most the model's {} layers, got {}", spec.layers, options.layers);
  if (options.layers > 0)
    std::erase_if(lora.modules, [&](const LoraModule& module) { return module.weight.layer < spec.layers - options.layers; });
  if (options.targets == std::vector<std::string>{"all-linear"}) return lora;
  const std::set<std::string> known = short_names(lora);
  std::set<std::string> whole;
  for (const LoraModule& module : lora.modules) whole.insert(module.name);
  for (const std::string& target : options.targets)
    if (!known.contains(target) && !whole.contains(target))
      fail_input("--lora-targets: expected all-linear or some of {}, got {}", fmt::join(known, ", "), target);
  const std::set<std::string> wanted(options.targets.begin(), options.targets.end());
  std::erase_if(lora.modules,
                [&](const LoraModule& module) { return !wanted.contains(module.short_name()) && !wanted.contains(module.name); });
  return lora;
}

std::set<std::string> short_names(const Lora& lora) {
  std::set<std::string> names;
  for (const LoraModule& module : lora.modules) names.insert(module.short_name());
  return names;
}

bool same_modules(const Lora& a, const Lora& b) {
  return std::ranges::equal(a.modules, b.modules, {}, &LoraModule::name, &LoraModule::name);
}

FlatTensors make_lora_tensors(const Lora& lora, const at::Tensor& initial_head, at::Device device, std::uint64_t seed) {
  std::vector<TensorInfo> infos;
  for (const LoraModule& module : lora.modules) {
    infos.push_back({module.name + ".lora_A.weight", {lora.options.rank, module.in}, true});
    infos.push_back({module.name + ".lora_B.weight", {module.out, lora.options.rank}, true});
  }
  if (initial_head.defined()) infos.push_back({"score.weight", initial_head.sizes().vec(), true});
  FlatTensors tensors(std::move(infos), at::kFloat, device);
  for (std::size_t i = 0; i < lora.modules.size(); ++i) {
    at::Generator generator = at::detail::createCPUGenerator(derive_seed(seed, "lora", i));
    const double bound = 1.0 / std::sqrt(static_cast<double>(lora.modules[i].in));
    tensors.tensor(2 * i).copy_(at::empty({lora.options.rank, lora.modules[i].in}, at::kFloat).uniform_(-bound, bound, generator));
  }
  if (initial_head.defined()) tensors.tensor(tensors.size() - 1).copy_(initial_head);
  return tensors;
}

void attach_lora(Model& model, const Lora& lora, const std::vector<at::Tensor>& tensors) {
  const bool has_head = model.weights.at(Slot::score).defined();
  const std::size_t expected = 2 * lora.modules.size() + (has_head ? 1 : 0);
  if (tensors.size() != expected) fail_internal("attach_lora: expected {} tensors, got {}", expected, tensors.size());
  model.updates.clear();
  for (std::size_t i = 0; i < lora.modules.size(); ++i) {
    const TensorName& weight = lora.modules[i].weight;
    model.updates.push_back(
        {weight.slot, weight.layer, weight.row_begin, weight.row_end, lora.scale(), tensors[2 * i], tensors[2 * i + 1]});
  }
  if (has_head) model.weights.set(Slot::score, 0, tensors.back());
}

void merge_lora(Model& model, const Lora& lora, const std::vector<at::Tensor>& tensors) {
  const at::NoGradGuard no_grad;
  at::Tensor head = model.weights.at(Slot::score);  // in the storage, which training takes its weights from
  attach_lora(model, lora, tensors);
  for (const LowRankUpdate& update : model.updates) {
    at::Tensor rows = model.weights.at(update.slot, update.layer).slice(0, update.row_begin, update.row_end);
    rows.copy_(rows.to(at::kFloat) + at::mm(update.b.to(at::kFloat), update.a.to(at::kFloat)) * update.scale);
  }
  model.updates.clear();
  if (!head.defined()) return;
  head.copy_(tensors.back());
  model.weights.set(Slot::score, 0, head);
}

}  // namespace metarm

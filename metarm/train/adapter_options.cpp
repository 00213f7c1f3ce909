#include "metarm/train/adapter_options.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "metarm/base/error.h"
#include "metarm/model/lora.h"

namespace metarm {

void go_on_with_adapter(const char* command, const std::string& model, TrainingOptions& training, const Parsed& parsed) {
  const auto given = [&](const char* name) { return parsed.given.contains(name); };
  if (!is_adapter(model) || training.merge_lora || (given("lora-rank") && training.lora_rank == 0)) return;
  if (training.freeze_layers > 0)
    fail_input("{}: --freeze-layers: expected --lora-rank 0 with it, which trains all weights of {}, got an adapter to go on with", command,
               model);
  const ModelSpec spec = load_checkpoint_config(adapter_base(model)).spec;
  const Lora lora = read_lora(model, spec);
  const LoraOptions& own = lora.options;
  if (given("lora-rank") && training.lora_rank != own.rank)
    fail_input(
        "{}: --lora-rank: expected {}, that of the adapter {}, or none, to go on with it, got {}; 0 trains all weights, and "
        "--merge-lora puts new adapters over it",
        command, own.rank, model, training.lora_rank);
  if (given("lora-alpha") && training.lora_alpha != own.alpha)
    fail_input("{}: --lora-alpha: expected {:g}, that of the adapter {}, or none, got {:g}", command, own.alpha, model,
               training.lora_alpha);
  LoraOptions asked = own;
  if (given("lora-targets")) asked.targets = training.lora_targets;
  if (given("lora-layers")) asked.layers = training.lora_layers;
  if (!same_modules(make_lora(spec, asked), lora))
    fail_input("{}: --{}: expected the linear layers that the adapter {} has, {} in {}, or none, got others", command,
               given("lora-targets") ? "lora-targets" : "lora-layers", model, fmt::join(own.targets, " "),
               own.layers > 0 ? fmt::format("the last {} layers", own.layers) : "all layers");
  training.lora_rank = own.rank;
  training.lora_alpha = own.alpha;
  training.lora_targets = own.targets;
  training.lora_layers = own.layers;
}

}  // namespace metarm

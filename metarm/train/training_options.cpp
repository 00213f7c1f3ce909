#include "metarm/train/training_options.h"

#include "metarm/base/error.h"

namespace metarm {

void check_training_options(const char* command, const TrainingOptions& options, const Parsed& parsed) {
  const auto given = [&](const char* name) { return parsed.given.contains(name); };
  if (options.max_steps > 0 && given("epochs"))
    fail_input("{}: --epochs: expected it without --max-steps, got both; with --max-steps it has no effect", command);
  if (options.max_steps == 0 && options.epochs == 0)
    fail_input("{}: --epochs: expected more than 0, got 0; without a step there is nothing to train", command);
  if (options.optimizer != OptimizerKind::adamw && given("optimizer-dtype"))
    fail_input("{}: --optimizer-dtype: expected --optimizer adamw with it, got {}, which keeps no moments", command,
               enum_name(options.optimizer));
  if (options.lr * options.l2_sp > 1)
    fail_input("{}: --l2-sp: expected up to 1 / --lr, {:g}, got {:g}; beyond it a step goes past the weights that it is to return to",
               command, 1 / options.lr, options.l2_sp);
  if (options.lora_rank > 0 && options.freeze_layers > 0)
    fail_input("{}: --freeze-layers: expected it without --lora-rank, got both; under adapters all layers are frozen", command);
  if (options.lora_rank > 0 && !options.merge_lora && given("save-dtype"))
    fail_input("{}: --save-dtype: expected --merge-lora with --lora-rank, got adapters, which are float32; it has no effect so", command);
}

CommonOptions resolve_for_training(const CommonOptions& options) {
  const at::Device device = resolve_device(options);
  CommonOptions resolved = options;
  resolved.device = device.is_cuda() ? DeviceChoice::cuda : DeviceChoice::cpu;
  resolved.dtype = resolve_dtype(options, device, Work::training) == at::kBFloat16 ? DTypeChoice::bfloat16 : DTypeChoice::float32;
  return resolved;
}

}  // namespace metarm

"""The contenders that metarm is measured against, each a script of this folder."""

from workbench import LR, META_LR, RESPONSES
from training_figures import training_figures

TRL_MODES = ("as it comes", "float32", "bfloat16 autocast", "bfloat16 weights")


def training_job(workbench):
    sizes = workbench.sizes
    return {"reward_model": workbench.shared["reward_model"], "pairs": workbench.shared["pairs"], "batch_size": sizes["batch_size"], "steps": sizes["steps"], "lr": LR}


def trl(workbench, mode):
    found = workbench.run_python("trl_training.py", mode=mode, **training_job(workbench))
    return training_figures(found["steps"], found["peak_memory_bytes"])


def plain_metarm(workbench):
    found = workbench.run_python("plain_metarm.py", groups=workbench.shared["groups"], meta_batch_size=workbench.sizes["batch_size"] // RESPONSES, meta_lr=META_LR,
                               **training_job(workbench))
    return training_figures(found["steps"], found["peak_memory_bytes"]) | {"differences": [step["j_before"] for step in found["steps"]]}


def transformers_scoring(workbench, groups="score_groups"):
    found = workbench.run_python("transformers_scoring.py", reward_model=workbench.shared["reward_model"], groups=workbench.shared[groups],
                               batch_sizes=workbench.sizes["score_batch_sizes"])
    return found | {"rows_per_s": found["rows"] / found["seconds"]}


def sampling_job(workbench):
    sizes = workbench.sizes
    return {"policy": workbench.shared["policy"], "prompts": workbench.shared["prompts"], "responses": RESPONSES, "max_new_tokens": sizes["max_new_tokens"],
            "temperature": sizes["temperature"]}


def transformers_sampling(workbench, dtype):
    found = workbench.run_python("transformers_sampling.py", dtype=dtype, **sampling_job(workbench))
    return found | {"tokens_per_s": found["tokens"] / found["seconds"]}


def llama_cpp_sampling(workbench):
    found = workbench.run_python("llama_cpp_sampling.py", gguf=str(workbench.gguf), **sampling_job(workbench))
    return found | {"tokens_per_s": found["tokens"] / found["seconds"]}


def matrix_peak(workbench):
    found = workbench.run_python("matrix_peak.py", sizes=workbench.sizes["peak_sizes"])
    return found | {"peak_flops_per_s": max(found["float32_flops_per_s"], found["bfloat16_flops_per_s"])}

"""The contenders that metarm is measured against, each a script of this folder."""

from session import LR, META_LR, RESPONSES
from training_figures import training_figures

TRL_MODES = ("as it comes", "float32", "bfloat16 autocast", "bfloat16 weights")


def training_job(session):
    sizes = session.sizes
    return {"reward_model": session.shared["reward_model"], "pairs": session.shared["pairs"], "batch_size": sizes["batch_size"], "steps": sizes["steps"], "lr": LR}


def trl(session, mode):
    found = session.run_python("trl_training.py", mode=mode, **training_job(session))
    return training_figures(found["steps"], found["peak_memory_bytes"])


def plain_metarm(session):
    found = session.run_python("plain_metarm.py", groups=session.shared["groups"], meta_batch_size=session.sizes["batch_size"] // RESPONSES, meta_lr=META_LR,
                               **training_job(session))
    return training_figures(found["steps"], found["peak_memory_bytes"]) | {"differences": [step["j_before"] for step in found["steps"]]}


def transformers_scoring(session):
    found = session.run_python("transformers_scoring.py", reward_model=session.shared["reward_model"], groups=session.shared["score_groups"],
                               batch_sizes=session.sizes["score_batch_sizes"])
    return found | {"rows_per_s": found["rows"] / found["seconds"]}


def sampling_job(session):
    sizes = session.sizes
    return {"policy": session.shared["policy"], "prompts": session.shared["prompts"], "responses": RESPONSES, "max_new_tokens": sizes["max_new_tokens"],
            "temperature": sizes["temperature"]}


def transformers_sampling(session, dtype):
    found = session.run_python("transformers_sampling.py", dtype=dtype, **sampling_job(session))
    return found | {"tokens_per_s": found["tokens"] / found["seconds"]}


def llama_cpp_sampling(session):
    found = session.run_python("llama_cpp_sampling.py", gguf=str(session.gguf), **sampling_job(session))
    return found | {"tokens_per_s": found["tokens"] / found["seconds"]}


def matrix_peak(session):
    found = session.run_python("matrix_peak.py", sizes=session.sizes["peak_sizes"])
    return found | {"peak_flops_per_s": max(found["float32_flops_per_s"], found["bfloat16_flops_per_s"])}

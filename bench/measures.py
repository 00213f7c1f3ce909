"""Who is measured, what is compared with what, and the ratios that must hold."""

import importlib.util
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass

import hardware
import metarm_program as ours
import peers
from figures import Comparison

DTYPES = ("float32", "bfloat16")
# Nothing may be lost on more or longer rows; this much is left to the machine's unrest.
NO_DROP = 0.95


@dataclass(frozen=True)
class Contender:
    run: Callable  # workbench -> figures
    figures: tuple  # what it is about, for the table
    proof: str = ""  # what its results are compared by: losses, rewards of some rows, texts
    package: str = ""  # that it needs
    bfloat16: bool = False  # has torch multiply in it


NO_BFLOAT16 = "torch multiplies bfloat16 in software on this processor, a hundred times slower, so that there is nobody to compare with"


def contenders(native):
    """All of them by name. native: the type that metarm trains in by default on this machine."""
    tokens = ("pairs_per_s", "tokens_per_s")
    made = {}
    for dtype in DTYPES:
        made[f"metarm train, {dtype}"] = Contender(lambda s, dtype=dtype: ours.train(s, dtype), tokens, "losses")
    for mode in peers.TRL_MODES:
        made[f"TRL, {mode}"] = Contender(lambda s, mode=mode: peers.trl(s, mode), ("pairs_per_s",), "losses", "trl", bfloat16=mode != "float32")
    made["metarm train, bfloat16, least memory"] = Contender(lambda s: ours.train_small(s, "bfloat16"), tokens, "losses")
    for dtype in DTYPES:
        made[f"metarm align, {dtype}"] = Contender(lambda s, dtype=dtype: ours.align(s, dtype), ("pairs_per_s",), "differences")
    made |= {
        "plain PyTorch MetaRM, float32": Contender(peers.plain_metarm, ("pairs_per_s",), "differences"),
        "metarm score, float32": Contender(ours.score, ("rows_per_s",), "rewards"),
        "metarm score, 5 adapters": Contender(ours.score_ensemble, ("rows_per_s",)),
        "transformers scoring, float32": Contender(peers.transformers_scoring, ("rows_per_s",), "rewards"),
        "metarm score, long prompts": Contender(lambda s: ours.score(s, "long_prompt_groups"), ("rows_per_s",), "rewards of long prompts"),
        "transformers scoring, long prompts": Contender(lambda s: peers.transformers_scoring(s, "long_prompt_groups"), ("rows_per_s",), "rewards of long prompts"),
    }
    for dtype in DTYPES:
        how = {"figures": ("tokens_per_s",), "proof": "texts" if dtype == "float32" else ""}
        made[f"metarm sample, {dtype}"] = Contender(lambda s, dtype=dtype: ours.sample(s, dtype), **how)
        made[f"transformers generate, {dtype}"] = Contender(lambda s, dtype=dtype: peers.transformers_sampling(s, dtype), bfloat16=dtype == "bfloat16", **how)
    return made | {
        "llama.cpp, quantized weights": Contender(peers.llama_cpp_sampling, ("tokens_per_s",), package="llama_cpp"),
        "metarm train, 8 times the rows": Contender(lambda s: ours.train_many(s, native), tokens),
        "metarm train, 4 times the length": Contender(lambda s: ours.train_long(s, native), tokens),
        "metarm train, 2 ranks": Contender(lambda s: ours.train_ranks(s, native), tokens),
        "torch matrix products": Contender(peers.matrix_peak, ("float32_flops_per_s", "bfloat16_flops_per_s")),
    }


def comparisons(native):
    f32, bf16, base = ("metarm train, float32",), ("metarm train, bfloat16",), (f"metarm train, {native}",)
    align_f32, align_bf16 = ("metarm align, float32",), ("metarm align, bfloat16",)
    trl, trl_f32, trl_default = tuple(f"TRL, {mode}" for mode in peers.TRL_MODES), ("TRL, float32",), ("TRL, as it comes",)
    peak = ("torch matrix products",)
    sampling = [tuple(f"{who}, {dtype}" for dtype in DTYPES) for who in ("metarm sample", "transformers generate")]
    return [
        Comparison("training", "training, bfloat16, against TRL's best mode", bf16, trl, "pairs_per_s", bar=4, aim=6),
        Comparison("training", "training, bfloat16, against TRL as it comes", bf16, trl_default, "pairs_per_s", bar=5, aim=8),
        Comparison("training", "training, float32, against TRL's float32", f32, trl_f32, "pairs_per_s", bar=3, aim=4),
        Comparison("training", "memory of training, bfloat16, against TRL's lowest", bf16, trl, "peak_memory_bytes", bar=0.5, aim=0.35, lower_is_better=True),
        Comparison("training", "memory of the least that both do with, against TRL's lowest", ("metarm train, bfloat16, least memory",), trl, "peak_memory_bytes", bar=0.5, aim=0.35,
                   lower_is_better=True),
        Comparison("training", "memory of training, float32, against TRL's float32", f32, trl_f32, "peak_memory_bytes", lower_is_better=True),
        Comparison("align", "align step, bfloat16, against TRL's best ordinary step", align_bf16, trl, "pairs_per_s", bar=1, aim=2),
        Comparison("align", "align step, float32, against TRL's ordinary float32 step", align_f32, trl_f32, "pairs_per_s", bar=1, aim=2),
        Comparison("align", "align step, float32, against a plain PyTorch MetaRM step", align_f32, ("plain PyTorch MetaRM, float32",), "pairs_per_s"),
        Comparison("align", "time of an align step to a train step, bfloat16", align_bf16, bf16, "step_seconds", bar=2.2, aim=1.8, lower_is_better=True),
        Comparison("align", "time of an align step to a train step, float32", align_f32, f32, "step_seconds", bar=2.2, aim=1.8, lower_is_better=True),
        Comparison("scoring", "scoring 8 responses a prompt, against transformers", ("metarm score, float32",), ("transformers scoring, float32",), "rows_per_s",
                   bar=4, aim=6),
        Comparison("scoring", "the same on long prompts", ("metarm score, long prompts",), ("transformers scoring, long prompts",), "rows_per_s", bar=4, aim=6),
        Comparison("ensemble", "scoring by 5 adapters of the last quarter of the layers, against one reward model", ("metarm score, 5 adapters",), ("metarm score, float32",),
                   "rows_per_s", bar=0.5),
        Comparison("ensemble", "memory of the same", ("metarm score, 5 adapters",), ("metarm score, float32",), "peak_memory_bytes", bar=1.3, lower_is_better=True),
        Comparison("sampling", "sampling 4 responses a prompt, against transformers", *sampling, "tokens_per_s", bar=3, aim=5),
        Comparison("sampling", "sampling 4 responses a prompt, against llama.cpp", sampling[0], ("llama.cpp, quantized weights",), "tokens_per_s"),
        Comparison("peak", "useful matrix FLOP/s of a bfloat16 step, of the peak", bf16, peak, "useful_flops_per_s", "peak_flops_per_s", bar=0.5, aim=0.65),
        Comparison("peak", "useful matrix FLOP/s of a float32 step, of float32's peak", f32, peak, "useful_flops_per_s", "float32_flops_per_s"),
        Comparison("growth", "tokens/s at 8 times the rows", ("metarm train, 8 times the rows",), base, "tokens_per_s", bar=NO_DROP),
        Comparison("growth", "useful FLOP/s at 4 times the length", ("metarm train, 4 times the length",), base, "useful_flops_per_s", bar=NO_DROP),
        Comparison("ranks", "2 ranks against 1 with as many threads", ("metarm train, 2 ranks",), base, "tokens_per_s", bar=0.9, aim=1),
    ]


MEASURES = ("training", "align", "scoring", "ensemble", "sampling", "peak", "growth", "ranks")


def links_mpi(program):
    return "libmpi" in subprocess.run(["ldd", program], capture_output=True, text=True).stdout


def missing(name, contender, workbench, native):
    """Why this contender cannot run here; empty where it can."""
    if contender.bfloat16 and native != "bfloat16" and workbench.model:
        return NO_BFLOAT16
    if contender.package and importlib.util.find_spec(contender.package) is None:
        return f"Python package {contender.package} is not installed"
    if contender.package == "llama_cpp" and not workbench.gguf:
        return "the model has no GGUF file"
    if name == "metarm train, 2 ranks":
        if not shutil.which("mpirun"):
            return "mpirun is not installed"
        if not links_mpi(workbench.metarm):
            return "metarm was built without MPI"
        if hardware.cores() < 2:
            return "there is one core only"
    return ""

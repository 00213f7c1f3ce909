"""What every contender is run with."""

import json
import shutil
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path

import process

LR = 1e-5
META_LR = 0.02  # metarm's default, as a length
MEMBERS = 5  # of an ensemble
RESPONSES = 4  # of a group that `align` takes, and of a prompt that is sampled

FULL = {"batch_size": 8, "steps": 4, "growth_steps": 2, "max_length": 512, "score_groups": 8, "score_responses": 8, "long_prompt": 256,
        "score_batch_sizes": [4, 8, 16, 32], "sample_prompts": 8, "max_new_tokens": 64, "temperature": 1.0, "peak_sizes": [512, 1024, 2048, 4096]}
# Before the measuring: everyone once, on the real model, to compare what they compute.
CHECK = {"steps": 1, "score_batch_sizes": [8], "max_new_tokens": 12, "temperature": 0.0}
SHORT = {"batch_size": 4, "steps": 3, "growth_steps": 1, "max_length": 2048, "score_groups": 2, "score_responses": 8, "long_prompt": 128,
         "score_batch_sizes": [4], "sample_prompts": 2, "max_new_tokens": 12, "temperature": 0.0, "peak_sizes": [256]}


@dataclass
class Workbench:
    metarm: str
    threads: int
    sizes: dict
    folder: Path
    model: Path | None  # none: a tiny random one is made
    gguf: Path | None  # the model's quantized form
    shared: dict = field(default_factory=dict)  # what workload.py made

    def with_sizes(self, changed):
        return replace(self, sizes=self.sizes | changed)

    def new_folder(self):
        """Empty: one contender's output at a time."""
        folder = self.folder / "run"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        return folder

    def run_metarm(self, *arguments, before=(), threads=None):
        threads = threads or self.threads
        return process.run([*before, self.metarm, *arguments, "--device", "cpu", "--threads", threads, "--quiet"], self.new_folder(), threads)

    def run_python(self, script, **job):
        folder = self.new_folder()
        return process.run_python(sys.executable, script, {"threads": self.threads, "folder": str(folder)} | job, folder, self.threads)

    def prepare(self, pairs):
        """Makes the reward model, the pairs and the rest."""
        self.shared = self.run_python("workload.py", pairs=str(pairs), model=self.model and str(self.model), sizes=self.sizes, keep=str(self.folder))


def load_json_lines(path):
    return [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines() if line]

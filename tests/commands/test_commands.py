"""Command tests are text files (*.test): what is typed, the exit code, and patterns that the output must have.

    # what is shown
    $ metarm score --model rm --input pairs.jsonl
    exit 0
    out "chosen_reward":
    err scored 6 sequences
    absent out.jsonl

They run in a folder that the fixture below fills with tiny checkpoints and with good and broken files. `out` and `err` are regular expressions, searched in stdout and stderr;
`one-line` says that stderr is a single line, `nothing-said` that it is empty; `absent` and `present` name files afterwards.
"""

import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from programs import BUILD, write_rows
from families import edit_config, save_checkpoint
from safetensors.torch import load_file, save_file

HERE = Path(__file__).parent


def parse_cases(path):
    for block in re.split(r"\n\s*\n", path.read_text()):
        lines = [line for line in block.strip().splitlines() if line]
        if not lines or not any(line.startswith("$ ") for line in lines):
            continue
        title = lines[0].removeprefix("# ")
        yield pytest.param([line for line in lines[1:] if not line.startswith("#")], id=f"{path.stem}: {title}")


PAIRS = [
    {"prompt": "What is 2 + 2?", "chosen": " It is 4.", "rejected": " It is 5, I think.", "subset": "sums"},
    {"prompt": "Name a colour.", "chosen": " Green.", "rejected": " Seven.", "subset": "words"},
    {"chosen": "\n\nHuman: Hi\n\nAssistant: Hello!", "rejected": "\n\nHuman: Hi\n\nAssistant: Go away.", "subset": "words"},
]
GROUPS = [{"prompt": "Say hello.", "responses": [" Hello.", " Hi there.", " Good day to you."]}, {"prompt": "Count.", "responses": [" 1", " 1 2 3"]}]


def write_broken_checkpoints(folder):
    """Copies of the reward model `rm`, each with one thing wrong."""

    def copy(name):
        shutil.copytree(folder / "rm", folder / name)
        return folder / name / "model.safetensors"

    weights = copy("truncated")
    weights.write_bytes(weights.read_bytes()[:-100])
    weights = copy("huge_header")
    weights.write_bytes((1 << 60).to_bytes(8, "little") + weights.read_bytes()[8:])
    weights = copy("nan")
    tensors = load_file(weights)
    tensors["model.layers.1.mlp.up_proj.weight"][0, 0] = torch.nan
    save_file(tensors, weights, {"format": "pt"})
    weights = copy("no_head")
    save_file({name: tensor for name, tensor in load_file(weights).items() if name != "score.weight"}, weights, {"format": "pt"})
    weights = copy("extra_tensor")
    save_file(load_file(weights) | {"model.layers.0.mystery.weight": torch.zeros(3)}, weights, {"format": "pt"})
    weights = copy("two_labels")
    save_file(load_file(weights) | {"score.weight": torch.zeros(2, 48)}, weights, {"format": "pt"})
    copy("no_architectures")
    edit_config(folder / "no_architectures", architectures=None)
    copy("bert")
    edit_config(folder / "bert", model_type="bert")
    copy("wrong_shape")
    edit_config(folder / "wrong_shape", intermediate_size=81)
    copy("small_vocabulary")
    shutil.copytree(folder / "lm", folder / "small_vocabulary_lm")
    for name in ("small_vocabulary", "small_vocabulary_lm"):
        path = folder / name / "model.safetensors"
        tensors = load_file(path)
        for tensor in ("model.embed_tokens.weight", "lm_head.weight"):
            if tensor in tensors:
                tensors[tensor] = tensors[tensor][:100].clone()
        save_file(tensors, path, {"format": "pt"})
        edit_config(folder / name, vocab_size=100)


@pytest.fixture(scope="session")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("commands")
    save_checkpoint(folder / "lm", "llama", "causal")
    save_checkpoint(folder / "rm", "llama", "reward")
    save_checkpoint(folder / "gpt2", "gpt2", "causal")
    write_broken_checkpoints(folder)
    write_rows(folder / "pairs.jsonl", PAIRS)
    write_rows(folder / "groups.jsonl", GROUPS)
    write_rows(folder / "other_groups.jsonl", [row | {"responses": row["responses"][::-1]} for row in GROUPS])
    write_rows(folder / "first_group.jsonl", GROUPS[:1])
    scored = [GROUPS[0] | {"rewards": [0.5, 2.0, -1.0], "labels": [1, 2, 0]}, GROUPS[1] | {"rewards": [1.0, 0.0], "labels": [0, 1]}]
    write_rows(folder / "scored_groups.jsonl", scored)
    write_rows(folder / "bad_labels.jsonl", [{"prompt": "Say hello.", "responses": [" Hello.", " Hi there."], "rewards": [0, 1]}, scored[1] | {"labels": [1, 2, 3]}])
    write_rows(folder / "bad_judgements.jsonl", [{"prompt": "Count.", "a": " 1", "b": " 2", "outcome": "draw"}])
    (folder / "no_second.txt").write_text("{prompt} {first}")
    write_rows(folder / "prompts.jsonl", [{"prompt": row["prompt"]} for row in GROUPS])
    write_rows(folder / "chats.jsonl", [{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]}])
    write_rows(folder / "chat_pairs.jsonl", [{"prompt": [{"role": "user", "content": "Hi"}], "chosen": [{"role": "assistant", "content": "Hello"}], "rejected": [{"role": "assistant", "content": "No"}]}])
    write_rows(folder / "one_response.jsonl", [GROUPS[0], {"prompt": "x", "responses": ["only one"]}])
    write_rows(folder / "equal.jsonl", [PAIRS[0], {"prompt": "a", "chosen": "b", "rejected": "b"}])
    write_rows(folder / "reward_bench.jsonl", [{"prompt": "Hi", "chosen": "Hello!", "rejected": "No.", "subset": "alpacaeval-easy", "id": 1}])
    write_rows(folder / "no_rejected.jsonl", [{"prompt": "a", "chosen": "b"}])
    write_rows(folder / "null_chosen.jsonl", [PAIRS[0], {"prompt": "a", "chosen": None, "rejected": "b"}])
    write_rows(folder / "no_rejected_later.jsonl", [PAIRS[0], {"prompt": "a", "chosen": "b"}])
    write_rows(folder / "bad_prompt.jsonl", [{"prompt": "a"}, {"prompt": 7}, {"prompt": "b"}])
    write_rows(folder / "long_responses.jsonl", [{"prompt": "Count.", "responses": [" 1 2 3 4 5 6 7" * 20, " 7 6 5 4 3 2 1" * 20]}])
    # A weight that float32 cannot hold makes the pair's gradient infinite, wherever the pair stands.
    write_rows(folder / "infinite_first.jsonl", [PAIRS[0] | {"weight": 1e39}, *PAIRS[1:]])
    write_rows(folder / "infinite_later.jsonl", [row | {"weight": 1e39 if i >= 4 else 1.0} for i, row in enumerate(PAIRS * 5)])
    write_rows(folder / "infinite_last.jsonl", [*PAIRS[:2], PAIRS[2] | {"weight": 1e39}])
    (folder / "empty.jsonl").write_text("")
    (folder / "bad_utf8.jsonl").write_bytes(json.dumps(PAIRS[0]).encode() + b'\n{"prompt": "a", "chosen": "\xff\xfe", "rejected": "b"}\n')
    (folder / "not_json.jsonl").write_text("chosen,rejected\n")
    (folder / "taken").mkdir()
    (folder / "taken" / "notes.txt").write_text("mine")
    return folder


@pytest.fixture
def folder(prepared, tmp_path):
    """A copy to write into: the files are small, the checkpoints linked."""
    for path in prepared.iterdir():
        if path.is_dir() and path.name != "taken":
            (tmp_path / path.name).symlink_to(path)
        elif path.is_dir():
            shutil.copytree(path, tmp_path / path.name)
        else:
            shutil.copy(path, tmp_path)
    return tmp_path


def check(line, result, folder):
    word, _, rest = line.partition(" ")
    if word == "exit":
        return result.returncode == int(rest)
    if word in ("out", "err"):
        return re.search(rest, result.stdout if word == "out" else result.stderr) is not None
    if word == "one-line":
        return result.stderr.count("\n") == 1 and result.stderr.endswith("\n")
    if word == "nothing-said":
        return result.stderr == ""
    if word in ("absent", "present"):
        return any(folder.glob(rest)) == (word == "present")
    raise ValueError(f"unknown line in a command test: {line}")


@pytest.mark.parametrize("lines", [case for path in sorted(HERE.glob("*.test")) for case in parse_cases(path)])
def test_command(lines, folder):
    for line in lines:
        if line.startswith("$ "):
            limit, typed = None, shlex.split(line[2:])
            if typed[0] == "limit-file-size":  # a stand-in for a full disk: writes beyond so many kB fail
                limit, typed = typed[1], typed[2:]
            program = [str(BUILD / "metarm") if typed[0] == "metarm" else typed[0], *typed[1:]]
            if limit:
                program = ["bash", "-c", f'trap "" XFSZ; ulimit -f {limit}; exec "$@"', "bash", *program]
            result = subprocess.run(program, cwd=folder, capture_output=True, text=True)
        else:
            assert check(line, result, folder), f"{line}\nexit {result.returncode}\n--- stdout\n{result.stdout}\n--- stderr\n{result.stderr}"

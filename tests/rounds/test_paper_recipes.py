"""recipes/paper with tiny models and a few rows under the names that the files use: all of it runs, and nothing but sizes is changed for that."""

import gzip
import json
import re
import tomllib

import pytest
from families import save_checkpoint
from programs import ROOT, read_rows, run_metarm, write_rows

PAPER = ROOT / "recipes" / "paper"
# What makes a run long; the rows below make an epoch a step or two.
SIZES = {"max_new_tokens": 4, "max_steps": 2, "rounds": 1}
HH = [{"chosen": f"\n\nHuman: the river {i}\n\nAssistant: the inn", "rejected": f"\n\nHuman: the river {i}\n\nAssistant: a there then"} for i in range(18)]
PROMPTS = [{"prompt": f"the inn {i}"} for i in range(3)]
COMPARISONS = [{"info": {"post": f"in the river {i}", "title": "heather", "subreddit": "tides"}, "summaries": [{"text": " the inn"}, {"text": " a there"}], "choice": i % 2, "split": "train"}
               for i in range(6)]


def write_data(folder):
    for subset in ("harmless-base", "helpful-base", "helpful-online", "helpful-rejection-sampled"):
        (folder / "hh-rlhf" / subset).mkdir(parents=True)
        for split, rows in (("train", HH), ("test", HH[:2])):
            text = "".join(json.dumps(row) + "\n" for row in rows)
            (folder / f"hh-rlhf/{subset}/{split}.jsonl.gz").write_bytes(gzip.compress(text.encode()))
    for name in ("tldr", "oasst1", "pku-safe-rlhf"):
        (folder / name).mkdir()
        write_rows(folder / name / "prompts.jsonl", PROMPTS)
    for name in ("hh-rlhf", "tldr", "oasst1", "pku-safe-rlhf"):
        write_rows(folder / name / "evaluation-prompts.jsonl", PROMPTS)
    write_rows(folder / "tldr/posts.jsonl", [{"prompt": "the inn", "response": f" river {i}"} for i in range(4)])
    for split in ("train", "valid"):
        write_rows(folder / f"tldr/comparisons-{split}.jsonl", COMPARISONS)


def shortened(text):
    for key, value in SIZES.items():
        text = re.sub(rf"^{key} = \d+$", f"{key} = {value}", text, flags=re.MULTILINE)
    return text


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with all that the files name, in which their commands are run."""
    folder = tmp_path_factory.mktemp("paper")
    save_checkpoint(folder / "Llama-2-7b-hf", "llama", "causal")
    write_data(folder)
    for path in PAPER.rglob("*.toml"):
        (folder / path.relative_to(PAPER).parent).mkdir(exist_ok=True)
        (folder / path.relative_to(PAPER)).write_text(shortened(path.read_text()))
    return folder


def run_rounds(place, name, output):
    run_metarm("rounds", "--config", name, "--quiet", cwd=place)
    [row] = read_rows(place / output / "rounds.jsonl")
    for figure in ("responses.prompts", "rm.meta_step_ratio", "policy.reward", "answers.prompts", "measure.pairs.accuracy", "measure.responses.before.before"):
        assert figure in row["figures"]


@pytest.mark.parametrize("study", ["hh", "tldr"])
def test_a_study_runs_from_the_checkpoint_on(place, study):
    run_metarm("sft", "--config", f"{study}/sft.toml", "--quiet", cwd=place)
    run_metarm("train", "--config", f"{study}/rm.toml", "--quiet", cwd=place)
    run_rounds(place, f"{study}/rounds.toml", f"runs/paper/{study}/rounds")


@pytest.mark.parametrize("study", ["oasst1", "safe-rlhf"])
def test_prompts_from_elsewhere(place, study):
    if not (place / "runs/paper/hh/rm").exists():
        test_a_study_runs_from_the_checkpoint_on(place, "hh")
    run_rounds(place, f"ood/{study}.toml", f"runs/paper/ood/{study}")


def stages_of(name):
    return {stage["name"]: stage for stage in tomllib.loads((PAPER / name).read_text())["stage"]}


@pytest.mark.parametrize("name", ["hh/rounds.toml", "tldr/rounds.toml", "ood/oasst1.toml", "ood/safe-rlhf.toml"])
def test_they_say_what_the_paper_states(name):
    stages = stages_of(name)
    assert stages["responses"]["responses"] == 5
    stated = {"lr": 5e-6, "meta_lr": 5e-6, "batch_size": 16, "meta_batch_size": 16, "epochs": 1, "meta_scale": "absolute", "meta_order": "first"}
    assert stages["rm"].items() >= stated.items()
    assert stages["policy"].items() >= {"algorithm": "ppo", "lr": 5e-7, "critic_lr": 1.5e-6, "lam": 0.95, "gamma": 1.0, "responses": 16, "temperature": 0.8, "top_p": 0.9, "kl_coef": 0.05, "max_steps": 2000, "max_new_tokens": 512}.items()
    sft, rm = (tomllib.loads((PAPER / f"hh/{file}.toml").read_text()) for file in ("sft", "rm"))
    assert sft["lr"] == 2e-5 and sft["warmup_ratio"] * sft["epochs"] == pytest.approx(0.3) and sft["batch_size"] == 32
    assert rm["lr"] == 5e-6 and rm["epochs"] == 1 and rm["batch_size"] == 16


def test_shortening_changes_sizes_alone():
    for path in PAPER.rglob("*.toml"):
        lines = zip(path.read_text().splitlines(), shortened(path.read_text()).splitlines(), strict=True)
        assert all(before == after or before.split(" = ")[0] in SIZES for before, after in lines)

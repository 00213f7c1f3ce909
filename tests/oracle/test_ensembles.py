"""Ensembles: rewards and their spread are the members' own, combined by hand; members that share layers give what they give alone."""

import json
import re
import shutil

import numpy as np
import pytest
import torch
import transformers as hf
from chat_templates import PUBLISHED
from families import edit_config, save_checkpoint
from letters import save_letters_policy
from peft import LoraConfig, PeftModel, get_peft_model
from programs import read_rows, run_metarm, write_rows
from random_streams import draw_with_replacement
from safetensors.torch import load_file, save_file
from scoring import load_in_transformers, score, score_error, score_texts, texts_by_transformers
from test_adapters import PAIRS, edit_adapter, train
from test_ppo import run_ppo

ROWS = [
    {"text": "the inn at a river"},
    {"prompt": "when the other inn", "responses": [" at a river", " nine", " in heather there", " x"]},
    {"prompt": "hello", "chosen": " the inn", "rejected": " nine other"},
    {"prompt": "the", "response": " inn"},
]
AGGREGATES = {
    "mean": lambda r: r.mean(0),
    "min": lambda r: r.min(0),
    "median": lambda r: np.median(r, 0),
    "uncertainty": lambda r: r.mean(0) - 0.7 * r.var(0),
}


def make_ensemble(output, models, *more, **how):
    return run_metarm("ensemble", "--models", *models, "--output", output, *more, **how)


def numbers(row, after=""):
    """All rewards of a scored row, or with `after` = _std their spreads."""
    names = [name + after for name in ("reward", "rewards", "chosen_reward", "rejected_reward") if name + after in row]
    return [value for name in names for value in (row[name] if isinstance(row[name], list) else [row[name]])]


def rewards_of(model, folder, rows=ROWS, after=""):
    return np.array([value for row in score(model, rows, folder) for value in numbers(row, after)])


def standardised(rewards, reference):
    return (rewards - reference.mean()) / reference.std()


@pytest.fixture(scope="module")
def members(tmp_path_factory):
    """Reward models of different sizes over one tokenizer."""
    folder = tmp_path_factory.mktemp("members")
    save_checkpoint(folder / "a", "llama", "reward", 0)
    save_checkpoint(folder / "b", "llama", "reward", 1)
    save_checkpoint(folder / "c", "qwen2", "reward", 2)
    return [folder / name for name in "abc"]


@pytest.mark.parametrize("aggregate", AGGREGATES)
@pytest.mark.parametrize("reference", [False, True])
def test_rewards_are_the_members_combined(aggregate, reference, members, tmp_path):
    pairs = [{"prompt": "the inn", "chosen": f" {text}", "rejected": f" {text[::-1]}"} for text in ("nine", "river there", "three other inn", "hello")]
    write_rows(tmp_path / "reference.jsonl", pairs)
    more = ["--pairs", tmp_path / "reference.jsonl"] if reference else []
    more += ["--uncertainty-weight", 0.7] if aggregate == "uncertainty" else []
    make_ensemble(tmp_path / "both", members, "--aggregate", aggregate, *more, "--quiet")
    by_member = [rewards_of(member, tmp_path) for member in members]
    if reference:
        by_member = [standardised(own, rewards_of(member, tmp_path, pairs)) for own, member in zip(by_member, members)]
    by_member = np.stack(by_member)
    assert rewards_of(tmp_path / "both", tmp_path) == pytest.approx(AGGREGATES[aggregate](by_member), abs=1e-4)
    assert rewards_of(tmp_path / "both", tmp_path, after="_std") == pytest.approx(by_member.std(0), abs=1e-4)


def test_the_fields_of_each_kind_of_row(members, tmp_path):
    make_ensemble(tmp_path / "both", members, "--quiet")
    long = {"prompt": "the", "responses": [" inn", " inn" * 60]}
    text, group, pair, response, too_long = score(tmp_path / "both", [*ROWS, long], tmp_path, "--max-length", 40)
    for row, fields in ((text, ["reward"]), (group, ["rewards"]), (pair, ["chosen_reward", "rejected_reward"]), (response, ["reward"])):
        assert {name for name in row if "reward" in name} == {*fields, *(name + "_std" for name in fields)}
    assert len(group["rewards_std"]) == len(group["responses"]) and min(group["rewards_std"]) > 0
    assert too_long["rewards"][1] is None and too_long["rewards_std"][1] is None and too_long["rewards_std"][0] > 0


def make_adapters(folder, family, layers, kind="causal", count=3):
    save_checkpoint(folder / "base", family, kind)
    adapters = [folder / f"adapter{seed}" for seed in range(count)]
    for seed, adapter in enumerate(adapters):
        train("train", folder / "base", adapter, "--lora-rank", 2, "--lora-layers", layers, "--lr", 0.05, "--seed", seed, "--quiet")
    return adapters


def layers_a_pass(ensemble, folder):
    write_rows(folder / "one.jsonl", ROWS[:1])
    said = run_metarm("score", "--model", ensemble, "--input", folder / "one.jsonl").stderr
    return tuple(map(int, re.search(r"ensemble of \d+: (\d+) layers a pass, of (\d+) that its members have", said).groups()))


@pytest.mark.parametrize("family", ["llama", "gemma2", "gpt2", "gpt_neox"])
@pytest.mark.parametrize("layers", [1, 2, 3])
def test_adapters_over_one_base_share_its_first_layers(family, layers, tmp_path):
    adapters = make_adapters(tmp_path, family, layers)
    make_ensemble(tmp_path / "all", adapters, "--aggregate", "min", "--quiet")
    assert layers_a_pass(tmp_path / "all", tmp_path) == (3 - layers + 3 * layers, 9)
    by_member = np.stack([rewards_of(adapter, tmp_path) for adapter in adapters])
    assert by_member.std(0).min() > 1e-3, "the members do not differ"
    assert rewards_of(tmp_path / "all", tmp_path) == pytest.approx(by_member.min(0), abs=1e-5)
    assert rewards_of(tmp_path / "all", tmp_path, after="_std") == pytest.approx(by_member.std(0), abs=1e-5)


@pytest.mark.parametrize("more", [[], ["--lora-rank", 0, "--freeze-layers", 2]], ids=["adapters", "whole"])
def test_aligned_members_still_share(more, tmp_path):
    """Adapters of the last layer, each aligned as one or with the layers below frozen, from a reward model that was trained for no step."""
    save_checkpoint(tmp_path / "lm", "llama", "causal")
    train("train", tmp_path / "lm", tmp_path / "start", "--lr", 0, "--quiet")
    members, aligned = ([tmp_path / f"{name}{seed}" for seed in range(2)] for name in ("member", "aligned"))
    for seed, (member, after) in enumerate(zip(members, aligned)):
        train("train", tmp_path / "start", member, "--lora-rank", 2, "--lora-layers", 1, "--lr", 0.05, "--seed", seed, "--quiet")
        train("align", member, after, *more, "--lr", 0.01, "--seed", seed, "--quiet")
    make_ensemble(tmp_path / "all", aligned, "--quiet")
    assert layers_a_pass(tmp_path / "all", tmp_path) == (2 + 2 * 1, 6)
    before, after = (np.stack([rewards_of(model, tmp_path) for model in models]) for models in (members, aligned))
    assert np.abs(after - before).min(1).max() > 1e-4 and after.std(0).min() > 1e-4
    assert rewards_of(tmp_path / "all", tmp_path) == pytest.approx(after.mean(0), abs=1e-5)


def test_whole_models_share_what_they_have_in_common(tmp_path):
    """An adapter, the same one merged, and a model of its own."""
    (adapter,) = make_adapters(tmp_path, "llama", 1, count=1)
    train("train", tmp_path / "base", tmp_path / "merged", "--lora-rank", 2, "--lora-layers", 1, "--lr", 0.05, "--seed", 7, "--merge-lora", "true", "--quiet")
    save_checkpoint(tmp_path / "other", "llama", "reward", 5)
    models = [adapter, tmp_path / "merged", tmp_path / "other"]
    make_ensemble(tmp_path / "all", models, "--quiet")
    assert layers_a_pass(tmp_path / "all", tmp_path) == (2 + 1 + 1 + 3, 9)
    by_member = np.stack([rewards_of(model, tmp_path) for model in models])
    assert rewards_of(tmp_path / "all", tmp_path) == pytest.approx(by_member.mean(0), abs=1e-5)


def test_lora_layers_are_peft_s(tmp_path):
    (adapter,) = make_adapters(tmp_path, "llama", 2, "reward", count=1)
    assert json.loads((adapter / "adapter_config.json").read_text())["layers_to_transform"] == [1, 2]
    model = PeftModel.from_pretrained(load_in_transformers(tmp_path / "base"), adapter)
    adapted = {int(re.search(r"layers\.(\d+)\.", name)[1]) for name, _ in model.named_parameters() if "lora_" in name}
    assert adapted == {1, 2}
    expected = texts_by_transformers(model.eval(), hf.AutoTokenizer.from_pretrained(tmp_path / "base"))
    assert score_texts(adapter, tmp_path) == pytest.approx(expected, abs=1e-4)

    made = get_peft_model(load_in_transformers(tmp_path / "base"), LoraConfig(task_type="SEQ_CLS", r=2, layers_to_transform=[0], target_modules=["q_proj", "up_proj"], init_lora_weights=False))
    made.save_pretrained(tmp_path / "made")
    edit_adapter(tmp_path / "made", base_model_name_or_path=str(tmp_path / "base"))
    expected = texts_by_transformers(made.eval(), hf.AutoTokenizer.from_pretrained(tmp_path / "base"))
    assert score_texts(tmp_path / "made", tmp_path) == pytest.approx(expected, abs=1e-4)

    edit_adapter(adapter, layers_to_transform=[2])
    assert "layers_to_transform: expected the layers of the adapters, got 2 without 1, which has some" in score_error(adapter, tmp_path)
    edit_adapter(adapter, layers_to_transform=["1"])
    assert "layers_to_transform: expected a layer's number or a list of some, got [\"1\"]" in score_error(adapter, tmp_path)
    result = train("train", tmp_path / "base", tmp_path / "none", "--lora-rank", 2, "--lora-layers", 4, check=False)
    assert result.returncode == 2 and "--lora-layers: expected at most the model's 3 layers, got 4" in result.stderr


@pytest.mark.parametrize("command", ["train", "align"])
def test_bootstrap_draws_rows_with_replacement(command, tmp_path):
    """By --seed, the same rows as here: training or aligning on them as a file of their own ends at the same weights."""
    save_checkpoint(tmp_path / "base", "llama", "reward")
    rows = [{"prompt": f"{i}", "chosen": f" the inn {i}", "rejected": f" nine {9 - i}"} for i in range(8)]
    drawn = draw_with_replacement(len(rows), 5, "bootstrap pairs")
    assert 1 < len(set(drawn)) < len(rows)
    write_rows(tmp_path / "all.jsonl", rows)
    write_rows(tmp_path / "drawn.jsonl", [rows[i] for i in drawn])
    responses = ["--responses", write_rows(tmp_path / "groups.jsonl", ROWS[1:2])] if command == "align" else []
    for name, pairs, more in (("a", "all", ["--bootstrap", "--seed", 5]), ("b", "drawn", ["--seed", 5]), ("c", "all", ["--bootstrap", "--seed", 6])):
        run_metarm(command, "--model", tmp_path / "base", "--pairs", tmp_path / f"{pairs}.jsonl", *responses, "--output", tmp_path / name, "--lr", 0.01, "--batch-size", 4, "--dtype", "float32",
                   *more, "--quiet")
    a, b, c = (load_file(tmp_path / name / "model.safetensors") for name in "abc")
    assert all(torch.equal(a[name], b[name]) for name in a) and not all(torch.equal(a[name], c[name]) for name in a)


def test_members_move_with_the_ensemble(members, tmp_path):
    (tmp_path / "old").mkdir()
    for name, member in zip("ab", members):
        shutil.copytree(member, tmp_path / "old" / name)
    make_ensemble("ensembles", ["a", "b"], "--quiet", cwd=tmp_path / "old")
    before = score_texts(tmp_path / "old/ensembles", tmp_path)
    (tmp_path / "old").rename(tmp_path / "new")
    assert score_texts(tmp_path / "new/ensembles", tmp_path) == before


def test_eval_judge_and_best_of(members, tmp_path):
    make_ensemble(tmp_path / "both", members[:2], "--aggregate", "min", "--quiet")
    write_rows(tmp_path / "pairs.jsonl", [ROWS[2], *({"prompt": "a", "chosen": f" {a}", "rejected": f" {b}"} for a, b in (("inn", "nine"), ("three", "x"), ("tin", "at")))])
    pairs = score(tmp_path / "both", read_rows(tmp_path / "pairs.jsonl"), tmp_path)
    figures = json.loads(run_metarm("eval", "--model", tmp_path / "both", "--pairs", tmp_path / "pairs.jsonl", "--json").stdout)
    assert figures["pairs"]["accuracy"] == np.mean([row["chosen_reward"] > row["rejected_reward"] for row in pairs])

    for name, response in (("a", " inn"), ("b", " nine other")):
        write_rows(tmp_path / f"{name}.jsonl", [{"prompt": "the", "responses": [response]}])
    run_metarm("judge", "--a", tmp_path / "a.jsonl", "--b", tmp_path / "b.jsonl", "--rm", tmp_path / "both", "--output", tmp_path / "judged.jsonl", "--quiet")
    (judged,) = read_rows(tmp_path / "judged.jsonl")
    a, b = score(tmp_path / "both", [{"prompt": "the", "response": " inn"}, {"prompt": "the", "response": " nine other"}], tmp_path)
    assert [judged[field] for field in ("a_reward", "a_reward_std", "b_reward", "b_reward_std")] == pytest.approx([a["reward"], a["reward_std"], b["reward"], b["reward_std"]], abs=1e-5)

    save_checkpoint(tmp_path / "lm", "llama", "causal")
    write_rows(tmp_path / "prompts.jsonl", [{"prompt": "the inn"}])
    run_metarm("sample", "--model", tmp_path / "lm", "--prompts", tmp_path / "prompts.jsonl", "--output", tmp_path / "best.jsonl", "--best-of", 4, "--rm", tmp_path / "both", "--max-new-tokens", 6)
    (best,) = read_rows(tmp_path / "best.jsonl")
    assert best["rewards"] == pytest.approx(score(tmp_path / "both", [best], tmp_path)[0]["rewards"], abs=1e-5)


def test_eval_says_how_far_the_members_are_apart(members, tmp_path):
    """What score says of each text, and its mean over the pairs' and the responses' texts."""
    make_ensemble(tmp_path / "all", members, "--aggregate", "min", "--quiet")
    rows = {"pairs": [ROWS[2], {"prompt": "a", "chosen": " inn", "rejected": " nine"}], "responses": [ROWS[1], {"prompt": "the", "responses": [" inn", " nine", " inn" * 60]}]}
    files = [part for name, of_part in rows.items() for part in ("--" + name, write_rows(tmp_path / f"{name}.jsonl", of_part))]

    def evaluate(model, output):
        figures = json.loads(run_metarm("eval", "--model", model, *files, "--max-length", 40, "--output", output, "--json", "--quiet").stdout)
        return figures, read_rows(output / "prompts.jsonl")

    figures, prompts = evaluate(tmp_path / "all", tmp_path / "evaluation")
    scored = {name: score(tmp_path / "all", of_part, tmp_path, "--max-length", 40) for name, of_part in rows.items()}
    for name, of_part in scored.items():
        spreads = [spread for row in of_part for spread in numbers(row, "_std") if spread is not None]
        assert figures[name]["reward_std"] == pytest.approx(np.mean(spreads), abs=1e-5) and np.mean(spreads) > 1e-3
    by_prompt = {row["prompt"]: row["rewards_std"] for row in scored["responses"]}
    assert {row["prompt"]: row["rewards_std"] for row in prompts} == {prompt: pytest.approx(spreads, abs=1e-5) for prompt, spreads in by_prompt.items()}
    assert by_prompt["the"][2] is None
    figures, prompts = evaluate(members[0], tmp_path / "one")
    assert not any("reward_std" in figures[name] for name in rows) and not any("rewards_std" in row for row in prompts)


@pytest.mark.parametrize("ranks", [1, pytest.param(2, marks=pytest.mark.skipif(shutil.which("mpirun") is None, reason="mpirun is not installed: runs of several ranks are not tested"))])
def test_a_policy_is_optimised_by_an_ensemble(ranks, members, tmp_path):
    save_letters_policy(tmp_path / "policy")
    make_ensemble(tmp_path / "both", members, "--aggregate", "uncertainty", "--quiet")
    (metrics,) = run_ppo(tmp_path, rm=tmp_path / "both", algorithm="rloo", max_steps=1, ranks=ranks)
    drawn = read_rows(tmp_path / "out/responses/step-1.jsonl")
    expected = score(tmp_path / "both", [{"prompt": row["prompt"], "responses": row["responses"]} for row in drawn], tmp_path)
    for row, scored in zip(drawn, expected, strict=True):
        assert row["rewards"] == pytest.approx(scored["rewards"], abs=1e-5) and row["rewards_std"] == pytest.approx(scored["rewards_std"], abs=1e-5)
    assert metrics["reward"] == pytest.approx(np.mean([row["rewards"] for row in expected]), abs=1e-5)
    assert metrics["reward_std"] == pytest.approx(np.mean([row["rewards_std"] for row in expected]), abs=1e-5)
    run_metarm("ppo", "--policy", tmp_path / "policy", "--rm", members[0], "--prompts", tmp_path / "prompts.jsonl", "--output", tmp_path / "one", "--algorithm", "rloo", "--max-steps", 1, "--max-new-tokens", 3, "--quiet")
    assert "reward_std" not in read_rows(tmp_path / "one/metrics.jsonl")[0]


def test_a_critic_starts_from_one_model(members, tmp_path):
    save_letters_policy(tmp_path / "policy")
    make_ensemble(tmp_path / "both", members, "--quiet")
    result = run_ppo(tmp_path, rm=tmp_path / "both", algorithm="ppo", max_steps=1, check=False)
    assert result.returncode == 2 and "ppo: --critic: expected a reward model for the critic to start from, since --rm is an ensemble" in result.stderr


def broken(models, folder, **fields):
    config = {"aggregate": "mean", "members": [{"directory": str(member)} for member in models[:2]]} | fields
    folder.mkdir()
    (folder / "ensemble.json").write_text(json.dumps(config))
    return folder


WRONG = {
    "an unknown aggregate": ({"aggregate": "max"}, "aggregate: expected one of mean, min, median, uncertainty, got max"),
    "one member": ({"members": [{"directory": "."}]}, "members: expected a list of at least 2, got 1"),
    "members that are texts": ({"members": ["a", "b"]}, "members[0]: expected an object, got text"),
    "a member that is not there": ({"members": [{"directory": "nowhere"}] * 2}, "members[0]: directory: expected a reward model's folder, got"),
    "itself as a member": ({"members": [{"directory": "."}] * 2}, "members[0]: directory: expected one reward model, got an ensemble"),
    "a member twice": ({"members": [{"directory": "A"}, {"directory": "A"}]}, "members: expected members that differ, got"),
    "no weight of the uncertainty": ({"aggregate": "uncertainty"}, "uncertainty_weight"),
    "a negative weight": ({"aggregate": "uncertainty", "uncertainty_weight": -1}, "uncertainty_weight: expected a number from 0, got -1"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_configurations(wrong, members, tmp_path):
    fields, message = WRONG[wrong]
    fields = json.loads(json.dumps(fields).replace('"A"', f'"{members[0]}"'))
    assert message in score_error(broken(members, tmp_path / "broken", **fields), tmp_path)


def test_a_deviation_of_zero(members, tmp_path):
    entries = [{"directory": str(member), "reward_mean": 0, "reward_deviation": 0} for member in members[:2]]
    assert "members[0]: reward_deviation: expected a number from" in score_error(broken(members, tmp_path / "broken", members=entries), tmp_path)


def test_members_that_read_other_tokens(members, tmp_path):
    shutil.copytree(members[1], tmp_path / "other")
    edit_config(tmp_path / "other", metarm_chat_template="chatml")
    result = make_ensemble(tmp_path / "both", [members[0], tmp_path / "other"], check=False)
    assert result.returncode == 2 and result.stderr.count("\n") == 1 and "expected the chat template of" in result.stderr
    assert not list(tmp_path.glob("*both*"))


def test_members_of_one_chat_format(members, tmp_path):
    """Told to a training, or a published program. Programs that are not known must be the same text."""
    published = next(row["template"] for row in PUBLISHED if row["format"] == "chatml")
    programs = {"told": None, "program": published, "odd": "{{ messages }}", "as_odd": "{{ messages }}", "other": "{{ messages[0] }}"}
    for name, program in programs.items():
        shutil.copytree(members[name not in ("told", "odd")], tmp_path / name)
        if program:
            (tmp_path / name / "chat_template.jinja").write_text(program)
    edit_config(tmp_path / "told", metarm_chat_template="chatml")
    make_ensemble(tmp_path / "both", [tmp_path / "told", tmp_path / "program"], "--quiet")
    rows = [{"messages": [{"role": "user", "content": "the inn"}, {"role": "assistant", "content": "at a river"}]}]
    by_member = [rewards_of(tmp_path / name, tmp_path, rows) for name in ("told", "program")]
    assert rewards_of(tmp_path / "both", tmp_path, rows) == pytest.approx(np.mean(by_member, 0), abs=1e-5)
    score_texts(broken([tmp_path / "odd", tmp_path / "as_odd"], tmp_path / "unknown"), tmp_path, "--chat-template", "chatml")
    for first, second in (("odd", "other"), ("odd", "told"), ("program", "odd")):
        ensemble = broken([tmp_path / first, tmp_path / second], tmp_path / f"{first}-{second}")
        assert f"{second}: expected the chat template of " in score_error(ensemble, tmp_path, "--chat-template", "chatml")


def test_an_ensemble_is_no_model_to_train(members, tmp_path):
    make_ensemble(tmp_path / "both", members, "--quiet")
    for command in ("train", "align"):
        result = train(command, tmp_path / "both", tmp_path / "out", check=False)
        assert result.returncode == 2 and "both: expected one model, got an ensemble; score, eval, judge, serve" in result.stderr


def test_rewards_that_do_not_differ_have_no_unit(members, tmp_path):
    write_rows(tmp_path / "one.jsonl", PAIRS[:1])
    shutil.copytree(members[0], tmp_path / "flat")
    tensors = load_file(tmp_path / "flat/model.safetensors")
    save_file(tensors | {"score.weight": torch.zeros_like(tensors["score.weight"])}, tmp_path / "flat/model.safetensors", {"format": "pt"})
    result = make_ensemble(tmp_path / "both", [members[0], tmp_path / "flat"], "--pairs", tmp_path / "one.jsonl", check=False)
    assert result.returncode == 2 and "flat: expected rewards that differ between --pairs, got 0 for all of them" in result.stderr

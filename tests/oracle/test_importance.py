"""`align --method importance`: weights by the policies' ratio and steps with them equal plain PyTorch, each weight with its own pair."""

import json

import pytest
import torch
import transformers as hf
from families import save_checkpoint
from policy_reference import PolicyReference, response_ids
from programs import read_rows, run_metarm, write_rows
from reference import Reference, assert_same_steps, group_ids, token_ids
from safetensors.torch import load_file

MAX_LENGTH = 64
# Where the first is False the pair is left out, and those after it move up: as equal tokens, as too long for the reward model, or as too
# long for the policies alone, whose tokenizer has more tokens a word.
ROWS = [
    (True, {"prompt": "The sum of two and two", "chosen": " is four.", "rejected": " is a fish, said the man.", "weight": 2.0}),
    (False, {"prompt": "Tell me", "chosen": " yes", "rejected": " yes</s>"}),
    (True, {"prompt": "Tell me", "chosen": " a story of the inn, then.", "rejected": " no", "margin": 0.25}),
    (False, {"prompt": "Count", "chosen": " 1 2 3 4 5 6 7 8 9" * 4, "rejected": " 1"}),
    (False, {"prompt": "Which", "chosen": " the" * 20, "rejected": " none"}),
    (True, {"chosen": "\n\nHuman: Hi\n\nAssistant: Hello, there!", "rejected": "\n\nHuman: Hi\n\nAssistant: Go away."}),
    (True, {"prompt": "A prompt that is too long loses its oldest tokens, and is all the same a prompt:", "chosen": " of the inn",
            "rejected": " of an inn there"}),
]
PAIRS = [row for kept, row in ROWS if kept]
GROUPS = [
    {"prompt": "Name the river", "responses": [" Rhine", " the other one"]},
    {"prompt": "Sing", "responses": [" la la", " no", " heather"]},
]
TEMPERATURE = 0.05


def save_policy(folder, family, seed):
    """With a tokenizer of its own: no merges."""
    model, _ = save_checkpoint(folder, family, "causal", seed=seed)
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokenizer["model"]["merges"] = []
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    return PolicyReference(model), hf.PreTrainedTokenizerFast.from_pretrained(folder)


def setup(folder, rows=None, policies=("llama", "llama")):
    """Checkpoints and files; the reward model and the two policies in float64, with the policies' tokenizer."""
    write_rows(folder / "pairs.jsonl", rows or [row for _, row in ROWS])
    write_rows(folder / "groups.jsonl", GROUPS)
    model, tokenizer = save_checkpoint(folder / "rm", "llama", "reward")
    policy, policy_tokenizer = save_policy(folder / "policy", policies[0], seed=1)
    reference, _ = save_policy(folder / "start", policies[1], seed=2)
    return Reference(model), tokenizer, policy, reference, policy_tokenizer


def run_importance(folder, output="out", method="importance", **options):
    fixed = dict(model="rm", pairs="pairs.jsonl", output=output, method=method, optimizer="sgd", dtype="float32", lr_schedule="constant",
                 max_grad_norm=0, shuffle="false", max_length=MAX_LENGTH, threads=1)
    if method == "importance":
        fixed |= dict(policy="policy", reference_policy="start", importance_temperature=TEMPERATURE)
    arguments = [part for name, value in (fixed | options).items() for part in ("--" + name.replace("_", "-"), str(value))]
    run_metarm("align", *arguments, "--quiet", cwd=folder)
    return read_rows(folder / output / "metrics.jsonl")


def importance_error(folder, *more, reference="start"):
    """The one line that refuses to weigh the pairs."""
    result = run_metarm("align", "--model", "rm", "--pairs", "pairs.jsonl", "--output", "out", "--method", "importance", "--policy", "policy",
                        "--reference-policy", reference, *more, "--quiet", check=False, cwd=folder)
    assert result.returncode == 2 and result.stderr.count("\n") == 1 and not (folder / "out").exists()
    return result.stderr


def prompt_and_responses(row):
    if "prompt" in row:
        return row["prompt"], row["chosen"], row["rejected"]
    begin = row["chosen"].rindex("\n\nAssistant:") + len("\n\nAssistant:")
    return row["chosen"][:begin], row["chosen"][begin:], row["rejected"][begin:]


def cut(ids, begin):
    """What --max-length leaves, and where the response begins in it."""
    dropped = max(len(ids) - MAX_LENGTH, 0)
    return ids[dropped:], max(begin - dropped, 1)


def expected_weights(policy, reference, tokenizer, pairs=PAIRS):
    sums = []
    for row in pairs:
        prompt, *responses = prompt_and_responses(row)
        sequences = [cut(*response_ids(tokenizer, prompt, response)) for response in responses]
        ratios = [policy.log_prob(policy.weights, s) - reference.log_prob(reference.weights, s) for s in sequences]
        sums.append(sum(ratios).item())
    weights = (TEMPERATURE * torch.tensor(sums, dtype=torch.float64)).exp()
    return (weights / weights.mean()).tolist()


def encoded_pairs(tokenizer):
    of_row = lambda prompt, *responses: tuple(token_ids(tokenizer, prompt, response)[-MAX_LENGTH:] for response in responses)
    return [of_row(*prompt_and_responses(row)) for row in PAIRS]


@pytest.mark.parametrize("policies", [("llama", "llama"), ("gpt2", "qwen2")])
def test_weights(policies, tmp_path):
    rm, tokenizer, *of_policies = setup(tmp_path, policies=policies)
    write_rows(tmp_path / "held_out.jsonl", PAIRS[:1])
    weights = expected_weights(*of_policies)
    assert max(weights) > 1.5 * min(weights), "the weights hardly differ: nothing is compared"
    metrics = run_importance(tmp_path, batch_size=1, lr=0, epochs=2, eval_pairs="held_out.jsonl")
    steps = [row for row in metrics if "loss" in row]
    assert [row["importance"] for row in steps] == pytest.approx(weights + weights, rel=1e-4)
    for row, weight, pair, of_row in zip(steps, weights, encoded_pairs(tokenizer), PAIRS):
        assert row["loss"] == pytest.approx(weight * rm.pairwise_loss(rm.weights, [pair], [of_row]).item(), rel=1e-3)
        assert row["importance_effective_share"] == pytest.approx(sum(weights) ** 2 / sum(w**2 for w in weights) / len(weights), rel=1e-4)
        assert [row["importance_min"], row["importance_max"]] == pytest.approx([min(weights), max(weights)], rel=1e-4)
    assert json.loads((tmp_path / "out" / "data.json").read_text())["pairs"]["rows"] == len(PAIRS)
    without_weight = rm.pairwise_loss(rm.weights, encoded_pairs(tokenizer)[:1])
    assert metrics[-1]["eval_loss"] == pytest.approx(without_weight.item(), rel=1e-4)


@pytest.mark.parametrize("responses", [{}, {"responses": "groups.jsonl"}])
def test_a_step(responses, tmp_path):
    rm, tokenizer, *of_policies = setup(tmp_path)
    before = {name: weight.detach().clone() for name, weight in rm.weights.items()}
    [row] = run_importance(tmp_path, batch_size=len(PAIRS), lr=0.1, max_steps=1, **responses)
    assert row["importance"] == pytest.approx(1, abs=1e-6)
    rows = [pair | {"weight": pair.get("weight", 1.0) * weight} for pair, weight in zip(PAIRS, expected_weights(*of_policies))]
    loss = rm.pairwise_loss(rm.weights, encoded_pairs(tokenizer), rows)
    assert row["loss"] == pytest.approx(loss.item(), rel=1e-4)
    if responses:
        assert row["j_before"] == pytest.approx(rm.difference_loss(rm.weights, group_ids(tokenizer, GROUPS)).item(), abs=1e-5)
        assert row["groups"] == len(GROUPS)
    else:
        assert "j_before" not in row and "groups" not in row
    rm.sgd_step(rm.gradient(loss), 0.1)
    assert_same_steps(load_file(tmp_path / "out" / "model.safetensors"), rm, before)


def test_temperature_0_is_plain_further_training(tmp_path):
    setup(tmp_path, PAIRS)
    run_importance(tmp_path, "weighted", importance_temperature=0, lr=0.1, max_steps=3, batch_size=2)
    run_importance(tmp_path, "plain", method="none", lr=0.1, max_steps=3, batch_size=2)
    run_importance(tmp_path, "other", lr=0.1, max_steps=3, batch_size=2)
    weighted, plain, other = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("weighted", "plain", "other"))
    assert weighted == plain != other


def test_forms_of_a_conversation_weigh_the_same(tmp_path):
    user = {"role": "user", "content": "the inn"}
    answers = [[{"role": "assistant", "content": text}] for text in ("nine of them", "a river")]
    other = {"prompt": [user], "chosen": answers[1], "rejected": [{"role": "assistant", "content": "three"}]}
    forms = {
        "explicit": {"prompt": [user], "chosen": answers[0], "rejected": answers[1]},
        "text prompt": {"prompt": "the inn", "chosen": answers[0], "rejected": answers[1]},
        "whole": {"chosen": [user, *answers[0]], "rejected": [user, *answers[1]]},
        "whole with its prompt": {"prompt": "the inn", "chosen": [user, *answers[0]], "rejected": [user, *answers[1]]},
    }
    setup(tmp_path)
    found = {}
    for name, row in forms.items():
        write_rows(tmp_path / "pairs.jsonl", [row, other])
        found[name] = [step["importance"] for step in run_importance(tmp_path, name, batch_size=1, lr=0, chat_template="chatml")]
    assert abs(found["explicit"][0] - 1) > 1e-3
    assert all(weights == found["explicit"] for weights in found.values())


def test_a_policy_that_is_an_adapter(tmp_path):
    setup(tmp_path, PAIRS)
    sft = ["sft", "--model", "start", "--data", "pairs.jsonl", "--lora-rank", 2, "--lr", 0.01, "--max-steps", 5, "--dtype", "float32"]
    run_metarm(*sft, "--output", "adapter", "--quiet", cwd=tmp_path)
    run_metarm(*sft, "--merge-lora", "--output", "merged", "--quiet", cwd=tmp_path)
    (tmp_path / "adapter" / "tokenizer.json").unlink()  # its base has it
    weights = {}
    for policy in ("adapter", "merged"):
        weights[policy] = [step["importance"] for step in run_importance(tmp_path, f"by_{policy}", policy=policy, batch_size=1, lr=0)]
    assert weights["adapter"] == pytest.approx(weights["merged"], rel=1e-4)
    assert max(weights["adapter"]) > 1.01 * min(weights["adapter"])


def test_policies_of_other_tokens(tmp_path):
    setup(tmp_path, PAIRS)
    save_checkpoint(tmp_path / "merges", "llama", "causal")
    error = importance_error(tmp_path, reference="merges")
    assert "pairs.jsonl:1: expected the same tokens from --policy's and --reference-policy's tokenizers" in error


def test_no_pair_that_fits(tmp_path):
    setup(tmp_path, [row for _, row in ROWS if row.get("prompt") == "Which"])
    error = importance_error(tmp_path, "--max-length", MAX_LENGTH)
    assert f"--pairs: expected pairs that fit in --max-length {MAX_LENGTH} by --policy's tokenizer, got none of 1" in error

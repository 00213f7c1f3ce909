"""What `explain` says beside plain PyTorch in float64: values of tokens, what changed between two models, gradients of the head, the plane of hidden states."""

import json
import os
import random
import shutil
import subprocess

import numpy as np
import pytest
import torch
import transformers as hf
from families import VOCAB, save_checkpoint, save_tokenizer
from programs import BUILD, read_rows, run_metarm, write_rows
from reference import prefix_rewards, token_ids
from safetensors.torch import load_file, save_file

WORDS = "the inn at a river there then nine other three when in heather".split()
PAIRS = [
    {"prompt": "when the other inn", "chosen": " at a river there", "rejected": " at nine", "id": "first"},
    {"prompt": "the café by the 🌊", "chosen": " is ☕ then", "rejected": " never", "subset": "signs"},
    {"prompt": "three", "chosen": " in heather", "rejected": " the river there then, nine times when the other is in"},
]
GROUPS = [{"prompt": "when the other inn", "responses": [" at a river there", " nine", " then"], "policy": "new", "round": 2}, {"prompt": "at", "responses": [" the inn"]}]


def random_pairs(count, seed):
    rng = random.Random(seed)
    text = lambda: " " + " ".join(rng.choice(WORDS) for _ in range(rng.randrange(1, 12)))
    return [{"prompt": text(), "chosen": text() + " a", "rejected": text() + " b"} for _ in range(count)]


def explain(folder, model, *options, pairs=None, groups=None):
    """The rows written, and the summary."""
    inputs = []
    for name, rows in (("pairs", pairs), ("responses", groups)):
        if rows:
            inputs += [f"--{name}", write_rows(folder / f"{name}.jsonl", rows)]
    method = [] if "--attribution" in options else ["--attribution", "integrated"]
    result = run_metarm("explain", "--model", model, *inputs, "--output", folder / "out.jsonl", "--json", *method, *options)
    return read_rows(folder / "out.jsonl"), json.loads(result.stdout)


def torch_values(model, ids, points):
    """Along the straight line from the pad token's embeddings, by Gauss and Legendre's rule; no points: the gradient at the end alone."""
    torch.set_num_threads(1)
    embed = model.get_input_embeddings()  # Gemma's also scales
    end, begin = (embed(torch.tensor(some)).detach() for some in (ids, [model.config.pad_token_id] * len(ids)))
    nodes, weights = np.polynomial.legendre.leggauss(points) if points else (np.ones(1), np.full(1, 2.0))
    total = torch.zeros_like(end)
    for node, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
        embedded = (begin + node * (end - begin)).requires_grad_()
        reward = model(inputs_embeds=embedded[None], attention_mask=torch.ones(1, len(ids)), position_ids=torch.arange(len(ids))[None]).logits.sum()
        total += weight * torch.autograd.grad(reward, embedded)[0]
    return ((end - begin) * total).sum(-1).numpy()


def shared_length(a, b):
    return min(next((i for i, (x, y) in enumerate(zip(a, b)) if x != y), len(a)), len(a) - 1, len(b) - 1)


def close(values, expected, scale=None):
    expected = np.asarray(expected)
    np.testing.assert_allclose(values, expected, rtol=0, atol=1e-4 * (np.abs(expected).max() if scale is None else scale))


@pytest.mark.parametrize("family, options, points", [
    ("llama", ["--points", "24"], 24), ("gemma2", ["--points", "12"], 12), ("gpt2", ["--points", "12"], 12), ("llama", ["--attribution", "gradient-x-input"], 0)])
def test_values_of_tokens(family, options, points, tmp_path):
    model, tokenizer = save_checkpoint(tmp_path / "rm", family, "reward")
    rows, _ = explain(tmp_path, tmp_path / "rm", *options, pairs=PAIRS, groups=GROUPS)
    model.double()
    for row, pair in zip(rows[:3], PAIRS, strict=True):
        ids = [token_ids(tokenizer, pair["prompt"], pair[side]) for side in ("chosen", "rejected")]
        chosen, rejected = (torch_values(model, some, points) for some in ids)
        close(row["chosen_attribution"]["values"], chosen)
        close(row["rejected_attribution"]["values"], rejected)
        shared = shared_length(*ids)
        parts = row["difference_attribution"]
        scale = max(np.abs(chosen).max(), np.abs(rejected).max())
        close(parts["shared"]["values"], chosen[:shared] - rejected[:shared], scale)
        close(parts["chosen"]["values"], chosen[shared:], scale)
        close(parts["rejected"]["values"], -rejected[shared:], scale)
    assert rows[3]["attributions"][1]["values"] == pytest.approx(list(torch_values(model, token_ids(tokenizer, "when the other inn", " nine"), points)), abs=1e-3)
    assert len(rows) == 5 and (rows[3]["policy"], rows[3]["round"]) == ("new", 2)


def test_values_add_up(tmp_path):
    save_checkpoint(tmp_path / "rm", "llama", "reward")
    rows, summary = explain(tmp_path, tmp_path / "rm", pairs=PAIRS + random_pairs(5, 1), groups=GROUPS)
    rewards, differences = [], []
    for row in rows:
        sides = row.get("attributions") or [row["chosen_attribution"], row["rejected_attribution"]]
        for side, reward in zip(sides, row.get("rewards") or [row["chosen_reward"], row["rejected_reward"]], strict=True):
            whole = reward - side["baseline_reward"]
            rewards.append(abs(sum(side["values"]) - whole) / abs(whole))
            assert rewards[-1] == pytest.approx(side["error"], abs=1e-4) and rewards[-1] < 0.05
        if "attributions" in row:
            continue
        parts = row["difference_attribution"]
        whole = row["chosen_reward"] - row["rejected_reward"] - parts["baseline_difference"]
        assert row["reward_difference"] == pytest.approx(row["chosen_reward"] - row["rejected_reward"], abs=1e-6)
        assert parts["baseline_difference"] == pytest.approx(sides[0]["baseline_reward"] - sides[1]["baseline_reward"], abs=1e-6)
        differences.append(abs(sum(sum(parts[part]["values"]) for part in ("shared", "chosen", "rejected")) - whole) / abs(whole))
        assert differences[-1] == pytest.approx(parts["error"], abs=1e-3) and differences[-1] < 0.05
    assert summary["reward_errors"] == {"count": 20, "median": pytest.approx(np.median(rewards), abs=1e-4), "largest": pytest.approx(max(rewards), abs=1e-4)}
    assert summary["difference_errors"]["count"] == 8 and summary["difference_errors"]["largest"] == pytest.approx(max(differences), abs=1e-3)
    assert (summary["pairs"], summary["groups"], summary["above_tolerance"]) == (8, 2, 0)


@pytest.mark.parametrize("family, pad_is_a_word", [("llama", False), ("gpt2", False), ("gemma2", True)])
def test_values_by_prefixes(family, pad_is_a_word, tmp_path):
    """Each token has what it changes in the reward of the text so far, by transformers on every prefix alone."""
    model, tokenizer = save_checkpoint(tmp_path / "rm", family, "reward")
    inner = token_ids(tokenizer, PAIRS[0]["prompt"], PAIRS[0]["chosen"])
    if pad_is_a_word:  # a prefix that ends in it has the reward of the one before
        model.config.pad_token_id = inner[3]
        model.save_pretrained(tmp_path / "rm")
    rows, summary = explain(tmp_path, tmp_path / "rm", "--attribution", "prefix", pairs=PAIRS, groups=GROUPS)

    def by_prefixes(prompt, response):
        rewards = prefix_rewards(model, token_ids(tokenizer, prompt, response))
        return np.diff(rewards, prepend=rewards[0]), rewards

    shares = [(row[f"{side}_attribution"], pair["prompt"], pair[side]) for row, pair in zip(rows, PAIRS) for side in ("chosen", "rejected")]
    shares += [(share, group["prompt"], response) for row, group in zip(rows[3:], GROUPS) for share, response in zip(row["attributions"], group["responses"])]
    assert len(shares) == 10
    for share, prompt, response in shares:
        values, rewards = by_prefixes(prompt, response)
        close(share["values"], values)
        assert share["baseline_reward"] == pytest.approx(rewards[0], abs=1e-5) and sum(share["values"]) == pytest.approx(rewards[-1] - rewards[0], abs=1e-5)
        assert share["points"] == 0
    if pad_is_a_word:
        assert rows[0]["chosen_attribution"]["values"][3] == 0
    for row, pair in zip(rows[:3], PAIRS, strict=True):
        parts = row["difference_attribution"]
        close(parts["shared"]["values"], np.zeros(len(parts["shared"]["values"])), 1)
        assert sum(parts["chosen"]["values"]) + sum(parts["rejected"]["values"]) == pytest.approx(row["reward_difference"], abs=1e-5)
    assert summary["difference_errors"]["largest"] < 1e-3 and summary["above_tolerance"] == 0


def test_pieces_come_to_the_integral(tmp_path):
    """Halved where they err, as far as the tolerance asks, for a pair's difference too."""
    model, tokenizer = save_checkpoint(tmp_path / "rm", "llama", "reward")
    model.double()
    points = []
    for tolerance in (0.3, 0.001):
        rows, summary = explain(tmp_path, tmp_path / "rm", "--tolerance", tolerance, pairs=PAIRS)
        assert summary["above_tolerance"] == 0
        sides = [(row[f"{side}_attribution"], pair["prompt"], pair[side]) for row, pair in zip(rows, PAIRS, strict=True) for side in ("chosen", "rejected")]
        assert all(side["error"] <= tolerance for side, _, _ in sides) and all(row["difference_attribution"]["error"] <= tolerance for row in rows)
        points.append(sum(side["points"] for side, _, _ in sides))
    for side, prompt, response in sides:
        expected = torch_values(model, token_ids(tokenizer, prompt, response), 128)
        np.testing.assert_allclose(side["values"], expected, rtol=0, atol=0.005 * np.abs(expected).max())
    assert 6 * 17 <= points[0] < points[1] < 6 * 512


def test_tokens_are_pieces_of_the_text(tmp_path):
    _, tokenizer = save_checkpoint(tmp_path / "rm", "llama", "reward")
    rows, _ = explain(tmp_path, tmp_path / "rm", "--attribution", "gradient-x-input", "--limit", "2", pairs=PAIRS)
    assert [row["where"].split(":")[-1] for row in rows] == ["1", "2"] and rows[0]["id"] == "first" and rows[1]["subset"] == "signs"
    for row, pair in zip(rows, PAIRS):
        for side in ("chosen", "rejected"):
            whole = pair["prompt"] + pair[side] + tokenizer.eos_token
            found = row[f"{side}_attribution"]
            assert "".join(found["tokens"]) == whole and len(found["tokens"]) == len(token_ids(tokenizer, pair["prompt"], pair[side])) == len(found["values"])
            assert all(whole[offset:].startswith(token) for offset, token in zip(found["offsets"], found["tokens"], strict=True))
            parts = row["difference_attribution"]
            assert "".join(parts["shared"]["tokens"] + parts[side]["tokens"]) == whole


def test_a_response_that_does_not_fit_has_none(tmp_path):
    save_checkpoint(tmp_path / "rm", "llama", "reward")
    groups = [{"prompt": "the", "responses": [" inn" * 40, " inn"]}, {"prompt": "the", "responses": [" inn" * 40]}]
    rows, summary = explain(tmp_path, tmp_path / "rm", "--max-length", "30", groups=groups)
    assert summary["groups"] == 1 and [reward is None for reward in rows[0]["rewards"]] == [True, False]
    assert [one is None for one in rows[0]["attributions"]] == [True, False]


def other_checkpoint(folder, change):
    """The checkpoint `rm` with its tensors changed."""
    shutil.copytree(folder / "rm", folder / "other")
    tensors = load_file(folder / "other" / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "other" / "model.safetensors", {"format": "pt"})
    return folder / "other"


def test_another_scale_is_no_change(tmp_path):
    save_checkpoint(tmp_path / "rm", "llama", "reward")
    other = other_checkpoint(tmp_path, lambda tensors: tensors["score.weight"].mul_(4))
    rows, summary = explain(tmp_path, tmp_path / "rm", "--compare", other, "--points", "8", pairs=PAIRS, groups=GROUPS)
    assert summary["change"]["flips"] == 0 and summary["change"]["differences"] == 3 + 3 and summary["change"]["mean"] < 1e-5
    for row in rows:
        change = row["change"]
        values = sum(change["values"].values(), []) if isinstance(change["values"], dict) else sum(change["values"], [])
        assert values and max(map(abs, values)) < 1e-5
        assert change.get("reward_difference", change.get("largest_difference")) == pytest.approx(0, abs=1e-5)
    assert rows[0]["compare"]["chosen_reward"] == pytest.approx(4 * rows[0]["chosen_reward"], rel=1e-5)


def test_what_changed_comes_first(tmp_path):
    save_checkpoint(tmp_path / "rm", "llama", "reward")

    def change(tensors):
        torch.manual_seed(1)
        tensors["score.weight"] += 0.15 * torch.randn_like(tensors["score.weight"])

    other, pairs = other_checkpoint(tmp_path, change), random_pairs(16, 2)
    rows, summary = explain(tmp_path, tmp_path / "rm", "--compare", other, "--attribution", "none", pairs=pairs)
    scaled = []
    for model in ("rm", "other"):
        run_metarm("score", "--model", tmp_path / model, "--input", tmp_path / "pairs.jsonl", "--output", tmp_path / "scored.jsonl")
        rewards = np.array([[row["chosen_reward"], row["rejected_reward"]] for row in read_rows(tmp_path / "scored.jsonl")])
        scaled.append((rewards - rewards.mean()) / rewards.std())
    before, after = (rewards[:, 0] - rewards[:, 1] for rewards in scaled)
    flipped = before * after < 0
    assert 0 < flipped.sum() < 16, "nothing or all is flipped: the order is not tested"
    order = sorted(range(16), key=lambda i: (not flipped[i], -abs(after[i] - before[i])))
    assert [row["where"] for row in rows] == [f"{tmp_path / 'pairs.jsonl'}:{i + 1}" for i in order]
    for row, i in zip(rows, order):
        assert row["change"]["flipped"] == flipped[i] and "chosen_attribution" not in row
        assert row["change"]["reward_difference"] == pytest.approx(after[i] - before[i], abs=1e-4)
        assert row["change"]["before"] == pytest.approx({"chosen_reward": scaled[0][i, 0], "rejected_reward": scaled[0][i, 1], "reward_difference": before[i]}, abs=1e-4)
        assert row["change"]["after"]["reward_difference"] == pytest.approx(after[i], abs=1e-4)
    assert summary["change"] == {"differences": 16, "flips": flipped.sum(), "mean": pytest.approx(np.abs(after - before).mean(), abs=1e-4)}
    assert explain(tmp_path, tmp_path / "rm", "--compare", other, "--attribution", "none", "--limit", "3", pairs=pairs)[0] == rows[:3]

    row = explain(tmp_path, tmp_path / "rm", "--compare", other, "--points", "8", "--limit", "1", pairs=pairs)[0][0]
    deviations = [rewards.std() for rewards in (np.array([[r["chosen_reward"], r["rejected_reward"]] for r in source]) for source in (rows, [r["compare"] for r in rows]))]
    for part in ("shared", "chosen", "rejected"):
        earlier, later = (np.array(side["difference_attribution"][part]["values"]) / deviation for side, deviation in zip((row, row["compare"]), deviations))
        close(row["change"]["values"][part], later - earlier, 1.0)


def test_models_of_two_tokenizers_are_not_compared(tmp_path):
    save_checkpoint(tmp_path / "rm", "llama", "reward")
    other = other_checkpoint(tmp_path, lambda tensors: None)
    tokenizer = json.loads((other / "tokenizer.json").read_text())
    tokenizer["model"]["merges"] = []
    (other / "tokenizer.json").write_text(json.dumps(tokenizer))
    write_rows(tmp_path / "pairs.jsonl", PAIRS)
    result = run_metarm("explain", "--model", "rm", "--compare", "other", "--pairs", "pairs.jsonl", "--output", "out.jsonl", cwd=tmp_path, check=False)
    assert result.returncode == 2 and "pairs.jsonl:1: --compare: expected the same tokens from rm and other" in result.stderr
    assert not list(tmp_path.glob("out*"))


def head_gradient(model, tokenizer, row, weigh):
    sides = [model(torch.tensor([token_ids(tokenizer, row["prompt"], row[side])])).logits[0, 0] for side in ("chosen", "rejected")]
    margin, weight = (row.get("margin", 0.0), row.get("weight", 1.0)) if weigh else (0.0, 1.0)
    loss = -weight * torch.nn.functional.logsigmoid(sides[0] - sides[1] - margin)
    return torch.autograd.grad(loss, model.score.weight)[0].flatten().numpy()


def influences(row, way):
    return [(int(one["where"].split(":")[-1]) - 1, one["cosine"], one["dot"]) for one in row["influence"][way]]


@pytest.mark.parametrize("measure", ["cosine", "dot"])
def test_pull_of_training_pairs(measure, tmp_path):
    model, tokenizer = save_checkpoint(tmp_path / "rm", "llama", "reward")
    training = random_pairs(12, 3)
    training[2] |= {"margin": 0.7, "id": "wide"}
    training[5] |= {"weight": 2.5}
    training[7] |= {"weight": 0.0}
    write_rows(tmp_path / "train.jsonl", training)
    pairs = [PAIRS[0] | {"margin": 3.0}, PAIRS[2]]
    rows, summary = explain(tmp_path, tmp_path / "rm", "--influence", "--train-pairs", tmp_path / "train.jsonl", "--influence-by", measure, "--top", "12",
                            "--attribution", "none", pairs=pairs)
    model.double()
    own = np.array([head_gradient(model, tokenizer, row, True) for row in training])
    for row, pair in zip(rows, pairs, strict=True):
        gradient = head_gradient(model, tokenizer, pair, False)
        dots = own @ gradient
        cosines = dots / np.maximum(np.linalg.norm(own, axis=1), 1e-30) / np.linalg.norm(gradient)
        by = {"cosine": cosines, "dot": dots}[measure]
        for way, sign in (("up", 1), ("down", -1)):
            found = influences(row, way)
            assert [i for i, _, _ in found] == [i for i in np.argsort(-sign * by, kind="stable") if sign * by[i] > 0]
            assert [cosine for _, cosine, _ in found] == pytest.approx([cosines[i] for i, _, _ in found], rel=1e-4, abs=1e-6)
            assert [dot for _, _, dot in found] == pytest.approx([dots[i] for i, _, _ in found], rel=1e-4, abs=1e-4 * np.abs(dots).max())
    assert summary["train_pairs"] == 12 and len(influences(rows[0], "up")) + len(influences(rows[0], "down")) == 11
    assert "wide" in [one.get("id") for way in ("up", "down") for one in rows[0]["influence"][way]]


def wide_model(folder):
    """One layer whose hidden states are large beside all else."""
    model = hf.AutoModelForSequenceClassification.from_config(
        hf.LlamaConfig(vocab_size=VOCAB, hidden_size=WIDTH, num_hidden_layers=1, num_attention_heads=8, num_key_value_heads=1, intermediate_size=8, max_position_embeddings=256,
                       pad_token_id=3, eos_token_id=2, bos_token_id=1, num_labels=1))
    model.save_pretrained(folder)
    save_tokenizer(folder)


WIDTH, MANY = 2048, 3000


def peak_memory(arguments, folder):
    process = subprocess.Popen([str(BUILD / "metarm"), *map(str, arguments)], cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0
    return usage.ru_maxrss * 1024


def test_memory_is_a_vector_a_training_pair(tmp_path):
    wide_model(tmp_path / "rm")
    write_rows(tmp_path / "pairs.jsonl", PAIRS[:1])
    peaks = []
    for count in (512, MANY):
        write_rows(tmp_path / "train.jsonl", [{"prompt": "a", "chosen": f"{i}", "rejected": f"{i}b"} for i in range(count)])
        peaks.append(peak_memory(["explain", "--model", "rm", "--pairs", "pairs.jsonl", "--influence", "--train-pairs", "train.jsonl", "--attribution", "none", "--output", "out.jsonl"], tmp_path))
    assert peaks[1] - peaks[0] < 2.5 * 4 * WIDTH * (MANY - 512)  # bytes: with the rows beside them, and what the allocator keeps


def test_a_copy_of_a_pair_pulls_most(tmp_path):
    save_checkpoint(tmp_path / "rm", "llama", "reward")
    pairs = random_pairs(5, 4)
    copies = [*pairs, *(row | {"chosen": row["rejected"], "rejected": row["chosen"]} for row in pairs)]
    write_rows(tmp_path / "train.jsonl", random_pairs(60, 5) + copies)
    rows, _ = explain(tmp_path, tmp_path / "rm", "--influence", "--train-pairs", tmp_path / "train.jsonl", "--attribution", "none", "--top", "3", pairs=pairs)
    for i, row in enumerate(rows):
        assert influences(row, "up")[0][:2] == (60 + i, pytest.approx(1, abs=1e-5)) and len(influences(row, "up")) == 3
        assert influences(row, "down")[0][:2] == (65 + i, pytest.approx(-1, abs=1e-5))


def test_map(tmp_path):
    model, tokenizer = save_checkpoint(tmp_path / "rm", "llama", "reward")
    pairs = random_pairs(6, 6)
    rows, summary = explain(tmp_path, tmp_path / "rm", "--map", "--attribution", "none", pairs=pairs, groups=GROUPS)
    texts = [(row["prompt"], row[side]) for row in pairs for side in ("chosen", "rejected")] + [(row["prompt"], response) for row in GROUPS for response in row["responses"]]
    model.double()
    with torch.no_grad():
        hidden = np.stack([model.model(torch.tensor([token_ids(tokenizer, *text)])).last_hidden_state[0, -1].numpy() for text in texts])
    left, singular, _ = np.linalg.svd(hidden - hidden.mean(0), full_matrices=False)
    expected = left[:, :2] * singular[:2]
    expected *= np.sign(np.take_along_axis(expected, np.abs(expected).argmax(0)[None], 0))
    found = [row[f"{side}_map"] for row in rows[:6] for side in ("chosen", "rejected")] + [point for row in rows[6:] for point in row["map"]]
    close(found, expected)
    assert summary["explained_variance"] == pytest.approx(list(singular[:2] ** 2 / (singular**2).sum()), rel=1e-4)


def test_clusters_on_the_map_have_the_least_squares(tmp_path):
    """Of every division of the rows in two."""
    model, tokenizer = save_checkpoint(tmp_path / "rm", "llama", "reward")
    groups = [{"prompt": prompt, "responses": [" the inn", " nine", " a river there"]} for prompt in ("One", "x", "In the heather", "hello, other", "Sing", "the river", "Ah", "nine and ten")]
    rows, _ = explain(tmp_path, tmp_path / "rm", "--map", "--clusters", "2", "--attribution", "none", groups=groups)
    model.double()
    with torch.no_grad():
        means = np.stack([np.mean([model.model(torch.tensor([token_ids(tokenizer, row["prompt"], text)])).last_hidden_state[0, -1].numpy() for text in row["responses"]], 0) for row in groups])
    squares = lambda part: ((part - part.mean(0)) ** 2).sum()
    sums = {}
    for bits in range(1, 2 ** (len(groups) - 1)):  # the first row is in cluster 1
        second = np.array([bits >> i & 1 for i in range(len(groups))], bool)[::-1]
        sums[tuple("2" if one else "1" for one in second)] = squares(means[second]) + squares(means[~second])
    assert tuple(row["cluster"] for row in rows) == min(sums, key=sums.get)

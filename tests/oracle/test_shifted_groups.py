"""Which shifted responses an alignment takes, and how its meta learning rate follows the gradients, read from its metrics and compared with plain PyTorch."""

import copy
import math

import pytest
import torch
from families import save_checkpoint
from programs import read_rows, run_metarm, write_rows
from reference import MetaStep, Reference, assert_same_steps, group_ids, pair_ids
from safetensors.torch import load_file

PAIRS = [{"prompt": "The inn at", "chosen": " the river is there.", "rejected": " nine"}, {"prompt": "Ah", "chosen": " then", "rejected": " then there is another thing."}]
GROUPS = [
    {"prompt": "The", "responses": [" inn", " river there", " ah"], "subset": "a", "round": 1},
    {"prompt": "One", "responses": [" two", " three four"], "subset": "a", "round": 2},
    {"prompt": "In the", "responses": [" end", " beginning there was", " inn", " river"], "subset": "b", "round": 3},
]


def align(folder, groups=GROUPS, check=True, quiet=True, **options):
    write_rows(folder / "pairs.jsonl", PAIRS)
    write_rows(folder / "groups.jsonl", groups)
    fixed = dict(model=folder / "rm", pairs=folder / "pairs.jsonl", responses=folder / "groups.jsonl", output=folder / "out", dtype="float32", shuffle="false", lr=0, meta_lr=0.05,
                 batch_size=2, meta_batch_size=1)
    given = fixed | options
    arguments = [part for name, value in given.items() for part in ("--" + name.replace("_", "-"), str(value))]
    result = run_metarm("align", *arguments, *["--quiet"] * quiet, check=check)
    return read_rows(given["output"] / "metrics.jsonl") if check else result


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shifted")
    model, tokenizer = save_checkpoint(folder / "rm", "llama", "reward")
    reference = Reference(model)
    with torch.no_grad():
        losses = [reference.difference_loss(reference.weights, [ids]).item() for ids in group_ids(tokenizer, GROUPS)]
        rewards = [[reference.reward(reference.weights, ids).item() for ids in group] for group in group_ids(tokenizer, GROUPS)]
    return folder, reference, tokenizer, losses, rewards


@pytest.fixture
def folder(checkpoint, tmp_path):
    (tmp_path / "rm").symlink_to(checkpoint[0] / "rm")
    return tmp_path


def groups_of(metrics, losses):
    """The difference loss of each step, at a learning rate of 0, says which group it took."""
    return [min(range(len(losses)), key=lambda i: abs(losses[i] - row["j_before"])) for row in metrics]


def test_modes_take_turns(folder, checkpoint):
    assert groups_of(align(folder, max_steps=6), checkpoint[3]) == [0, 1, 2, 0, 1, 2]
    (folder / "out").rename(folder / "plain")
    assert groups_of(align(folder, max_steps=6, balance_by="subset"), checkpoint[3]) == [0, 2, 1, 2, 0, 2]


def test_the_hardest_groups_are_kept(folder, checkpoint):
    losses, rewards = checkpoint[3], checkpoint[4]
    def mean_difference(values):
        return sum(abs(a - b) for i, a in enumerate(values) for b in values[:i]) / math.comb(len(values), 2)
    order = sorted(range(3), key=lambda i: mean_difference(rewards[i]))
    assert set(groups_of(align(folder, max_steps=6, hard_groups=0.6), losses)) == set(order[:2])


def test_near_duplicates_are_left_out_aloud(folder, checkpoint):
    alike = {"prompt": "The", "responses": [" inn", " Inn", " inn "]}
    result = align(folder, [*GROUPS, alike], check=False, quiet=False, max_steps=4, max_overlap=0.5)
    assert result.returncode == 0
    assert "2 responses left out: nearly the same as another one of their group" in result.stderr
    assert "1 groups left out: --max-overlap leaves fewer than two of their responses" in result.stderr
    assert groups_of(read_rows(folder / "out/metrics.jsonl"), checkpoint[3]) == [0, 1, 2, 0]
    result = align(folder, [alike], check=False, quiet=False, max_steps=1, max_overlap=0.5, output=folder / "none")
    assert result.returncode == 2 and result.stderr.count("\n") == 1
    assert "--max-overlap: expected groups with two responses that overlap by 0.5 at most, got none of 1; " in result.stderr
    assert not (folder / "none").exists()


def test_why_no_row_is_left_is_said(folder):
    """Of the rows that are meant alone."""
    equal = write_rows(folder / "equal.jsonl", [{"prompt": "The", "chosen": " inn", "rejected": " inn</s>"}])
    some = write_rows(folder / "some.jsonl", [*PAIRS, *read_rows(equal)])
    for option, files in (("pairs", dict(pairs=equal)), ("eval-pairs", dict(pairs=some, eval_pairs=equal))):
        result = align(folder, check=False, max_steps=1, **files)
        assert result.returncode == 2 and result.stderr.count("\n") == 1
        assert f"--{option}: expected pairs that can be used, got none of 1; 1 pairs left out: chosen and rejected are the same tokens\n" in result.stderr
    short = write_rows(folder / "short.jsonl", [{"prompt": "A", "chosen": "h", "rejected": "x"}])
    result = align(folder, [{"prompt": "The", "responses": [" inn", " river there"]}], check=False, quiet=False, max_steps=1, max_length=3, pairs=short)
    assert result.returncode == 2 and result.stderr.count("\n") == 1
    assert "--responses: expected groups that fit in --max-length 3, got none of 1; 1 rows hold a response that alone is longer than --max-length" in result.stderr
    assert not (folder / "out").exists()


def test_recent_rounds_are_drawn_more_often(folder, checkpoint):
    taken = groups_of(align(folder, max_steps=60, recency_half_life=0.5, batch_size=1), checkpoint[3])
    expected = [60 * weight / (1 + 1 / 4 + 1 / 16) for weight in (1 / 16, 1 / 4, 1)]
    for group in range(3):
        assert abs(taken.count(group) - expected[group]) < 4 * math.sqrt(expected[group]) + 1
    assert taken.count(2) > taken.count(1)


def cosine_of(reference, groups, of_l):
    of_j = reference.gradient(reference.difference_loss(reference.weights, groups))
    flat_j, flat_l = (torch.cat([g.flatten() for g in gradient.values()]) for gradient in (of_j, of_l))
    return torch.nn.functional.cosine_similarity(flat_j, flat_l, dim=0).item()


def test_the_meta_learning_rate_follows_the_gradients(folder, checkpoint):
    """η of a mode is multiplied by exp(-κ cos(∇J, ∇L)) after each of its steps; the cosine is that of the reference at the η before."""
    _, reference, tokenizer, _, _ = checkpoint
    kappa, ids = 8.0, pair_ids(tokenizer, PAIRS)
    metrics = align(folder, max_steps=6, balance_by="subset", meta_adapt=kappa, meta_scale="absolute")
    rates = {0: 0.05, 1: 0.05}
    steps = [(0, 0), (1, 2), (0, 1), (1, 2), (0, 0), (1, 2)]  # mode, group
    for row, (mode, group) in zip(metrics, steps, strict=True):
        assert row["mode"] == mode and row["meta_lr"] == pytest.approx(rates[mode], rel=1e-3)
        groups = group_ids(tokenizer, [GROUPS[group]])
        cosine = cosine_of(reference, groups, MetaStep(reference, rates[mode], "absolute", "first").gradient(ids, groups))
        assert row["meta_cosine"] == pytest.approx(cosine, abs=1e-4) and abs(cosine) > 1e-3
        rates[mode] = min(max(rates[mode] * math.exp(-kappa * cosine), 0.005), 0.5)
    assert len({row["meta_lr"] for row in metrics}) > 2


@pytest.mark.parametrize("target", ["interval", "both"])
def test_the_meta_step_is_taken_as_often_as_the_gradients_say(target, folder, checkpoint):
    """A mode's interval is multiplied by exp(κ cos(∇J, ∇L)) after each of its meta steps; the other turns are ordinary steps, and no group is left out."""
    reference, ids = copy.copy(checkpoint[1]), pair_ids(checkpoint[2], PAIRS)
    before = {name: weight.detach().clone() for name, weight in reference.weights.items()}
    kappa, most, lr = 8.0, 3, 0.05
    metrics = align(folder, max_steps=16, balance_by="subset", meta_adapt=kappa, meta_adapt_target=target, max_meta_interval=most, meta_scale="absolute", optimizer="sgd",
                    lr_schedule="constant", max_grad_norm=0, lr=lr)
    rate, interval, wait, taken = [0.05, 0.05], [1.0, 1.0], [0.0, 0.0], [[], []]
    for step, row in enumerate(metrics):
        mode = step % 2
        assert row["mode"] == mode and row["meta_interval"] == pytest.approx(interval[mode], rel=1e-3)
        is_due = wait[mode] <= 0
        assert [name in row for name in ("j_before", "j_after", "meta_cosine", "groups", "meta_lr")] == [is_due] * 4 + [is_due and target == "both"]
        if is_due:
            group = [[0, 1], [2]][mode][len(taken[mode]) % (2 - mode)]
            taken[mode].append(group)
            groups = group_ids(checkpoint[2], [GROUPS[group]])
            gradient = MetaStep(reference, rate[mode], "absolute", "first").gradient(ids, groups)
            cosine = cosine_of(reference, groups, gradient)
            assert row["meta_cosine"] == pytest.approx(cosine, abs=1e-3)
            interval[mode] = min(max(interval[mode] * math.exp(kappa * cosine), 1), most)
            if target == "both":
                assert row["meta_lr"] == pytest.approx(rate[mode], rel=1e-3)
                rate[mode] = min(max(rate[mode] * math.exp(-kappa * cosine), 0.005), 0.5)
            wait[mode] += interval[mode]
        else:
            gradient = reference.gradient(reference.pairwise_loss(reference.weights, ids))
        wait[mode] -= 1
        reference.sgd_step(gradient, lr)
    assert_same_steps(load_file(folder / "out" / "model.safetensors"), reference, before, 1e-3)
    assert 2 < len(taken[0] + taken[1]) < len(metrics) - 2, "hardly a turn without a meta step, or with one"


def test_the_meta_step_is_taken_less_often_where_held_out_pairs_suffer(folder):
    """All groups are one mode without --meta-adapt; an interval doubles after each evaluation that is not below the lowest before it."""
    write_rows(folder / "held_out.jsonl", [{"prompt": row["prompt"], "chosen": row["rejected"], "rejected": row["chosen"]} for row in PAIRS])
    metrics = align(folder, max_steps=24, lr=0.002, eval_pairs=folder / "held_out.jsonl", eval_steps=1, meta_backoff=0.5, meta_adapt_target="interval", max_meta_interval=5)
    interval, wait, lowest, taken = 1, 0, math.inf, 0
    for row in metrics:
        if "eval_loss" not in row:
            assert row["meta_interval"] == pytest.approx(interval) and ("j_before" in row) == (wait <= 0) and "meta_lr" not in row and "mode" not in row
            taken += wait <= 0
            wait += (interval if wait <= 0 else 0) - 1
        elif row["eval_loss"] < lowest:
            lowest = row["eval_loss"]
        else:
            interval = min(interval * 2, 5)
    assert interval == 5 and 4 < taken < 12, "the labels are turned round: the loss grows"


def hidden_state(reference, ids):
    with torch.no_grad():
        return reference.model.model(torch.tensor([ids])).last_hidden_state[0, -1]


def test_clusters_are_those_of_the_hidden_states(folder, checkpoint):
    """Two kinds of prompts, told apart by transformers' hidden states: with equal parts of the steps, the rare kind is taken as often."""
    _, reference, tokenizer, _, _ = checkpoint
    rare = {"prompt": "One two three four nine", "responses": [" ten", " nine"]}
    groups = [{"prompt": "The river", "responses": [f" {word}", " there"]} for word in ("inn", "ah", "then", "end", "other")] + [rare]
    means = torch.stack([torch.stack([hidden_state(reference, ids) for ids in group]).mean(0) for group in group_ids(tokenizer, groups)])
    def squares(divided):
        return sum((means[part] - means[part].mean(0)).square().sum().item() for part in divided)
    divisions = [[[i for i in range(6) if code >> i & 1], [i for i in range(6) if not code >> i & 1]] for code in range(1, 32)]
    best = min(divisions, key=squares)
    kinds = {i: next(number for number, part in enumerate(best) if i in part) for i in range(6)}
    with torch.no_grad():
        losses = [reference.difference_loss(reference.weights, [ids]).item() for ids in group_ids(tokenizer, groups)]
    taken = groups_of(align(folder, groups, max_steps=12, balance_by="clusters", clusters=2), losses)
    assert [kinds[i] for i in taken[::2]] == [kinds[0]] * 6 and [kinds[i] for i in taken[1::2]] == [1 - kinds[0]] * 6


def test_equal_parts_for_rounds_leave_recency_nothing_to_do(folder):
    result = align(folder, check=False, max_steps=1, balance_by="round", recency_half_life=2)
    assert result.returncode == 2 and result.stderr.count("\n") == 1 and "expected it without --balance-by round" in result.stderr


@pytest.mark.parametrize("options, said", [({"balance_by": "clusters", "clusters": 4}, "expected no more than the 3 response groups, got 4"),
                                           ({"clusters": 2}, "expected --balance-by clusters with it, got none")])
def test_clusters_that_cannot_be(options, said, folder):
    result = align(folder, check=False, max_steps=1, **options)
    assert result.returncode == 2 and result.stderr.count("\n") == 1 and said in result.stderr


def test_the_meta_learning_rate_backs_off(folder):
    """Times the factor after each evaluation that is not below the lowest before it; never below a tenth."""
    write_rows(folder / "held_out.jsonl", [{"prompt": row["prompt"], "chosen": row["rejected"], "rejected": row["chosen"]} for row in PAIRS])
    metrics = align(folder, max_steps=8, lr=0.002, eval_pairs=folder / "held_out.jsonl", eval_steps=1, meta_backoff=0.5)
    rate, lowest = 0.05, math.inf
    for row in metrics:
        if "eval_loss" not in row:
            assert row["meta_lr"] == pytest.approx(rate)
        elif row["eval_loss"] < lowest:
            lowest = row["eval_loss"]
        else:
            rate = max(rate / 2, 0.005)
    assert rate == 0.005, "the labels are turned round: the loss grows"


@pytest.mark.parametrize("target, figure", [("meta-lr", "meta_lr"), ("interval", "meta_interval")])
def test_where_a_shorter_run_ended_nothing_backs_off(target, figure, folder):
    """Its last evaluation is none of every eval_steps: gone on with, it is the run that never paused."""
    write_rows(folder / "held_out.jsonl", [{"prompt": row["prompt"], "chosen": row["rejected"], "rejected": row["chosen"]} for row in PAIRS])
    options = dict(lr=0.002, lr_schedule="constant", eval_pairs=folder / "held_out.jsonl", eval_steps=4, meta_backoff=0.5, meta_adapt_target=target, threads=1)
    whole = align(folder, max_steps=12, output=folder / "whole", **options)
    for steps in (6, 12):
        metrics = align(folder, max_steps=steps, save_steps=steps, output=folder / "parts", resume="true", **options)
    losses = {row["step"]: row["eval_loss"] for row in metrics if "eval_loss" in row}
    assert list(losses) == [4, 6, 8, 12] and losses[4] < losses[6] < losses[8], "the labels are turned round: each would back off"
    taken, expected = ([row.get(figure) for row in rows if "loss" in row] for rows in (metrics, whole))
    assert taken == expected and len(set(expected)) > 1
    assert (folder / "parts/model.safetensors").read_bytes() == (folder / "whole/model.safetensors").read_bytes()


@pytest.mark.parametrize("field, options", [("subset", {"balance_by": "subset"}), ("policy", {"balance_by": "policy"}), ("round", {"recency_half_life": 1})])
def test_rows_without_the_field(field, options, folder):
    rows = [{name: value for name, value in row.items() if name != field} for row in GROUPS]
    result = align(folder, rows, check=False, max_steps=1, **options)
    assert result.returncode == 2 and result.stderr.count("\n") == 1
    assert "groups.jsonl:1: " in result.stderr and f"expected rows with the field {field}" in result.stderr
    assert not (folder / "out").exists()

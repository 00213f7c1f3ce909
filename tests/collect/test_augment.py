"""`metarm augment` against what its pages promise, counted and computed anew from the rows that it wrote."""

import json
import math
import random
from collections import Counter

import pytest
import torch
from families import save_checkpoint
from programs import read_rows, run_metarm, write_rows
from reference import token_ids

NAMES = ["Ada Lovelace", "Paris", "Rome", "Bob", "Lake Como", "Ivan"]


def sentence(stream):
    words = " ".join(stream.choice("one two red blue soft old new fast".split()) for _ in range(stream.randint(3, 8)))
    return f"We {words} with {stream.choice(NAMES)} for {stream.randint(2, 99)} days."


def make_pairs(count, seed=1):
    """A pair a prompt; the chosen response is the longer one in about three of four."""
    stream = random.Random(seed)
    rows = []
    for i in range(count):
        texts = sorted((f" Nr{i}{side}. " + " ".join(sentence(stream) for _ in range(stream.randint(1, 8))) for side in "ab"), key=len)
        chosen, rejected = texts if stream.random() < 0.25 else texts[::-1]
        rows.append({"prompt": f"Question {i}?", "chosen": chosen, "rejected": rejected, "subset": "even" if i % 2 == 0 else "odd", "id": f"p{i}"})
    return rows


def augment(folder, *arguments, name="out.jsonl"):
    summary = json.loads(run_metarm("augment", *arguments, "--output", folder / name, "--json").stdout)
    rows = read_rows(folder / name)
    assert len(rows) == summary["rows"]
    return rows, summary


def kind(row):
    return row["origin"]["kind"]


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    return write_rows(tmp_path_factory.mktemp("augment") / "pairs.jsonl", make_pairs(400))


def test_the_papers_triplets(pairs, tmp_path):
    rows, _ = augment(tmp_path, "--pairs", pairs, "--cross-chosen-share", 1, "--cross-rejected-share", 1, "--cross-neutral-share", 1)
    originals = {row["prompt"]: row for row in make_pairs(400)}
    foreign = {text: prompt for prompt, row in originals.items() for text in (row["chosen"], row["rejected"])}
    counts, used, rejected_prompts = Counter(), Counter(), Counter()
    ties = Counter()
    for row in rows:
        own = originals[row["prompt"]]
        counts[kind(row)] += 1
        assert row["subset"] == own["subset"] and row["origin"]["row"] == own["id"]
        if kind(row) in ("cross-chosen", "cross-rejected"):
            assert row["chosen"] == own[kind(row).removeprefix("cross-")]
            assert foreign[row["rejected"]] != row["prompt"]
            assert row["origin"]["others"] == [originals[foreign[row["rejected"]]]["id"]]
            assert row.get("weight", 1) == 1
            used[row["rejected"]] += 1
            rejected_prompts[row["prompt"], foreign[row["rejected"]]] += 1
        elif kind(row) == "cross-neutral":
            assert row["prompt"] not in (foreign[row["chosen"]], foreign[row["rejected"]])
            assert row["weight"] == 0.5
            ties[row["prompt"], row["chosen"], row["rejected"]] += 1
    assert counts == {"labelled": 400, "cross-chosen": 1600, "cross-rejected": 1600, "cross-neutral": 2 * 6 * 400}
    # Every response is another prompt's rejected one equally often: 4 rows, each beside two other rows.
    assert set(used.values()) == {4} and len(used) == 800
    assert set(rejected_prompts.values()) == {4} and len(rejected_prompts) == 800
    assert all(ties[prompt, rejected, chosen] == count == 1 for (prompt, chosen, rejected), count in ties.items())


@pytest.mark.parametrize("option, made, trials", [("cross-chosen", "cross-chosen", 1600), ("truncate", "truncated", 400), ("repeat", "repeated", 400), ("shuffle", "shuffled", 400)])
def test_shares(pairs, tmp_path, option, made, trials):
    rows, summary = augment(tmp_path, "--pairs", pairs, f"--{option}-share", 0.3, "--keep-pairs", "false")
    count = summary["kinds"][made] + summary["left_out"].get(f"not_{made}", 0)
    assert abs(count - 0.3 * trials) < 4 * math.sqrt(0.3 * 0.7 * trials)
    assert {kind(row) for row in rows} == {made}
    again, _ = augment(tmp_path, "--pairs", pairs, f"--{option}-share", 0.3, "--keep-pairs", "false")
    other, _ = augment(tmp_path, "--pairs", pairs, f"--{option}-share", 0.3, "--keep-pairs", "false", "--seed", 1)
    assert rows == again != other


def test_shares_do_not_touch_each_other(pairs, tmp_path):
    alone, _ = augment(tmp_path, "--pairs", pairs, "--truncate-share", 0.3, "--keep-pairs", "false")
    more, _ = augment(tmp_path, "--pairs", pairs, "--truncate-share", 0.3, "--repeat-share", 0.5, "--keep-pairs", "false")
    assert alone == [row for row in more if kind(row) == "truncated"]


@pytest.fixture(scope="module")
def confident_model(tmp_path_factory):
    """A checkpoint with large rewards, and transformers' reward of a text."""
    folder = tmp_path_factory.mktemp("confident") / "rm"
    model, tokenizer = save_checkpoint(folder, "llama", "reward")
    with torch.no_grad():
        model.score.weight *= 3
    model.save_pretrained(folder)

    def reward(prompt, response):
        with torch.no_grad():
            return model(torch.tensor([token_ids(tokenizer, prompt, response)])).logits[0, 0].item()

    return folder, reward


KINDS = {"cross-chosen", "cross-rejected", "cross-neutral", "truncated"}
SYNTHETIC = ["--cross-chosen-share", 1, "--cross-rejected-share", 1, "--cross-neutral-share", 1, "--truncate-share", 1]


def test_pairs_that_a_reward_model_is_sure_of_are_left_out(confident_model, tmp_path):
    """RRM's filter: of the synthetic pairs those stay on which the reward model's probability is 0.2 or more from 1, or from 1/2 of a tie."""
    folder, reward = confident_model
    stream = random.Random(4)
    words = lambda: "".join(f" {stream.choice('one two red blue soft old new fast'.split())}" for _ in range(stream.randint(2, 9)))
    pairs = write_rows(tmp_path / "pairs.jsonl", [{"prompt": f"Question {i}?", "chosen": words() + ".", "rejected": words() + "!"} for i in range(12)])
    candidates, _ = augment(tmp_path, "--pairs", pairs, *SYNTHETIC)
    rows, summary = augment(tmp_path, "--pairs", pairs, *SYNTHETIC, "--rm", folder, name="kept.jsonl")
    expected, known = [], Counter()
    for row in candidates:
        gap = abs(sigma(reward(row["prompt"], row["chosen"]) - reward(row["prompt"], row["rejected"])) - (0.5 if kind(row) == "cross-neutral" else 1))
        assert abs(gap - 0.2) > 1e-4, "too near to the threshold to say"
        if kind(row) == "labelled" or gap >= 0.2:
            expected.append(row)
        else:
            known[kind(row)] += 0.5 if kind(row) == "cross-neutral" else 1  # a tie is two rows
    assert rows == expected
    assert set(known) == KINDS == {kind(row) for row in rows} - {"labelled"}, "nothing of a kind went, or all of it"
    assert {name: count for name, count in summary["left_out"].items() if name.startswith("known_")} == {f"known_{name}": count for name, count in known.items()}
    wider, _ = augment(tmp_path, "--pairs", pairs, *SYNTHETIC, "--rm", folder, "--min-label-gap", 0.4, "--keep-pairs", "false", name="wider.jsonl")
    assert 0 < len(wider) < len(rows) - 12 and all(row in rows for row in wider)


def test_pairs_that_cannot_be_scored_are_left_out(confident_model, tmp_path):
    rows = [{"prompt": f"Question {i}?", "chosen": f" answer {i}", "rejected": f" other {i}"} for i in range(4)]
    rows[2]["rejected"] = " x y z" * 20
    pairs = write_rows(tmp_path / "pairs.jsonl", rows)
    arguments = ["--pairs", pairs, "--cross-chosen-share", 1, "--rm", confident_model[0], "--min-label-gap", 0]
    written, summary = augment(tmp_path, *arguments, "--max-length", 60)
    assert summary["left_out"] == {"pairs_not_scored": 2}  # beside two other rows' chosen responses
    assert summary["kinds"] == {"labelled": 4, "cross-chosen": 14}
    assert not any(row["rejected"] == rows[2]["rejected"] for row in written if kind(row) != "labelled")
    _, summary = augment(tmp_path, *arguments)
    assert summary["left_out"] == {} and summary["kinds"]["cross-chosen"] == 16


def split(text):
    return [part.strip() for part in text.replace(". ", ".\n").split("\n")]


def test_corruptions(pairs, tmp_path):
    strengths = {"truncate": 0.25, "repeat": 0.4, "shuffle": 0.5, "swap": 1}
    options = [part for name, strength in strengths.items() for part in (f"--{name}-share", 1, f"--{name}-strength", strength)]
    rows, summary = augment(tmp_path, "--pairs", pairs, *options, "--synthetic-weight", 0.5)
    originals = {row["prompt"]: row for row in make_pairs(400)}
    known = set(NAMES) | {"Lovelace"}
    seen = Counter()
    for row in rows:
        if kind(row) == "labelled":
            continue
        seen[kind(row)] += 1
        chosen, rejected = row["chosen"], row["rejected"]
        assert chosen == originals[row["prompt"]]["chosen"] != rejected
        assert row["weight"] == 0.5
        before, after = split(chosen), split(rejected)
        if kind(row) == "truncated":
            words = len(chosen.split())
            assert chosen.startswith(rejected) and len(rejected.split()) == words - max(1, math.floor(0.25 * words + 0.5))
        elif kind(row) == "repeated":
            assert set(after) == set(before) and len(after) == len(before) + max(1, math.floor(0.4 * len(before) + 0.5))
        elif kind(row) == "shuffled":
            assert Counter(after) == Counter(before)
            assert sum(a != b for a, b in zip(before, after)) <= max(2, math.floor(0.5 * len(before) + 0.5))
        elif kind(row) == "swapped":
            assert len(after) == len(before)
            for old, new in zip(chosen.replace(" Lovelace", "").replace("Lake ", "").split(), rejected.replace(" Lovelace", "").replace("Lake ", "").split()):
                if old != new:
                    assert old.rstrip(".") in known | {"Ada", "Como"} or old.isdigit()
                    assert new.isdigit() == old.isdigit()
    assert set(seen) == {"truncated", "repeated", "shuffled", "swapped"}
    assert all(seen[made] + summary["left_out"].get(f"not_{made}", 0) == 400 for made in seen)


def bucket_sides(rows, buckets):
    """Weights of both sides of each bucket, by the ranks of the rows given."""
    ordered = sorted((row for row in rows if len(row["chosen"]) != len(row["rejected"])), key=lambda row: abs(len(row["chosen"]) - len(row["rejected"])))
    sides = [[0.0, 0.0] for _ in range(buckets)]
    first, places = 0, {}
    for rank, row in enumerate(ordered):
        if abs(len(row["chosen"]) - len(row["rejected"])) != abs(len(ordered[first]["chosen"]) - len(ordered[first]["rejected"])):
            first = rank
        places[row["prompt"], row["chosen"], row["rejected"]] = first * buckets // len(ordered)
    return places, sides


@pytest.mark.parametrize("way", ["weight", "draw"])
def test_lengths_are_balanced_in_each_bucket(pairs, tmp_path, way):
    before = make_pairs(400)
    rows, summary = augment(tmp_path, "--pairs", pairs, "--balance-lengths", way, "--length-buckets", 5)
    places, sides = bucket_sides(before, 5)
    for row in rows:
        key = row["prompt"], row["chosen"], row["rejected"]
        if key in places:
            sides[places[key]][len(row["chosen"]) > len(row["rejected"])] += row.get("weight", 1)
    assert all(longer > 0 and longer == pytest.approx(shorter) for shorter, longer in sides)
    longer = sum(len(row["chosen"]) > len(row["rejected"]) for row in before) / sum(len(row["chosen"]) != len(row["rejected"]) for row in before)
    assert summary["length"]["longer_before"] == pytest.approx(longer) and longer > 0.65
    assert summary["length"]["longer_after"] == pytest.approx(0.5)
    assert len(rows) == 400 - summary["length"]["left_out"]
    if way == "weight":
        assert summary["length"]["left_out"] == 0 and sum(row.get("weight", 1) for row in rows) == pytest.approx(400)
        weights = [row.get("weight", 1) for row in rows]
        assert summary["length"]["effective_share"] == pytest.approx(sum(weights) ** 2 / (400 * sum(weight**2 for weight in weights)))
    else:
        assert all("weight" not in row or row["weight"] == 1 for row in rows)


def test_rows_keep_what_they_had(tmp_path):
    rows = [row | {"annotator": i, "note": {"a": [1]}} for i, row in enumerate(make_pairs(3))]
    rows[1] |= {"weight": 2.0, "margin": 0.5}
    written, _ = augment(tmp_path, "--pairs", write_rows(tmp_path / "pairs.jsonl", rows))
    assert [{name: value for name, value in row.items() if name != "origin"} for row in written] == rows
    assert [row["origin"] for row in written] == [{"kind": "labelled", "row": row["id"]} for row in rows]


def sigma(x):
    return 1 / (1 + math.exp(-x))


def best_temperature(margins):
    """By ternary search on the loss, which is convex in 1 / T."""

    def loss(a):
        return sum(max(-a * margin, 0) + math.log1p(math.exp(-abs(a * margin))) for margin in margins)

    low, high = 1e-3, 1e3
    for _ in range(300):
        third = (high - low) / 3
        low, high = (low + third, high) if loss(low + third) > loss(high - third) else (low, high - third)
    return 1 / low


def make_groups(stream, count):
    """Groups with true qualities, and two reward models that see them through noise."""
    groups = []
    for i in range(count):
        truth = [stream.gauss(0, 1) for _ in range(4)]
        models = [[scale * (value + stream.gauss(0, 0.8)) for value in truth] for scale in (3, 0.5)]
        groups.append(({"prompt": f"q{i}", "responses": [f" answer {i} {j}" for j in range(4)], "id": i}, truth, models))
    return groups


def make_calibration(stream, scale):
    rows = []
    for i in range(300):
        good, bad = sorted((stream.gauss(0, 1) for _ in range(2)), reverse=True)
        rows.append({"chosen": f"a{i}", "rejected": f"b{i}", "chosen_reward": scale * (good + stream.gauss(0, 0.8)), "rejected_reward": scale * (bad + stream.gauss(0, 0.8))})
    return rows


def test_pseudo_labels_of_an_ensemble(tmp_path):
    stream = random.Random(5)
    groups = make_groups(stream, 200)
    files = {name: write_rows(tmp_path / f"{name}.jsonl", rows) for name, rows in {
        "first": [row | {"rewards": models[0]} for row, _, models in groups],
        "second": [row | {"rewards": models[1][::-1], "responses": row["responses"][::-1]} for row, _, models in groups],
        "gold": [row | {"rewards": truth} for row, truth, _ in groups],
        "calibration0": make_calibration(stream, 3),
        "calibration1": make_calibration(stream, 0.5),
    }.items()}
    arguments = ["--groups", files["first"], "--ensemble", files["second"], "--gold", files["gold"], "--calibration-pairs", files["calibration0"], files["calibration1"]]
    rows, summary = augment(tmp_path, *arguments, "--min-confidence", 0.8, "--order", "confidence")

    temperatures = [best_temperature([row["chosen_reward"] - row["rejected_reward"] for row in read_rows(files[f"calibration{m}"])]) for m in (0, 1)]
    assert summary["temperatures"] == pytest.approx(temperatures, rel=1e-4)
    expected, candidates = {}, []
    for row, truth, models in groups:
        scores = [sum(models[m][j] / temperatures[m] for m in (0, 1)) / 2 for j in range(4)]
        best, worst = scores.index(max(scores)), scores.index(min(scores))
        margins = [models[m][best] - models[m][worst] for m in (0, 1)]
        if min(margins) <= 0:
            continue
        confidence = sum(sigma(margin / temperature) for margin, temperature in zip(margins, temperatures)) / 2
        candidates.append(truth[best] > truth[worst])
        if confidence >= 0.8:
            expected[row["prompt"]] = (row["responses"][best], row["responses"][worst], confidence, truth[best] > truth[worst])
    assert {row["prompt"]: (row["chosen"], row["rejected"]) for row in rows} == {prompt: found[:2] for prompt, found in expected.items()}
    for row in rows:
        assert row["origin"]["confidence"] == pytest.approx(expected[row["prompt"]][2], rel=1e-4)
    confidences = [row["origin"]["confidence"] for row in rows]
    assert confidences == sorted(confidences, reverse=True)
    assert summary["candidates"]["pairs"] == len(candidates) and summary["candidates"]["right"] == sum(candidates)
    right = [found[3] for found in expected.values()]
    assert summary["kept"]["pairs"] == len(right) < len(candidates) and summary["kept"]["right"] == sum(right)
    assert sum(bin["pairs"] for bin in summary["kept"]["bins"]) == len(right)


def test_agreement_of_three(tmp_path):
    row = {"prompt": "q", "responses": [" a", " b"]}
    files = [write_rows(tmp_path / f"{i}.jsonl", [row | {"rewards": rewards}]) for i, rewards in enumerate([[1.0, 0.0], [1.0, 0.0], [0.0, 0.5]])]
    arguments = ["--groups", files[0], "--ensemble", files[1], files[2], "--confidence", "agreement"]
    assert run_metarm("augment", *arguments[:-2], "--output", tmp_path / "out.jsonl", check=False).returncode == 2  # one of three disagrees
    rows, _ = augment(tmp_path, *arguments, "--min-agreement", 0.6)
    assert [(row["chosen"], row["origin"]["confidence"]) for row in rows] == [(" a", pytest.approx(2 / 3))]


def test_texts_that_stay_as_they_stand_make_no_pairs(tmp_path):
    """A pair's texts get an end token that theirs had not when they were scored."""
    groups = write_rows(tmp_path / "groups.jsonl", [{"prompt": "q", "responses": [" a", " b"], "rewards": [1.0, 0.0], "text_form": "written"}])
    result = run_metarm("augment", "--groups", groups, "--output", tmp_path / "out.jsonl", check=False)
    assert result.returncode == 2 and "text_form: expected response" in result.stderr


def test_a_threshold_that_falls(tmp_path):
    groups = make_groups(random.Random(6), 100)
    scored = write_rows(tmp_path / "scored.jsonl", [row | {"rewards": models[0]} for row, _, models in groups])
    written = []
    for number, threshold in ((1, 0.99), (2, 0.97), (3, 0.95)):
        rows, summary = augment(tmp_path, "--groups", scored, "--min-confidence", 0.95, "--first-confidence", 0.99, "--round", number, "--rounds", 3)
        assert summary["threshold"] == pytest.approx(threshold)
        assert min(row["origin"]["confidence"] for row in rows) >= threshold
        written.append({row["prompt"] for row in rows})
    assert written[0] < written[1] < written[2]


def test_near_duplicates_in_a_group(tmp_path):
    responses = [" the cat sat on the mat today", " The cat sat on the mat yesterday", " a dog ran", " a dog ran"]
    scored = write_rows(tmp_path / "scored.jsonl", [{"prompt": "q", "responses": responses, "rewards": [1.0, 5.0, 3.0, -2.0]}])
    # Shingles of 3 words: 5 and 5, 4 of them in common; the last two are equal.
    rows, summary = augment(tmp_path, "--groups", scored, "--max-overlap", 0.6)
    assert summary["left_out"] == {"near_duplicates": 2}
    assert [(row["chosen"], row["rejected"]) for row in rows] == [(responses[2], responses[0])]
    rows, summary = augment(tmp_path, "--groups", scored, "--max-overlap", 0.7)
    assert summary["left_out"] == {"near_duplicates": 1}
    assert [(row["chosen"], row["rejected"]) for row in rows] == [(responses[1], responses[0])]


def test_judged_pairs_and_ties(tmp_path):
    row = {"prompt": "q", "a": " x", "b": " y", "subset": "s"}
    judged = write_rows(tmp_path / "judged.jsonl", [row | {"outcome": "win", "a_reward": 1.0, "b_reward": 0.0}, row | {"outcome": "lose", "a_first": "lose", "b_first": "lose"}, row | {"outcome": "tie"}, row | {"outcome": None}])
    rows, summary = augment(tmp_path, "--judgements", judged)
    assert [(row["chosen"], row["rejected"], row["subset"]) for row in rows] == [(" x", " y", "s"), (" y", " x", "s")]
    assert rows[0]["origin"]["confidence"] == pytest.approx(sigma(1)) and "confidence" not in rows[1]["origin"]
    assert summary["left_out"] == {"judged_ties": 1, "not_judged": 1}
    rows, summary = augment(tmp_path, "--judgements", judged, "--min-confidence", 0.9, "--pseudo-weight", 0.25)
    assert [(row["chosen"], row["weight"]) for row in rows] == [(" y", 0.25)] and summary["left_out"]["unsure"] == 1
    rows, _ = augment(tmp_path, "--judgements", judged, "--judged-ties")
    assert [(row["chosen"], row["weight"]) for row in rows[2:]] == [(" x", 0.5), (" y", 0.5)]


def test_a_later_call_knows_ties_and_confidence(pairs, tmp_path):
    row = {"prompt": "Question 7?", "a": " Yes, it is.", "b": " No."}
    judged = write_rows(tmp_path / "judged.jsonl", [row | {"outcome": "tie"}, row | {"prompt": "Question 8?", "outcome": "win", "a_reward": 0.5, "b_reward": 0.0}])
    first, _ = augment(tmp_path, "--pairs", pairs, "--judgements", judged, "--judged-ties", "--cross-neutral-share", 0.1, name="first.jsonl")
    ties = [row for row in first if row["origin"].get("tie")]
    assert Counter(map(kind, ties))["judged"] == 2 and {kind(row) for row in ties} == {"judged", "cross-neutral"} and len(ties) > 200
    for old in first[-2:]:  # as files have them that were written before ties had a field
        del old["origin"]["tie"]
    write_rows(tmp_path / "first.jsonl", first)
    ties = [row for row in first if row["origin"].get("tie") or kind(row) == "cross-neutral"]

    second, _ = augment(tmp_path, "--pairs", tmp_path / "first.jsonl", "--truncate-share", 1, name="second.jsonl")
    assert second[:len(first)] == first  # once each, as they are
    chosen = {(row["prompt"], row["chosen"]) for row in first if row not in ties}
    assert len(second) > len(first) and all((row["prompt"], row["chosen"]) in chosen for row in second[len(first):])
    drawn, summary = augment(tmp_path, "--pairs", tmp_path / "first.jsonl", "--balance-lengths", "draw", name="drawn.jsonl")
    assert summary["length"]["left_out"] > 0 and [row for row in drawn if row in ties] == ties
    ordered, _ = augment(tmp_path, "--pairs", tmp_path / "first.jsonl", "--order", "confidence", name="ordered.jsonl")
    assert ordered[-1]["origin"]["confidence"] == pytest.approx(sigma(0.5)) and ordered[:-1] == [row for row in first if row != ordered[-1]]


def test_whole_texts_and_conversations(tmp_path):
    rows = [{"chosen": f"\n\nHuman: Question {i}\n\nAssistant: Good answer {i}.", "rejected": f"\n\nHuman: Question {i}\n\nAssistant: Bad {i}."} for i in range(3)]
    rows += [{"prompt": [{"role": "user", "content": f"hi {i}"}], "chosen": [{"role": "assistant", "content": f"Hello {i}."}], "rejected": [{"role": "assistant", "content": f"No {i}."}]} for i in range(3)]
    written, _ = augment(tmp_path, "--pairs", write_rows(tmp_path / "pairs.jsonl", rows), "--cross-chosen-share", 1, "--truncate-share", 1, "--keep-pairs", "false")
    for row in written:
        if "prompt" in row:
            assert isinstance(row["rejected"], list) and row["rejected"][-1]["role"] == "assistant"
        else:
            assert row["rejected"].split("Assistant:")[0] == row["chosen"].split("Assistant:")[0]
    assert Counter(map(kind, written)) == {"cross-chosen": 24, "truncated": 6}

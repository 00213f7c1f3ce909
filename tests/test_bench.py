"""The benchmark: its sums on given figures, its checks seen red, and the short form with the peers that are installed here."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from programs import BUILD, ROOT

sys.path.insert(0, str(ROOT / "bench"))

import checks  # noqa: E402
import figures  # noqa: E402
import texts  # noqa: E402
import workload  # noqa: E402
from figures import Comparison  # noqa: E402
from training_figures import token_figures, training_figures  # noqa: E402

SAMPLES = {
    "ours": [{"rate": 8.0, "memory": 2e9}, {"rate": 9.0, "memory": 2e9}, {"rate": 4.0, "memory": 3e9}],
    "slow peer": [{"rate": 1.0, "memory": 4e9}, {"rate": 9.0, "memory": 5e9}, {"rate": 1.0, "memory": 6e9}],  # fast once: not the best
    "fast peer": [{"rate": 2.0, "memory": 8e9}, {"rate": 2.0, "memory": 8e9}, {"rate": 2.0, "memory": 8e9}],
    "absent peer": [],
}


def compare(right=("slow peer", "fast peer"), **more):
    return figures.compare(Comparison("m", "what", ("ours",), right, **more), SAMPLES)


def test_ratios_are_taken_within_an_alternation():
    result = compare(figure="rate", bar=3, aim=6)
    assert result["right"] == "fast peer"  # median 2 against 1
    assert result["ratios"] == [4.0, 4.5, 2.0]
    assert (result["median"], result["min"], result["max"]) == (4.0, 2.0, 4.5)
    assert result["verdict"] == "bar reached"


def test_less_is_better_for_memory_and_time():
    result = compare(figure="memory", bar=0.5, aim=0.35, lower_is_better=True)
    assert result["right"] == "slow peer"  # median 5e9 against 8e9
    assert result["ratios"] == [0.5, 0.4, 0.5]
    assert (result["median"], result["verdict"]) == (0.5, "bar reached")


@pytest.mark.parametrize("ratio, lower, expected", [(6.0, False, "aim reached"), (4.0, False, "bar reached"), (3.99, False, "BELOW THE BAR"),
                                                   (2.0, True, "aim reached"), (5.0, True, "bar reached"), (6.01, True, "BELOW THE BAR")])
def test_verdict(ratio, lower, expected):
    bar, aim = (6, 2) if lower else (4, 6)
    assert figures.verdict(ratio, Comparison("m", "w", (), (), "rate", bar=bar, aim=aim, lower_is_better=lower)) == expected


def test_what_was_not_measured_is_not_compared():
    assert compare(right=("absent peer", "never heard of"), figure="rate") is None
    assert compare(right=("absent peer", "fast peer"), figure="rate")["right"] == "fast peer"


def test_tables():
    assert figures.table(["a", "b"], [["long one", "1"], ["x", "100"]]) == "a           b\n--------  ---\nlong one    1\nx         100"
    line = figures.ratio_table([compare(figure="rate", bar=3, aim=6)], judged=True).splitlines()[2]
    assert line.split() == ["what", "4.00", "2.00", "-", "4.50", "3", "6", "bar", "reached", "ours", ":", "fast", "peer"]
    assert "reached" not in figures.ratio_table([compare(figure="rate", bar=3)], judged=False)


def test_the_first_step_does_not_count():
    steps = [{"seconds": 100.0, "loss": 0.7, "pairs": 8, "tokens": 50}, {"seconds": 2.0, "loss": 0.6, "pairs": 8, "tokens": 30}, {"seconds": 3.0, "loss": 0.5, "pairs": 2, "tokens": 20}]
    found = training_figures(steps, 7)
    assert (found["pairs_per_s"], found["step_seconds"], found["peak_memory_bytes"], found["losses"]) == (2.0, 2.5, 7, [0.7, 0.6, 0.5])
    work = [{"attended": 10**6}, {"attended": 40}, {"attended": 60}]
    tokens = token_figures(steps, work, {"matrix_parameters": 1000, "flops_per_attended": 7})
    assert tokens == {"tokens_per_s": 10.0, "useful_flops_per_s": 3 * (2 * 1000 * 50 + 7 * 100) / 5}
    assert training_figures(steps[:1], 7)["step_seconds"] == 100.0  # a single step has to do


def test_work_of_a_token_tree():
    # a b shared; then c d and e: positions attended 1 + 2, 3 + 4, 3
    assert workload.tree_work([[1, 2, 3, 4], [1, 2, 5]]) == (5, 13)
    # the shorter one's last token is its own
    assert workload.tree_work([[1, 2], [1, 2, 5]]) == (1 + 1 + 2, 1 + 2 + 2 + 3)


def test_pairs_in_every_form():
    hh = {"chosen": "\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant: d", "rejected": "\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant: e"}
    assert texts.explicit_pair(hh) == {"prompt": "\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant:", "chosen": " d", "rejected": " e"}
    assert texts.explicit_pair(hh | {"rejected": "\n\nHuman: z\n\nAssistant: e"}) is None
    user, good, bad = ({"role": role, "content": content} for role, content in (("user", "q"), ("assistant", "g"), ("assistant", "b")))
    pair = texts.explicit_pair({"chosen": [user, good], "rejected": [user, bad]})
    assert pair == {"prompt": [user], "chosen": [good], "rejected": [bad]}
    assert texts.as_text(pair) == {"prompt": "\n\nHuman: q\n\nAssistant:", "chosen": " g", "rejected": " b"}
    assert texts.joined([pair, pair])["chosen"] == [{"role": "assistant", "content": "g\n\ng"}]
    with pytest.raises(SystemExit, match="got a row with prompt"):
        texts.explicit_pair({"prompt": "p"})


CONTENDERS = {name: type("Contender", (), {"proof": proof}) for name, proof in
              {"metarm train, float32": "losses", "TRL, float32": "losses", "TRL, bfloat16 weights": "losses", "metarm score, float32": "rewards",
               "transformers scoring, float32": "rewards", "metarm sample, float32": "texts", "transformers generate, float32": "texts"}.items()}


@pytest.mark.parametrize("ours, theirs, expected", [
    ({"losses": [0.70, 0.61]}, {"losses": [0.7005, 0.61]}, None),
    ({"losses": [0.70, 0.61]}, {"losses": [0.70, 0.62]}, "losses of the steps: TRL, float32 differs from metarm train, float32 by 0.01"),
    ({"losses": [0.70]}, {"losses": [0.70, 0.61]}, "expected 1 of"),
    ({"losses": [0.70, 0.61]}, {"losses": [0.70, float("nan")]}, "differs"),
])
def test_losses_are_compared(ours, theirs, expected):
    results = {"metarm train, float32": ours, "TRL, float32": theirs}
    if expected is None:
        assert len(checks.check_round(results, CONTENDERS, greedy=True)) == 1
        return
    with pytest.raises(checks.Mismatch, match=expected):
        checks.check_round(results, CONTENDERS, greedy=True)


def test_bfloat16_losses_have_more_room():
    results = {"TRL, bfloat16 weights": {"losses": [0.75]}, "metarm train, float32": {"losses": [0.70]}}
    assert len(checks.check_round(results, CONTENDERS, greedy=True)) == 1
    with pytest.raises(checks.Mismatch):
        checks.check_round(results | {"TRL, bfloat16 weights": {"losses": [0.9]}}, CONTENDERS, greedy=True)


def test_rewards_and_texts_are_compared():
    rewards = {"metarm score, float32": {"rewards": [1.0, 2.0]}, "transformers scoring, float32": {"rewards": [1.0, 2.001]}}
    with pytest.raises(checks.Mismatch, match="rewards"):
        checks.check_round(rewards, CONTENDERS, greedy=True)
    with pytest.raises(checks.Mismatch, match="nothing would be compared"):
        checks.check_round({name: {"rewards": [1.0, 1.0]} for name in rewards}, CONTENDERS, greedy=True)
    written = {"metarm sample, float32": {"texts": ["a"]}, "transformers generate, float32": {"texts": ["b"]}}
    with pytest.raises(checks.Mismatch, match="wrote 'a'"):
        checks.check_round(written, CONTENDERS, greedy=True)
    assert checks.check_round(written, CONTENDERS, greedy=False) == []


def run_short(tmp_path, *arguments, metarm=None):
    command = [sys.executable, ROOT / "bench/main.py", "--short", "--metarm", metarm or BUILD / "metarm", "--output", tmp_path / "bench.json", *arguments]
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, env=os.environ | {"OMP_WAIT_POLICY": "passive"})


def test_short_form(tmp_path):
    result = run_short(tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "all computed the same" in result.stdout
    found = json.loads((tmp_path / "bench.json").read_text())
    assert {"metarm train, float32", "TRL, float32", "metarm align, float32", "plain PyTorch MetaRM, float32", "metarm score, float32", "transformers scoring, float32",
            "metarm sample, float32", "transformers generate, float32", "torch matrix products"} <= set(found["samples"])
    assert any(line.startswith("rewards: transformers scoring") for line in found["equal"])


def test_another_result_stops_the_benchmark(tmp_path):
    """A program whose rewards are a little higher than they should be."""
    wrong = Path(tmp_path / "metarm")
    wrong.write_text(f"""#!{sys.executable}
import json, subprocess, sys
subprocess.run([{str(BUILD / "metarm")!r}, *sys.argv[1:]], check=True)
if sys.argv[1] == "score":
    path = sys.argv[sys.argv.index("--output") + 1]
    rows = [json.loads(line) for line in open(path)]
    for row in rows:
        row["rewards"] = [reward + 0.01 for reward in row["rewards"]]
    open(path, "w").writelines(json.dumps(row) + "\\n" for row in rows)
""")
    wrong.chmod(wrong.stat().st_mode | stat.S_IXUSR)
    result = run_short(tmp_path, "--only", "scoring", metarm=wrong)
    assert result.returncode != 0
    assert "results differ, so no time counts: rewards" in result.stderr
    assert not (tmp_path / "bench.json").exists()

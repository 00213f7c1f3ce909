"""A page of what `metarm rounds` really leaves: two rounds on tiny models, every number on the page against its file."""

import json
import tomllib

import pytest
from families import save_checkpoint
from programs import read_rows, run_metarm
from random_rows import write_data
from test_figures import ROUND_FIGURES, SECTIONS, table_of

CONFIG = """
output = "study"
policy = "lm"
rm = "rm"
rounds = 2

[[stage]]
name = "responses"
command = "sample"
model = "{policy}"
prompts = ["groups.jsonl"]
responses = 3
max_new_tokens = 6

[[stage]]
name = "rm"
command = "align"
model = "{rm}"
pairs = ["pairs.jsonl"]
responses = ["{responses}"]
max_steps = 3
batch_size = 4
meta_batch_size = 2

[[stage]]
name = "policy"
command = "ppo"
algorithm = "rloo"
policy = "{policy}"
reference = "{initial_policy}"
rm = "{rm}"
gold_rm = "{initial_rm}"
prompts = ["groups.jsonl"]
probe_prompts = ["groups.jsonl"]
responses = 2
max_new_tokens = 6
batch_size = 3
max_steps = 4
lr = 1e-3
lora_rank = 2
merge_lora = true

[[stage]]
name = "answers"
command = "sample"
model = "{policy}"
prompts = ["groups.jsonl"]
responses = 3
max_new_tokens = 6
seed = 77

[[stage]]
name = "measure"
command = "eval"
model = "{rm}"
pairs = ["pairs.jsonl"]
responses = ["{answers}"]
before = "{initial_rm}"
policy = "{policy}"
reference_policy = "{initial_policy}"

[[stage]]
name = "judged"
command = "judge"
a = "{answers}"
b = "{responses}"
rm = "{rm}"
"""


@pytest.fixture(scope="module")
def study(browser, tmp_path_factory):
    """The rounds' folder, its page open in the browser."""
    folder = tmp_path_factory.mktemp("study")
    save_checkpoint(folder / "lm", "llama", "lm")
    save_checkpoint(folder / "rm", "llama", "reward")
    write_data(folder)
    (folder / "rounds.toml").write_text(CONFIG)
    run_metarm("rounds", "--config", "rounds.toml", "--quiet", cwd=folder)
    run_metarm("report", "study", "--output", "page.html", cwd=folder)
    browser.open(folder / "page.html")
    return folder / "study"


def said(study, t, stage):
    return json.loads((study / f"round-{t}" / f"{stage}.done.json").read_text())["figures"]


def test_it_opens_whole(browser, study):
    assert browser.errors == []
    assert browser.evaluate(SECTIONS) == ["rounds", "differences", "distance", "accuracy", "outcomes", "overview", "training", "samples", "settings"]


def test_every_recorded_figure_is_there(browser, study):
    shown = browser.evaluate(ROUND_FIGURES)
    recorded = [row["figures"] for row in read_rows(study / "rounds.jsonl")]
    assert len(recorded) == 2 and len(recorded[0]) > 80
    for t, figures in enumerate(recorded):
        for name, value in figures.items():
            if name.endswith((".mean", ".standard_error")) and "divergence" in name:
                mean, error = (figures[f"{name.rpartition('.')[0]}.{part}"] for part in ("mean", "standard_error"))
                number, ends = shown[name.rpartition(".")[0]][t]
                assert number == mean
                if name.endswith("k3_per_response.mean"):
                    assert ends == f"[{mean - 1.96 * error:.3f}, {mean + 1.96 * error:.3f}]"
            elif name.endswith(("_low", "_high")) and name.rpartition("_")[0] in figures:
                assert name not in shown
            else:
                assert shown[name][t][0] == value, name
    of = said(study, 2, "measure")["pairs"]
    assert shown["measure.pairs.accuracy"][1][1] == f"[{of['accuracy_low']:.3f}, {of['accuracy_high']:.3f}]"


def test_charts(browser, study):
    for t in (1, 2):
        responses = said(study, t, "measure")["responses"]
        total = sum(responses["histogram"])
        _, rows = table_of(browser, f"differences-{t}")
        assert rows == [[responses["scaled_histogram_step"] * i, pytest.approx(count / total)] for i, count in enumerate(responses["histogram"])]
    head, rows = table_of(browser, "distance-rounds")
    policies = [said(study, t, "policy") for t in (1, 2)]
    assert head == ["Root of KL", "Proxy", "Gold"]
    points = sorted((max(0, of["kl"]) ** 0.5, of["reward"], of["gold_reward"]) for of in policies)
    assert rows == [[pytest.approx(distance), *rewards] for distance, *rewards in points]
    _, rows = table_of(browser, "accuracy-rounds")
    assert rows == [[t, said(study, t, "measure")["pairs"]["accuracy"], policies[t - 1]["gold_accuracy"]] for t in (1, 2)]
    head, rows = table_of(browser, "calibration")
    bins = [{bin["confidence"]: bin["accuracy"] for bin in said(study, t, "measure")["pairs"]["calibration"]} for t in (1, 2)]
    assert head == ["Confidence", "Round 1", "Round 2"]
    assert rows == [[at, bins[0].get(at), bins[1].get(at)] for at in sorted(bins[0] | bins[1])]
    shares = browser.evaluate("[...document.querySelectorAll('.outcomes tbody tr')].map((row) => [...row.querySelectorAll('data')].map((share) => Number(share.value)))")
    assert shares == [[said(study, t, "judged")[name] for name in ("win", "tie", "lose")] for t in (1, 2)]


def test_curves_of_every_training(browser, study):
    for stage, chart, key in (("rm", "j_after", "j_after"), ("policy", "reward", "reward"), ("policy", "kl", "kl")):
        head, rows = table_of(browser, chart)
        for t in (1, 2):
            column = next(i for i, name in enumerate(head) if name.startswith(f"round-{t}/{stage}"))
            assert [row[column] for row in rows] == [row[key] for row in read_rows(study / f"round-{t}" / stage / "metrics.jsonl") if key in row]


def test_samples_have_the_rewards_of_the_evaluation(browser, study):
    """Of each round both stages' responses, those that were measured with their rewards."""
    browser.evaluate("[...document.querySelectorAll('#samples > button')].at(-1).click()")
    shown = browser.evaluate("""[...document.querySelectorAll(".sample")].map((sample) => [sample.querySelector("h3").textContent, sample.querySelector(".prompt").textContent,
      [...sample.querySelectorAll("data")].map((reward) => Number(reward.value))])""")
    measured = {row["prompt"].strip(): row["rewards"] for row in read_rows(study / "round-1/measure/prompts.jsonl")}
    of_answers = [(prompt, rewards) for title, prompt, rewards in shown if title == "Round 1, answers"]
    assert len(of_answers) == len(measured) == 9
    for prompt, rewards in of_answers:
        assert rewards == sorted(measured[prompt], reverse=True)
    assert all(rewards == [] for title, _, rewards in shown if title.endswith(", responses"))


def test_options_as_they_were_resolved(browser, study):
    tables = browser.evaluate("""Object.fromEntries([...document.querySelectorAll("#settings table")].map((table) => [table.caption.textContent,
      Object.fromEntries([...table.querySelectorAll("tbody tr")].map((row) => [row.dataset.setting, [...row.querySelectorAll("td")].map((cell) => cell.textContent)]))]))""")
    for stage in ("responses", "answers", "measure", "judged"):
        for t in (1, 2):
            options = tomllib.loads((study / f"round-{t}/{stage}.toml").read_text())
            assert tables[f"Options: Stage {stage}"]["seed"][t - 1] == str(options["seed"])
    assert tables["Options: Stage answers"]["model"] == ["study/round-1/policy", "study/round-2/policy"]
    assert tables["Options: Policy optimisation"]["rm"] == ["study/round-1/rm", "study/round-2/rm"]
    assert tables["Options: Reward models"]["meta_batch_size"] == ["2", "2"]
    assert tables["Options: Rounds"]["stage.policy.algorithm"] == ["rloo"]


def test_a_round_that_has_not_ended(browser, study):
    """What a kill leaves is on the page as far as it came."""
    for name in ("measure.done.json", "judged.done.json"):
        (study / "round-2" / name).rename(study / name)
    run_metarm("report", "study", "--output", "page.html", cwd=study.parent)
    browser.open(study.parent / "page.html")
    shown = browser.evaluate(ROUND_FIGURES)
    assert browser.errors == [] and shown["policy.reward"][1] and shown["measure.pairs.accuracy"][1] is None
    for name in ("measure.done.json", "judged.done.json"):
        (study / name).rename(study / "round-2" / name)

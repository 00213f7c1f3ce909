"""What `ppo` measures on probe prompts: responses that it does not learn from, in a unit that stays."""

import shutil

import numpy as np
import pytest
from families import save_checkpoint
from letters import save_letters_policy
from programs import read_rows
from test_ppo import run_ppo

PROBED = dict(optimizer="adamw", lr=2e-3, kl_coef=0, max_steps=4, eval_steps=1, save_steps=1, save_total_limit=0)


def test_probes_have_the_first_steps_unit(tmp_path):
    """The deviation of all rewards of the first step's responses; 4 prompts with 3 pairs of responses each."""
    save_letters_policy(tmp_path / "policy")
    save_checkpoint(tmp_path / "rm", "llama", "reward")
    metrics = run_ppo(tmp_path, probe_prompts=tmp_path / "prompts.jsonl", **PROBED)
    unit = np.std([group["rewards"] for group in read_rows(tmp_path / "out/responses/step-1.jsonl")])
    probes = [{name.removeprefix("eval_reward_difference_"): value for name, value in row.items()} for row in metrics if "eval_reward" in row]
    assert len(probes) == 4 and len({probe["mean"] for probe in probes}) > 1
    for probe in probes:
        assert probe["unit"] == pytest.approx(unit, rel=1e-5)
        assert probe["scaled_mean"] == pytest.approx(probe["mean"] / unit, rel=1e-5)
        counts = np.array(probe["histogram"])
        assert len(counts) == 17 and counts.sum() == 12
        least = 0.25 * counts @ np.arange(17) / 12  # each difference as small as its bin allows
        assert least <= probe["scaled_mean"] and (counts[-1] > 0 or probe["scaled_mean"] < least + 0.25)
        assert probe["near_ties"] * 12 == pytest.approx(round(probe["near_ties"] * 12)) and probe["near_ties"] * 12 <= counts[0] + 1e-9
    assert not any("reward_difference_unit" in row for row in metrics), "a step has no unit"


def test_a_resumed_run_keeps_the_unit(tmp_path):
    """As a kill after the second step leaves it. The unit is the first step's, which the resumed run does not draw again."""
    save_letters_policy(tmp_path / "policy")
    save_checkpoint(tmp_path / "rm", "llama", "reward")
    figures = lambda metrics: [{name: value for name, value in row.items() if name.startswith("eval_")} for row in metrics]
    whole = figures(run_ppo(tmp_path, probe_prompts=tmp_path / "prompts.jsonl", **PROBED))
    (tmp_path / "out/config.json").unlink()
    shutil.rmtree(tmp_path / "out/checkpoints/step-3")
    resumed = figures(run_ppo(tmp_path, "--resume", probe_prompts=tmp_path / "prompts.jsonl", **PROBED))
    assert resumed == whole and len(whole) == 8


def test_what_the_last_step_made_shows_at_the_probe(tmp_path):
    """No step draws from the last step's weights, the probe at the end does."""
    save_letters_policy(tmp_path / "policy")
    save_checkpoint(tmp_path / "rm", "llama", "reward")
    options = dict(optimizer="adamw", lr=2e-3, max_steps=2, max_kl=1.5, kl_coef=0, save_steps=1)
    result = run_ppo(tmp_path, check=False, probe_prompts=tmp_path / "prompts.jsonl", **options)
    assert result.returncode == 2 and result.stderr.count("\n") == 1
    assert "probe prompts: expected a KL of up to --max-kl 1.5 a response, got" in result.stderr
    assert f"the last good checkpoint is {tmp_path / 'out/checkpoints/step-1'}" in result.stderr
    assert len(read_rows(tmp_path / "out/metrics.jsonl")) == 2 and not (tmp_path / "out/config.json").exists()

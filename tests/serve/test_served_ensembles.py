"""A server of an ensemble: rewards and their spread are those of `metarm score`."""


import pytest
from programs import run_metarm, write_rows
from reward_server import RewardServer
from scoring import score
from served_model import save_model

ROWS = [{"prompt": "when the other inn", "responses": [" at a river", " nine", " in heather there"]}, {"text": "the inn"}, {"prompt": "the", "response": " inn"}]


@pytest.fixture(scope="module")
def ensemble(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ensembles")
    for seed in range(3):
        save_model(folder / f"rm{seed}", seed)
    run_metarm("ensemble", "--models", *(folder / f"rm{seed}" for seed in range(3)), "--output", folder / "all", "--quiet")
    return folder / "all"


def test_rewards_and_spreads_are_those_of_score(ensemble, tmp_path):
    offline = score(ensemble, ROWS, tmp_path)
    with RewardServer("--model", ensemble, f"one={ensemble.parent / 'rm0'}") as server:
        answer = server.posted("/v1/rewards", {"rows": ROWS})
        for row, got in zip(offline, answer["rows"], strict=True):
            fields = {"rewards", "rewards_std"} if "responses" in row else {"reward", "reward_std"}
            assert got == {field: pytest.approx(row[field], abs=1e-5) for field in fields}
        spreads = server.posted("/get_reward", {"query": ["the inn</s>", "x"]})["extra_logs"]["reward_std"]
        assert len(spreads) == 2 and min(spreads) > 0
        one = server.posted("/v1/rewards", {"rows": ROWS, "model": "one"})["rows"]
        assert [set(row) for row in one] == [{"rewards"}, {"reward"}, {"reward"}]
        refused = server.post("/v1/rewards", {"rows": ROWS, "attributions": True})
        assert refused.status == 422 and "attributions: expected one reward model, got an ensemble of 3" in refused.text


def test_the_version_is_that_of_all_members(ensemble):
    """Once a member has other weights, another version is served."""
    versions = []
    for _ in range(2):
        with RewardServer("--model", ensemble) as server:
            versions.append(server.state["models"][0]["version"])
        save_model(ensemble.parent / "rm2", seed=9)
    assert versions[0] != versions[1]


def test_an_ensemble_is_not_aligned(ensemble, tmp_path):
    write_rows(tmp_path / "pairs.jsonl", [{"prompt": "a", "chosen": " inn", "rejected": " nine"}])
    result = run_metarm("serve", "--model", ensemble, "--pairs", tmp_path / "pairs.jsonl", "--eval-pairs", tmp_path / "pairs.jsonl", "--state", tmp_path / "state", check=False, timeout=120)
    assert result.returncode == 2 and "serve: --pairs: expected one reward model to align, got an ensemble" in result.stderr

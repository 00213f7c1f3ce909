"""What `score` and `sample` do with whole files: each row kept, counted, or refused."""

import gzip
import json

import pytest
from families import save_checkpoint
from programs import read_rows, run_metarm, write_rows


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    save_checkpoint(folder, "llama", "reward")
    return folder


def test_what_is_too_long_to_score_is_counted(model, tmp_path):
    long = " inn" * 60
    rows = [{"prompt": "the", "chosen": " inn", "rejected": long}, {"prompt": "the", "responses": [long, " inn", long]}, {"text": "the inn"}, {"text": long}]
    write_rows(tmp_path / "in.jsonl", rows)
    result = run_metarm("score", "--model", model, "--input", tmp_path / "in.jsonl", "--output", tmp_path / "out.jsonl", "--max-length", "30", "--json")
    assert json.loads(result.stdout)["too_long"] == 3
    assert "3 rows hold a response that alone is longer than --max-length: its reward is null" in result.stderr
    pair, group, text, long_text = read_rows(tmp_path / "out.jsonl")
    assert pair["chosen_reward"] is not None and pair["rejected_reward"] is None
    assert [reward is None for reward in group["rewards"]] == [True, False, True]
    assert text["reward"] is not None and long_text["reward"] is None


def test_a_pair_of_equal_texts_has_scores(model, tmp_path):
    write_rows(tmp_path / "in.jsonl", [{"prompt": "the", "chosen": " inn", "rejected": " inn"}])
    row = json.loads(run_metarm("score", "--model", model, "--input", tmp_path / "in.jsonl").stdout)
    assert row["chosen_reward"] == pytest.approx(row["rejected_reward"], abs=1e-6)


def test_scoring_again_leaves_no_spread_of_an_ensemble(model, tmp_path):
    rows = [{"prompt": "the", "chosen": " inn", "rejected": " nine", "chosen_reward_std": 1.0, "rejected_reward_std": 2.0}, {"prompt": "the", "responses": [" inn"], "rewards_std": [3.0]},
            {"text": "the", "reward_std": 4.0, "own_std": 5.0}]
    write_rows(tmp_path / "in.jsonl", rows)
    scored = run_metarm("score", "--model", model, "--input", tmp_path / "in.jsonl").stdout.splitlines()
    assert [[name for name in json.loads(row) if name.endswith("_std")] for row in scored] == [[], [], ["own_std"]]


def test_a_damaged_second_member_is_no_end_of_a_file(model, tmp_path):
    rows = [json.dumps({"text": f"the {i}"}).encode() + b"\n" for i in range(100)]
    first, second = gzip.compress(b"".join(rows[:50])), bytearray(gzip.compress(b"".join(rows[50:])))
    (tmp_path / "in.jsonl.gz").write_bytes(first + second)
    assert run_metarm("score", "--model", model, "--input", tmp_path / "in.jsonl.gz").stdout.count("\n") == 100
    second[1] ^= 1
    (tmp_path / "in.jsonl.gz").write_bytes(first + second)
    result = run_metarm("score", "--model", model, "--input", tmp_path / "in.jsonl.gz", check=False)
    assert result.returncode == 2
    assert "expected gzip data, got damaged ones" in result.stderr


def test_samples_keep_their_prompt_s_id(tmp_path):
    save_checkpoint(tmp_path / "lm", "llama", "causal")
    write_rows(tmp_path / "in.jsonl", [{"prompt": "the", "id": "p1"}, {"prompt": "inn", "id": 7}, {"prompt": "nine"}])
    run_metarm("sample", "--model", tmp_path / "lm", "--prompts", tmp_path / "in.jsonl", "--output", tmp_path / "out.jsonl", "--responses", "2", "--max-new-tokens", "2")
    assert [row.get("id") for row in read_rows(tmp_path / "out.jsonl")] == ["p1", "7", None]

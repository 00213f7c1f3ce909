"""One text, one score: alone, in company, in a tree, saved and loaded; by the token rules of TRL and transformers."""

import json
import random
import shutil

import pytest
import torch
import transformers as hf
from families import FAMILIES, edit_config, save_checkpoint
from programs import run_metarm, write_rows
from reference import token_ids
from safetensors.torch import load_file
from scoring import by_transformers, score

WORDS = "the inn at a river there then nine other three when in heather tin anther".split()


def make_rows(count, seed=0):
    rng = random.Random(seed)
    text = lambda low, high: " ".join(rng.choice(WORDS) for _ in range(rng.randrange(low, high)))
    return [{"prompt": text(1, 12), "responses": [" " + text(1, 9) for _ in range(rng.randrange(1, 6))]} for _ in range(count)]


def test_company_order_and_trees_do_not_matter(tmp_path):
    model, tokenizer = save_checkpoint(tmp_path / "rm", "llama", "reward")
    rows = make_rows(12)
    together = score(tmp_path / "rm", rows, tmp_path)
    expected = {}
    for row, got in zip(rows, together):
        for response, reward in zip(row["responses"], got["rewards"]):
            key = (row["prompt"], response)
            expected[key] = reward
            assert reward == pytest.approx(by_transformers(model, token_ids(tokenizer, *key)), abs=1e-4)
    singles = [{"prompt": prompt, "response": response} for prompt, response in expected]
    random.Random(1).shuffle(singles)
    for budget in (1, 100, 100000):
        for row in score(tmp_path / "rm", singles, tmp_path, "--tokens-per-batch", str(budget)):
            assert row["reward"] == pytest.approx(expected[row["prompt"], row["response"]], abs=1e-5)
    for row in score(tmp_path / "rm", [{"text": row["prompt"] + row["response"]} for row in singles], tmp_path):
        assert row["reward"] in [pytest.approx(reward, abs=1e-5) for reward in expected.values()]


def test_equal_responses_are_one(tmp_path):
    """Wherever they stand in their group."""
    model, tokenizer = save_checkpoint(tmp_path / "rm", "llama", "reward")
    rng = random.Random(3)
    rows = [row | {"responses": [rng.choice(row["responses"]) for _ in range(rng.randrange(2, 20))]} for row in make_rows(30, seed=2)]
    for row, got in zip(rows, score(tmp_path / "rm", rows, tmp_path)):
        for response, reward in zip(row["responses"], got["rewards"]):
            assert reward == pytest.approx(by_transformers(model, token_ids(tokenizer, row["prompt"], response)), abs=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", ["causal", "reward"])
def test_saved_models_score_the_same_here_and_in_transformers(kind, family, tmp_path):
    save_checkpoint(tmp_path / "start", family, kind)
    rows = make_rows(4)
    pairs = [{"prompt": r["prompt"], "chosen": " the inn", "rejected": " nine"} for r in rows]
    write_rows(tmp_path / "pairs.jsonl", pairs)
    run_metarm("train", "--model", tmp_path / "start", "--pairs", tmp_path / "pairs.jsonl", "--output", tmp_path / "rm", "--max-steps", 2, "--dtype", "float32", "--quiet")
    model, loading = hf.AutoModelForSequenceClassification.from_pretrained(tmp_path / "rm", output_loading_info=True)
    assert not loading["missing_keys"] and not loading["unexpected_keys"] and not loading["mismatched_keys"]
    assert model.config.num_labels == 1 and model.config.id2label == {0: "LABEL_0"}
    assert model.config.pad_token_id is not None and model.config.pad_token_id != model.config.eos_token_id
    tokenizer = hf.AutoTokenizer.from_pretrained(tmp_path / "rm")
    assert tokenizer.pad_token_id == model.config.pad_token_id
    for row in score(tmp_path / "rm", rows, tmp_path):
        for response, reward in zip(row["responses"], row["rewards"]):
            assert reward == pytest.approx(by_transformers(model.eval(), token_ids(tokenizer, row["prompt"], response)), abs=1e-4)


def test_an_empty_response_to_a_conversation_is_a_turn(tmp_path):
    """A policy that ends at once has answered: the reward is not that of the question."""
    model, tokenizer = save_checkpoint(tmp_path / "rm", "llama", "reward")
    asked = [{"role": "user", "content": "the inn"}]
    text, messages, question = score(tmp_path / "rm", [{"prompt": asked, "responses": ["", " nine"]}, {"prompt": asked, "responses": [[{"role": "assistant", "content": ""}]]}, {"messages": asked}],
                                     tmp_path, "--chat-template", "chatml")
    ids = tokenizer("<|im_start|>user\nthe inn<|im_end|>\n<|im_start|>assistant\n<|im_end|>\n")["input_ids"]
    assert text["rewards"][0] == pytest.approx(by_transformers(model, ids), abs=1e-4)
    assert messages["rewards"] == [pytest.approx(text["rewards"][0], abs=1e-5)]
    assert question["reward"] != pytest.approx(text["rewards"][0], abs=1e-3)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_saving_in_half_precision(dtype, tmp_path):
    save_checkpoint(tmp_path / "start", "qwen2", "causal")
    write_rows(tmp_path / "pairs.jsonl", [{"prompt": "a", "chosen": " b", "rejected": " c"}])
    run_metarm("train", "--model", tmp_path / "start", "--pairs", tmp_path / "pairs.jsonl", "--output", tmp_path / "rm", "--max-steps", 1, "--save-dtype", dtype, "--quiet")
    assert {tensor.dtype for tensor in load_file(tmp_path / "rm" / "model.safetensors").values()} == {getattr(torch, dtype)}
    model = hf.AutoModelForSequenceClassification.from_pretrained(tmp_path / "rm", dtype=torch.float32)
    row = score(tmp_path / "rm", [{"text": "the inn"}], tmp_path)[0]
    tokenizer = hf.AutoTokenizer.from_pretrained(tmp_path / "rm")
    assert row["reward"] == pytest.approx(by_transformers(model, token_ids(tokenizer, "", "the inn")), abs=1e-4)


def test_pad_token_equal_to_end_token(tmp_path):
    """transformers reads such a model before its end token, and so does metarm, with a warning; --pooling last reads the last token."""
    model, tokenizer = save_checkpoint(tmp_path / "rm", "llama", "reward")
    edit_config(tmp_path / "rm", pad_token_id=2)
    model.config.pad_token_id = 2
    ids = token_ids(tokenizer, "", "the river")
    assert ids[-1] == 2
    row = score(tmp_path / "rm", [{"text": "the river"}], tmp_path)[0]
    assert row["reward"] == pytest.approx(by_transformers(model, ids), abs=1e-4)
    last = score(tmp_path / "rm", [{"text": "the river"}], tmp_path, "--pooling", "last")[0]
    model.config.pad_token_id = 3
    assert last["reward"] == pytest.approx(by_transformers(model, ids), abs=1e-4)
    assert last["reward"] != pytest.approx(row["reward"], abs=1e-3)
    warned = run_metarm("score", "--model", tmp_path / "rm", "--input", tmp_path / "in.jsonl")
    assert "pad_token_id is the end token" in warned.stderr


def test_pooling_is_remembered(tmp_path):
    save_checkpoint(tmp_path / "start", "llama", "causal")
    write_rows(tmp_path / "pairs.jsonl", [{"prompt": "a", "chosen": " b", "rejected": " c"}])
    run_metarm("train", "--model", tmp_path / "start", "--pairs", tmp_path / "pairs.jsonl", "--output", tmp_path / "rm", "--max-steps", 1, "--pooling", "last", "--quiet")
    rows = [{"text": "the <pad>"}, {"text": "the river"}]
    assert json.loads((tmp_path / "rm" / "config.json").read_text())["metarm_pooling"] == "last"
    default = [row["reward"] for row in score(tmp_path / "rm", rows, tmp_path)]
    assert default == [row["reward"] for row in score(tmp_path / "rm", rows, tmp_path, "--pooling", "last")]


def test_a_doubled_start_token_counts_once(tmp_path):
    from tokenizers import processors

    model, tokenizer = save_checkpoint(tmp_path / "rm", "llama", "reward")
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    tokenizer.save_pretrained(tmp_path / "rm")
    rows = [{"text": "<s>the inn"}, {"text": "the inn"}, {"prompt": "<s>the", "response": " inn"}]
    rewards = [row["reward"] for row in score(tmp_path / "rm", rows, tmp_path)]
    ids = tokenizer("the inn</s>")["input_ids"]
    assert ids[0] == 1 and ids[1] != 1
    assert rewards == [pytest.approx(by_transformers(model, ids), abs=1e-4)] * 3
    assert "start token" in run_metarm("score", "--model", tmp_path / "rm", "--input", tmp_path / "in.jsonl").stderr


def test_too_long_texts_lose_the_prompt_s_oldest_tokens(tmp_path):
    model, tokenizer = save_checkpoint(tmp_path / "rm", "llama", "reward")
    prompt, response = "when the other inn at the river there", " nine in a tin"
    ids = token_ids(tokenizer, prompt, response)
    limit = len(ids) - 5
    row = score(tmp_path / "rm", [{"prompt": prompt, "response": response}], tmp_path, "--max-length", str(limit))[0]
    assert row["reward"] == pytest.approx(by_transformers(model, ids[5:]), abs=1e-4)
    answer_alone = len(token_ids(tokenizer, "", response))
    row = score(tmp_path / "rm", [{"prompt": prompt, "response": response}], tmp_path, "--max-length", str(answer_alone - 1))[0]
    assert row["reward"] is None
    result = run_metarm("score", "--model", tmp_path / "rm", "--input", tmp_path / "in.jsonl", "--max-length", str(limit))
    assert "1 sequences longer than --max-length" in result.stderr


@pytest.mark.parametrize("family", FAMILIES)
def test_lora_adapters_load_in_peft(family, tmp_path):
    from peft import PeftModel

    save_checkpoint(tmp_path / "start", family, "reward")
    write_rows(tmp_path / "pairs.jsonl", [{"prompt": "a", "chosen": " the inn", "rejected": " nine"}])
    common = ["--model", tmp_path / "start", "--pairs", tmp_path / "pairs.jsonl", "--max-steps", 3, "--lr", 0.02, "--lora-rank", 3, "--dtype", "float32", "--quiet"]
    run_metarm("train", *common, "--output", tmp_path / "adapter")
    run_metarm("train", *common, "--output", tmp_path / "merged", "--merge-lora", "true")
    base = hf.AutoModelForSequenceClassification.from_pretrained(tmp_path / "start", num_labels=1)
    tokenizer = hf.AutoTokenizer.from_pretrained(tmp_path / "start")
    untrained = by_transformers(base.eval(), token_ids(tokenizer, "the", " inn"))
    there = by_transformers(PeftModel.from_pretrained(base, tmp_path / "adapter").eval(), token_ids(tokenizer, "the", " inn"))
    assert abs(there - untrained) > 1e-2, "the adapter does nothing"
    for model in ("adapter", "merged"):
        assert score(tmp_path / model, [{"prompt": "the", "response": " inn"}], tmp_path)[0]["reward"] == pytest.approx(there, abs=1e-4)


@pytest.mark.parametrize("family", ["llama", "gpt2", "gpt_neox"])
def test_peft_s_own_adapters_load_here(family, tmp_path):
    from peft import LoraConfig, get_peft_model

    model, tokenizer = save_checkpoint(tmp_path / "base", family, "reward")
    torch.manual_seed(5)
    peft = get_peft_model(model, LoraConfig(r=2, lora_alpha=8, task_type="SEQ_CLS", target_modules="all-linear", fan_in_fan_out=family == "gpt2"))
    with torch.no_grad():
        for name, parameter in peft.named_parameters():
            if "lora_B" in name or "score" in name:
                parameter.normal_(0, 0.1)
    peft.peft_config["default"].base_model_name_or_path = "../base"
    peft.save_pretrained(tmp_path / "adapter")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(tmp_path / "base" / name, tmp_path / "adapter")
    expected = by_transformers(peft.eval(), token_ids(tokenizer, "the", " inn"))
    assert score(tmp_path / "adapter", [{"prompt": "the", "response": " inn"}], tmp_path)[0]["reward"] == pytest.approx(expected, abs=1e-4)

"""SmolLM2-135M-Instruct, converted from its GGUF file: tensors, token ids, chat template, logits and rewards against gguf, tokenizers and transformers."""

import json
import random

import gguf
import numpy as np
import pytest
import torch
import transformers as hf
from hostile_texts import hostile_texts
from programs import ROOT, read_rows, run_metarm, run_program, write_rows
from safetensors import safe_open
from test_families import forward
from test_tokenizers import compare, hh_texts
from tokenizers import Tokenizer

CACHE = ROOT / ".cache/smollm2"
MODEL = CACHE / "SmolLM2-135M-Instruct"
pytestmark = pytest.mark.skipif(not (MODEL / "config.json").exists(), reason="the real model is not there: ./run test fetches it")

PAIRS = read_rows(ROOT / "data/starter/heldout.jsonl")[::8]


@pytest.fixture(scope="module")
def tokenizer():
    return hf.AutoTokenizer.from_pretrained(MODEL)


def conversations(row):
    return [row["prompt"] + row[side] for side in ("chosen", "rejected")]


def chat_ids(tokenizer, messages):
    return tokenizer.apply_chat_template(messages, tokenize=True, return_dict=False)


def test_weights_are_the_dequantized_ones():
    reader = gguf.GGUFReader(str(CACHE / "model.gguf"))
    tensors = {tensor.name: tensor for tensor in reader.tensors}
    names = {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight"}
    for layer in (0, 7, 29):
        names |= {f"blk.{layer}.{ours}.weight": f"model.layers.{layer}.{theirs}.weight" for ours, theirs in
                  {"attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj", "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm"}.items()}
    with safe_open(str(MODEL / "model.safetensors"), "pt") as file:
        for ours, theirs in names.items():
            expected = gguf.dequantize(tensors[ours].data, tensors[ours].tensor_type)
            assert np.array_equal(file.get_tensor(theirs).float().numpy(), expected.reshape(file.get_tensor(theirs).shape)), theirs


def test_token_ids(hh):
    path = MODEL / "tokenizer.json"
    texts = [message["content"] for row in PAIRS for messages in conversations(row) for message in messages]
    compare(path, Tokenizer.from_file(str(path)), texts + hostile_texts(2500) + hh_texts(hh), True)


def test_chat_template(tokenizer):
    messages = [messages for row in PAIRS for messages in conversations(row)]
    requests = "".join(json.dumps({"messages": m, "generate": False}) + "\n" for m in messages)
    for line, expected in zip(run_program("tokenize", MODEL, input=requests).stdout.splitlines(), messages, strict=True):
        assert json.loads(line)["text"] == tokenizer.apply_chat_template(expected, tokenize=False)


def test_logits(tokenizer):
    model = hf.AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float32).eval()
    groups = [[chat_ids(tokenizer, messages)[:80] for messages in conversations(row)] for row in PAIRS[:2]]
    for group, got_group in zip(groups, forward(MODEL, "logits", groups=groups)["logits"]):
        for ids, got in zip(group, got_group):
            with torch.no_grad():
                torch.testing.assert_close(torch.tensor(got), model(torch.tensor([ids])).logits[0], atol=1e-4, rtol=1e-4)


def rewards_by_transformers(model, tokenizer):
    with torch.no_grad():
        return [model(torch.tensor([chat_ids(tokenizer, m)])).logits[0, 0].item() for row in PAIRS for m in conversations(row)]


def rewards_by_metarm(model, folder):
    write_rows(folder / "in.jsonl", PAIRS)
    run_metarm("score", "--model", model, "--input", folder / "in.jsonl", "--output", folder / "out.jsonl", "--quiet")
    return [row[side] for row in read_rows(folder / "out.jsonl") for side in ("chosen_reward", "rejected_reward")]


def test_rewards_of_what_metarm_saves(tmp_path):
    write_rows(tmp_path / "pairs.jsonl", PAIRS[:2])
    run_metarm("train", "--model", MODEL, "--pairs", tmp_path / "pairs.jsonl", "--output", tmp_path / "rm", "--max-steps", 1, "--lr", 1e-4, "--dtype", "float32", "--save-steps", 0, "--quiet")
    model = hf.AutoModelForSequenceClassification.from_pretrained(tmp_path / "rm", dtype=torch.float32).eval()
    expected = rewards_by_transformers(model, hf.AutoTokenizer.from_pretrained(tmp_path / "rm"))
    assert np.std(expected) > 0.01
    assert rewards_by_metarm(tmp_path / "rm", tmp_path) == pytest.approx(expected, abs=1e-4)


@pytest.fixture(scope="module")
def saved(tokenizer, tmp_path_factory):
    """A reward model with a random head, as transformers saves it: the model and its folder."""
    folder = tmp_path_factory.mktemp("saved")
    torch.manual_seed(0)
    model = hf.AutoModelForSequenceClassification.from_pretrained(MODEL, num_labels=1, dtype=torch.float32).eval()
    model.config.pad_token_id = tokenizer.convert_tokens_to_ids("<repo_name>")
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return model, folder


def test_rewards_of_what_transformers_saves(tokenizer, saved, tmp_path):
    model, folder = saved
    expected = rewards_by_transformers(model, tokenizer)
    assert np.std(expected) > 0.01
    assert rewards_by_metarm(folder, tmp_path) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_equal_responses_get_equal_rewards(dtype, saved, tmp_path):
    """To the last bit: a row of a product may depend on where it stands, so that equal ones are computed once."""
    rng = random.Random(1)
    rows = [{"prompt": row["prompt"], "responses": [row[rng.choice(("chosen", "rejected"))] for _ in range(rng.randrange(3, 9))]} for row in PAIRS]
    write_rows(tmp_path / "in.jsonl", rows)
    run_metarm("score", "--model", saved[1], "--input", tmp_path / "in.jsonl", "--output", tmp_path / "out.jsonl", "--dtype", dtype, "--quiet")
    for row, got in zip(rows, read_rows(tmp_path / "out.jsonl"), strict=True):
        rewards = {json.dumps(response): set() for response in row["responses"]}
        for response, reward in zip(row["responses"], got["rewards"], strict=True):
            rewards[json.dumps(response)].add(reward)
        assert all(len(equal) == 1 for equal in rewards.values()) and len(set().union(*rewards.values())) == len(rewards)


def test_the_values_of_tokens_add_up_on_real_pairs(tokenizer, saved, tmp_path):
    """As `explain` makes them where nothing else is asked for: to the rewards and their difference, by transformers, within 5 %."""
    model, folder = saved
    pairs = PAIRS[:6]
    write_rows(tmp_path / "pairs.jsonl", pairs)
    run_metarm("explain", "--model", folder, "--pairs", tmp_path / "pairs.jsonl", "--output", tmp_path / "out.jsonl", "--quiet")
    for pair, row in zip(pairs, read_rows(tmp_path / "out.jsonl"), strict=True):
        expected = {}
        for side in ("chosen", "rejected"):
            with torch.no_grad():
                reward = model(torch.tensor([chat_ids(tokenizer, pair["prompt"] + pair[side])])).logits.item()
            expected[side] = reward
            attribution = row[f"{side}_attribution"]
            assert sum(attribution["values"]) == pytest.approx(reward - attribution["baseline_reward"], rel=0.05), pair
        parts = row["difference_attribution"]
        values = sum(sum(parts[part]["values"]) for part in ("shared", "chosen", "rejected"))
        assert values == pytest.approx(expected["chosen"] - expected["rejected"], rel=0.05, abs=1e-4), pair

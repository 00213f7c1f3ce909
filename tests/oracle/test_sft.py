"""Steps of `sft` equal plain PyTorch; what it saves is a causal language model with the same logits in transformers."""

import math
import shutil

import pytest
import torch
import transformers as hf
from families import FAMILIES, save_checkpoint
from peft import PeftModel
from policy_reference import PolicyReference, response_ids, saved_weights
from programs import read_rows, run_metarm, run_ranks, write_rows
from reference import assert_same_steps
from safetensors.torch import load_file
from scoring import load_in_transformers
from test_families import forward, reference_logits

PAIRS = [
    {"prompt": "One", "chosen": " two three.", "rejected": " three"},
    {"chosen": "\n\nHuman: Hi\n\nAssistant: the inn", "rejected": "\n\nHuman: Hi\n\nAssistant: nine"},
]
GROUPS = [{"prompt": "The river", "responses": [" is there then", " is the other one.", "."]}]
TEXTS = [{"prompt": "In", "response": " the heather"}]
HELD_OUT = [{"prompt": "Ah", "response": " then another thing."}, {"prompt": "Sing", "response": " la la"}]

# What is learned of the rows above: prompts and responses.
LEARNED = [("One", " two three."), ("\n\nHuman: Hi\n\nAssistant:", " the inn"), ("The river", " is there then"), ("The river", " is the other one."), ("The river", "."), ("In", " the heather")]


def run_sft(folder, *flags, model="lm", **options):
    write_rows(folder / "pairs.jsonl", PAIRS)
    write_rows(folder / "more.jsonl", GROUPS + TEXTS)
    write_rows(folder / "held_out.jsonl", HELD_OUT)
    fixed = dict(model=folder / model, output=folder / "out", dtype="float32", shuffle="false", optimizer="sgd", lr_schedule="constant", max_grad_norm=0, batch_size=len(LEARNED))
    arguments = [part for name, value in (fixed | options).items() for part in ("--" + name.replace("_", "-"), str(value))]
    run_metarm("sft", "--data", folder / "pairs.jsonl", folder / "more.jsonl", *arguments, *flags, "--quiet")
    return read_rows(folder / "out" / "metrics.jsonl")


def encode(tokenizer, rows):
    return [response_ids(tokenizer, prompt, response) for prompt, response in rows]


@pytest.mark.parametrize("family", FAMILIES)
def test_steps_on_responses_alone(family, tmp_path):
    model, tokenizer = save_checkpoint(tmp_path / "lm", family, "causal")
    lr, steps = 0.05, 2
    metrics = run_sft(tmp_path, lr=lr, max_steps=steps, eval_data=tmp_path / "held_out.jsonl")
    reference, responses = PolicyReference(model), encode(tokenizer, LEARNED)
    before = {name: weight.detach().clone() for name, weight in reference.weights.items()}
    rows = [row for row in metrics if "loss" in row]
    assert len(rows) == steps
    for row in rows:
        loss, entropy = reference.language_loss(reference.weights, responses)
        assert row["loss"] == pytest.approx(loss.item(), rel=1e-4)
        assert row["entropy"] == pytest.approx(entropy.item(), rel=1e-4)
        assert row["responses"] == len(LEARNED) and row["response_tokens"] == sum(len(ids) - begin for ids, begin in responses)
        reference.sgd_step(reference.gradient(loss), lr)
    assert_same_steps(saved_weights(tmp_path / "out"), reference, before)
    held_out, _ = reference.language_loss(reference.weights, encode(tokenizer, [(row["prompt"], row["response"]) for row in HELD_OUT]))
    [evaluation] = [row for row in metrics if "eval_loss" in row]
    assert evaluation["eval_loss"] == pytest.approx(held_out.item(), rel=1e-4)
    assert evaluation["eval_perplexity"] == pytest.approx(math.exp(held_out.item()), rel=1e-4)


@pytest.mark.parametrize("template", [None, "chatml"])
def test_a_cut_response_teaches_no_end(template, tmp_path):
    """By `ended`; what the template prints behind it is not learned either."""
    model, tokenizer = save_checkpoint(tmp_path / "lm", "llama", "causal")
    groups = [{"prompt": "The river", "responses": [" is there then", " is the other one.", "."], "ended": [False, True, False]}]
    learned = encode(tokenizer, [("The river", response) for response in groups[0]["responses"]])
    if template:
        tokenizer.add_special_tokens({"eos_token": "<|im_end|>"})
        tokenizer.save_pretrained(tmp_path / "lm")
        groups[0] |= {"prompt": [{"role": "user", "content": "The river"}], "responses": ["is there then", "is the other one.", "in"]}
        asked = "<|im_start|>user\nThe river<|im_end|>\n<|im_start|>assistant\n"
        learned = [(tokenizer(f"{asked}{response}<|im_end|>\n")["input_ids"], len(tokenizer(asked)["input_ids"])) for response in groups[0]["responses"]]
        assert learned[1][0][-2] == tokenizer.eos_token_id
        learned = [(ids[: -1 if index != 1 else None], begin) for index, (ids, begin) in enumerate(learned)]
    assert learned[0][0][-1] == tokenizer.eos_token_id
    learned = [(ids[: -1 if index != 1 else None], begin) for index, (ids, begin) in enumerate(learned)]
    write_rows(tmp_path / "groups.jsonl", groups)
    run_metarm("sft", "--model", tmp_path / "lm", "--data", tmp_path / "groups.jsonl", "--output", tmp_path / "out", "--dtype", "float32", "--batch-size", 3, "--max-steps", 1, "--quiet",
               *(["--chat-template", template] if template else []))
    [row] = [row for row in read_rows(tmp_path / "out/metrics.jsonl") if "loss" in row]
    reference = PolicyReference(model)
    assert row["response_tokens"] == sum(len(ids) - begin for ids, begin in learned)
    assert row["loss"] == pytest.approx(reference.language_loss(reference.weights, learned)[0].item(), rel=1e-4)


def test_a_system_message_that_moves_is_no_part_of_the_response(tmp_path):
    """Mistral's template prints it with the user's message where that is the last of all, and so not in what is learned."""
    model, tokenizer = save_checkpoint(tmp_path / "lm", "mistral", "causal")
    rows = [{"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hello there"}, {"role": "assistant", "content": "the inn"}]}]
    write_rows(tmp_path / "chats.jsonl", rows)
    run_metarm("sft", "--model", tmp_path / "lm", "--data", tmp_path / "chats.jsonl", "--output", tmp_path / "out", "--dtype", "float32", "--chat-template", "mistral-v3", "--max-steps", 1, "--quiet")
    [row] = [row for row in read_rows(tmp_path / "out/metrics.jsonl") if "loss" in row]
    before = tokenizer("<s>[INST] hello there[/INST] ", add_special_tokens=False)["input_ids"]
    ids = tokenizer("<s>[INST] hello there[/INST] the inn</s>", add_special_tokens=False)["input_ids"]
    begin = next(i for i, (a, b) in enumerate(zip(before + [None], ids)) if a != b)
    reference = PolicyReference(model)
    assert row["response_tokens"] == len(ids) - begin < 10
    assert row["loss"] == pytest.approx(reference.language_loss(reference.weights, [(ids, begin)])[0].item(), rel=1e-4)


def load_causal(directory):
    return load_in_transformers(directory, hf.AutoModelForCausalLM)


def assert_same_logits(model, directory):
    ids = [9, 8, 7, 60, 61, 300, 12]
    ours = torch.tensor(forward(directory, "logits", groups=[[ids]])["logits"][0][0])
    torch.testing.assert_close(ours, reference_logits(model, ids), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_saved_policies_load_in_transformers_with_the_same_logits(family, tmp_path):
    before, _ = save_checkpoint(tmp_path / "lm", family, "causal")
    run_sft(tmp_path, lr=0.05, max_steps=1)
    after = load_causal(tmp_path / "out")
    assert_same_logits(after, tmp_path / "out")
    assert (reference_logits(after, [9, 8, 7]) - reference_logits(before, [9, 8, 7])).abs().max() > 1e-2, "nothing was learned: the comparison shows little"
    assert hf.AutoTokenizer.from_pretrained(tmp_path / "out")("the inn")["input_ids"] == hf.AutoTokenizer.from_pretrained(tmp_path / "lm")("the inn")["input_ids"]


@pytest.mark.parametrize("family", ["llama", "gpt2", "gpt_neox"])
def test_adapters_of_policies(family, tmp_path):
    """PEFT reads them, and so do `sample` and a further `sft`; merged, they are the same model."""
    save_checkpoint(tmp_path / "lm", family, "causal")
    options = dict(lr=0.05, max_steps=3, lora_rank=3)
    run_sft(tmp_path, **options)
    shutil.move(tmp_path / "out", tmp_path / "adapter")
    peft = PeftModel.from_pretrained(load_causal(tmp_path / "lm"), tmp_path / "adapter").eval()
    run_sft(tmp_path, merge_lora="true", **options)
    shutil.move(tmp_path / "out", tmp_path / "merged")
    assert_same_logits(peft, tmp_path / "adapter")
    assert_same_logits(peft, tmp_path / "merged")
    run_sft(tmp_path, model="adapter", lr=0, max_steps=1)
    assert_same_logits(peft, tmp_path / "out")


@pytest.mark.parametrize("options", [{"tokens_per_batch": 1}, {"gradient_checkpointing": "true"}])
def test_memory_options_change_results_by_rounding_only(options, tmp_path):
    saved = []
    for index, more in enumerate([{}, options]):
        folder = tmp_path / str(index)
        save_checkpoint(folder / "lm", "llama", "causal")
        run_sft(folder, lr=0.05, max_steps=2, **more)
        saved.append(load_file(folder / "out/model.safetensors"))
    for name, tensor in saved[0].items():
        torch.testing.assert_close(saved[1][name], tensor, atol=1e-6, rtol=1e-5)


@pytest.mark.skipif(shutil.which("mpirun") is None, reason="mpirun is not installed: runs of several ranks are not tested")
def test_several_ranks_end_at_the_same_weights(tmp_path):
    save_checkpoint(tmp_path / "lm", "llama", "causal")
    write_rows(tmp_path / "data.jsonl", PAIRS + GROUPS + TEXTS)
    saved = []
    for ranks in (1, 3):
        run_ranks(ranks, "sft", "--model", "lm", "--data", "data.jsonl", "--eval-data", "data.jsonl", "--output", f"out{ranks}", "--dtype", "float32", "--optimizer", "sgd", "--lr", 0.05, "--batch-size", 4,
                  "--max-steps", 3, "--threads", 1, "--quiet", cwd=tmp_path)
        saved.append(load_file(tmp_path / f"out{ranks}/model.safetensors"))
        assert read_rows(tmp_path / f"out{ranks}/metrics.jsonl")[-1]["eval_loss"] == pytest.approx(read_rows(tmp_path / "out1/metrics.jsonl")[-1]["eval_loss"], rel=1e-4)
    for name, tensor in saved[0].items():
        torch.testing.assert_close(saved[1][name], tensor, atol=1e-5, rtol=1e-4)


def test_conversations(tmp_path):
    """The last message is learned, with what ends it in the template; a user's is refused."""
    _, tokenizer = save_checkpoint(tmp_path / "lm", "llama", "causal")
    messages = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "the inn"}]
    write_rows(tmp_path / "chats.jsonl", [{"messages": messages}])
    arguments = ["sft", "--model", tmp_path / "lm", "--max-steps", 1, "--dtype", "float32", "--chat-template", "zephyr", "--output", tmp_path / "out"]
    run_metarm(*arguments, "--data", tmp_path / "chats.jsonl", "--quiet")
    [row] = read_rows(tmp_path / "out/metrics.jsonl")
    assert row["response_tokens"] == len(tokenizer("the inn</s>\n")["input_ids"])
    write_rows(tmp_path / "questions.jsonl", [{"messages": messages[:1]}])
    shutil.rmtree(tmp_path / "out")
    result = run_metarm(*arguments, "--data", tmp_path / "questions.jsonl", check=False)
    assert result.returncode == 2 and "expected a conversation that ends with the assistant's message, got one that ends with the user's" in result.stderr


def test_the_loss_falls(tmp_path):
    save_checkpoint(tmp_path / "lm", "llama", "causal")
    metrics = run_sft(tmp_path, optimizer="adamw", lr=1e-2, max_steps=30, max_grad_norm=1)
    assert metrics[-1]["loss"] < 0.3 * metrics[0]["loss"]

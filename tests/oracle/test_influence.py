"""Which training pairs pull, by the gradients of an adapter and from an index, beside PEFT and plain PyTorch in float64."""

import json
import shutil

import numpy as np
import pytest
import torch
import transformers as hf
from families import save_checkpoint
from peft import PeftModel
from programs import read_rows, run_metarm, write_rows
from reference import token_ids
from safetensors.torch import load_file, save_file
from test_explain import PAIRS, influences, random_pairs


@pytest.fixture(scope="module")
def adapter(tmp_path_factory):
    """An adapter whose matrices have all learned something, and the same in PEFT in float64."""
    folder = tmp_path_factory.mktemp("adapter")
    _, tokenizer = save_checkpoint(folder / "base", "llama", "reward")
    write_rows(folder / "some.jsonl", random_pairs(8, 7))
    run_metarm("train", "--model", folder / "base", "--pairs", folder / "some.jsonl", "--output", folder / "rm", "--lora-rank", 3, "--lr", 0.02, "--max-steps", 2, "--dtype", "float32", "--quiet")
    base = hf.AutoModelForSequenceClassification.from_pretrained(folder / "base", num_labels=1, attn_implementation="eager")
    return folder, PeftModel.from_pretrained(base, folder / "rm").eval().double(), tokenizer


def lora_gradient(model, tokenizer, row, weigh):
    matrices = [parameter.requires_grad_() for name, parameter in model.named_parameters() if "lora_" in name]
    sides = [model(torch.tensor([token_ids(tokenizer, row["prompt"], row[side])])).logits[0, 0] for side in ("chosen", "rejected")]
    margin, weight = (row.get("margin", 0.0), row.get("weight", 1.0)) if weigh else (0.0, 1.0)
    loss = -weight * torch.nn.functional.logsigmoid(sides[0] - sides[1] - margin)
    return torch.cat([gradient.flatten() for gradient in torch.autograd.grad(loss, matrices)]).numpy()


def lora_influences(adapter, folder, pairs, *more, training=None):
    """Of each pair, {training pair: (cosine, dot)}, and the command's result."""
    if training is not None:
        write_rows(folder / "train.jsonl", training)
    write_rows(folder / "pairs.jsonl", pairs)
    result = run_metarm("explain", "--model", adapter[0] / "rm", "--pairs", "pairs.jsonl", "--output", "out.jsonl", "--attribution", "none", "--influence", "--train-pairs", "train.jsonl",
                        "--influence-weights", "lora", "--top", "200", *more, cwd=folder)
    return [{i: (cosine, dot) for way in ("up", "down") for i, cosine, dot in influences(row, way)} for row in read_rows(folder / "out.jsonl")], result


@pytest.mark.parametrize("projection", [0, 4096])
def test_pull_by_the_gradients_of_an_adapter(projection, adapter, tmp_path):
    training = random_pairs(20, 8)
    training[2] |= {"margin": 0.7}
    training[5] |= {"weight": 2.5}
    pairs = [PAIRS[0] | {"margin": 3.0}, PAIRS[2]]
    found, _ = lora_influences(adapter, tmp_path, pairs, "--projection", projection, training=training)
    own = np.array([lora_gradient(*adapter[1:], row, True) for row in training])
    for of_pair, pair in zip(found, pairs, strict=True):
        gradient = lora_gradient(*adapter[1:], pair, False)
        dots = own @ gradient
        cosines = dots / np.linalg.norm(own, axis=1) / np.linalg.norm(gradient)
        errors = [of_pair[i][0] - cosines[i] for i in range(20)]
        if projection:
            assert 0.001 < np.sqrt(np.mean(np.square(errors))) < 2 / np.sqrt(projection)
        else:
            assert np.abs(errors).max() < 1e-4
            assert [of_pair[i][1] for i in range(20)] == pytest.approx(list(dots), abs=1e-4 * np.abs(dots).max())


def test_a_copy_pulls_most_by_an_index_too(adapter, tmp_path):
    pairs = random_pairs(5, 4)
    training = random_pairs(60, 5) + pairs + [row | {"chosen": row["rejected"], "rejected": row["chosen"]} for row in pairs]
    made, _ = lora_influences(adapter, tmp_path, pairs, "--projection", 512, "--index", "index.safetensors", training=training)
    written = (tmp_path / "index.safetensors").stat()
    read, result = lora_influences(adapter, tmp_path, pairs, "--projection", 512, "--index", "index.safetensors")
    plain, _ = lora_influences(adapter, tmp_path, pairs, "--projection", 512)
    assert read == made == plain and (tmp_path / "index.safetensors").stat().st_mtime_ns == written.st_mtime_ns
    assert "index.safetensors: gradients of 70 training pairs" in result.stderr
    for i, of_pair in enumerate(read):
        ranked = sorted(of_pair, key=lambda place: of_pair[place][0])
        assert (ranked[-1], ranked[0]) == (60 + i, 65 + i)
        assert of_pair[60 + i][0] == pytest.approx(1, abs=1e-5) and of_pair[65 + i][0] == pytest.approx(-1, abs=1e-5)


def copied(adapter, folder, change_base=False):
    """The adapter and its base elsewhere, one of them changed."""
    shutil.copytree(adapter[0] / "base", folder / "base")
    shutil.copytree(adapter[0] / "rm", folder / "rm")
    config = json.loads((folder / "rm/adapter_config.json").read_text())
    (folder / "rm/adapter_config.json").write_text(json.dumps(config | {"base_model_name_or_path": "../base"}))
    if change_base:
        tensors = load_file(folder / "base/model.safetensors")
        tensors["model.norm.weight"][0] += 0.5
        save_file(tensors, folder / "base/model.safetensors", {"format": "pt"})
    return (folder, *adapter[1:])


def test_a_stale_index_is_refused(adapter, tmp_path):
    training, pairs = random_pairs(6, 9), PAIRS[:1]
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    own = copied(adapter, tmp_path / "a")

    def error(model, *more, rows=training):
        write_rows(tmp_path / "train.jsonl", rows)
        write_rows(tmp_path / "pairs.jsonl", pairs)
        result = run_metarm("explain", "--model", model, "--pairs", "pairs.jsonl", "--output", "out.jsonl", "--attribution", "none", "--influence", "--train-pairs", "train.jsonl",
                            "--index", "index.safetensors", "--quiet", *more, cwd=tmp_path, check=False)
        assert (result.returncode, result.stderr.count("\n")) in ((2, 1), (0, 0)), result.stderr
        return result.stderr

    lora = ["--influence-weights", "lora", "--projection", 64]
    assert error(own[0] / "rm", *lora) == ""
    assert error(own[0] / "rm", *lora, rows=[row | {"id": "named"} for row in training]) == ""  # the same pairs
    assert "index.safetensors: expected gradients of the pairs with digest" in error(own[0] / "rm", *lora, rows=training[::-1])
    assert "of the pairs with digest" in error(own[0] / "rm", *lora, rows=[training[0] | {"margin": 1.0}, *training[1:]])
    assert "of the model with digest" in error(copied(adapter, tmp_path / "b", change_base=True)[0] / "rm", *lora)
    assert "expected gradients of the LoRA matrices, projected to 32 by seed 0" in error(own[0] / "rm", "--influence-weights", "lora", "--projection", 32)
    assert "projected to 64 by seed 5, in Float, got the LoRA matrices, projected to 64 by seed 0" in error(own[0] / "rm", *lora, "--seed", 5)
    assert "expected gradients of the reward head" in error(own[0] / "rm")
    assert "make them anew" in error(own[0] / "rm")
    whole = (tmp_path / "index.safetensors").read_bytes()
    (tmp_path / "index.safetensors").write_bytes(whole[:-10])
    assert "the file is cut off or damaged" in error(own[0] / "rm", *lora)

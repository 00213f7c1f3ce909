"""Tensors of every supported GGUF type equal the gguf library's own dequantization, bit for bit."""

import subprocess

import gguf
import numpy as np
import pytest
from programs import run_program, BUILD
from gguf import GGMLQuantizationType as Type
from gguf_files import write_gguf

TYPES = [Type.F32, Type.F16, Type.BF16, Type.Q8_0, Type.Q4_0, Type.Q4_1, Type.Q5_0, Type.Q5_1, Type.Q4_K, Type.Q5_K, Type.Q6_K]
# Where a block holds half-precision numbers, in bytes from its begin.
HALVES = {Type.Q8_0: [0], Type.Q4_0: [0], Type.Q4_1: [0, 2], Type.Q5_0: [0], Type.Q5_1: [0, 2], Type.Q4_K: [0, 2], Type.Q5_K: [0, 2], Type.Q6_K: [208]}


def random_rows(kind, rows, blocks, seed=0):
    """Random bytes: every quantized value and every packed scale occurs; half-precision scales are finite."""
    rng = np.random.default_rng(seed)
    _, size = gguf.GGML_QUANT_SIZES[kind]
    data = rng.integers(0, 256, (rows, blocks, size), dtype=np.uint8)
    for begin in HALVES.get(kind, []):
        data[:, :, begin : begin + 2] = rng.normal(0, 3, (rows, blocks)).astype(np.float16)[..., None].view(np.uint8)
    return data.reshape(rows, blocks * size)


def dequantized(path, name):
    result = subprocess.run([str(BUILD / "gguf_dequantize"), path, name], capture_output=True, check=True)
    return np.frombuffer(result.stdout, dtype=np.float32)


@pytest.mark.parametrize("kind", TYPES, ids=lambda kind: kind.name)
def test_every_type_equals_the_library(kind, tmp_path):
    path = tmp_path / "model.gguf"
    before, data = random_rows(Type.Q4_0, 3, 1), random_rows(kind, 40, 64, seed=1)
    write_gguf(path, "llama", {"before": (before, Type.Q4_0), "wanted": (data, kind)})
    expected = gguf.dequantize(data, kind).ravel()
    got = dequantized(path, "wanted")
    assert got.shape == expected.shape
    numbers = ~np.isnan(expected)
    assert (np.isnan(got) == ~numbers).all()
    assert (got.view(np.uint32)[numbers] == expected.view(np.uint32)[numbers]).all()
    assert len(set(expected[numbers].tolist())) > 1000, "values that hardly differ would prove nothing"


def test_every_half(tmp_path):
    halves = np.arange(65536, dtype=np.uint16)
    write_gguf(tmp_path / "model.gguf", "llama", {"halves": (halves.view(np.float16), Type.F16)})
    got, expected = dequantized(tmp_path / "model.gguf", "halves"), halves.view(np.float16).astype(np.float32)
    numbers = ~np.isnan(expected)
    assert (np.isnan(got) == ~numbers).all()
    assert (got.view(np.uint32)[numbers] == expected.view(np.uint32)[numbers]).all()


def test_missing_tensor_is_named(tmp_path):
    write_gguf(tmp_path / "model.gguf", "llama", {"a": (np.zeros(4, np.float32), Type.F32)})
    result = run_program("gguf_dequantize", tmp_path / "model.gguf", "b", check=False)
    assert result.returncode == 2 and "expected a tensor b" in result.stderr

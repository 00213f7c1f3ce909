"""make_corpus.py: writes tests/fuzz/corpus/ anew: small valid files of every kind, and the known ways of being wrong."""

import json
import struct
import sys
from pathlib import Path

import gguf
import numpy as np
import torch
from safetensors.torch import save

sys.path.insert(0, str(Path(__file__).parents[1]))
from support.tokenizer_kinds import KINDS  # noqa: E402

CORPUS = Path(__file__).parent / "corpus"


def write(parser, name, data):
    folder = CORPUS / parser
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data if isinstance(data, bytes) else data.encode())


def safetensors():
    def raw(header, data=b"", length=None):
        text = json.dumps(header).encode()
        return struct.pack("<Q", len(text) if length is None else length) + text + data

    tensor = lambda shape, offsets, dtype="F32": {"dtype": dtype, "shape": shape, "data_offsets": offsets}
    write("safetensors", "every_type", save({"a": torch.arange(6.0).reshape(2, 3), "b": torch.ones(4, dtype=torch.bfloat16), "c": torch.tensor([1, 2]), "d": torch.zeros(0), "e": torch.tensor(True), "f": torch.ones(2, 1, 2, dtype=torch.float16)}, {"format": "pt"}))
    write("safetensors", "empty", b"")
    write("safetensors", "huge_header", raw({}, length=2**60))
    write("safetensors", "huge_shape", raw({"a": tensor([2**40, 2**40], [0, 4])}, b"\0" * 4))
    write("safetensors", "overlap", raw({"a": tensor([1], [0, 4]), "b": tensor([1], [2, 6])}, b"\0" * 6))
    write("safetensors", "backwards", raw({"a": tensor([1], [4, 0])}, b"\0" * 4))
    write("safetensors", "negative", raw({"a": tensor([-1], [0, 4])}, b"\0" * 4))
    write("safetensors", "unknown_type", raw({"a": tensor([1], [0, 4], "F8_E4M3")}, b"\0" * 4))
    write("safetensors", "header_is_list", raw([1, 2]))
    write("safetensors", "truncated", raw({"a": tensor([4], [0, 16])}, b"\0" * 8))


def gguf_files():
    import tempfile

    def model(add):
        with tempfile.NamedTemporaryFile() as file:
            writer = gguf.GGUFWriter(file.name, "llama")
            add(writer)
            writer.write_header_to_file()
            writer.write_kv_data_to_file()
            writer.write_tensors_to_file()
            writer.close()
            return Path(file.name).read_bytes()

    rng = np.random.default_rng(0)

    def tensors(writer):
        writer.add_tensor("plain", rng.standard_normal((2, 3)).astype(np.float32))
        for kind in (gguf.GGMLQuantizationType.Q4_0, gguf.GGMLQuantizationType.Q4_1, gguf.GGMLQuantizationType.Q5_0, gguf.GGMLQuantizationType.Q5_1, gguf.GGMLQuantizationType.Q8_0, gguf.GGMLQuantizationType.BF16):
            writer.add_tensor(kind.name, gguf.quants.quantize(rng.standard_normal((2, 32)).astype(np.float32), kind), raw_dtype=kind)
        for kind in (gguf.GGMLQuantizationType.Q4_K, gguf.GGMLQuantizationType.Q5_K, gguf.GGMLQuantizationType.Q6_K):
            _, size = gguf.GGML_QUANT_SIZES[kind]
            writer.add_tensor(kind.name, rng.integers(0, 255, (1, size), dtype=np.uint8), raw_dtype=kind)

    def byte_level(writer):
        state = json.loads(KINDS["smollm2"]().to_str())["model"]
        tokens = sorted(state["vocab"], key=state["vocab"].get)
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre("smollm")
        writer.add_token_list(tokens)
        writer.add_token_types([3 if token.startswith("<|") else 1 for token in tokens])
        writer.add_token_merges([" ".join(merge) if isinstance(merge, list) else merge for merge in state["merges"]])
        writer.add_bos_token_id(1)
        writer.add_eos_token_id(2)
        writer.add_chat_template("{% for message in messages %}{{'<|im_start|>' + message['role']}}{% endfor %}")

    def sentencepiece(writer):
        tokens = ["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)] + ["▁", "a", "▁a", "b", "ab"]
        writer.add_tokenizer_model("llama")
        writer.add_token_list(tokens)
        writer.add_token_scores([0.0] * 259 + [-1.0, -2.0, -3.0, -4.0, -5.0])
        writer.add_token_types([2, 3, 3] + [6] * 256 + [1] * 5)
        writer.add_bos_token_id(1)
        writer.add_eos_token_id(2)
        writer.add_unk_token_id(0)

    write("gguf", "every_type", model(tensors))
    write("gguf", "byte_level", model(byte_level))
    write("gguf", "sentencepiece", model(sentencepiece))
    write("gguf", "empty", b"")
    header = lambda tensors, values: b"GGUF" + struct.pack("<IQQ", 3, tensors, values)
    write("gguf", "many_values", header(0, 2**60))
    write("gguf", "many_tensors", header(2**60, 0))
    write("gguf", "long_list", header(0, 1) + struct.pack("<Q", 1) + b"k" + struct.pack("<IIQ", 9, 0, 2**61))
    write("gguf", "nested_lists", header(0, 1) + struct.pack("<Q", 1) + b"k" + struct.pack("<I", 9) + struct.pack("<IQ", 9, 1) * 1000)
    write("gguf", "long_text", header(0, 1) + struct.pack("<Q", 2**63))
    write("gguf", "huge_tensor", header(1, 0) + struct.pack("<Q", 1) + b"t" + struct.pack("<IQQIQ", 2, 2**40, 2**40, 0, 0))


def tokenizers():
    for name in ("smollm2", "llama3", "llama2", "gemma", "gpt2_prefix_space", "normalized"):
        state = json.loads(KINDS[name]().to_str())
        vocab, merges = state["model"]["vocab"], state["model"]["merges"][:40]
        joined = {"".join(merge) for merge in merges}
        used = {token for token in vocab if len(token) == 1 or token.startswith("<") or token in joined}
        state["model"]["merges"], state["model"]["vocab"] = merges, {token: id for token, id in vocab.items() if token in used}
        write("tokenizer", name, json.dumps(state, ensure_ascii=False) + "\0The theme, 1234 <s>\t\u00e9\U0001f469\u200d\U0001f467\n\n x")
    minimal = {"added_tokens": [], "normalizer": None, "pre_tokenizer": None, "post_processor": None, "decoder": None, "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"]}}
    write("tokenizer", "minimal", json.dumps(minimal) + "\0abab")
    write("tokenizer", "bad_regex", json.dumps({**minimal, "pre_tokenizer": {"type": "Split", "pattern": {"Regex": "(a+)+(?<"}, "behavior": "Isolated", "invert": False}}))
    write("tokenizer", "slow_regex", json.dumps({**minimal, "pre_tokenizer": {"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Isolated", "invert": False}}) + "\0" + "a" * 40 + "b")
    write("tokenizer", "empty_pattern", json.dumps({**minimal, "normalizer": {"type": "Replace", "pattern": {"String": ""}, "content": "aa"}}) + "\0abab")
    write("tokenizer", "huge_id", json.dumps({**minimal, "model": {"type": "BPE", "vocab": {"a": 2**62}, "merges": []}}))
    write("tokenizer", "negative_id", json.dumps({**minimal, "model": {"type": "BPE", "vocab": {"a": -1}, "merges": []}}))
    write("tokenizer", "large_id", json.dumps({**minimal, "model": {"type": "BPE", "vocab": {"a": 2**31 - 1}, "merges": []}}))
    write("tokenizer", "unknown_merge", json.dumps({**minimal, "model": {"type": "BPE", "vocab": {"a": 0}, "merges": ["a b"]}}))
    write("tokenizer", "unigram", json.dumps({**minimal, "model": {"type": "Unigram", "vocab": [["a", -1.0]]}}))
    write("tokenizer", "empty", b"")
    write("tokenizer", "deep", "[" * 100000)


def rows():
    lines = [
        {"prompt": "Q", "chosen": "A", "rejected": "B", "margin": 1.5, "weight": 2, "subset": "s", "id": "1"},
        {"chosen": "\n\nHuman: hi\n\nAssistant: a", "rejected": "\n\nHuman: hi\n\nAssistant: b"},
        {"prompt": [{"role": "user", "content": "Q"}], "chosen": [{"role": "assistant", "content": "A"}], "rejected": [{"role": "assistant", "content": "B"}]},
        {"chosen": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}], "rejected": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "B"}]},
        {"info": {"id": "x", "post": "P", "title": "T", "subreddit": "S"}, "summaries": [{"text": "a"}, {"text": "b"}], "choice": 1, "worker": "w", "extra": {"confidence": 7}},
        {"prompt": "Q", "responses": ["a", "b", "c"], "rewards": [1, 2.5, -3], "policy": "p", "round": 2},
        {"prompt": "Q", "id": "7"},
        {"text": "alone"},
        {"messages": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}]},
        {"prompt": "Q", "response": "A"},
    ]
    for number, line in enumerate(lines):
        write("rows", f"valid_{number}", json.dumps(line))
    write("rows", "all", "\n".join(map(json.dumps, lines)) + "\n")
    write("rows", "empty", b"")
    write("rows", "invalid_utf8", b'{"prompt": "\xff\xfe", "chosen": "a", "rejected": "b"}')
    write("rows", "surrogate", b'{"prompt": "\\ud800", "chosen": "a", "rejected": "b"}')
    write("rows", "twice", b'{"chosen": "a", "chosen": "c", "rejected": "b"}')
    write("rows", "huge_number", b'{"chosen": "a", "rejected": "b", "margin": 1e999}')
    write("rows", "null_choice", json.dumps({**lines[4], "choice": None}))
    write("rows", "far_choice", json.dumps({**lines[4], "choice": 2**63}))
    write("rows", "deep", '{"prompt": ' + "[" * 5000)
    write("rows", "cut", b'{"prompt": "Q", "chos')


def completions():
    choice = {"index": 0, "text": " a", "finish_reason": "stop", "logprobs": None}
    usage = {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8}
    answers = {
        "text": {"id": "x", "object": "text_completion", "choices": [choice | {"index": 1}, choice], "usage": usage},
        "chat": {"choices": [{"index": 0, "message": {"role": "assistant", "content": "a"}, "finish_reason": "length"}], "usage": usage | {"prompt_tokens_details": None}},
        "no_content": {"choices": [{"message": {"content": None, "tool_calls": []}}]},
        "huge_counts": {"choices": [choice | {"index": 2**63}], "usage": usage | {"prompt_tokens": 2**64 - 1, "completion_tokens": 1e300}},
        "error": {"error": {"message": "no\n\u0000 \ud83d\ude00", "type": "BadRequestError", "code": 400}},
        "old_error": {"object": "error", "message": "m" * 400, "code": 40303},
        "detail": {"detail": [{"loc": ["body", "n"], "msg": "too large"}]},
        "wrong_types": {"choices": {"0": choice}, "usage": []},
    }
    for name, answer in answers.items():
        write("completion", name, json.dumps(answer))
    write("completion", "empty", b"")
    write("completion", "cut", json.dumps(answers["text"])[:60])
    write("completion", "page", "<html>\r\n<h1>502 Bad Gateway</h1>")
    write("completion", "surrogate", b'{"error": {"message": "\\ud800 \xff"}}')
    write("completion", "deep", "[" * 5000)


def requests():
    chat = [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}]
    bodies = {
        "rows": ("/v1/rewards", {"model": "rm", "rows": [{"prompt": "Q", "responses": ["a", chat[1:]]}, {"prompt": chat[:1], "response": "b"}, {"text": "c"}, {"messages": chat}]}),
        "attributions": ("/v1/rewards", {"rows": [{"prompt": "Q", "responses": ["a", "b"]}, {"text": "c"}], "attributions": True}),
        "align": ("/v1/align", {}),
        "rollback": ("/v1/rollback", {"version": 1}),
        "openrlhf": ("/get_reward", {"query": ["Q a</s>", "b"], "prompts": ["Q", ""], "labels": [None, 1]}),
        "vllm_text": ("/classify", {"input": ["a", "b"], "use_activation": False, "request_id": "x"}),
        "vllm_tokens": ("/v1/classify", {"input": [[1, 2], [3]], "add_special_tokens": True}),
        "vllm_chat": ("/pooling", {"messages": chat, "task": "classify", "encoding_format": "float"}),
        "vllm_score": ("/score", {"text_1": "Q", "text_2": ["a", "b"]}),
        "vllm_queries": ("/v1/score", {"queries": ["Q", "R"], "documents": ["a", "b"]}),
        "vllm_rerank": ("/rerank", {"query": "Q", "documents": ["a", "b"], "top_n": 1}),
        "sglang": ("/classify", {"text": "a"}),
        "embeddings": ("/v1/embeddings", {"input": "a", "dimensions": None}),
        "tei_pair": ("/predict", {"inputs": ["Q", "a"], "raw_scores": True}),
        "tei_batch": ("/predict", {"inputs": [["a"], ["Q", "b"]], "truncate": True}),
        "tei_rerank": ("/rerank", {"query": "Q", "texts": ["a", "b"], "return_text": True}),
    }
    for name, (path, body) in bodies.items():
        write("request", name, f"{path}\n{json.dumps(body)}")
    write("request", "empty", "/v1/rewards\n")
    write("request", "deep", '/v1/rewards\n{"rows": ' + "[" * 5000)
    write("request", "surrogate", '/get_reward\n{"query": ["\\ud800"]}')
    write("request", "huge_numbers", '/classify\n{"input": [1e400, 99999999999999999999]}')


if __name__ == "__main__":
    safetensors(), gguf_files(), tokenizers(), rows(), completions(), requests()

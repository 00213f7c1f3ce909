"""Makes what all contenders share, once: the initial reward model, pairs, response groups, prompts, and the arithmetic that a step needs.

A process of its own, `workload.py SETTINGS.json RESULT.json`, so that the measuring one stays small.
"""

import sys
from pathlib import Path

import torch
import transformers as hf
from job import run_job
from texts import as_text, explicit_pair, joined, read_rows, sequence_ids, write_rows

ROOT = Path(__file__).resolve().parents[1]


def make_tiny_policy(folder):
    """A random Llama with a byte-level tokenizer: for the short form, which judges no times."""
    sys.path.insert(0, str(ROOT / "tests/support"))
    from families import VOCAB, save_tokenizer

    torch.manual_seed(0)
    config = hf.LlamaConfig(vocab_size=VOCAB, hidden_size=48, num_hidden_layers=2, num_attention_heads=6, num_key_value_heads=2, intermediate_size=96,
                            max_position_embeddings=8192, initializer_range=0.15, pad_token_id=3, eos_token_id=2, bos_token_id=1, tie_word_embeddings=True)
    hf.LlamaForCausalLM(config).save_pretrained(folder)
    save_tokenizer(folder)
    return str(folder)


def make_reward_model(policy, folder):
    """A reward model with a random head, whose padding is not its end token; returns (model, tokenizer)."""
    torch.manual_seed(0)
    tokenizer = hf.AutoTokenizer.from_pretrained(policy)
    model = hf.AutoModelForSequenceClassification.from_pretrained(policy, num_labels=1, dtype=torch.float32)
    if tokenizer.pad_token in (None, tokenizer.eos_token):
        special = [token.content for token in tokenizer.added_tokens_decoder.values() if token.special]
        tokenizer.pad_token = [token for token in special if token not in (tokenizer.bos_token, tokenizer.eos_token, tokenizer.unk_token)][-1]
    model.config.pad_token_id = tokenizer.pad_token_id
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return model, tokenizer


def shared_tokens(sequences):
    """Tokens of the common beginning, short of the last of any."""
    shared = 0
    while shared < min(map(len, sequences)) - 1 and len({sequence[shared] for sequence in sequences}) == 1:
        shared += 1
    return shared


def choose_pairs(path, tokenizer, count, max_length, min_prompt=0):
    """`count` pairs from all over the file whose sequences are short enough, so that nobody cuts or drops one, and have a beginning in common that is long enough."""
    pairs = [pair for row in read_rows(path) if (pair := explicit_pair(row))]
    if tokenizer.chat_template is None:
        pairs = [as_text(pair) for pair in pairs]
    ids = [[sequence_ids(tokenizer, pair["prompt"], pair[side]) for side in ("chosen", "rejected")] for pair in pairs]
    fitting = [pair for pair, (chosen, rejected) in zip(pairs, ids) if chosen != rejected and max(len(chosen), len(rejected)) <= max_length and shared_tokens((chosen, rejected)) >= min_prompt]
    if len(fitting) < count:
        raise SystemExit(f"bench: {path}: expected at least {count} pairs of at most {max_length} tokens with prompts of at least {min_prompt}, got {len(fitting)}; take fewer --steps or more pairs")
    return fitting[:: len(fitting) // count][:count]


def make_groups(pairs, count, responses):
    """Group i: the prompt of pair i, with the responses of pairs i, i + 1, ..."""
    groups = []
    for start in range(count):
        near = [pairs[(start + offset) % len(pairs)] for offset in range(responses // 2)]
        groups.append({"prompt": pairs[start % len(pairs)]["prompt"], "responses": [pair[side] for pair in near for side in ("chosen", "rejected")]})
    return groups


def tree_work(sequences):
    """(tokens, attended positions) of a token tree: the common prefix once, then each branch."""
    shared = shared_tokens(sequences)
    tokens = shared + sum(len(sequence) - shared for sequence in sequences)
    attended = shared * (shared + 1) // 2 + sum(len(s) * (len(s) + 1) // 2 - shared * (shared + 1) // 2 for s in sequences)
    return tokens, attended


def step_work(tokenizer, pairs, batch_size):
    """For each step of an epoch: {tokens, attended}."""
    work = [tree_work([sequence_ids(tokenizer, pair["prompt"], pair[side]) for side in ("chosen", "rejected")]) for pair in pairs]
    batches = [work[start : start + batch_size] for start in range(0, len(work), batch_size)]
    return [{"tokens": sum(tokens for tokens, _ in batch), "attended": sum(attended for _, attended in batch)} for batch in batches]


def arithmetic(model):
    """Parameters in matrices, and forward floating-point operations for each attended position, of one token."""
    config = model.config
    matrices = sum(p.numel() for name, p in model.named_parameters() if p.dim() == 2 and not any(part in name for part in ("embed", "wte", "wpe")))
    head_width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return {"matrix_parameters": matrices, "flops_per_attended": 4 * config.num_attention_heads * head_width * config.num_hidden_layers}


def main(settings):
    folder, sizes = Path(settings["keep"]), settings["sizes"]
    policy = settings["model"] or make_tiny_policy(folder / "policy")
    model, tokenizer = make_reward_model(policy, folder / "rm")
    batch, steps, growth_steps = sizes["batch_size"], sizes["steps"], sizes["growth_steps"]
    pairs = choose_pairs(settings["pairs"], tokenizer, max(batch * steps, 8 * batch * growth_steps), sizes["max_length"])
    files = {
        "pairs": (pairs[: batch * steps], batch),
        "many": (pairs[: 8 * batch * growth_steps], 8 * batch),
        "long": ([joined(pairs[4 * i : 4 * i + 4]) for i in range(batch * growth_steps)], batch),
    }
    groups = make_groups(pairs, batch // 4 * steps, 4)
    score_groups = make_groups(pairs, sizes["score_groups"], sizes["score_responses"])
    long_prompts = choose_pairs(settings["pairs"], tokenizer, sizes["score_groups"], sizes["max_length"], sizes["long_prompt"])
    return {
        "policy": policy,
        "reward_model": str(folder / "rm"),
        **{name: write_rows(folder / f"{name}.jsonl", rows) for name, (rows, _) in files.items()},
        "work": {name: step_work(tokenizer, rows, size) for name, (rows, size) in files.items()},
        "groups": write_rows(folder / "groups.jsonl", groups),
        "score_groups": write_rows(folder / "score_groups.jsonl", score_groups),
        "long_prompt_groups": write_rows(folder / "long_prompt_groups.jsonl", make_groups(long_prompts, sizes["score_groups"], sizes["score_responses"])),
        "prompts": write_rows(folder / "prompts.jsonl", [{"prompt": pair["prompt"]} for pair in pairs[: sizes["sample_prompts"]]]),
        **arithmetic(model),
    }


if __name__ == "__main__":
    run_job(main)

"""Pairs on disk to the token ids that TRL's RewardTrainer and transformers make of them."""

import gzip
import json

ASSISTANT_TURN = "\n\nAssistant:"


def read_rows(path):
    opened = gzip.open if str(path).endswith(".gz") else open
    with opened(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file if line.strip()]


def write_rows(path, rows):
    with open(path, "w", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    return str(path)


def _split_whole(whole):
    if isinstance(whole, list):
        return whole[:-1], whole[-1:]
    end = whole.rfind(ASSISTANT_TURN) + len(ASSISTANT_TURN) if ASSISTANT_TURN in whole else 0
    return whole[:end], whole[end:]


def explicit_pair(row):
    """{prompt, chosen, rejected}; None for a pair without a common prompt."""
    if "chosen" not in row or "rejected" not in row:
        raise SystemExit("bench: expected pairs with chosen and rejected, got a row with " + ", ".join(row))
    if "prompt" in row:
        return {name: row[name] for name in ("prompt", "chosen", "rejected")}
    (prompt, chosen), (other, rejected) = _split_whole(row["chosen"]), _split_whole(row["rejected"])
    return {"prompt": prompt, "chosen": chosen, "rejected": rejected} if prompt and prompt == other else None


def as_text(pair):
    """Conversations written as Human and Assistant turns, for a tokenizer without a chat template."""
    if isinstance(pair["prompt"], str):
        return pair
    turns = {"user": "\n\nHuman: ", "assistant": ASSISTANT_TURN + " ", "system": "\n\n"}
    prompt = "".join(turns[message["role"]] + message["content"] for message in pair["prompt"]) + ASSISTANT_TURN
    return {"prompt": prompt} | {side: " " + pair[side][-1]["content"] for side in ("chosen", "rejected")}


def joined(pairs):
    """One pair as long as all of these together."""
    def contents(name):
        return "\n\n".join(message["content"] for pair in pairs for message in pair[name])

    if isinstance(pairs[0]["prompt"], str):
        return {name: "".join(pair[name] for pair in pairs) for name in pairs[0]}
    return {name: [{"role": "user" if name == "prompt" else "assistant", "content": contents(name)}] for name in pairs[0]}


def sequence_ids(tokenizer, prompt, response):
    if isinstance(prompt, list):
        return tokenizer.apply_chat_template(prompt + response, tokenize=True, return_dict=False)
    text = prompt + response
    return tokenizer(text if text.endswith(tokenizer.eos_token) else text + tokenizer.eos_token)["input_ids"]


def prompt_ids(tokenizer, prompt):
    if isinstance(prompt, list):
        return tokenizer.apply_chat_template(prompt, tokenize=True, return_dict=False, add_generation_prompt=True)
    return tokenizer(prompt)["input_ids"]


def pad_right(sequences, pad):
    """(ids, mask) as tensors of one batch."""
    import torch

    width = max(map(len, sequences))
    ids = torch.tensor([sequence + [pad] * (width - len(sequence)) for sequence in sequences])
    mask = torch.tensor([[1] * len(sequence) + [0] * (width - len(sequence)) for sequence in sequences])
    return ids, mask

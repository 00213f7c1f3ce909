"""A policy that writes a few letters only, so that the text of a response says which tokens were drawn."""

import torch
from families import make_model, save_checkpoint

LETTERS = "bcdfg"  # no merge of the test tokenizer has them
END = 2


def save_letters_policy(directory, seed=0):
    """GPT-NeoX, whose final norm has a bias: one hidden component is constant, and through it the head bans all other tokens."""
    _, tokenizer = save_checkpoint(directory, "gpt_neox", "causal")
    model = make_model("gpt_neox", "causal", seed)
    allowed = [tokenizer.convert_tokens_to_ids(letter) for letter in LETTERS] + [END]
    with torch.no_grad():
        model.gpt_neox.final_layer_norm.weight[0] = 0
        model.gpt_neox.final_layer_norm.bias[0] = 5
        head = model.get_output_embeddings().weight
        head[:, 0] = -8
        head[allowed, 0] = 0
    model.save_pretrained(directory)
    return model, tokenizer


def drawn_ids(tokenizer, text, max_new_tokens):
    """The tokens that were drawn, the end token with them where the response ended by itself, and whether it did."""
    ids = tokenizer.convert_tokens_to_ids(list(text))
    ended = len(ids) < max_new_tokens
    return ids + [END] * ended, ended

"""Policy training in plain PyTorch, sequence by sequence in float64: what the program's steps are compared with."""

import torch
from reference import Reference, token_ids
from safetensors.torch import load_file


def saved_weights(folder):
    """By the names of transformers' modules, which has another for GPT-NeoX's head than the file."""
    return {"lm_head.weight" if name == "embed_out.weight" else name: tensor for name, tensor in load_file(folder / "model.safetensors").items()}


def response_ids(tokenizer, prompt, response):
    """A sequence and the place of its first response token: where it first differs from the prompt's own tokens, at least 1."""
    ids, before = token_ids(tokenizer, prompt, response), tokenizer(prompt)["input_ids"]
    begin = next((i for i, (a, b) in enumerate(zip(ids, before)) if a != b), min(len(ids), len(before)))
    return ids, max(begin, 1)


class PolicyReference(Reference):
    """A transformers language model in float64."""

    def token_log_probs(self, weights, ids, begin, temperature=1.0):
        """Log-probabilities of ids[begin:], and the entropies of the distributions they come from."""
        logits = torch.func.functional_call(self.model, weights, (torch.tensor([ids]),)).logits[0, begin - 1 : -1] / temperature
        log_probs = torch.log_softmax(logits, -1)
        return log_probs.gather(1, torch.tensor(ids[begin:]).unsqueeze(1)).squeeze(1), -(log_probs.exp() * log_probs).sum(-1)

    def log_prob(self, weights, response):
        return self.token_log_probs(weights, *response)[0].sum()

    def language_loss(self, weights, responses):
        """Mean over all response tokens, and the mean entropy."""
        parts = [self.token_log_probs(weights, *response) for response in responses]
        return -torch.cat([p[0] for p in parts]).mean(), torch.cat([p[1] for p in parts]).mean()


class CriticReference(Reference):
    """A transformers reward model in float64 whose head is read at every token."""

    def values(self, weights, ids, begin):
        """What it says before each of ids[begin:]."""
        prefix = self.model.base_model_prefix + "."
        inner = {name.removeprefix(prefix): weight for name, weight in weights.items() if name.startswith(prefix)}
        hidden = torch.func.functional_call(self.model.base_model, inner, (torch.tensor([ids]),)).last_hidden_state
        return hidden[0, begin - 1 : -1] @ weights["score.weight"][0]

"""A tiny reward model for servers, what transformers says of texts by it, and the reward functions of docs/trainers."""

import re

import pytest
from families import save_checkpoint
from programs import ROOT
from scoring import by_transformers
from tokenizers import processors


def save_model(folder, seed=0):
    """A tiny reward model whose tokenizer puts a start token in front, so that forms of texts differ."""
    model, tokenizer = save_checkpoint(folder, "llama", "reward", seed)
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    tokenizer.save_pretrained(folder)
    return model, tokenizer


class Oracle:
    def __init__(self, folder, seed):
        self.folder = folder
        self.model, self.tokenizer = save_model(folder, seed)

    def literal(self, text):
        return self.near(by_transformers(self.model, self.tokenizer(text, add_special_tokens=False)["input_ids"]))

    def written(self, text):
        return self.near(by_transformers(self.model, self.tokenizer(text)["input_ids"]))

    def response(self, prompt, response):
        return self.written(prompt + response + "</s>")

    @staticmethod
    def near(value):
        return pytest.approx(value, abs=1e-4)


def reward_code(page, url):
    """The Python code of a page that asks the server at `url`."""
    code = re.search(r"```python\n(.*?)```", (ROOT / "docs/trainers" / page).read_text(), re.DOTALL)[1]
    assert "http://127.0.0.1:8000" in code
    return code.replace("http://127.0.0.1:8000", url)


def reward_function(page, name, url):
    names = {}
    exec(compile(reward_code(page, url), page, "exec"), names)
    return names[name]

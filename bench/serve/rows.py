"""Makes the reward model, the texts that are scored, prompts with eight responses each, rendered as a trainer sends them, and the pairs that they are from.

A process of its own, `rows.py SETTINGS.json RESULT.json`, so that the measuring one stays small.
"""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))

from job import run_job  # noqa: E402
from texts import write_rows  # noqa: E402
from workload import choose_pairs, make_groups, make_reward_model, make_tiny_policy  # noqa: E402


def whole_text(tokenizer, prompt, response):
    if isinstance(prompt, list):
        return tokenizer.apply_chat_template(prompt + response, tokenize=False)
    return prompt + response + tokenizer.eos_token


def main(settings):
    folder, sizes = Path(settings["keep"]), settings["sizes"]
    _, tokenizer = make_reward_model(settings["model"] or make_tiny_policy(folder / "policy"), folder / "rm")
    pairs = choose_pairs(settings["pairs"], tokenizer, sizes["prompts"], sizes["max_length"], sizes["min_prompt"])
    groups = make_groups(pairs, sizes["prompts"], sizes["responses"])
    texts = [{"texts": [whole_text(tokenizer, group["prompt"], response) for response in group["responses"]]} for group in groups]
    whole = [{side: whole_text(tokenizer, pair["prompt"], pair[side]) for side in ("chosen", "rejected")} for pair in pairs]
    return {"reward_model": str(folder / "rm"), "texts": write_rows(folder / "texts.jsonl", texts), "pairs": write_rows(folder / "pairs.jsonl", whole)}


if __name__ == "__main__":
    run_job(main)

"""k responses a prompt by transformers' generate: all prompts in one batch, padded left. `transformers_sampling.py JOB.json RESULT.json`"""

import time

import torch
import transformers as hf
from job import run_job
from texts import prompt_ids, read_rows


def end_tokens(model, tokenizer):
    """Every token that ends a response, as metarm takes them."""
    found = {tokenizer.eos_token_id}
    for config in (model.config, model.generation_config):
        ids = config.eos_token_id
        found.update(ids if isinstance(ids, list) else [] if ids is None else [ids])
    return sorted(found)


def own_tokens(sequence, ends):
    """A response up to and with its end token: what follows is padding."""
    for index, token in enumerate(sequence):
        if token in ends:
            return sequence[: index + 1]
    return sequence


@torch.inference_mode()
def generate(model, tokenizer, prompts, job, max_new_tokens):
    ends = end_tokens(model, tokenizer)
    pad = ends[0] if tokenizer.pad_token_id is None else tokenizer.pad_token_id
    width = max(map(len, prompts))
    rows = [prompt for prompt in prompts for _ in range(job["responses"])]  # as num_return_sequences does, which greedy choice does not take
    ids = torch.tensor([[pad] * (width - len(row)) + row for row in rows])
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
    choice = {"do_sample": False} if job["temperature"] == 0 else {"do_sample": True, "temperature": job["temperature"], "top_p": 1.0, "top_k": 0}
    out = model.generate(input_ids=ids, attention_mask=mask, max_new_tokens=max_new_tokens, eos_token_id=ends, pad_token_id=pad,
                         repetition_penalty=1.0, **choice)
    return [own_tokens(sequence, ends) for sequence in out[:, width:].tolist()]


def main(job):
    torch.set_num_threads(job["threads"])
    torch.manual_seed(0)
    tokenizer = hf.AutoTokenizer.from_pretrained(job["policy"])
    model = hf.AutoModelForCausalLM.from_pretrained(job["policy"], dtype=job["dtype"]).eval()
    prompts = [prompt_ids(tokenizer, row["prompt"]) for row in read_rows(job["prompts"])]
    generate(model, tokenizer, prompts[:1], job, 2)  # first calls set up kernels
    begin = time.perf_counter()
    responses = generate(model, tokenizer, prompts, job, job["max_new_tokens"])
    seconds = time.perf_counter() - begin
    return {"tokens": sum(map(len, responses)), "seconds": seconds, "texts": [tokenizer.decode(r, skip_special_tokens=True) for r in responses]}


if __name__ == "__main__":
    run_job(main)

"""k responses a prompt by llama.cpp through llama-cpp-python, one after another, on the model's quantized GGUF file.

`llama_cpp_sampling.py JOB.json RESULT.json`. The package samples one sequence at a time; a prompt's keys and values are kept for its next response.
"""

import time

import transformers as hf
from llama_cpp import Llama
from job import run_job
from texts import prompt_ids, read_rows


def main(job):
    tokenizer = hf.AutoTokenizer.from_pretrained(job["policy"])
    prompts = [prompt_ids(tokenizer, row["prompt"]) for row in read_rows(job["prompts"])]
    model = Llama(job["gguf"], n_ctx=max(map(len, prompts)) + job["max_new_tokens"], n_threads=job["threads"], n_threads_batch=job["threads"], seed=0, verbose=False)
    model.create_completion(prompts[0], max_tokens=2)  # first calls set up kernels
    begin = time.perf_counter()
    tokens = 0
    for prompt in prompts:
        for _ in range(job["responses"]):
            made = model.create_completion(prompt, max_tokens=job["max_new_tokens"], temperature=job["temperature"],
                                           top_p=1.0, top_k=0, min_p=0.0, repeat_penalty=1.0)
            tokens += made["usage"]["completion_tokens"]
    return {"tokens": tokens, "seconds": time.perf_counter() - begin}


if __name__ == "__main__":
    run_job(main)

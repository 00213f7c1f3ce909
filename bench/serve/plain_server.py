"""A reward model of transformers behind FastAPI, as one writes it: the peer of `metarm serve`, with OpenRLHF's path.

`plain_server.py JOB.json`. Texts of all requests wait in one queue. A thread takes what is there, waits a few milliseconds for more, sorts
by length and scores padded batches. Prints {"url"} when it listens.
"""

import asyncio
import contextlib
import json
import queue
import socket
import sys
import threading
import time
from pathlib import Path

import fastapi
import pydantic
import torch
import transformers as hf
import uvicorn

sys.path.append(str(Path(__file__).resolve().parents[1]))

from texts import pad_right  # noqa: E402

WAIT_S = 0.004
WINDOW_BATCHES = 8  # that are sorted together


class Batcher:
    def __init__(self, folder, batch_rows):
        self.tokenizer = hf.AutoTokenizer.from_pretrained(folder)
        self.model = hf.AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()
        self.batch_rows = batch_rows
        self.waiting = queue.SimpleQueue()

    async def score(self, text):
        future = asyncio.get_running_loop().create_future()
        self.waiting.put((text, future))
        return await future

    def take(self):
        taken, until = [self.waiting.get()], time.monotonic() + WAIT_S
        with contextlib.suppress(queue.Empty):
            while len(taken) < self.batch_rows * WINDOW_BATCHES:
                taken.append(self.waiting.get(timeout=max(0.0, until - time.monotonic())))
        return taken

    @torch.inference_mode()
    def run(self, loop):
        while True:
            taken = self.take()
            ids = self.tokenizer([text for text, _ in taken], add_special_tokens=False)["input_ids"]
            order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
            for start in range(0, len(order), self.batch_rows):
                chosen = order[start : start + self.batch_rows]
                batch, mask = pad_right([ids[i] for i in chosen], self.tokenizer.pad_token_id)
                rewards = self.model(input_ids=batch, attention_mask=mask, use_cache=False).logits[:, 0].tolist()
                loop.call_soon_threadsafe(resolve, [taken[i][1] for i in chosen], rewards)


def resolve(futures, rewards):
    for future, reward in zip(futures, rewards):
        if not future.cancelled():
            future.set_result(reward)


class Request(pydantic.BaseModel):
    query: list[str]


def make_app(batcher, url):
    @contextlib.asynccontextmanager
    async def lifespan(_):
        threading.Thread(target=batcher.run, args=(asyncio.get_running_loop(),), daemon=True).start()
        print(json.dumps({"url": url}), flush=True)
        yield

    app = fastapi.FastAPI(lifespan=lifespan)

    @app.post("/get_reward")
    async def get_reward(request: Request):
        return {"rewards": await asyncio.gather(*map(batcher.score, request.query))}

    return app


def main():
    job = json.loads(Path(sys.argv[1]).read_text())
    torch.set_num_threads(job["threads"])
    listening = socket.create_server(("127.0.0.1", 0), backlog=1024)
    app = make_app(Batcher(job["reward_model"], job["batch_rows"]), f"http://127.0.0.1:{listening.getsockname()[1]}")
    uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False)).run(sockets=[listening])


if __name__ == "__main__":
    main()

"""A small OpenAI-compatible server on this machine that can be told to misbehave: what clients of real ones have to live with."""

import json
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Reply:
    """What goes back. `body`: text or JSON; `sent`: how many of its bytes, before the connection is closed; `length`: whether they are announced."""

    body: object
    status: int = 200
    headers: dict = field(default_factory=dict)
    delay_s: float = 0
    sent: int | None = None
    length: bool = True
    drop: bool = False  # closes without a word


@dataclass
class Asked:
    path: str
    body: dict
    headers: dict
    time_s: float


def completion(body, texts, finish="stop", **more):
    """The answer to `body` with these texts, as either call gives it; counts words as tokens."""
    chat = "messages" in body
    asked = " ".join(message["content"] for message in body["messages"]) if chat else body["prompt"]
    choice = lambda text: {"message": {"role": "assistant", "content": text}} if chat else {"text": text}
    usage = {"prompt_tokens": len(asked.split()), "completion_tokens": sum(len(text.split()) for text in texts)}
    return {"object": "completion", "choices": [{"index": i, "finish_reason": finish, **choice(text)} for i, text in enumerate(texts)], "usage": usage} | more


def echo(server, body):
    """The good answer: texts that are functions of prompt, seed and index, so that equal requests get equal ones and no two others do."""
    asked = body["messages"][-1]["content"] if "messages" in body else body["prompt"]
    return Reply(completion(body, [f" {asked} #{body.get('seed')}.{i}" for i in range(body["n"])]))


class CompletionServer:
    """`behave(server, body)` answers each request with a Reply; `asked` lists them."""

    def __init__(self, behave=echo):
        self.behave, self.asked, self.lock = behave, [], threading.Lock()
        self.under_way = self.most_under_way = 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with outer.lock:
                    outer.asked.append(Asked(self.path, body, dict(self.headers), time.monotonic()))
                    outer.under_way += 1
                    outer.most_under_way = max(outer.most_under_way, outer.under_way)
                try:
                    self.send(outer.behave(outer, body))
                except OSError:  # the client has gone
                    self.close_connection = True
                finally:
                    with outer.lock:
                        outer.under_way -= 1

            def send(self, reply):
                time.sleep(reply.delay_s)
                self.close_connection |= reply.drop or reply.sent is not None or not reply.length
                if reply.drop:
                    return
                data = (reply.body if isinstance(reply.body, str) else json.dumps(reply.body)).encode()
                self.send_response(reply.status)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                if reply.length:
                    self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data[: reply.sent])

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, *_):  # a killed client resets its connections
                pass

        self.http = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"

    def __enter__(self):
        threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.http.shutdown()
        self.http.server_close()

    def count(self, body):
        """How often this very request has come so far, this time included."""
        with self.lock:
            return sum(asked.body == body for asked in self.asked)

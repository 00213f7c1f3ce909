"""A reward server that aligns its own reward model, with every option set for speed."""

import random
import time

from families import save_checkpoint
from programs import write_rows
from reward_server import RewardServer

WORDS = "the inn at a river there then nine other three when in heather tin anther".split()
KEY = "admin-0123456789abcdef"
PATIENCE_S = 90


def words(rng, low, high):
    return " ".join(rng.choice(WORDS) for _ in range(rng.randrange(low, high)))


def make_pairs(seed, count):
    rng = random.Random(seed)
    return [{"prompt": words(rng, 2, 6), "chosen": " " + words(rng, 2, 8), "rejected": " " + words(rng, 2, 8) + " nine"} for _ in range(count)]


def make_setting(folder):
    """What AligningServer needs, in the folder."""
    save_checkpoint(folder / "rm", "llama", "reward", 0)
    write_rows(folder / "pairs.jsonl", make_pairs(1, 40))
    write_rows(folder / "held_out.jsonl", make_pairs(2, 60))
    (folder / "align.toml").write_text("max_steps = 2\nbatch_size = 4\nmeta_batch_size = 4\nlr = 1e-4\n")
    (folder / "keys").write_text(f"admin {KEY}\n")
    return folder


class AligningServer(RewardServer):
    """Aligns with every option that a test does not give set for speed."""

    def __init__(self, setting, state, **options):
        chosen = {"model": setting / "rm", "state": state, "api_keys": setting / "keys", "pairs": setting / "pairs.jsonl", "eval_pairs": setting / "held_out.jsonl",
                  "align": setting / "align.toml", "reference_groups": 20, "align_groups": 20, "accuracy_margin": 0.5} | options
        super().__init__(*(word for name, value in chosen.items() if value is not None for word in (f"--{name.replace('_', '-')}", *([value] if value is not True else []))))
        self.number = 0

    def ask(self, responses, step=None):
        """Rewards of responses to a prompt that was not asked before."""
        self.number += 1
        row = {"prompt": f"the inn {self.number} at", "responses": responses}
        answer = self.post("/v1/rewards", {"rows": [row]}, KEY, **({} if step is None else {"X_Metarm_Step": step}))
        assert answer.status == 200, answer
        return answer.json["rows"][0]["rewards"]

    def ask_usual(self, count, seed=0, **more):
        rng = random.Random(f"usual {seed}")
        return [self.ask([" " + words(rng, 1, 12), " " + words(rng, 1, 12) + " tin"], **more) for _ in range(count)]

    def ask_drifted(self, rng):
        """Of a policy whose responses to a prompt have become nearly the same."""
        same = " " + words(rng, 4, 8)
        return self.ask([same + " heather heather", same + " heather heather heather"])

    def read(self, path):
        return self.send(path, key=KEY).json

    def events(self):
        return [event["event"] for event in self.read("/v1/status")["events"]]

    def wait_for(self, *names, doing=lambda: time.sleep(0.05), seen=0):
        """The first event of one of these names, after the first `seen` events."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            doing()
            for event in self.read("/v1/status")["events"][seen:]:
                if event["event"] in names:
                    return event
        raise AssertionError(f"none of {names} in {self.read('/v1/status')['events']}\n{self.read_log()}")

    def align(self):
        seen = len(self.events())
        assert self.post("/v1/align", {}, KEY).status == 202
        event = self.wait_for("admitted", "rejected", "failed", seen=seen)
        while self.read("/v1/status")["alignment"]["state"] != "idle":
            time.sleep(0.01)
        return event

    def rewards_of(self, rows):
        return [reward for row in rows for reward in self.post("/v1/rewards", {"rows": [{"prompt": row["prompt"], "responses": [row["chosen"], row["rejected"]]}]}, KEY).json["rows"][0]["rewards"]]

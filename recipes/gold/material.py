"""What every method of the study shares: the gold reward model, the first policy, its responses with gold rewards, the proxies."""

import gzip
import json
import random

from gold import settings as S
from gold.work import read_rows, write_rows

POOLS = {  # name -> (prompts, responses of each)
    "pairs": (S.PAIR_PROMPTS, S.PAIR_RESPONSES),
    "train": (S.TRAIN_PROMPTS, S.TRAIN_RESPONSES),
    "test": (S.TEST_PROMPTS, S.TEST_RESPONSES),
    "elsewhere": (S.ELSEWHERE_PROMPTS, S.ELSEWHERE_RESPONSES),
}


def read_pairs(path):
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def prompt_rows(data, starter):
    """Prompts of each pool; none is in two pools, and only those of `pairs` and `train` are among the gold reward model's."""
    rng = random.Random("prompts")
    known, unknown = read_pairs(data / "train.jsonl.gz"), read_pairs(data / "validation.jsonl.gz")
    elsewhere = [row for row in read_rows(starter / "prompts.jsonl") if row["subset"] != "harmless"]
    for rows in (known, unknown, elsewhere):
        rng.shuffle(rows)
    return {"pairs": known[: S.PAIR_PROMPTS], "train": known[S.PAIR_PROMPTS :][: S.TRAIN_PROMPTS], "test": unknown[: S.TEST_PROMPTS],
            "elsewhere": elsewhere[: S.ELSEWHERE_PROMPTS]}


def make_trunk(model, layers, folder):
    """The lowest layers of a language model, as a model of its own: what proxies start from."""
    import transformers as hf

    trunk = hf.AutoModelForCausalLM.from_pretrained(model, dtype="float32")
    del trunk.model.layers[layers:]
    trunk.config.num_hidden_layers = layers
    if getattr(trunk.config, "layer_types", None):
        trunk.config.layer_types = trunk.config.layer_types[:layers]
    trunk.save_pretrained(folder)
    hf.AutoTokenizer.from_pretrained(model).save_pretrained(folder)


def label(groups, rng):
    """Pairs of each group's responses, two and two, the better by the groups' gold rewards chosen."""
    pairs = []
    for group in groups:
        order = list(range(len(group["responses"])))
        rng.shuffle(order)
        for a, b in zip(order[::2], order[1::2]):
            if group["responses"][a] == group["responses"][b] or group["rewards"][a] == group["rewards"][b]:
                continue
            best, worst = (a, b) if group["rewards"][a] > group["rewards"][b] else (b, a)
            pairs.append({"prompt": group["prompt"], "chosen": group["responses"][best], "rejected": group["responses"][worst]})
    rng.shuffle(pairs)
    return pairs


def score(work, name, model, responses):
    return work.run(name, "score", model=model, input=responses)


def make_models(work, model, data):
    """(the first policy, the gold reward model)"""
    train, validation = data / "train.jsonl.gz", data / "validation.jsonl.gz"
    policy = work.run("policy", "sft", model=model, data=train, max_length=512, **S.POLICY)
    return policy, work.run("gold", "train", model=model, pairs=train, eval_pairs=validation, **S.GOLD)


def label_pool(work, pool, model, data):
    """Responses of the first policy to the pool's prompts, with gold rewards."""
    policy, gold = make_models(work, model, data)
    drawn = work.run(f"pools/{pool}.jsonl", "sample", model=policy, prompts=work.path(f"pools/{pool}.prompts.jsonl"), responses=POOLS[pool][1],
                     max_new_tokens=S.MAX_NEW_TOKENS, max_prompt_length=S.MAX_PROMPT_TOKENS, seed=1)
    return score(work, f"pools/{pool}.gold.jsonl", gold, drawn)


def pack(source, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.GzipFile(path, "wb", mtime=0) as packed:
        packed.write(source.read_bytes())


def prepare(work, model, data, starter, labels):
    """What does not depend on a seed. Returns pool -> file of response groups with gold rewards: those in the folder `labels`, so that
    neither policy nor gold reward model is needed again, or new ones, which are left there."""
    work.step("trunk", lambda path: make_trunk(model, S.TRUNK_LAYERS, path))
    labelled = {}
    for pool, rows in prompt_rows(data, starter).items():
        work.step(f"pools/{pool}.prompts.jsonl", lambda path, rows=rows: write_rows(path, rows))
        packed = labels / f"{pool}.jsonl.gz"
        if packed.exists():
            labelled[pool] = work.step(f"pools/{pool}.gold.jsonl", lambda path, packed=packed: path.write_bytes(gzip.decompress(packed.read_bytes())))
        else:
            labelled[pool] = label_pool(work, pool, model, data)
            pack(labelled[pool], packed)
    return labelled


def make_proxy(work, seed, labelled):
    """A small reward model from gold labels of the first policy's responses. Returns (its folder, its pairs, held-out pairs)."""
    def divide(path):
        path.mkdir(exist_ok=True)
        pairs = label(read_rows(labelled["pairs"]), random.Random(f"pairs {seed}"))
        write_rows(path / "train.jsonl", pairs[: S.PROXY_PAIRS])
        write_rows(path / "held_out.jsonl", pairs[S.PROXY_PAIRS :][: S.HELD_OUT_PAIRS])

    folder = work.step(f"seed-{seed}/pairs", divide)
    pairs, held_out = folder / "train.jsonl", folder / "held_out.jsonl"
    proxy = work.run(f"seed-{seed}/proxy", "train", model=work.path("trunk"), pairs=pairs, seed=seed, **S.PROXY)
    return proxy, pairs, held_out

"""A real server and real HTTP: every protocol's values are transformers', whoever else is served, and equal `metarm score`."""

import json
import math
import random
import socket
import subprocess
import time
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor

import pytest
from families import edit_config
from programs import run_metarm, write_rows
from reward_server import RewardServer
from scoring import score
from served_model import Oracle, reward_function, save_model

WORDS = "the inn at a river there then nine other three when in heather tin anther".split()
PROMPT, RESPONSES = "when the other inn", [" at a river", " nine", " in heather there"]
TEXTS = ["the inn at a river", "hello 123</s>", "x"]
SCORE_KEY, ADMIN_KEY = "score-0123456789abcdef", "admin-0123456789abcdef"


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    return Oracle(tmp_path_factory.mktemp("models") / "first", 0)


@pytest.fixture(scope="module")
def second(tmp_path_factory):
    return Oracle(tmp_path_factory.mktemp("models") / "second", 1)


@pytest.fixture(scope="module")
def server(first, second):
    with RewardServer("--model", first.folder, f"other={second.folder}", "--chat-template", "chatml") as running:
        yield running


def sigmoid(near):
    return pytest.approx(1 / (1 + math.exp(-near.expected)), abs=1e-4)


def make_rows(seed, count):
    rng = random.Random(seed)
    text = lambda low, high: " ".join(rng.choice(WORDS) for _ in range(rng.randrange(low, high)))
    return [{"prompt": text(1, 12), "responses": [" " + text(1, 9) for _ in range(rng.randrange(1, 5))]} for _ in range(count)]


CHATS = [
    {"messages": [{"role": "user", "content": "the inn"}, {"role": "assistant", "content": "nine"}]},
    {"prompt": [{"role": "system", "content": "then"}, {"role": "user", "content": "the inn"}], "responses": ["nine", [{"role": "assistant", "content": "ten"}]]},
]


def test_rewards_are_those_of_score(server, first, tmp_path):
    rows = [*make_rows(0, 6), {"text": "the inn"}, {"prompt": "the", "response": " inn"}, *CHATS]
    offline = score(first.folder, rows, tmp_path, "--chat-template", "chatml")
    answer = server.posted("/v1/rewards", {"rows": rows})
    for row, got in zip(offline, answer["rows"], strict=True):
        assert got == {key: pytest.approx(row[key], abs=1e-5) for key in got} and got
    assert answer["model"] == "first" and answer["version"] == server.state["models"][0]["version"]
    assert answer["rows"][7]["reward"] == first.response("the", " inn")


def test_openrlhf(server, first):
    answer = server.posted("/get_reward", {"query": TEXTS, "prompts": ["the inn", "hello", ""], "labels": [None, 1, "x"]})
    assert answer["rewards"] == [first.literal(text) for text in TEXTS]
    assert answer["scores"] == answer["rewards"] == answer["extra_logs"]["dummy_scores"]
    assert server.posted("/get_reward", {"query": [], "prompts": [], "labels": []}) == {"rewards": [], "scores": [], "extra_logs": {}}


@pytest.mark.parametrize("path", ["/classify", "/v1/classify"])
def test_vllm_classify(server, first, path):
    answer = server.posted(path, {"model": "first", "input": TEXTS, "request_id": "7", "priority": 0, "user": "me"})
    assert answer["object"] == "list" and answer["model"] == "first" and answer["id"] == "classify-7" and isinstance(answer["created"], int)
    for index, (row, text) in enumerate(zip(answer["data"], TEXTS, strict=True)):
        assert row == {"index": index, "label": "LABEL_0", "probs": [sigmoid(first.written(text))], "num_classes": 1}
    tokens = sum(len(first.tokenizer(text)["input_ids"]) for text in TEXTS)
    assert answer["usage"] == {"prompt_tokens": tokens, "total_tokens": tokens, "completion_tokens": 0, "prompt_tokens_details": None}
    for raw in ({"use_activation": False}, {"activation": False}, {"softmax": False}):  # as verl sends it, for newer and older vLLM, and older still
        assert server.posted(path, {"input": TEXTS[0]} | raw)["data"][0]["probs"] == [first.written(TEXTS[0])]
    ids = first.tokenizer(TEXTS[0])["input_ids"]
    for tokens in (ids, [ids]):
        assert server.posted(path, {"input": tokens, "use_activation": False})["data"][0]["probs"] == [first.written(TEXTS[0])]
    bare = {"input": TEXTS[0], "add_special_tokens": False, "use_activation": False}
    assert server.posted(path, bare)["data"][0]["probs"] == [first.literal(TEXTS[0])]


def test_vllm_conversations(server, first, tmp_path):
    offline = score(first.folder, CHATS[:1], tmp_path, "--chat-template", "chatml")[0]["reward"]
    answer = server.posted("/pooling", CHATS[0] | {"task": "classify", "use_activation": False})
    assert answer["data"] == [{"index": 0, "object": "pooling", "data": [pytest.approx(offline, abs=1e-5)]}]


def test_vllm_pooling(server, first):
    answer = server.posted("/pooling", {"input": TEXTS})
    assert [row["data"] for row in answer["data"]] == [[sigmoid(first.written(text))] for text in TEXTS] and answer["id"].startswith("pool-")


def test_vllm_scores_and_reranks_responses_to_a_prompt(server, first):
    expected = [first.response(PROMPT, response) for response in RESPONSES]
    for path in ("/score", "/v1/score"):
        data = server.posted(path, {"text_1": PROMPT, "text_2": RESPONSES})["data"]
        assert data == [{"index": i, "object": "score", "score": sigmoid(value)} for i, value in enumerate(expected)]
    data = server.posted("/score", {"queries": [PROMPT] * 3, "documents": RESPONSES, "use_activation": False})["data"]
    assert [row["score"] for row in data] == expected
    order = sorted(range(3), key=lambda i: -expected[i].expected)
    for path in ("/rerank", "/v1/rerank", "/v2/rerank"):
        results = server.posted(path, {"query": PROMPT, "documents": RESPONSES, "top_n": 2})["results"]
        assert results == [{"index": i, "document": {"text": RESPONSES[i]}, "relevance_score": sigmoid(expected[i])} for i in order[:2]]


def test_sglang(server, first):
    many = server.posted("/classify", {"model": "first", "text": TEXTS})
    assert [row["embedding"] for row in many] == [[first.written(text)] for text in TEXTS]
    one = server.posted("/classify", {"text": TEXTS[0]})
    assert one["embedding"] == [first.written(TEXTS[0])] and one["meta_info"]["prompt_tokens"] == len(first.tokenizer(TEXTS[0])["input_ids"])
    answer = server.posted("/v1/embeddings", {"model": "first", "input": TEXTS})  # as verl sends it
    assert answer["object"] == "list" and answer["model"] == "first"
    assert answer["data"] == [{"object": "embedding", "index": i, "embedding": [first.written(text)]} for i, text in enumerate(TEXTS)]


def test_tei(server, first):
    label = lambda value: {"label": "LABEL_0", "score": value}
    assert server.posted("/predict", {"inputs": TEXTS[0]}) == [label(sigmoid(first.written(TEXTS[0])))]
    assert server.posted("/predict", {"inputs": [[text] for text in TEXTS], "raw_scores": True}) == [[label(first.written(text))] for text in TEXTS]
    assert server.posted("/predict", {"inputs": [PROMPT, RESPONSES[0]], "raw_scores": True}) == [label(first.response(PROMPT, RESPONSES[0]))]
    expected = [first.response(PROMPT, response) for response in RESPONSES]
    order = sorted(range(3), key=lambda i: -expected[i].expected)
    ranked = server.posted("/rerank", {"query": PROMPT, "texts": RESPONSES, "return_text": True})
    assert ranked == [{"index": i, "score": sigmoid(expected[i]), "text": RESPONSES[i]} for i in order]
    assert server.posted("/rerank", {"query": PROMPT, "texts": RESPONSES, "raw_scores": True}) == [{"index": i, "score": expected[i]} for i in order]
    for path, body in (("/predict", {"inputs": []}), ("/rerank", {"query": PROMPT, "texts": []})):
        refused = server.post(path, body)
        assert refused.status == 400 and refused.json["error_type"] == "Empty"


def test_labels_are_those_of_checkpoints(tmp_path):
    """Also of what is trained from one."""
    for name, labels in (("named", {"id2label": {"0": "helpful"}, "label2id": {"helpful": 0}}), ("unnamed", {"id2label": None, "label2id": None})):
        save_model(tmp_path / name)
        edit_config(tmp_path / name, **labels)
    write_rows(tmp_path / "pairs.jsonl", [{"prompt": "a", "chosen": " b", "rejected": " c"}])
    run_metarm("train", "--model", tmp_path / "named", "--pairs", tmp_path / "pairs.jsonl", "--output", tmp_path / "trained", "--max-steps", 1, "--quiet")
    saved = json.loads((tmp_path / "trained/config.json").read_text())
    assert (saved["id2label"], saved["label2id"]) == ({"0": "helpful"}, {"helpful": 0})
    with RewardServer("--model", tmp_path / "named", tmp_path / "trained", tmp_path / "unnamed") as server:
        assert server.posted("/predict", {"inputs": "the inn"})[0]["label"] == "helpful"
        for name, label in (("named", "helpful"), ("trained", "helpful"), ("unnamed", "LABEL_0")):
            assert server.posted("/classify", {"model": name, "input": "the inn"})["data"][0]["label"] == label


def test_models_by_name(server, first, second):
    assert [model["id"] for model in server.send("/v1/models").json["data"]] == ["first", "other"]
    for name, oracle in (("first", first), ("other", second), (str(first.folder), first)):
        answer = server.post("/v1/rewards", {"model": name, "rows": [{"text": "the inn"}]})
        assert answer.json["rows"][0]["reward"] == oracle.written("the inn</s>")
        assert answer.headers["Metarm-Version"] == answer.json["version"]
    assert server.post("/get_reward", {"model": "third", "query": ["x"]}).status == 404


def test_many_clients_get_what_one_gets(server, first, tmp_path):
    """Rows of the same prompts from 16 threads at once; each reward is that of `score`, none is lost, and prompts are shared."""
    rows = [row for row in make_rows(1, 12) for _ in range(4)]
    offline = score(first.folder, rows[::4], tmp_path)
    before = server.counts()

    def ask(index):
        prompt, responses = rows[index]["prompt"], rows[index]["responses"]
        return [server.posted("/v1/rewards", {"rows": [{"prompt": prompt, "response": response}]})["rows"][0]["reward"] for response in responses]

    with ThreadPoolExecutor(16) as pool:
        for index, rewards in enumerate(pool.map(ask, range(len(rows)))):
            assert rewards == pytest.approx(offline[index // 4]["rewards"], abs=1e-5)
    after = server.counts()
    scored = {name: after[name] - before[name] for name in after}
    assert scored["metarm_rows_total"] == sum(len(row["responses"]) for row in rows)
    assert scored["metarm_tree_tokens_total"] < scored["metarm_tokens_total"]
    assert scored["metarm_batches_total"] < scored["metarm_rows_total"]
    assert after["metarm_queue_rows"] == 0


def test_bad_bodies_are_never_the_server_s_fault(server):
    good = {
        "/v1/rewards": {"rows": [{"prompt": "a", "responses": ["b"]}]}, "/get_reward": {"query": ["a"]}, "/classify": {"input": ["a"], "use_activation": True},
        "/pooling": {"messages": CHATS[0]["messages"]}, "/score": {"text_1": "a", "text_2": ["b"]}, "/rerank": {"query": "a", "documents": ["b"], "top_n": 1},
        "/v1/embeddings": {"input": [1, 2]}, "/predict": {"inputs": [["a"]]},
    }
    rng = random.Random(0)
    bad = [None, 7, -1, 1e300, True, "", "x", [], {}, [[]], [None], {"role": 1}, [[[1]]], "\u0000", "\ud7ff", [-1], [10**9], ["x"] * 3, {"content": ["x"]}]
    for path, body in good.items():
        assert server.post(path, body).status == 200, path
        for _ in range(60):
            damaged = json.loads(json.dumps(body))
            place, keys = damaged, []
            while isinstance(place, (dict, list)) and place and (not keys or rng.random() < 0.6):
                keys.append((place, rng.choice(list(place)) if isinstance(place, dict) else rng.randrange(len(place))))
                place = keys[-1][0][keys[-1][1]]
            holder, key = keys[-1]
            holder[key] = rng.choice(bad)
            answer = server.post(path, damaged)
            assert answer.status in (200, 400, 404, 422), (path, damaged, answer)
            assert answer.status == 200 or "\n" not in answer.text and "error" in answer.json
        data = json.dumps(body).encode()
        for _ in range(40):
            cut = bytearray(data[: rng.randrange(len(data) + 1)])
            for _ in range(rng.randrange(3)):
                if cut:
                    cut[rng.randrange(len(cut))] = rng.randrange(256)
            answer = server.send(path, bytes(cut))
            assert answer.status in (200, 400, 404, 422), (path, cut, answer)
    assert server.send("/health").status == 200


def test_a_full_queue_says_when_to_come_again(first):
    text = " ".join(["heather"] * 60)
    with RewardServer("--model", first.folder, "--queue-rows", 2, "--max-rows", 2, "--tokens-per-batch", 1) as server:
        with ThreadPoolExecutor(16) as pool:
            answers = list(pool.map(lambda i: server.post("/get_reward", {"query": [f"{i} {text}", f"{i}{text}"]}), range(48)))
        assert server.post("/get_reward", {"query": ["a", "b", "c"]}).status == 413
        refused = [answer for answer in answers if answer.status == 429]
        assert refused and all(int(answer.headers["Retry-After"]) >= 1 for answer in refused)
        served = [answer for answer in answers if answer.status == 200]
        assert served and len(served) + len(refused) == len(answers)
        assert server.counts()["metarm_refused_total"] == len(refused)


def test_a_request_that_takes_too_long_is_dropped(first):
    texts = [f"{i} " + " ".join(["heather"] * 120) for i in range(1000)]
    with RewardServer("--model", first.folder, "--request-timeout", 0.2, "--tokens-per-batch", 1) as server:
        answer = server.post("/get_reward", {"query": texts})
        assert answer.status == 503 and "--request-timeout" in answer.json["error"]["message"]
        counts = server.counts()
        assert counts["metarm_late_total"] == 1 and counts["metarm_batches_total"] < 1000 and counts["metarm_queue_rows"] == 0
        later = [server.post("/get_reward", {"query": ["x"]}) for _ in range(20)]  # on a busy machine some are late, too
        assert [answer.json["rewards"] for answer in later if answer.status == 200][:1] == [[first.literal("x")]]


def test_what_a_client_has_abandoned_is_not_computed(first):
    body = json.dumps({"query": [f"{i} " + " ".join(["heather"] * 60) for i in range(300)]}).encode()
    with RewardServer("--model", first.folder, "--tokens-per-batch", 1) as server:
        with socket.create_connection(("127.0.0.1", int(server.url.rsplit(":", 1)[1]))) as client:
            client.sendall(b"POST /get_reward HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            while server.counts()["metarm_batches_total"] == 0:
                pass
        while server.counts()["metarm_abandoned_total"] == 0:
            pass
        counts = server.counts()
        assert counts["metarm_queue_rows"] == 0 and counts["metarm_batches_total"] < 300


def test_sigterm_answers_what_was_accepted(first):
    texts = [f"{i} " + " ".join(["heather"] * 40) for i in range(100)]
    server = RewardServer("--model", first.folder, "--tokens-per-batch", 1).__enter__()
    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(server.post, "/get_reward", {"query": texts})
        while server.counts()["metarm_batches_total"] == 0:
            pass
        assert server.stop() == 0
        answer = asking.result()
    assert answer.status == 200 and len(answer.json["rewards"]) == 100
    assert answer.json["rewards"][7] == first.literal(texts[7])


def test_keys_and_roles(first, tmp_path):
    """Without a key 401 wherever one is needed, with a score key 403 where an administrator's is: every path of the document."""
    (tmp_path / "keys").write_text(f"score {SCORE_KEY}\nadmin {ADMIN_KEY}\n")
    body, back = {"rows": [{"text": "the inn"}]}, {"version": 1}
    with RewardServer("--model", first.folder, "--api-keys", tmp_path / "keys", "--state", tmp_path / "state") as server:
        paths = server.send("/openapi.json", key=SCORE_KEY).json["paths"]
        for path, methods in paths.items():
            answer = server.post(path, {}) if "post" in methods else server.send(path)
            assert answer.status == (200 if path in ("/", "/health", "/ready") else 401), path
        assert server.post("/v1/rewards", body, "another-key-0123456789").status == 401
        assert server.post("/v1/rewards", body, SCORE_KEY).json["rows"][0]["reward"] == first.written("the inn</s>")
        for password, status in ((SCORE_KEY, 200), (ADMIN_KEY, 200), ("another-key-0123456789", 401)):
            basic = b64encode(f"anyone:{password}".encode()).decode()
            assert server.post("/v1/rewards", body, Authorization=f"Basic {basic}").status == status
        assert server.post("/v1/rollback", back, SCORE_KEY).status == 403 and server.post("/v1/align", {}, SCORE_KEY).status == 403
        assert server.send("/v1/samples", key=SCORE_KEY).status == 403
        assert server.post("/v1/rollback", back, ADMIN_KEY).status == 200 and server.send("/v1/samples", key=ADMIN_KEY).status == 200
        assert server.post("/v1/align", {}, ADMIN_KEY).status == 409
    assert SCORE_KEY not in server.log and ADMIN_KEY not in server.log


def test_files_that_others_may_read_are_warned_of(first, tmp_path):
    (tmp_path / "keys").write_text(f"score {SCORE_KEY}\n")
    state = tmp_path / "state"
    for mode, warned in ((0o755, True), (0o700, False)):
        (tmp_path / "keys").chmod(mode)
        if state.exists():
            state.chmod(0o755)
        with RewardServer("--model", first.folder, "--api-keys", tmp_path / "keys", "--state", state) as server:
            pass
        assert (f"{tmp_path}/keys is open to other users" in server.log) == warned
        assert (f"{state} is open to other users" in server.log) == (mode == 0o700), "it was made for its owner alone, and opened since"


def test_requests_for_other_things_are_answered_while_all_wait_for_rewards(first):
    """Of ten connections five are kept for what waits for nothing: further requests for rewards are refused at once."""
    texts = [f"{i} " + " ".join(["heather"] * 60) for i in range(300)]
    with RewardServer("--model", first.folder, "--tokens-per-batch", 1, "--connections", 10) as server, ThreadPoolExecutor(5) as pool:
        waiting = [pool.submit(server.post, "/get_reward", {"query": texts}) for _ in range(5)]
        while server.counts()["metarm_queue_rows"] < 4 * 300:
            assert not any(request.done() for request in waiting)
        refused = server.post("/get_reward", {"query": ["x"]})
        assert refused.status == 429 and refused.headers["Retry-After"] == "1"
        assert server.send("/health").status == 200 and server.send("/ready").status == 200
        assert not any(request.done() for request in waiting)
        assert [request.result().status for request in waiting] == [200] * 5


def test_attributions_end_with_their_time_their_client_and_the_server(first):
    body = {"rows": [{"text": f"{i} heather"} for i in range(8000)], "attributions": True}  # scored in a few batches, then one at a time
    room = ["--max-rows", 8000, "--queue-rows", 8000]
    with RewardServer("--model", first.folder, *room) as server:
        took = []
        for attributions in (False, True):
            begun = time.monotonic()
            assert server.post("/v1/rewards", body | {"attributions": attributions}).status == 200
            took.append(time.monotonic() - begun)
    assert 2 * took[0] < took[1], "the attributions take no time to be interrupted in"
    server = RewardServer("--model", first.folder, "--request-timeout", round(sum(took) / 2, 3), *room).__enter__()
    begun = time.monotonic()
    assert server.post("/v1/rewards", body).status == 503
    assert time.monotonic() - begun < 10
    server.stop()
    server = RewardServer("--model", first.folder, *room).__enter__()
    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(server.post, "/v1/rewards", body)
        while server.counts()["metarm_batches_total"] == 0:
            pass
        time.sleep(0.2)
        begun = time.monotonic()
        assert server.stop() == 0 and time.monotonic() - begun < 10
        assert asking.result().status == 503


def test_prompts_that_were_cut_are_counted(first):
    with RewardServer("--model", first.folder, "--max-length", 20) as server:
        rows = [{"prompt": "the inn " * 30, "responses": [" nine", " nine" * 60]}, {"prompt": "the", "response": " inn"}]
        answer = server.posted("/v1/rewards", {"rows": rows})
        assert answer["usage"]["truncated"] == 1 and answer["rows"][0]["rewards"][1] is None
        counts = server.counts()
    assert counts["metarm_truncated_total"] == 1 and counts["metarm_too_long_total"] == 1


def test_a_directory_with_an_equals_sign(tmp_path):
    oracle = Oracle(tmp_path / "lr=1e-5/rm", 0)
    with RewardServer("--model", oracle.folder, f"other={oracle.folder}") as server:
        assert [model["name"] for model in server.state["models"]] == ["rm", "other"]


def test_names_that_were_made_to_mean_this_machine(first):
    with RewardServer("--model", first.folder) as server:
        port = server.url.rsplit(":", 1)[1]
        for host, status in ((f"127.0.0.1:{port}", 200), ("localhost", 200), ("[::1]:80", 200), ("LOCALHOST", 200), (f"evil.example:{port}", 403), ("127.evil.example", 403)):
            assert server.send("/v1/models", Host=host).status == status, host
        for origin, status in ((f"http://127.0.0.1:{port}", 200), ("http://localhost", 200), ("http://evil.example", 403), ("null", 403)):
            answer = server.send("/get_reward", b'{"query": ["the inn"]}', Content_Type="text/plain", Origin=origin)
            assert answer.status == status, origin
            assert status == 200 or "Origin" in answer.json["error"]["message"]


def test_tls(first, tmp_path):
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=localhost",
                    "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", cert], check=True, capture_output=True)
    with RewardServer("--model", first.folder, "--tls-cert", cert, "--tls-key", key, cafile=cert) as server:
        assert server.url.startswith("https://")
        with ThreadPoolExecutor(4) as pool:
            for answer in pool.map(lambda _: server.posted("/get_reward", {"query": ["x" * 100] * 50}), range(8)):
                assert answer["rewards"] == [first.literal("x" * 100)] * 50


def test_the_log_has_a_line_a_request_and_no_texts(first):
    with RewardServer("--model", first.folder) as server:
        server.posted("/v1/rewards", {"rows": [{"text": "confidential heather"}]})
        server.post("/v1/rewards", {"rows": [{"text": ["confidential"]}]})
    lines = [json.loads(line) for line in server.log.splitlines() if line.startswith("{")]
    assert [line["status"] for line in lines] == [200, 422] and lines[0]["rows"] == 1 and lines[0]["model"] == "first"
    assert "confidential" not in server.log


def test_the_reward_functions_of_the_docs(server, first):
    metarm_reward = reward_function("trl.md", "metarm_reward", server.url)
    expected = [first.response(PROMPT, response) for response in RESPONSES]
    assert metarm_reward(prompts=[PROMPT] * 3, completions=RESPONSES, completion_ids=[[1]] * 3, trainer_state=None) == expected
    chats = [[{"role": "user", "content": "the inn"}]], [[{"role": "assistant", "content": "nine"}]]
    assert metarm_reward(*chats) == [pytest.approx(server.posted("/v1/rewards", {"rows": CHATS[:1]})["rows"][0]["reward"], abs=1e-5)]
    answer = reward_function("openrlhf.md", "reward_func", server.url)(TEXTS, ["the inn", "hello", ""], [None] * 3)
    assert answer["rewards"].tolist() == [first.literal(text) for text in TEXTS]
    assert reward_function("verl.md", "compute_score", server.url)("data", RESPONSES[0], None, {"prompt": PROMPT}) == expected[0]

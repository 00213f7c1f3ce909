"""`sample --server` against a real server that is slow, refuses, breaks off and mixes up: every response there once, in the order of the prompts."""

import json
import os
import random
import subprocess
import time

import pytest
from completion_server import CompletionServer, Reply, completion, echo
from programs import BUILD, read_rows, run_metarm, write_rows

PROMPTS = [{"prompt": f"prompt {i}", "id": f"id{i}", "subset": "even" if i % 2 == 0 else "odd"} for i in range(20)]


def command(folder, server, *more, output="out.jsonl"):
    if not (folder / "prompts.jsonl").exists():
        write_rows(folder / "prompts.jsonl", PROMPTS)
    options = {"--server": server.url, "--server-model": "policy", "--prompts": "prompts.jsonl", "--output": output, "--responses": 3}
    return ["sample", *(str(word) for pair in options.items() for word in pair), *map(str, more)]


def sample(folder, server, *more, output="out.jsonl", **run):
    result = run_metarm(*command(folder, server, *more, output=output), cwd=folder, **run)
    assert run.get("check") is False or not list(folder.glob(output + ".*")), "something is left beside the output"
    return result


def undisturbed(folder, *more):
    with CompletionServer() as server:
        sample(folder, server, *more, output="calm.jsonl")
    return (folder / "calm.jsonl").read_bytes()


def failed(folder, server, *more, code, **run):
    result = sample(folder, server, *more, check=False, **run)
    assert result.returncode == code, result.stderr
    assert not (folder / "out.jsonl").exists()
    return result.stderr.splitlines()[-1]


def first_time(reply):
    """Every second request goes wrong the first time it comes."""

    def behave(server, body):
        odd = "messages" not in body and int(body["prompt"].split()[-1]) % 2
        return reply(server, body) if odd and server.count(body) == 1 else echo(server, body)

    return behave


def good_json(server, body):
    return json.dumps(echo(server, body).body)


FAULTS = {
    "too slow": lambda s, b: Reply(echo(s, b).body, delay_s=1.5),
    "503": lambda s, b: Reply({"error": {"message": "out of luck"}}, status=503),
    "429": lambda s, b: Reply({"error": "too many"}, status=429),
    "408": lambda s, b: Reply("", status=408),
    "409": lambda s, b: Reply("", status=409),
    "connection dropped": lambda s, b: Reply("", drop=True),
    "cut off": lambda s, b: Reply(good_json(s, b), sent=len(good_json(s, b)) // 2),
    "cut off, length not announced": lambda s, b: Reply(good_json(s, b), sent=len(good_json(s, b)) // 2, length=False),
    "broken JSON": lambda s, b: Reply("{'choices': 1}"),
    "no choices": lambda s, b: Reply(completion(b, [])),
    "text is a number": lambda s, b: Reply({"choices": [{"text": 7}]}),
    "choices is null": lambda s, b: Reply({"choices": None}),
    "usage is a list": lambda s, b: Reply(echo(s, b).body | {"usage": []}),
    "an error with status 200": lambda s, b: Reply({"error": {"message": "cold"}}),
    "aborted": lambda s, b: Reply(completion(b, ["half a"] * b["n"], finish="abort")),
    "filtered": lambda s, b: Reply(completion(b, [""] * b["n"], finish="content_filter")),
}


@pytest.mark.parametrize("fault", list(FAULTS))
def test_a_fault_changes_nothing(fault, tmp_path):
    calm = undisturbed(tmp_path)
    with CompletionServer(first_time(FAULTS[fault])) as server:
        result = sample(tmp_path, server, "--timeout", 0.7, "--concurrency", 20)
        assert len(server.asked) == 30  # 20, and 10 of them twice
    assert (tmp_path / "out.jsonl").read_bytes() == calm
    assert "trying again" in result.stderr and "prompts.jsonl:" in result.stderr


def test_answers_out_of_order(tmp_path):
    rng = random.Random(0)

    def behave(server, body):
        reply = echo(server, body)
        reply.body["choices"].reverse()  # `index` says where each belongs
        reply.delay_s = rng.random() * 0.2
        return reply

    calm = undisturbed(tmp_path, "--policy", "p", "--round", 2)
    with CompletionServer(behave) as server:
        sample(tmp_path, server, "--policy", "p", "--round", 2, "--concurrency", 8)
        assert 4 <= server.most_under_way <= 8
    assert (tmp_path / "out.jsonl").read_bytes() == calm
    rows = read_rows(tmp_path / "out.jsonl")
    assert [{key: row[key] for key in ("prompt", "id", "subset")} for row in rows] == PROMPTS
    for row in rows:
        assert row["policy"] == "p" and row["round"] == 2
        assert [response.rsplit(".", 1)[1] for response in row["responses"]] == ["0", "1", "2"]
        assert all(response.startswith(f" {row['prompt']} #") for response in row["responses"])
    assert len({response for row in rows for response in row["responses"]}) == 60


def test_the_request_says_all_that_was_asked(tmp_path):
    chat = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
    write_rows(tmp_path / "prompts.jsonl", [{"prompt": "Once"}, {"prompt": chat}])
    with CompletionServer() as server:
        more = ["--temperature", 0.7, "--top-p", 0.9, "--top-k", 30, "--max-new-tokens", 17, "--stop", "END", "\n\n", "--seed", 5, "--concurrency", 1]
        sample(tmp_path, server, *more)
        text, conversation = server.asked
        assert [text.path, conversation.path] == ["/v1/completions", "/v1/chat/completions"]
        common = {"model": "policy", "n": 3, "max_tokens": 17, "temperature": 0.7, "top_p": 0.9, "top_k": 30, "min_p": 0, "repetition_penalty": 1, "stop": ["END", "\n\n"]}
        seeds = [asked.body.pop("seed") for asked in server.asked]
        assert text.body == common | {"prompt": "Once"} and conversation.body == common | {"messages": chat}
        assert seeds[0] != seeds[1] and all(0 <= seed < 2**31 for seed in seeds)
        assert "Authorization" not in text.headers
    assert read_rows(tmp_path / "out.jsonl")[1]["prompt"] == chat
    with CompletionServer() as server:  # a cut that was not asked for must not happen; a strict server gets its own fields alone
        sample(tmp_path, server, "--concurrency", 1)
        assert server.asked[0].body["top_k"] == -1
        server.url += "/v1/"
        sample(tmp_path, server, "--strict-openai")
        assert server.asked[2].path.startswith("/v1/c")
        assert set(server.asked[2].body) - {"prompt", "messages"} == {"model", "n", "max_tokens", "temperature", "top_p", "seed"}


@pytest.mark.parametrize("why", ["one at a time", "refuses more", "greedy"])
def test_fewer_responses_than_asked(why, tmp_path):
    serial = iter(range(10**6))

    def behave(server, body):
        if why == "refuses more" and body["n"] > 1:
            return Reply({"error": {"message": "Only one completion choice is allowed"}}, status=400)
        assert why != "greedy" or body["n"] == 1
        return Reply(completion(body, [f"{body['prompt']}, {next(serial)}"]))

    with CompletionServer(behave) as server:
        sample(tmp_path, server, *(["--temperature", 0] if why == "greedy" else []))
        answered = [asked.body for asked in server.asked if why != "refuses more" or asked.body["n"] == 1]
        assert len(answered) == 60 and len({(body["prompt"], body["seed"]) for body in answered}) == 60
    rows = read_rows(tmp_path / "out.jsonl")
    assert [row["prompt"] for row in rows] == [row["prompt"] for row in PROMPTS]
    assert sorted(int(response.split(", ")[1]) for row in rows for response in row["responses"]) == list(range(60))


def test_the_server_is_let_rest(tmp_path):
    """Retry-After holds all requests back; being told to wait is no failure as long as others are answered."""
    opened = []

    def behave(server, body):  # two answers in each half second
        with server.lock:
            now = time.monotonic()
            if not opened or now - opened[-1][0] > 0.5:
                opened.append([now, 0])
            opened[-1][1] += 1
            if opened[-1][1] <= 2:
                return echo(server, body)
        return Reply({"error": "slow down"}, status=429, headers={"Retry-After": "1"})

    write_rows(tmp_path / "prompts.jsonl", PROMPTS[:8])
    with CompletionServer(behave) as server:
        sample(tmp_path, server, "--retries", 1, "--concurrency", 8)
        times = [asked.time_s for asked in server.asked]
    assert all(not row["responses"] == [] for row in read_rows(tmp_path / "out.jsonl"))
    bursts = [times[0]] + [later for earlier, later in zip(times, times[1:]) if later - earlier > 0.3]
    assert len(bursts) == 4, times  # 8 prompts, two a burst
    assert all(later - earlier >= 1 for earlier, later in zip(bursts, bursts[1:]))


def test_a_wait_without_end_is_refused(tmp_path):
    with CompletionServer(lambda s, b: Reply("later", status=429, headers={"Retry-After": "86400"})) as server:
        line = failed(tmp_path, server, "--concurrency", 1, code=3)
        assert len(server.asked) == 1
    assert '429 "later"; it asks to wait 86400 s' in line


@pytest.mark.parametrize("body,quoted", [
    ({"error": {"message": "max_tokens is\ntoo large"}}, '400 "max_tokens is too large"'), ({"object": "error", "message": "no such thing"}, '400 "no such thing"'),
    ({"detail": [{"loc": "n"}]}, '400 "[{"loc":"n"}]"'), ("<h1>Bad</h1>", '400 "<h1>Bad</h1>"'), ("", "got 400"), ("é" * 400, "é...\""),
])
def test_a_refusal_is_quoted_and_not_repeated(body, quoted, tmp_path):
    with CompletionServer(lambda s, b: Reply(body, status=400)) as server:
        line = failed(tmp_path, server, "--temperature", 0, "--concurrency", 1, code=2)
        assert len(server.asked) == 1
        assert line.startswith(f"metarm: prompts.jsonl:1: {server.url}/v1/completions: expected an answer, got 400") and quoted in line
    assert not list(tmp_path.glob("out.jsonl*"))


def test_hopeless_answers_name_address_and_row(tmp_path):
    with CompletionServer(lambda s, b: Reply('{"choices": [{"text": null}]}')) as server:
        line = failed(tmp_path, server, "--retries", 1, "--concurrency", 1, code=3)
        assert line == f"metarm: prompts.jsonl:1: {server.url}/v1/completions: choices[0]: text: expected text, got null; tried 2 times"
        assert len(server.asked) == 2
    with CompletionServer(lambda s, b: Reply("[" * 300)) as server:
        assert "expected at most 256 nested" in failed(tmp_path, server, "--retries", 0, code=3)


def test_an_aborted_response_is_none(tmp_path):
    with CompletionServer(lambda s, b: Reply(completion(b, ["half a"] * b["n"], finish="abort"))) as server:
        line = failed(tmp_path, server, "--retries", 0, "--concurrency", 1, code=3)
        assert line == f'metarm: prompts.jsonl:1: {server.url}/v1/completions: finish_reason: expected stop or length, got "abort"'


def test_a_response_of_which_nothing_is_said_has_ended(tmp_path):
    with CompletionServer(lambda s, b: Reply({"choices": [{"text": " a", "index": 0}]})) as server:
        result = json.loads(sample(tmp_path, server, "--json").stdout)
    assert result["ended"] == result["responses"] == 60
    assert all(row["ended"] == [True] * 3 for row in read_rows(tmp_path / "out.jsonl"))


@pytest.mark.parametrize("content", [None, ""])
def test_a_model_cut_while_it_reasons_has_not_answered(content, tmp_path):
    """vLLM's null and llama.cpp's empty text: tried again, then an error that says what to do; never an empty response."""
    write_rows(tmp_path / "prompts.jsonl", [{"prompt": [{"role": "user", "content": "Hi"}]}])
    cut = Reply({"choices": [{"message": {"role": "assistant", "content": content, "reasoning_content": "Let me see"}, "finish_reason": "length"}]})
    with CompletionServer(lambda s, b: cut) as server:
        line = failed(tmp_path, server, "--retries", 1, code=3)
        assert line.startswith(f"metarm: prompts.jsonl:1: {server.url}/v1/chat/completions: content: expected text, got none, as where a model is cut while it still reasons")
        assert line.endswith("; raise --max-new-tokens; tried 2 times") and len(server.asked) == 2
    with CompletionServer(lambda s, b: cut if s.count(b) == 1 else echo(s, b)) as server:
        sample(tmp_path, server)
    (row,) = read_rows(tmp_path / "out.jsonl")
    assert len(row["responses"]) == 3 and all(response.startswith(" Hi #") for response in row["responses"])


def test_what_came_before_an_error_is_kept(tmp_path):
    calm = undisturbed(tmp_path)
    broken = [True]

    def behave(server, body):
        if broken[0] and body["prompt"] == "prompt 12":
            return Reply({"error": {"message": "prompt 12 is not liked"}}, status=400)
        reply = echo(server, body)
        reply.delay_s = 0.05
        return reply

    with CompletionServer(behave) as server:
        assert "prompts.jsonl:13: " in failed(tmp_path, server, "--concurrency", 4, code=2)
        done = len({asked.body["prompt"] for asked in server.asked} - {"prompt 12"})
        assert len(read_rows(tmp_path / "out.jsonl.partial")) == 1 + done, "an answer under way was thrown away"
        broken[0] = False
        before = len(server.asked)
        sample(tmp_path, server)
        assert len(server.asked) - before == 20 - done
    assert (tmp_path / "out.jsonl").read_bytes() == calm


def test_killed_and_started_again(tmp_path):
    """kill -9 at any moment: what was received is not asked again, none is lost and none doubled; half a line at the end is no matter."""
    calm = undisturbed(tmp_path)
    rng = random.Random(1)

    def behave(server, body):
        reply = echo(server, body)
        reply.delay_s = 0.05 + 0.05 * rng.random()
        return reply

    partial = tmp_path / "out.jsonl.partial"
    with CompletionServer(behave) as server:
        words = [str(BUILD / "metarm"), *command(tmp_path, server, "--concurrency", 2)]
        kills, kept = 0, []
        for least in (0, 3, 8, 14):
            process = subprocess.Popen(words, cwd=tmp_path, stderr=subprocess.DEVNULL)
            deadline = time.monotonic() + 60
            while process.poll() is None and (not partial.exists() or partial.read_bytes().count(b"\n") < least + 1):
                assert time.monotonic() < deadline
                time.sleep(0.002)
            kills += process.poll() is None
            process.kill()
            process.wait()
            assert not (tmp_path / "out.jsonl").exists()
            text = partial.read_bytes()
            assert text.startswith(b"".join(kept)), "lines of before are gone"
            kept = [line for line in text.splitlines(keepends=True) if line.endswith(b"\n")]
            partial.write_bytes(text + b'{"prompt": 19, "respon')
        assert kills == 4
        sample(tmp_path, server)
        assert 20 <= len(server.asked) <= 20 + 2 * kills
    assert (tmp_path / "out.jsonl").read_bytes() == calm


def begin(folder, *more):
    """Leaves an out.jsonl.partial with one answer."""
    answers = [True]
    with CompletionServer(lambda s, b: echo(s, b) if answers and answers.pop() else Reply("", status=400)) as server:
        failed(folder, server, "--concurrency", 1, *more, code=2)


def test_killed_after_the_output_was_written(tmp_path):
    calm = undisturbed(tmp_path)
    begin(tmp_path)
    partial = tmp_path / "out.jsonl.partial"
    rows = [{"prompt": i, "responses": row["responses"], "ended": row["ended"], "tokens": 9} for i, row in enumerate(read_rows(tmp_path / "calm.jsonl"))]
    write_rows(partial, [read_rows(partial)[0], *rows])
    (tmp_path / "out.jsonl").write_bytes(calm)
    with CompletionServer() as server:
        sample(tmp_path, server)
        assert not server.asked
    assert (tmp_path / "out.jsonl").read_bytes() == calm


@pytest.mark.parametrize("more,named", [(["--temperature", 0.5], "temperature: expected 1.0, with which it was begun, got 0.5"), (["--seed", 1], "seed"), (["--responses", 4], "responses"),
                                        (["--server-model", "other"], "server_model"), (["--stop", "x"], "stop"), (["--max-new-tokens", 9], "max_new_tokens")])
def test_going_on_with_other_settings_is_an_error(more, named, tmp_path):
    begin(tmp_path)
    with CompletionServer() as server:
        words = command(tmp_path, server)
        for flag, value in zip(more[::2], more[1::2]):
            words = [word for i, word in enumerate(words) if flag not in words[max(i - 1, 0) : i + 1]] + [flag, str(value)]
        result = run_metarm(*words, cwd=tmp_path, check=False)
        assert result.returncode == 2 and f"out.jsonl.partial: {named}" in result.stderr and "remove the file" in result.stderr
        assert not server.asked


def test_going_on_with_other_prompts_is_an_error(tmp_path):
    begin(tmp_path)
    write_rows(tmp_path / "prompts.jsonl", PROMPTS[::-1])
    with CompletionServer() as server:
        assert "out.jsonl.partial: prompts: expected \"20 with hash" in failed(tmp_path, server, code=2)


@pytest.mark.parametrize("line", ['{"prompt": 20, "responses": ["a"], "ended": [true], "tokens": 0}', '{"prompt": 0, "responses": ["a"], "ended": [true], "tokens": 0}',
                                  '{"prompt": 1, "responses": [7], "ended": [true], "tokens": 0}', '{"prompt": 1, "responses": ["a"], "ended": 1, "tokens": 0}',
                                  '{"prompt": 1, "responses": ["a"], "ended": [true, true], "tokens": 0}', '{"prompt": -1, "responses": [], "ended": [], "tokens": 0}', "[]", "{"])
def test_a_damaged_partial_is_named(line, tmp_path):
    begin(tmp_path)
    with open(tmp_path / "out.jsonl.partial", "a") as file:
        file.write(line + "\n")
    with CompletionServer() as server:
        assert "out.jsonl.partial:3: " in failed(tmp_path, server, code=2)


def test_one_process_at_a_time(tmp_path):
    slow = lambda server, body: Reply(echo(server, body).body, delay_s=2)
    with CompletionServer(slow) as server:
        first = subprocess.Popen([str(BUILD / "metarm"), *command(tmp_path, server, "--concurrency", 20)], cwd=tmp_path, stderr=subprocess.DEVNULL)
        while not server.asked:
            time.sleep(0.01)
        second = run_metarm(*command(tmp_path, server), cwd=tmp_path, check=False)
        assert second.returncode == 2 and "expected no other process to use it" in second.stderr
        assert first.wait(timeout=60) == 0
        assert len(server.asked) == 20


KEY = "sk-very-secret-0123456789"


def test_the_key_is_sent_and_never_printed(tmp_path):
    environment = os.environ | {"POLICY_KEY": KEY}
    with CompletionServer() as server:
        result = sample(tmp_path, server, "--api-key-env", "POLICY_KEY", "--json", env=environment)
        assert all(asked.headers["Authorization"] == f"Bearer {KEY}" for asked in server.asked)
        assert KEY not in result.stdout + result.stderr
    for text in (f"unknown key {KEY}", "x" * 290 + KEY, f"\\{KEY}/"):
        reply = lambda s, b: Reply({"error": {"message": text}}, status=401)
        with CompletionServer(reply) as server:
            result = run_metarm(*command(tmp_path, server, "--api-key-env", "POLICY_KEY", output="no.jsonl"), cwd=tmp_path, check=False, env=environment)
            assert result.returncode == 2 and "--api-key-env" in result.stderr and "***" in result.stderr
            assert KEY[:9] not in result.stdout + result.stderr
    for path in tmp_path.iterdir():
        assert KEY not in path.read_text()


@pytest.mark.parametrize("value,said", [(None, "which is unset or empty"), ("", "which is unset or empty"), ("two\nlines", "expected visible characters")])
def test_a_key_that_is_none(value, said, tmp_path):
    environment = os.environ | ({} if value is None else {"POLICY_KEY": value})
    with CompletionServer() as server:
        line = failed(tmp_path, server, "--api-key-env", "POLICY_KEY", code=2, env=environment)
        assert said in line and "lines" not in line and not server.asked


def test_proxies(tmp_path):
    with CompletionServer() as server, CompletionServer() as proxy:
        sample(tmp_path, server, env=os.environ | {"http_proxy": "http://127.0.0.1:9", "ALL_PROXY": "http://127.0.0.1:9"})
        assert len(server.asked) == 20
        sample(tmp_path, server, "--proxy", proxy.url)
        assert len(server.asked) == 20 and {asked.path for asked in proxy.asked} == {f"{server.url}/v1/completions"}


def test_a_redirect_is_not_followed(tmp_path):
    with CompletionServer() as other:
        with CompletionServer(lambda s, b: Reply("", status=307, headers={"Location": other.url})) as server:
            assert "got 307; give the address" in failed(tmp_path, server, code=2)
        assert not other.asked

"""`judge`: outcomes against Python's, by a reward model and by a server; bootstrap intervals against an own calculation; nothing asked twice."""

import json
import random
import re
import subprocess
import time

import numpy as np
import pytest
from completion_server import CompletionServer, Reply, completion
from families import save_checkpoint
from programs import BUILD, ROOT, read_rows, run_metarm, write_rows
from random_streams import draw_with_replacement
from reference import token_ids
from scoring import by_transformers

WORDS = "the inn at a river there then nine other three when in heather".split()


def write_groups(folder, count=30, responses=2, subsets=("calm", "wild", "")):
    rng = random.Random(3)
    text = lambda: " " + " ".join(rng.choice(WORDS) for _ in range(rng.randrange(1, 6)))
    rows = [{"prompt": f"{i}{text()}", **({"subset": subsets[i % len(subsets)]} if subsets[i % len(subsets)] else {})} for i in range(count)]
    for name in "ab":
        write_rows(folder / f"{name}.jsonl", [row | {"responses": [text() for _ in range(responses)]} for row in rows])
    even = read_rows(folder / "b.jsonl")
    for i, row in enumerate(read_rows(folder / "a.jsonl")):
        if i % 4 == 1:  # other words of the same length
            even[i]["responses"][0] = row["responses"][0].upper()
    write_rows(folder / "b.jsonl", even)
    return [(a, b) for a, b in zip(read_rows(folder / "a.jsonl"), read_rows(folder / "b.jsonl"))]


def bootstrap(by_prompt, seed, resamples):
    """{win, tie, lose, net: (value, low, high)} of lists of outcomes."""
    shares = np.array([[outcomes.count(name) / len(outcomes) for name in ("win", "tie", "lose")] for outcomes in by_prompt])
    shares = np.hstack([shares, shares[:, :1] - shares[:, 2:3]])
    means = []
    for i in range(resamples):
        picked = draw_with_replacement(len(shares), seed, "bootstrap", i)
        means.append(shares[picked].mean(0))
    low, high = np.percentile(means, [2.5, 97.5], axis=0)
    return {name: (shares[:, i].mean(), low[i], high[i]) for i, name in enumerate(("win", "tie", "lose", "net"))}


def check_figures(figures, by_prompt, seed=0, resamples=200):
    assert figures["prompts"] == len(by_prompt) and figures["comparisons"] == sum(map(len, by_prompt))
    for name, expected in bootstrap(by_prompt, seed, resamples).items():
        assert [figures[name], figures[f"{name}_low"], figures[f"{name}_high"]] == pytest.approx(expected, abs=1e-12)


def shown_replies(body):
    """The replies that the default question shows, in its order."""
    text = body["messages"][0]["content"]
    return [text.split(f"===== reply {i} =====\n")[1].split("\n=====")[0] for i in (1, 2)]


def longer_wins(server, body):
    first, second = map(len, shown_replies(body))
    return Reply(completion(body, ["[[1]] at first sight, but no: " + ("[[1]]" if first > second else "[[2]]" if second > first else "[[tie]]")]))


def judge(folder, server, *more, check=True):
    return run_metarm("judge", "--a", "a.jsonl", "--b", "b.jsonl", "--server", server.url, "--server-model", "judge", "--bootstrap-samples", 200, *more, cwd=folder, check=check)


def outcome(a, b):
    return "win" if a > b else "lose" if a < b else "tie"


def test_by_a_server(tmp_path):
    groups = write_groups(tmp_path)
    expected = [[outcome(len(a["responses"][0]), len(b["responses"][0]))] for a, b in groups]
    assert {name for names in expected for name in names} == {"win", "tie", "lose"}
    with CompletionServer(longer_wins) as server:
        figures = json.loads(judge(tmp_path, server, "--json", "--output", "out.jsonl", "--seed", 7).stdout)
        assert all(asked.path == "/v1/chat/completions" and asked.body["temperature"] == 0 and asked.body["n"] == 1 for asked in server.asked)
    check_figures(figures, expected, seed=7)
    assert list(figures["subsets"]) == ["", "calm", "wild"]
    for subset, own in figures["subsets"].items():
        check_figures(own, [names for names, (a, _) in zip(expected, groups) if a.get("subset", "") == subset], seed=7)
    rows = read_rows(tmp_path / "out.jsonl")
    assert [row["outcome"] for row in rows] == [names[0] for names in expected]
    for row, (a, b) in zip(rows, groups):
        assert (row["prompt"], row["a"], row["b"], row.get("subset")) == (a["prompt"], a["responses"][0], b["responses"][0], a.get("subset"))
        assert row.get("equal") or row["a_first"] == row["b_first"] == row["outcome"]


def test_a_judge_that_favours_a_place_gives_ties(tmp_path):
    write_groups(tmp_path)
    for place in ("[[1]]", "[[2]]"):
        with CompletionServer(lambda s, b: Reply(completion(b, [place]))) as server:
            figures = json.loads(judge(tmp_path, server, "--json", "--cache", place, "--output", "out.jsonl").stdout)
            assert figures["tie"] == figures["tie_low"] == 1 and figures["win"] == figures["lose"] == 0
            rows = [row for row in read_rows(tmp_path / "out.jsonl") if not row.get("equal")]
            assert len(server.asked) == 2 * len(rows) and all({row["a_first"], row["b_first"]} == {"win", "lose"} for row in rows)
            table = judge(tmp_path, server, "--cache", place).stdout
            assert re.search(r"^\| all +\| +0/100/0 \| +0.0 \[0.0, 0.0\] \| 100.0 \[100.0, 100.0\] \|.* 30 \|$", table, re.MULTILINE), table


def test_all_against_all(tmp_path):
    groups = write_groups(tmp_path, count=6, responses=3)
    with CompletionServer(longer_wins) as server:
        figures = json.loads(judge(tmp_path, server, "--json", "--compare", "all").stdout)
    check_figures(figures, [[outcome(len(x), len(y)) for x in a["responses"] for y in b["responses"]] for a, b in groups])


def test_nothing_is_asked_twice(tmp_path):
    write_groups(tmp_path)
    with CompletionServer(longer_wins) as server:
        prices = ["--price-per-million-input", 1000, "--price-per-million-output", 20000]
        first = json.loads(judge(tmp_path, server, "--json", *prices).stdout)
        asked = len(server.asked)
        tokens_in = sum(len(a.body["messages"][0]["content"].split()) for a in server.asked)
        tokens_out = sum(len(longer_wins(server, a.body).body["choices"][0]["message"]["content"].split()) for a in server.asked)
        assert [first[key] for key in ("questions", "asked", "unclear", "input_tokens", "output_tokens")] == [asked, asked, 0, tokens_in, tokens_out]
        assert first["cost"] == pytest.approx((1000 * tokens_in + 20000 * tokens_out) / 1e6)
        again = json.loads(judge(tmp_path, server, "--json", *prices).stdout)
        assert len(server.asked) == asked and again["asked"] == again["cost"] == 0
        assert {key: again[key] for key in first if key not in ("asked", "cost", "input_tokens", "output_tokens")} == {
            key: first[key] for key in first if key not in ("asked", "cost", "input_tokens", "output_tokens")}
        assert f"{asked} questions, 0 of them asked now" in judge(tmp_path, server, "--seed", 3).stderr  # the bootstrap's seed is no matter
        server.behave = lambda s, b: Reply(completion(b, ["[[tie]]"]))
        (tmp_path / "question.txt").write_text("{first} or {second} for {prompt}?")
        judge(tmp_path, server, "--judge-prompt", "question.txt")
        assert len(server.asked) == 2 * asked


def test_killed_while_judging(tmp_path):
    write_groups(tmp_path)
    slow = lambda server, body: Reply(longer_wins(server, body).body, delay_s=0.03)
    with CompletionServer(slow) as server:
        words = ["judge", "--a", "a.jsonl", "--b", "b.jsonl", "--server", server.url, "--server-model", "judge", "--concurrency", "2"]
        process = subprocess.Popen([str(BUILD / "metarm"), *words], cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while len(server.asked) < 20:
            time.sleep(0.002)
        process.kill()
        process.wait()
        kept = (tmp_path / "judge-cache.jsonl").read_bytes()
        assert kept.count(b"\n") >= 10
        (tmp_path / "judge-cache.jsonl").write_bytes(kept + b'{"answer": "[[1')
        figures = json.loads(run_metarm(*words, "--json", cwd=tmp_path).stdout)
        assert figures["asked"] == figures["questions"] - kept.count(b"\n")
        assert len({asked.body["messages"][0]["content"] for asked in server.asked}) == figures["questions"]


def test_answers_without_a_verdict_are_ties_and_counted(tmp_path):
    write_groups(tmp_path, count=4, subsets=("",))
    with CompletionServer(lambda s, b: Reply(completion(b, ["I would rather not say: [1]"], finish="length"))) as server:
        result = judge(tmp_path, server, "--json")
        assert json.loads(result.stdout)["unclear"] == len(server.asked) > 0
        assert "hold no verdict" in judge(tmp_path, server).stderr
        assert len(read_rows(tmp_path / "judge-cache.jsonl")) == len(server.asked), "an answer that was cut is one"


def test_a_judge_that_is_cut_while_it_reasons_has_no_verdict(tmp_path):
    write_groups(tmp_path, count=2, subsets=("",))
    cut = Reply({"choices": [{"message": {"content": None, "reasoning_content": "Let me see"}, "finish_reason": "length"}]})
    with CompletionServer(lambda s, b: cut) as server:
        figures = json.loads(judge(tmp_path, server, "--json").stdout)
        assert figures["unclear"] == len(server.asked) > 0


BROKEN = {name: lambda s, b, name=name: Reply(completion(b, ["[[1]] and"], finish=name)) for name in ("abort", "error", "content_filter")}
BROKEN["no text"] = lambda s, b: Reply({"choices": [{"message": {"content": None}}]})


@pytest.mark.parametrize("kind", list(BROKEN))
def test_an_answer_that_is_broken_is_asked_for_again(kind, tmp_path):
    """Never kept, and never a tie: the next one counts, and where it comes every time, that is an error."""
    groups = write_groups(tmp_path, count=4, subsets=("",))
    with CompletionServer(BROKEN[kind]) as server:
        result = judge(tmp_path, server, "--retries", 0, check=False)
        what = "content: expected text, got none" if kind == "no text" else f'finish_reason: expected stop or length, got "{kind}"'
        assert result.returncode == 3 and f"{server.url}/v1/chat/completions: {what}" in result.stderr
        assert not (tmp_path / "judge-cache.jsonl").exists()
    with CompletionServer(lambda s, b: BROKEN[kind](s, b) if s.count(b) == 1 else longer_wins(s, b)) as server:
        figures = json.loads(judge(tmp_path, server, "--json").stdout)
        assert len(server.asked) == 2 * figures["asked"] == 2 * figures["questions"] and figures["unclear"] == 0
    check_figures(figures, [[outcome(len(a["responses"][0]), len(b["responses"][0]))] for a, b in groups])
    assert all("[[1]] and" != row["answer"] != "" for row in read_rows(tmp_path / "judge-cache.jsonl"))


def test_what_is_asked(tmp_path):
    """The page shows the default question; texts are put in once, whatever they hold; conversations are told with their roles."""
    talk = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi {second}"}]
    write_rows(tmp_path / "a.jsonl", [{"prompt": talk, "responses": ["{first}{prompt} A", "x"]}])
    write_rows(tmp_path / "b.jsonl", [{"prompt": talk, "responses": [[{"role": "assistant", "content": "B"}]]}])
    page = (ROOT / "docs/methods/judge.md").read_text()
    question = page.split("```text\n")[1].split("```")[0]
    with CompletionServer(lambda s, b: Reply(completion(b, ["[[tie]]"]))) as server:
        judge(tmp_path, server, "--concurrency", 1)
        (tmp_path / "own.txt").write_text("{prompt}|{first}|{second}|{first}")
        judge(tmp_path, server, "--judge-prompt", "own.txt", "--max-new-tokens", 9)
        asked = [a.body["messages"] for a in server.asked]
        assert server.asked[-1].body["max_tokens"] == 9
    prompt, a, b = "system: Be kind.\n\nuser: Hi {second}", "{first}{prompt} A", "B"
    before, between, after, end = question.replace("{prompt}", "\0").replace("{first}", "\0").replace("{second}", "\0").split("\0")
    expected = [before + prompt + between + x + after + y + end for x, y in ((a, b), (b, a))]
    expected += [f"{prompt}|{x}|{y}|{x}" for x, y in ((a, b), (b, a))]
    assert sorted(messages[0]["content"] for messages in asked) == sorted(expected)
    assert all(len(messages) == 1 and messages[0]["role"] == "user" for messages in asked)


def judge_by_rm(folder, *more):
    return json.loads(run_metarm("judge", "--a", "a.jsonl", "--b", "b.jsonl", "--rm", "rm", "--json", "--output", "out.jsonl", "--bootstrap-samples", 200, "--dtype", "float32", *more, cwd=folder).stdout)


def test_by_a_reward_model(tmp_path):
    groups = write_groups(tmp_path, count=12)
    model, tokenizer = save_checkpoint(tmp_path / "rm", "llama", "reward")
    reward = lambda row, i: by_transformers(model, token_ids(tokenizer, row["prompt"], row["responses"][i]))
    differences = [reward(a, 0) - reward(b, 0) for a, b in groups]
    check_figures(judge_by_rm(tmp_path), [[outcome(difference, 0)] for difference in differences])
    for row, (a, b) in zip(read_rows(tmp_path / "out.jsonl"), groups):
        assert [row["a_reward"], row["b_reward"]] == pytest.approx([reward(a, 0), reward(b, 0)], abs=1e-4)
    margin = sorted(map(abs, differences))[6] + 1e-3
    expected = [["tie" if abs(difference) <= margin else outcome(difference, 0)] for difference in differences]
    figures = judge_by_rm(tmp_path, "--margin", margin)
    assert 0.5 < figures["tie"] < 1
    check_figures(figures, expected)
    check_figures(judge_by_rm(tmp_path, "--compare", "all"), [[outcome(reward(a, i) - reward(b, j), 0) for i in range(2) for j in range(2)] for a, b in groups])


def test_too_long_responses_are_left_out_and_counted(tmp_path):
    write_groups(tmp_path, count=4, subsets=("",))
    rows = read_rows(tmp_path / "a.jsonl")
    rows[1]["responses"][0] = " river" * 200
    write_rows(tmp_path / "a.jsonl", rows)
    save_checkpoint(tmp_path / "rm", "llama", "reward")
    figures = judge_by_rm(tmp_path, "--max-length", 100)
    assert figures["not_judged"] == 1 and figures["prompts"] == 3
    assert [row["outcome"] is None for row in read_rows(tmp_path / "out.jsonl")] == [False, True, False, False]


def test_the_partner_of_a_row_that_is_skipped_is_left_out(tmp_path):
    write_groups(tmp_path, count=5, subsets=("",))
    for name, bad in (("a", 2), ("b", 0)):
        lines = (tmp_path / f"{name}.jsonl").read_text().splitlines(keepends=True)
        lines[bad] = "{\n"
        (tmp_path / f"{name}.jsonl").write_text("".join(lines))
    with CompletionServer(longer_wins) as server:
        result = judge(tmp_path, server, "--skip-bad-rows", "--json", "--output", "out.jsonl")
        figures = json.loads(result.stdout)
        assert figures["prompts"] == 3 and figures["skipped"] == 2 and "2 groups were left out: their prompts are in one file only" in result.stderr
        assert [row["prompt"][0] for row in read_rows(tmp_path / "out.jsonl")] == ["1", "3", "4"]
        for name in "ab":  # nothing in common is left
            lines = (tmp_path / f"{name}.jsonl").read_text().splitlines(keepends=True)
            (tmp_path / f"{name}.jsonl").write_text("{\n" + lines["ab".index(name) + 3])
        result = judge(tmp_path, server, "--skip-bad-rows", check=False)
        assert result.returncode == 2 and "b.jsonl: expected prompts of a.jsonl, got none of them" in result.stderr
        write_groups(tmp_path, count=5)
        write_rows(tmp_path / "b.jsonl", read_rows(tmp_path / "b.jsonl")[1:])
        result = judge(tmp_path, server, "--skip-bad-rows", check=False)  # nothing was skipped
        assert result.returncode == 2 and "a.jsonl:1: prompt: expected the same prompt in b.jsonl, got none" in result.stderr


def test_order_and_repeats_of_prompts(tmp_path):
    """Groups meet by their prompts; a prompt that comes twice meets its namesakes in their order."""
    write_rows(tmp_path / "a.jsonl", [{"prompt": p, "responses": [r]} for p, r in (("p", "aaaa"), ("q", "a"), ("p", "aa"))])
    write_rows(tmp_path / "b.jsonl", [{"prompt": p, "responses": [r]} for p, r in (("q", "bb"), ("p", "bbb"), ("p", "bbbbb"))])
    with CompletionServer(longer_wins) as server:
        judge(tmp_path, server, "--output", "out.jsonl")
    assert [(row["a"], row["b"], row["outcome"]) for row in read_rows(tmp_path / "out.jsonl")] == [("aaaa", "bbb", "win"), ("a", "bb", "lose"), ("aa", "bbbbb", "lose")]

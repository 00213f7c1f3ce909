"""The page of `metarm serve` in a browser, with a real server: its figures are the server's, it follows them, and shows texts as texts."""

import pytest
from dashboard_page import ADMIN_KEY, SCORE_KEY, choose, click, figure, give_key, load, open_page, text, wait_for
from programs import write_rows
from reward_server import RewardServer

HOSTILE = ["<img src=x onerror='window.hurt = 1'>", "</script><script>window.hurt = 1</script>", "<b onclick=x>\"'&amp; \u202e {{script}}</b>"]



def rows(*responses):
    return {"rows": [{"prompt": "the inn", "responses": list(responses)}]}


FIGURES = ("rows", "tokens", "tree_tokens", "batches", "queue_rows", "queue_tokens", "refused", "late", "abandoned")
LOG_FIGURES = ("log_rows", "bytes", "offered", "acknowledged", "sampled_out", "dropped", "removed", "unsplit")
GAUGES = ("queue_rows", "queue_tokens", "log_rows", "log_bytes")


def test_figures_are_those_of_metrics_and_follow_them(browser, model, tmp_path):
    with RewardServer("--model", model, "--state", tmp_path / "state", "--queue-rows", 4, "--max-rows", 4, "--request-timeout", 30) as server:
        open_page(browser, server)
        assert browser.evaluate(figure("rows")) == 0
        browser.evaluate("window.since_loading = true")
        for i in range(1, 4):
            server.posted("/v1/rewards", rows(*(f" nine {i}" for i in range(i))))
            wait_for(browser, f"{figure('rows')} === {i * (i + 1) // 2}")
        server.posted("/get_reward", {"query": ["the inn"]})
        wait_for(browser, f"{figure('unsplit')} === 1 && {figure('rows')} === 7 && {figure('acknowledged')} === 6")
        counts = server.counts()
        for name in FIGURES + LOG_FIGURES:
            metric = name if name in FIGURES or name == "log_rows" else f"log_{name}"
            assert browser.evaluate(figure(name)) == counts[f"metarm_{metric}" if metric in GAUGES else f"metarm_{metric}_total"], name
        assert counts["metarm_log_error"] == 0
        assert counts["metarm_rows_total"] == 7 and counts["metarm_tokens_total"] > counts["metarm_tree_tokens_total"] > 0
        assert browser.evaluate("window.since_loading") and browser.errors == []
        version = server.state["models"][0]["version"]
        assert version in text(browser, "#serving") and version in text(browser, ".models")


def test_the_shift_is_that_of_metrics(browser, model, tmp_path):
    with RewardServer("--model", model, "--state", tmp_path / "state", "--reference-groups", 10) as server:
        server.posted("/v1/rewards", {"rows": [{"prompt": f"the inn {i}", "responses": [" nine", f" ten {i}"]} for i in range(30)]})
        open_page(browser, server)
        wait_for(browser, "document.querySelectorAll('[data-stream]').length === 2")
        metrics = {name: float(value) for name, value in (line.rsplit(" ", 1) for line in server.send("/metrics").text.splitlines() if not line.startswith("#"))}
        for stream in ("differences", "rewards"):
            evidence, mean = (metrics[f'metarm_shift_{name}{{stream="{stream}"}}'] for name in ("evidence", "mean"))
            assert evidence != 0 and mean != 0
            shown = browser.evaluate(f"[...document.querySelectorAll('[data-stream={stream}] data')].slice(0, 3).map((cell) => Number(cell.value))")
            assert shown == pytest.approx([evidence, metrics["metarm_shift_threshold"], mean])


def test_scored_responses_appear_with_their_rewards(browser, model, tmp_path):
    with RewardServer("--model", model, "--state", tmp_path / "state") as server:
        open_page(browser, server)
        assert "No response has been scored" in text(browser, "#samples")
        rewards = server.posted("/v1/rewards", rows(" nine", " ten"))["rows"][0]["rewards"]
        wait_for(browser, "document.querySelectorAll('.sample').length === 2")
        shown = browser.evaluate("[...document.querySelectorAll('.sample')].map((sample) => [sample.querySelector('.prompt').textContent, sample.querySelector('li .words').textContent, Number(sample.querySelector('data').value)])")
        assert shown == [["the inn", "ten", pytest.approx(rewards[1], abs=1e-6)], ["the inn", "nine", pytest.approx(rewards[0], abs=1e-6)]]


def test_hostile_texts_stay_texts(browser, model, tmp_path):
    with RewardServer("--model", model, "--state", tmp_path / "state", "--chat-template", "chatml") as server:
        chat = {"messages": [{"role": "system", "content": HOSTILE[1]}, {"role": "user", "content": HOSTILE[2]}, {"role": "assistant", "content": HOSTILE[0]}]}
        server.posted("/v1/rewards", {"rows": [*({"prompt": hostile, "response": hostile} for hostile in HOSTILE), chat]})
        open_page(browser, server)
        wait_for(browser, "document.querySelectorAll('.sample').length === 4")
        words = browser.evaluate("[...document.querySelectorAll('.sample .words')].map((text) => text.textContent)")
        assert sorted(words) == sorted([*HOSTILE * 2, HOSTILE[1], HOSTILE[2], HOSTILE[0]])
        choose(browser, "#samples input", "<IMG")
        assert set(browser.evaluate("[...document.querySelectorAll('mark')].map((text) => text.textContent)")) == {"<img"}
        assert browser.evaluate("window.hurt === undefined && document.querySelectorAll('main img, main script, main b[onclick]').length === 0")
        assert browser.errors == []


def test_the_page_asks_for_a_key(browser, model, tmp_path):
    (tmp_path / "keys").write_text(f"score {SCORE_KEY}\nadmin {ADMIN_KEY}\n")
    with RewardServer("--model", model, "--state", tmp_path / "state", "--api-keys", tmp_path / "keys") as server:
        assert server.post("/v1/rewards", rows(" nine"), SCORE_KEY).status == 200
        load(browser, server)
        give_key(browser, "not a k\u00e9y")
        assert "visible ASCII" in text(browser, "dialog")
        give_key(browser, "another-key-0123456789")
        wait_for(browser, "document.querySelector('dialog')?.textContent.includes('does not know')")
        give_key(browser, SCORE_KEY)
        wait_for(browser, f"{figure('rows')} === 1")
        assert "role admin" in text(browser, "#samples") and browser.evaluate("document.querySelectorAll('.sample').length") == 0
        assert browser.evaluate("sessionStorage.getItem('metarm-key')") == SCORE_KEY
        click(browser, "#controls button", "Forget the key")
        give_key(browser, ADMIN_KEY)
        wait_for(browser, "document.querySelectorAll('.sample').length === 1")
        load(browser, server)
        wait_for(browser, "document.querySelectorAll('.sample').length === 1")  # the tab has kept it
        assert browser.evaluate("localStorage.length === 0 && document.cookie === ''")
        assert not any("0123456789" in url for url in browser.requests)
        assert "0123456789" not in browser.evaluate("document.documentElement.outerHTML")
        browser.evaluate("sessionStorage.clear()")
    assert SCORE_KEY not in server.log and ADMIN_KEY not in server.log


def test_nobody_changes_a_server_without_keys(browser, model, tmp_path):
    with RewardServer("--model", model, "--state", tmp_path / "state") as server:
        open_page(browser, server, key=ADMIN_KEY)  # which this server does not ask for
        assert server.post("/v1/rollback", {"version": 1}).status == 403
        wait_for(browser, "document.querySelector('[data-version]')")
        assert text(browser, "[data-version] th").startswith("Version 1") and "Served now" in text(browser, "[data-version]")
        assert browser.evaluate("document.querySelector('.action button').disabled") and "--pairs" in text(browser, "#may-align")
        browser.evaluate("sessionStorage.clear()")


def test_a_model_is_aligned_and_rolled_back_from_the_page(browser, model, tmp_path):
    pairs = [{"prompt": f"the inn {i}", "chosen": f" at a river {i}", "rejected": f" {i} nine"} for i in range(40)]
    (tmp_path / "keys").write_text(f"admin {ADMIN_KEY}\n")
    (tmp_path / "align.toml").write_text("max_steps = 2\nbatch_size = 4\nmeta_batch_size = 4\nlr = 1e-4\n")
    files = "--api-keys", tmp_path / "keys", "--align", tmp_path / "align.toml", "--pairs", write_rows(tmp_path / "pairs.jsonl", pairs), "--state", tmp_path / "state"
    with RewardServer("--model", model, *files, "--eval-pairs", tmp_path / "pairs.jsonl", "--align-groups", 20, "--accuracy-margin", 0.9) as server:
        rewards = [server.post("/v1/rewards", {"rows": [{"prompt": f"then {i}", "responses": [" nine", f" ten {i}"]}]}, ADMIN_KEY).json["rows"][0]["rewards"] for i in range(25)]
        open_page(browser, server, key=ADMIN_KEY)
        assert text(browser, "#serving strong") == "Version 1 of rm" and text(browser, "#decision strong") == "None yet"
        click(browser, ".action button", "Align now")
        click(browser, "dialog button", "Align now")
        wait_for(browser, "document.querySelector('#serving strong').textContent === 'Version 2 of rm'")
        wait_for(browser, "document.querySelector(\"[data-version='2']\")?.ariaCurrent === 'true'")
        assert text(browser, "#decision strong") == "Version 2 admitted" and "of 40 pairs" in text(browser, "[data-version='2']")
        version = server.send("/v1/versions", key=ADMIN_KEY).json["versions"][1]
        assert version["id"] in text(browser, "[data-version='2']") and all(reason in text(browser, "[data-version='2']") for reason in version["reasons"])
        click(browser, "[data-version] button", "Roll back to 1")
        click(browser, "dialog button", "Serve version 1")
        wait_for(browser, "document.querySelector('#decision strong').textContent === 'Back to version 1'")
        wait_for(browser, "[...document.querySelectorAll('[data-version] button')].map((button) => button.textContent).join() === 'Return to 2'")
        assert server.send("/v1/versions", key=ADMIN_KEY).json["current"] == 1
        again = server.post("/v1/rewards", {"rows": [{"prompt": "then 3", "responses": [" nine", " ten 3"]}]}, ADMIN_KEY).json["rows"][0]["rewards"]
        assert again == pytest.approx(rewards[3], abs=1e-6)
        events = browser.evaluate("[...document.querySelectorAll('.events tbody tr')].map((row) => row.cells[1].textContent)")
        assert events == ["Rollback", "Admitted", "Alignment started"] and browser.errors == []
        browser.evaluate("sessionStorage.clear()")


def test_the_policy_lets_nothing_else_run(browser, model, page):
    policy = {part.split()[0]: part.split()[1:] for part in page[1]["Content-Security-Policy"].split(";")}
    assert policy["default-src"] == ["'none'"] and policy["connect-src"] == ["'self'"]
    assert "'unsafe-inline'" not in policy["script-src"] and all(source.startswith("'sha256-") for source in policy["script-src"])
    with RewardServer("--model", model) as server:
        open_page(browser, server)
        browser.evaluate("document.body.append(Object.assign(document.createElement('script'), { textContent: 'window.hurt = 1' }))")
        browser.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=\"data:,\" onerror=\"window.hurt = 1\">')")
        browser.settle()
        assert browser.evaluate("window.hurt === undefined")
        assert all(url.startswith((server.url, "data:")) for url in browser.requests)

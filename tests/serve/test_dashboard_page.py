"""The page of `metarm serve` in a browser, with made-up answers: states that a real server takes long to reach, and what goes wrong."""

import json
import time

import pytest
from dashboard_page import ADMIN_KEY, SCORE_KEY, choose, click, figure, load, open_page, text, wait_for
from dashboard_server import START, make_history, make_samples, make_status


def test_the_state_in_words(browser, fake):
    open_page(browser, fake)
    facts = "[...document.querySelectorAll('.facts > div')].map((fact) => [fact.id, fact.querySelector('strong').textContent, fact.querySelector('p').textContent])"
    assert browser.evaluate(facts) == [
        ["serving", "Version 2 of rm", "5f0c3c9ad61c7e02, since 15 Jan 2027, 08:01:00 UTC"],
        ["alarm", "No alarm", "Strongest evidence: 0.812 of 2.301, in the reward differences."],
        ["alignment", "Not running", "40 response groups since the last one; one takes 256."],
        ["decision", "Version 3 rejected", "rejected: the lower bound of the change of accuracy is -0.034, below -0.01 (15 Jan 2027, 08:15:00 UTC)"],
    ]
    headline = text(browser, "#headline")
    assert headline.startswith("Serving version 2 of rm. Shift: No alarm. Alignment: Not running. Last decision: Version 3 rejected: rejected: the lower")
    browser.evaluate("new MutationObserver(() => (window.said = (window.said ?? 0) + 1)).observe(document.getElementById('headline'), { childList: true, characterData: true, subtree: true })")
    busier = make_status(points=241) | {"alignment": fake.answers["/v1/status"]["alignment"] | {"groups": 41}}
    fake.answers["/v1/status"] = busier
    wait_for(browser, "document.getElementById('alignment').textContent.includes('41 response groups')")
    assert browser.evaluate("window.said") is None  # numbers alone are not read out
    fake.answers["/v1/status"] = make_status(alarm=True) | {"alignment": busier["alignment"] | {"state": "checking", "reason": "alarm"}}
    wait_for(browser, "document.querySelector('#alarm strong').textContent === 'Alarm'")
    assert "Shift: Alarm. Alignment: Checking the candidate." in text(browser, "#headline") and browser.evaluate("window.said") == 1
    assert browser.evaluate("document.title") == "Shift alarm \u00b7 metarm serve"
    assert "Begun after the shift alarm" in text(browser, "#alignment")
    fake.answers["/v1/status"] = busier | {"shift": {"reference_wanted": 256, "reference": 12}, "log": None, "events": [], "history": {}, "alignment": {"enabled": False}}
    wait_for(browser, "document.getElementById('alarm').textContent.includes('12 of 256 prompts')")
    assert text(browser, "#serving strong") == "rm" and text(browser, "#decision strong") == "None yet" and "(--pairs)" in text(browser, "#alignment")
    assert "no log" in text(browser, "#log") and "Nothing has happened" in text(browser, "#events") and browser.errors == []


def test_charts_and_tables_have_the_server_s_numbers(browser, fake):
    open_page(browser, fake)
    status = fake.answers["/v1/status"]
    table = "[...document.querySelectorAll('[data-chart=evidence] tbody tr')].map((row) => [...row.querySelectorAll('data')].map((cell) => Number(cell.value)))"
    browser.evaluate("document.querySelector('[data-chart=evidence] summary').click()")
    wait_for(browser, "document.querySelectorAll('[data-chart=evidence] tbody tr').length > 100")

    def expected(history):
        points = zip(history["time"], history["evidence_differences"], history["evidence_rewards"])
        return [[pytest.approx(value) for value in point] for point in points if point[1] is not None]

    assert browser.evaluate(table) == expected(status["history"])
    streams = browser.evaluate("[...document.querySelectorAll('[data-stream]')].map((row) => [row.dataset.stream, ...[...row.querySelectorAll('data')].map((cell) => Number(cell.value))])")
    values = lambda of: [of["evidence"], 2.301, of["window_mean"], of["reference_mean"], of["distance"], of["period"], of["reference"]]
    assert streams == [[name, *values(status["shift"][name])] for name in ("differences", "rewards")]
    readout = "[...document.querySelectorAll('[data-chart=near-ties] .readout li')].map((item) => item.textContent)"
    assert browser.evaluate(readout) == ["Now24.9\u00a0%", "Reference6.1\u00a0%"]

    canvases = browser.evaluate("document.querySelectorAll('canvas').length")
    assert canvases == 7
    fake.answers["/v1/status"] = status | {"time": START + 2000, "history": make_history(300)}
    wait_for(browser, "document.querySelectorAll('[data-chart=evidence] tbody tr').length === 270")
    assert browser.evaluate(table) == expected(make_history(300))
    assert browser.evaluate("document.querySelectorAll('canvas').length") == canvases
    assert "at time 15 Jan, 08:24:55" in browser.evaluate("document.querySelector('[data-chart=evidence] .plot').ariaLabel")

    log = browser.evaluate("Object.fromEntries([...document.querySelectorAll('#log data')].map((cell) => [cell.dataset.figure, Number(cell.value)]))")
    assert log == {"log_rows" if name == "rows" else name: value for name, value in status["log"].items() if name not in ("error", "redacted")}
    events = browser.evaluate("[...document.querySelectorAll('.events tbody tr')].map((row) => row.lastElementChild.textContent)")
    assert events == [event["text"] for event in reversed(status["events"])]
    fake.answers["/v1/status"] = status | {"log": status["log"] | {"error": "no space left"}}
    wait_for(browser, "document.getElementById('log-error')?.textContent === 'no space left'")


def test_the_first_point_of_a_chart(browser, fake):
    fake.answers["/v1/status"] = make_status() | {"history": {}}
    open_page(browser, fake)
    assert browser.evaluate("document.querySelectorAll('canvas').length") == 0 and "No points yet" in text(browser, "[data-chart=queue-rows]")
    ink = """(() => {
      const canvas = document.querySelector("[data-chart=rows-per-s] canvas"), { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
      let blue = 0;
      for (let i = 0; i < data.length; i += 4) blue += data[i + 3] > 200 && data[i + 2] - data[i] > 100;
      return blue;
    })()"""
    for points, said, least in ((1, "Rows waiting: 0 at", 20), (2, "from 0 at", 300)):  # a marker; a line, right through
        fake.answers["/v1/status"] = make_status() | {"history": {name: [value or 0 for value in values] for name, values in make_history(points).items()}}
        wait_for(browser, f"document.querySelector('[data-chart=queue-rows] .plot').ariaLabel.includes('{said}')")
        browser.settle()
        assert browser.evaluate(ink) > least
    assert browser.errors == []


def test_rolling_back(browser, keyed):
    open_page(browser, keyed, key=ADMIN_KEY)
    versions = browser.evaluate("[...document.querySelectorAll('[data-version]')].map((row) => [row.dataset.version, row.cells[1].textContent, row.ariaCurrent])")
    assert versions == [["4", "Return to 4", None], ["3", "Cannot be served", None], ["2", "Served now", "true"], ["1", "Roll back to 1", None]]
    assert "14 lost of 300 pairs" in text(browser, "[data-version='3']") and "below -0.01" in text(browser, "[data-version='3']")
    posts = lambda: [request for request in keyed.requests if request[0] == "POST"]
    click(browser, "[data-version] button", "Roll back to 1")
    assert "Version 1 is loaded" in text(browser, "dialog")
    click(browser, "dialog button", "Cancel")
    click(browser, "[data-version] button", "Roll back to 1")
    browser.press("Escape")
    wait_for(browser, "!document.querySelector('dialog')")
    assert posts() == []
    click(browser, "[data-version] button", "Roll back to 1")
    before = keyed.count("/v1/versions")
    click(browser, "dialog button", "Serve version 1")
    wait_for(browser, "document.getElementById('outcome').textContent === 'Version 1 is served.'")
    assert posts() == [("POST", "/v1/rollback", ADMIN_KEY, {"version": 1})]
    wait_for(browser, "!document.querySelector('.action button').disabled")
    assert keyed.count("/v1/versions") > before
    keyed.answers["/v1/rollback"] = (422, {"error": {"code": 422, "message": "version: expected one that can be loaded"}})
    click(browser, "[data-version] button", "Return to 4")
    click(browser, "dialog button", "Serve version 4")
    wait_for(browser, "document.getElementById('outcome').textContent.includes('Refused (422): version: expected one that can be loaded')")
    assert posts()[1:] == [("POST", "/v1/rollback", ADMIN_KEY, {"version": 4})]


def test_aligning_on_request(browser, keyed):
    open_page(browser, keyed, key=ADMIN_KEY)
    assert text(browser, "#may-align") == ""
    click(browser, ".action button", "Align now")
    click(browser, "dialog button", "Align now")
    wait_for(browser, "document.getElementById('outcome').textContent === 'The alignment has begun.'")
    assert [request for request in keyed.requests if request[0] == "POST"] == [("POST", "/v1/align", ADMIN_KEY, {})]
    keyed.answers["/v1/status"]["alignment"] |= {"state": "running", "reason": "request", "since": START + 1000}
    wait_for(browser, "document.querySelector('.action button').disabled && document.getElementById('may-align').textContent === 'An alignment is running.'")
    assert "Begun on request" in text(browser, "#alignment")


def test_what_a_key_may_not_do_is_said(browser, keyed, fake):
    open_page(browser, keyed, key=SCORE_KEY)
    assert browser.evaluate("[...document.querySelectorAll('#versions button')].every((button) => button.disabled)")
    assert "role score" in text(browser, "#may-align") and "got one of the role score" in text(browser, "#samples")
    time.sleep(5)
    assert keyed.count("/v1/samples") == 1  # a refusal is not asked for again and again
    open_page(browser, fake)
    assert browser.evaluate("document.querySelector('.action button').disabled") and "--api-keys" in text(browser, "#may-align")
    open_page(browser, fake, key=ADMIN_KEY)  # a server without keys, which the page cannot know before it tries
    click(browser, ".action button", "Align now")
    click(browser, "dialog button", "Align now")
    wait_for(browser, "document.getElementById('outcome').textContent.startsWith('Refused (403)')")
    assert browser.evaluate("document.querySelector('.action button').disabled") and "nobody may change" in text(browser, "#may-align")


def test_a_server_that_is_gone_and_comes_back(browser, fake):
    open_page(browser, fake)
    fake.stop()
    wait_for(browser, "document.getElementById('trouble').textContent.includes('does not answer')")
    assert "What is below is from 08:20:00 UTC" in text(browser, "#trouble")
    assert browser.evaluate(figure("rows")) == 123_500 and "does not answer" in text(browser, "#may-align")
    fake.answers["/v1/status"]["models"][0]["rows"] += 1
    fake.start()
    wait_for(browser, f"{figure('rows')} === 123501 && document.getElementById('trouble').textContent === ''")
    for answer, said in (((503, {"error": {"message": "shutting down"}}), "an error, 503: shutting down"), ({"models": []}, "not as expected")):
        good, fake.answers["/v1/status"] = fake.answers["/v1/status"], answer
        wait_for(browser, f"document.getElementById('trouble').textContent.includes({json.dumps(said)})")
        fake.answers["/v1/status"] = good
        wait_for(browser, "document.getElementById('trouble').textContent === ''")


def test_nothing_is_asked_while_nobody_looks(browser, fake):
    open_page(browser, fake)

    def is_asked():
        """Whether anything is asked in more than a period, once what is on its way has come."""
        time.sleep(2)
        before = fake.count("/v1/status")
        time.sleep(5)
        return fake.count("/v1/status") > before

    hide = "Object.defineProperty(document, 'hidden', {{ value: {}, configurable: true }}); document.dispatchEvent(new Event('visibilitychange'))"
    browser.evaluate(hide.format("true"))
    assert not is_asked()
    browser.evaluate(hide.format("false"))
    assert is_asked()
    click(browser, "#controls button", "Pause updates")
    assert not is_asked() and "Paused at 08:20:00" in text(browser, "#freshness")
    click(browser, "#controls button", "Go on updating")
    assert is_asked()


SHOWN = "[...document.querySelectorAll('.sample')].map((sample) => [sample.querySelector('.prompt').textContent, Number(sample.querySelector('data').value)])"


def test_samples_are_found_and_sorted(browser, fake):
    open_page(browser, fake)
    samples = fake.answers["/v1/samples"]["samples"]
    assert [reward for _, reward in browser.evaluate(SHOWN)] == [sample["reward"] for sample in samples[:10]]
    shown = "[...document.querySelectorAll('#samples form, #samples > button')].map((element) => element.checkVisibility())"
    assert browser.evaluate(shown) == [True, True]
    click(browser, "#samples button", "Show more")
    assert len(browser.evaluate(SHOWN)) == 12 and browser.evaluate(shown) == [True, False]
    for order, rewards in (
        ("oldest", [sample["reward"] for sample in reversed(samples)]),
        ("highest", sorted((sample["reward"] for sample in samples), reverse=True)),
        ("lowest", sorted(sample["reward"] for sample in samples)),
    ):
        choose(browser, "#samples select", order)
        assert [reward for _, reward in browser.evaluate(SHOWN)] == rewards[:10]
    choose(browser, "#samples input", "ANSWER BRIEFLY")
    assert {prompt for prompt, _ in browser.evaluate(SHOWN)} == {"systemAnswer briefly.userWhich way to the inn?"}
    assert text(browser, "#samples [role=status]") == "4 samples of 12"
    choose(browser, "#samples input", "nothing like it")
    assert browser.evaluate(SHOWN) == [] and text(browser, "#samples [role=status]") == "0 samples of 12"
    fake.answers["/v1/samples"] = {"samples": []}
    open_page(browser, fake)
    assert browser.evaluate(shown) == [False, False] and "No response has been scored" in text(browser, "#samples")


def test_a_long_text_stays_unfolded(browser, fake):
    open_page(browser, fake)
    assert browser.evaluate("Math.max(...[...document.querySelectorAll('.sample .words')].map((text) => text.textContent.length))") < 750
    click(browser, ".sample button", "Show all 1,509 characters")
    longest = "Math.max(...[...document.querySelectorAll('.sample .words')].map((text) => text.textContent.length))"
    assert browser.evaluate(longest) > 1500
    newer = {"time": START + 1100, "prompt": None, "response": [{"role": "assistant", "content": ["x"]}], "reward": 0.5, "version": "v", "step": None}
    fake.answers["/v1/samples"] = {"samples": [newer, *make_samples()["samples"]]}
    fake.answers["/v1/status"]["models"][0]["rows"] += 1
    wait_for(browser, f"{SHOWN}[0][1] === 0.5")
    assert browser.evaluate(longest) > 1500 and browser.errors == []


def with_hostile_texts(value):
    """Every text in the answer, but for those that decide what is shown."""
    if isinstance(value, dict):
        return {key: part if key in ("state", "event", "created") else with_hostile_texts(part) for key, part in value.items()}
    if isinstance(value, list):
        return [with_hostile_texts(part) for part in value]
    return f"{value}<img src=x onerror='window.hurt = 1'><script>window.hurt = 1</script>" if isinstance(value, str) else value


def test_no_text_of_the_server_becomes_markup(browser, keyed):
    for path in ("/v1/status", "/v1/versions", "/v1/samples"):
        keyed.answers[path] = with_hostile_texts(keyed.answers[path])
    keyed.answers["/v1/status"]["alignment"] |= {"state": "running"}
    keyed.answers["/v1/rollback"] = (422, {"error": {"message": "<img src=x>"}})
    open_page(browser, keyed, key=ADMIN_KEY)
    browser.evaluate("document.querySelector('[data-chart=evidence] summary').click()")
    click(browser, "#samples button", "Show more")
    choose(browser, "#samples input", "<img")
    click(browser, "[data-version] button", "Roll back to 1")
    click(browser, "dialog button", "Serve version 1")
    wait_for(browser, "document.getElementById('outcome').textContent.includes('Refused (422): <img src=x>')")
    page = text(browser, "main")
    assert page.count("<img src=x onerror=") > 60 and page.count("<script>") > 60
    assert browser.evaluate("window.hurt === undefined && document.querySelectorAll('main img, main script, header img, header script').length === 0")
    assert browser.errors == ["Failed to load resource: the server responded with a status of 422 (Unprocessable Entity)"]


LONG = "x" * 200


@pytest.mark.parametrize("width", [320, 360, 768])
def test_the_page_is_no_wider_than_its_screen(browser, fake, width):
    status = make_status(alarm=True)
    status["models"][0]["name"] = LONG
    status["events"].append({"time": START, "event": "failed", "version": 0, "text": LONG})
    status["log"]["error"] = LONG
    fake.answers["/v1/status"] = status
    fake.answers["/v1/samples"]["samples"][0] |= {"prompt": LONG, "response": LONG}
    open_page(browser, fake, width=width, height=800)
    browser.evaluate("document.querySelectorAll('details').forEach((details) => (details.open = true))")
    browser.settle()
    assert browser.evaluate("document.documentElement.scrollWidth") == width
    outside = """[...document.querySelectorAll("body *")].filter((element) => element.checkVisibility() && !element.closest(".scroll > *, nav ul, .skip, .hidden-text") &&
      element.getBoundingClientRect().right > innerWidth + 0.5).map((element) => element.outerHTML.slice(0, 100))"""
    assert browser.evaluate(outside) == []


# Texts whose contrast (WCAG 2) with what they stand on is below 4.5: [contrast, text].
FAINT = """(() => {
  const context = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgba = (color) => {
    context.clearRect(0, 0, 1, 1);
    context.fillStyle = color;
    context.fillRect(0, 0, 1, 1);
    return [...context.getImageData(0, 0, 1, 1).data];
  };
  const luminance = (color) => {
    const [r, g, b] = rgba(color).map((c) => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (element) => {
    while (element && rgba(getComputedStyle(element).backgroundColor)[3] < 255) element = element.parentElement;
    return element ? getComputedStyle(element).backgroundColor : "white";
  };
  const written = [...document.querySelectorAll("body *")].filter((element) => element.checkVisibility() && [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim()));
  return [written.length, written.map((element) => {
    const [low, high] = [getComputedStyle(element).color, ground(element)].map(luminance).sort((a, b) => a - b);
    return [(high + 0.05) / (low + 0.05), element.textContent];
  }).filter(([contrast]) => contrast < 4.5)];
})()"""


@pytest.mark.parametrize("dark", [False, True])
def test_texts_can_be_read(browser, fake, keyed, dark):
    fake.answers["/v1/status"] = make_status(alarm=True)
    open_page(browser, fake, dark=dark)
    lightness = browser.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
    assert all(value < 40 for value in lightness) if dark else all(value > 215 for value in lightness)
    choose(browser, "#samples input", "answer")
    fake.stop()
    wait_for(browser, "document.getElementById('trouble').textContent !== ''")
    written, faint = browser.evaluate(FAINT)
    assert written > 150 and faint == []
    load(browser, keyed, dark=dark)
    wait_for(browser, "document.querySelector('dialog')")
    assert browser.evaluate(FAINT)[1] == []


def test_motion_is_left_out_where_it_is_not_wanted(browser, fake):
    fake.answers["/v1/status"]["alignment"] |= {"state": "running", "reason": "alarm"}
    open_page(browser, fake)
    moving = "document.getAnimations().length"
    assert browser.evaluate(moving) > 0
    browser.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-reduced-motion", "value": "reduce"}])
    browser.settle()
    assert browser.evaluate(moving) == 0


def focused(browser, what):
    return browser.evaluate(f"document.activeElement.{what}")


def test_the_keyboard_reaches_everything_and_stays(browser, keyed):
    open_page(browser, keyed, key=ADMIN_KEY)
    browser.press("Tab")
    assert focused(browser, "className") == "skip"
    wanted = "[...document.querySelectorAll('header button, nav a, main button, main .plot, main input, main select, main summary, main .scroll')].filter((element) => element.checkVisibility())"
    count = browser.evaluate(f"{wanted}.length")
    assert count > 30
    browser.evaluate(f"window.unreached = new Set({wanted})")
    for _ in range(count):
        browser.press("Tab")
        style = "(({ outlineStyle, outlineWidth }) => outlineStyle !== 'none' && parseFloat(outlineWidth) >= 1)(getComputedStyle(document.activeElement))"
        assert browser.evaluate(style), focused(browser, "outerHTML.slice(0, 200)")
        browser.evaluate("window.unreached.delete(document.activeElement)")
    assert browser.evaluate("[...window.unreached].map((element) => element.outerHTML.slice(0, 100))") == []

    browser.evaluate("document.querySelector(\"[data-version='1'] button\").focus()")
    keyed.answers["/v1/versions"]["versions"].append(keyed.answers["/v1/versions"]["versions"][-1] | {"number": 5})
    keyed.answers["/v1/status"]["events"].append({"time": START + 1150, "event": "admitted", "version": 5, "text": "fine"})
    wait_for(browser, "document.querySelector(\"[data-version='5']\")")
    assert focused(browser, "textContent") == "Roll back to 1"
    browser.press("Enter")
    assert focused(browser, "textContent") == "Cancel"
    browser.press("Tab")
    browser.press("Enter")
    wait_for(browser, "document.getElementById('outcome').textContent === 'Version 1 is served.'")
    assert ("POST", "/v1/rollback", ADMIN_KEY, {"version": 1}) in keyed.requests

    browser.evaluate("document.querySelector('[data-chart=evidence] .plot').focus()")
    browser.press("End")
    browser.press("ArrowLeft")
    browser.settle()
    readout = browser.evaluate("[...document.querySelectorAll('[data-chart=evidence] .readout li')].map((item) => item.textContent)")
    assert readout == ["15 Jan, 08:19:50", "Reward differences2.257", "Rewards\u22120.600", "Threshold2.301"]


def test_names_for_screen_readers(browser, fake):
    open_page(browser, fake)
    assert browser.evaluate("document.documentElement.lang") == "en"
    without_name = """[...document.querySelectorAll("table, input, select, section, nav, .scroll, button, [role=img]")].filter((element) =>
      !(element.caption?.textContent || element.labels?.length || element.getAttribute("aria-label") || element.getAttribute("aria-labelledby") || (element.tagName === "BUTTON" && element.textContent)))
      .map((element) => element.outerHTML.slice(0, 100))"""
    assert browser.evaluate(without_name) == []
    headless = "[...document.querySelectorAll('table')].filter((table) => !table.querySelector('thead th[scope=col]') || [...table.tBodies[0].rows].some((row) => row.cells[0].scope !== 'row')).length"
    assert browser.evaluate(headless) == 0 and browser.evaluate("document.querySelectorAll('table').length") == 4
    levels = browser.evaluate("[...document.querySelectorAll('h1, h2, h3, h4')].map((heading) => Number(heading.tagName[1]))")
    assert levels[0] == 1 and all(below - above <= 1 for above, below in zip(levels, levels[1:]))
    ids = browser.evaluate("[...document.querySelectorAll('[id]')].map((element) => element.id)")
    assert len(ids) == len(set(ids))
    assert browser.evaluate("[document.getElementById('headline').ariaLive, document.getElementById('trouble').role]") == ["polite", "alert"]
    colours = browser.evaluate("['good', 'bad', 'alarm', 'busy', 'off'].map((mark) => (({ clipPath, backgroundColor, borderRightColor }) => [clipPath, backgroundColor === 'rgba(0, 0, 0, 0)', borderRightColor].join())(getComputedStyle(Object.assign(document.body.appendChild(document.createElement('span')), { className: `mark ${mark}` }))))")
    assert len({colour.rsplit(",rgb", 1)[0] for colour in colours}) == 4 and len(set(colours)) == 5  # shapes differ, not colours alone

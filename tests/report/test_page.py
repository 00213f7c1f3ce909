"""How the page behaves in a browser: hostile texts, no network, dark mode, narrow screens, the keyboard, names for screen readers, filters."""

import json

import pytest
from programs import run_metarm, write_rows
from run_folders import write_rounds

HOSTILE = [
    "</script><script>window.hurt = 1</script>",
    "<!-- <script> -->",
    "<img src=x onerror='window.hurt = 1'>",
    "{{data}} & &lt; \u2028 \u202e ${window.hurt = 1}",
    "\"'`\\",
]


def test_hostile_texts_are_shown_as_they_are(browser, tmp_path):
    name = "<b onclick=x>\"'&run"
    folder = tmp_path / name
    (folder / "round-1" / "rm").mkdir(parents=True)
    stages = 'name = "rm"\ncommand = "align"\n[[stage]]\nname = "responses"\ncommand = "sample"\n'
    (folder / "config.toml").write_text(f"policy = {json.dumps(HOSTILE[0])}\n[[stage]]\n{stages}")
    (folder / "round-1" / "rm.done.json").write_text(json.dumps({"figures": {HOSTILE[2]: 0.5}, "seconds": 1}))
    write_rows(folder / "round-1" / "rm" / "metrics.jsonl", [{"step": 1, HOSTILE[0]: 2.5}])
    chat = [{"role": "user", "content": HOSTILE[0]}]
    write_rows(folder / "round-1" / "responses.jsonl", [{"prompt": HOSTILE[1], "responses": HOSTILE, "policy": HOSTILE[2]}, {"prompt": chat, "responses": [chat]}])
    run_metarm("report", folder, "--output", tmp_path / "page.html")
    browser.open(tmp_path / "page.html")
    assert browser.errors == []
    assert browser.evaluate("window.hurt === undefined && document.querySelectorAll('main img, main b[onclick], main script').length === 0")
    texts = browser.evaluate("[...document.querySelectorAll('.sample .words')].map((text) => text.textContent)")
    assert texts == [HOSTILE[1], *HOSTILE, HOSTILE[0], HOSTILE[0]]
    page = browser.evaluate("document.querySelector('main').textContent")
    assert all(text.replace("_", " ")[1:] in page for text in HOSTILE)
    assert HOSTILE[0] in browser.evaluate("document.querySelector('.settings').textContent")
    browser.evaluate("document.querySelector('input[type=search]').value = '<!--'")
    browser.evaluate("document.querySelector('input[type=search]').dispatchEvent(new Event('input'))")
    assert browser.evaluate("[...document.querySelectorAll('mark')].map((text) => text.textContent)") == ["<!--", "<!--"]


def test_the_page_asks_for_nothing(browser, rounds_page):
    browser.open(rounds_page[0])
    assert [url for url in browser.requests if not url.startswith("data:")] == [rounds_page[0].as_uri()]
    assert browser.errors == []


@pytest.mark.parametrize("width", [320, 360, 768])
def test_no_page_is_wider_than_its_screen(browser, runs_page, rounds_page, width):
    for page in (runs_page[0], rounds_page[0]):
        browser.open(page, width=width, height=800)
        browser.evaluate("document.querySelectorAll('details').forEach((details) => (details.open = true))")
        browser.settle()
        assert browser.evaluate("document.documentElement.scrollWidth") == width
        outside = """[...document.querySelectorAll("main h2, main h3, .chart, .plot, .scroll, button, input, select, .sample, .readout li")].filter(
          (element) => element.getBoundingClientRect().right > innerWidth + 0.5).map((element) => element.outerHTML.slice(0, 100))"""
        assert browser.evaluate(outside) == []


# Contrast of WCAG 2 between two colours of the page, each resolved through a canvas.
CONTRAST = """((pairs) => {
  const context = document.createElement("canvas").getContext("2d");
  const luminance = (color) => {
    context.fillStyle = color;
    context.fillRect(0, 0, 1, 1);
    const [r, g, b] = [...context.getImageData(0, 0, 1, 1).data].map((c) => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const variable = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  return pairs.map((pair) => {
    const [low, high] = pair.map((name) => luminance(variable(name))).sort((a, b) => a - b);
    return (high + 0.05) / (low + 0.05);
  });
})"""


@pytest.mark.parametrize("dark", [False, True])
def test_colours_can_be_read(browser, rounds_page, dark):
    browser.open(rounds_page[0], dark=dark)
    lightness = browser.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
    assert all(value < 40 for value in lightness) if dark else all(value > 215 for value in lightness)
    texts = [[text, ground] for text in ("--ink", "--muted", "--accent") for ground in ("--paper", "--surface")] + [["--ink", "--notice"]]
    assert min(browser.evaluate(f"{CONTRAST}({json.dumps(texts)})")) >= 4.5
    lines = [[f"--c{i}", "--surface"] for i in range(7)]
    assert min(browser.evaluate(f"{CONTRAST}({json.dumps(lines)})")) >= 3


# How much of a chart's canvas has (nearly) the colour of a variable.
PIXELS = """((chart, name) => {
  const canvas = document.querySelector(`[data-chart="${chart}"] canvas`), context = document.createElement("canvas").getContext("2d");
  context.fillStyle = getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  context.fillRect(0, 0, 1, 1);
  const [r, g, b] = context.getImageData(0, 0, 1, 1).data;
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  let same = 0;
  for (let i = 0; i < data.length; i += 4)
    same += data[i + 3] > 200 && Math.abs(data[i] - r) + Math.abs(data[i + 1] - g) + Math.abs(data[i + 2] - b) < 12;
  return same;
})"""


def test_charts_follow_the_colour_scheme(browser, runs_page):
    browser.open(runs_page[0])
    assert browser.evaluate(f"{PIXELS}('loss', '--c0')") > 100
    light = browser.evaluate("getComputedStyle(document.documentElement).getPropertyValue('--c0')")
    browser.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    browser.settle()
    assert browser.evaluate("getComputedStyle(document.documentElement).getPropertyValue('--c0')") != light
    assert browser.evaluate(f"{PIXELS}('loss', '--c0')") > 100


# Of a chart's canvas the rows that have (nearly) the colour of a variable: [row / height, pixels].
COLOURED_ROWS = """((chart, name) => {
  const canvas = document.querySelector(`[data-chart="${chart}"] canvas`), context = document.createElement("canvas").getContext("2d");
  context.fillStyle = getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  context.fillRect(0, 0, 1, 1);
  const [r, g, b] = context.getImageData(0, 0, 1, 1).data, { width, height } = canvas;
  const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
  const near = (i) => data[i + 3] > 200 && Math.abs(data[i] - r) + Math.abs(data[i + 1] - g) + Math.abs(data[i + 2] - b) < 12;
  const rows = Array.from({ length: height }, (_, y) => [y / height, Array.from({ length: width }, (_, x) => near(4 * (y * width + x))).filter(Boolean).length]);
  return rows.filter(([, pixels]) => pixels > 0);
})"""
# From here on, `ticks` has what each chart's axis says, by place: texts that are drawn right-aligned along y, in the middle along x.
WATCH_TICKS = """((align, along) => {
  window.ticks = {};
  const fill = CanvasRenderingContext2D.prototype.fillText;
  CanvasRenderingContext2D.prototype.fillText = function (text, x, y) {
    if (this.textAlign === align) (ticks[this.canvas.closest("[data-chart]").dataset.chart] ??= {})[{ x, y }[along]] = text;
    return fill.call(this, text, x, y);
  };
})"""


def ticks_of(browser, align, along):
    browser.evaluate(f"{WATCH_TICKS}('{align}', '{along}')")
    browser.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])  # which draws all anew
    browser.settle()
    return browser.evaluate("ticks")


def test_figures_that_stand_still(browser, tmp_path):
    """Their line is drawn, half way up, rounding errors do not move it, and no two ticks say the same."""
    rows = [{"step": step, "kept_share": 1, "loss": 1 + 1e-6 * (step % 3), "accuracy": 0, "margin": -2.5, "meta_cosine": 0.7001 + 1e-6 * step, "pairs_per_s": 12 + 1e-3 * (step % 2),
             "meta_step_ratio": 1e-5 + 1e-10 * step} for step in range(1, 31)]
    (tmp_path / "still").mkdir()
    write_rows(tmp_path / "still" / "metrics.jsonl", rows)
    run_metarm("report", tmp_path / "still", "--output", tmp_path / "page.html")
    browser.open(tmp_path / "page.html")
    for chart in ("kept_share", "loss", "accuracy", "margin"):
        coloured = browser.evaluate(f"{COLOURED_ROWS}('{chart}', '--c0')")
        heights = [height for height, _ in coloured]
        assert max(pixels for _, pixels in coloured) > 150, chart  # a line, not markers alone
        assert 0.3 < min(heights) and max(heights) < 0.6 and max(heights) - min(heights) < 0.06, (chart, heights)
    ticks = ticks_of(browser, "right", "y")
    assert set(ticks) == set(rows[0]) - {"step"}
    for chart, texts in ticks.items():
        assert len(set(texts.values())) == len(texts) >= 2, (chart, texts)


def test_a_single_round_stands_alone(browser, tmp_path):
    write_rounds(tmp_path / "study", rounds=2, groups=1)
    run_metarm("report", tmp_path / "study", "--output", tmp_path / "page.html")
    browser.open(tmp_path / "page.html")
    assert list(ticks_of(browser, "center", "x")["near-ties"].values()) == ["1"]


def focused(browser, what):
    return browser.evaluate(f"document.activeElement.{what}")


def test_the_keyboard_reaches_everything(browser, runs_page):
    browser.open(runs_page[0])
    browser.press("Tab")
    assert focused(browser, "className") == "skip"
    assert browser.evaluate("document.activeElement.getBoundingClientRect().left >= 0")
    browser.press("Enter")
    browser.press("Tab")
    assert focused(browser, "closest('section').id") == "overview"
    wanted = browser.evaluate("[...document.querySelectorAll('main button, main .plot, main input, main summary, main .scroll')].filter((element) => element.checkVisibility()).length")
    assert wanted > 15
    for _ in range(wanted - 1):
        style = "(({ outlineStyle, outlineWidth }) => outlineStyle !== 'none' && parseFloat(outlineWidth) >= 2)(getComputedStyle(document.activeElement))"
        assert browser.evaluate(style), focused(browser, "outerHTML.slice(0, 200)")
        browser.press("Tab")
    assert focused(browser, "closest('section').id") == "settings"


def readout(browser, chart):
    return browser.evaluate(f"[...document.querySelectorAll('[data-chart=\"{chart}\"] .readout li')].map((item) => item.textContent)")


def test_arrow_keys_walk_along_a_chart(browser, runs_page):
    page, plain, _ = runs_page
    browser.open(page)
    browser.evaluate("document.querySelector('[data-chart=\"accuracy\"] .plot').focus()")
    browser.press("Home")
    browser.press("ArrowRight")
    browser.press("ArrowRight")
    browser.settle()
    assert readout(browser, "accuracy")[0] == "Step 3"
    assert readout(browser, "accuracy")[1] == f"plain{plain[2]['accuracy']:.4g}"
    browser.press("End")
    browser.settle()
    assert readout(browser, "accuracy")[0] == "Step 120"
    browser.press("Escape")
    browser.settle()
    assert readout(browser, "accuracy")[0].startswith("plain")


def test_a_run_is_switched_off_and_on(browser, runs_page):
    browser.open(runs_page[0])
    before = browser.evaluate(f"{PIXELS}('loss', '--c1')")
    browser.evaluate("[...document.querySelectorAll('.runs button')].find((button) => button.textContent === 'aligned').focus()")
    browser.press("Enter")
    browser.settle()
    assert focused(browser, "getAttribute('aria-pressed')") == "false"
    assert not any("aligned" in text for text in readout(browser, "loss"))
    assert before > 50 and browser.evaluate(f"{PIXELS}('loss', '--c1')") == 0
    browser.press("Enter")
    browser.settle()
    assert focused(browser, "getAttribute('aria-pressed')") == "true"
    assert browser.evaluate(f"{PIXELS}('loss', '--c1')") == before


def test_names_for_screen_readers(browser, rounds_page):
    browser.open(rounds_page[0])
    assert browser.evaluate("document.documentElement.lang") == "en"
    charts = browser.evaluate("[...document.querySelectorAll('.chart')].map((chart) => [chart.dataset.chart, chart.querySelector('[role=img]').ariaLabel, chart.querySelectorAll('details').length])")
    assert len(charts) > 15
    for chart, label, tables in charts:
        assert len(label) > 20 and any(digit.isdigit() for digit in label) and tables == 1, chart
    gold = sorted((of["policy"]["kl"] ** 0.5, of["policy"]["gold_reward"]) for of in rounds_page[1][:3])
    said = " to ".join(f"{reward:.3f} at root of KL {distance:.3f}" for distance, reward in (gold[0], gold[-1]))
    assert f"Gold: from {said}".replace("-", "\u2212") in dict((chart, label) for chart, label, _ in charts)["distance-rounds"]
    without_name = """[...document.querySelectorAll("table, input, select, section, nav, .scroll, button")].filter((element) =>
      !(element.caption?.textContent || element.labels?.length || element.getAttribute("aria-label") || element.getAttribute("aria-labelledby") || (element.tagName === "BUTTON" && element.textContent)))
      .map((element) => element.outerHTML.slice(0, 100))"""
    assert browser.evaluate(without_name) == []
    levels = browser.evaluate("[...document.querySelectorAll('h1, h2, h3, h4')].map((heading) => Number(heading.tagName[1]))")
    assert levels[0] == 1 and all(below - above <= 1 for above, below in zip(levels, levels[1:]))
    ids = browser.evaluate("[...document.querySelectorAll('[id]')].map((element) => element.id)")
    assert len(ids) == len(set(ids))


def shown_samples(browser):
    return browser.evaluate("""[...document.querySelectorAll(".sample")].map((sample) => ({
      title: sample.querySelector("h3").textContent, prompt: sample.querySelector(".prompt").textContent,
      rewards: [...sample.querySelectorAll("data")].map((reward) => Number(reward.value)), length: sample.querySelector("ol").textContent.length }))""")


def choose(browser, label, value):
    browser.evaluate(f"""(() => {{
      const input = [...document.querySelectorAll(".filters label")].find((text) => text.textContent.startsWith({json.dumps(label)})).querySelector("input, select");
      input.value = {json.dumps(value)};
      input.dispatchEvent(new Event("input", {{ bubbles: true }}));
    }})()""")


def test_samples(browser, rounds_page):
    browser.open(rounds_page[0])
    assert "Round 1: the first 8 of 12; Round 2: the first 8 of 12" in browser.evaluate("document.querySelector('#samples').textContent")
    status = "document.querySelector('#samples [role=status]').textContent"
    assert browser.evaluate(status) == "32 response groups of 32"
    first = shown_samples(browser)
    assert len(first) == 10 and all(sample["rewards"] == sorted(sample["rewards"], reverse=True) for sample in first)
    browser.evaluate("[...document.querySelectorAll('#samples > button')].at(-1).click()")
    assert len(shown_samples(browser)) == 20

    choose(browser, "Round", "Round 3")
    assert browser.evaluate(status) == "8 response groups of 32"
    assert browser.evaluate("document.querySelector('.sample header p').textContent").startswith("measure: mean ")
    assert {sample["title"] for sample in shown_samples(browser)} == {"Round 3, policy-3"}
    choose(browser, "Sort", "widest")
    spreads = [sample["rewards"][0] - sample["rewards"][-1] for sample in shown_samples(browser)]
    assert spreads == sorted(spreads, reverse=True)
    choose(browser, "Sort", "lowest")
    means = [sum(sample["rewards"]) / 4 for sample in shown_samples(browser)]
    assert means == sorted(means)
    choose(browser, "Find", "MUTEX")
    assert [sample["prompt"] for sample in shown_samples(browser)] and all("mutex" in sample["prompt"] for sample in shown_samples(browser))
    choose(browser, "Find", "nothing like it")
    assert browser.evaluate(status) == "0 response groups of 32"


def test_options_that_differ(browser, runs_page):
    browser.open(runs_page[0])
    rows = "[...document.querySelectorAll('.settings tbody tr')].filter((row) => !row.hidden).map((row) => [row.dataset.setting, row.className, ...[...row.querySelectorAll('td')].map((cell) => cell.textContent)])"
    assert browser.evaluate(rows) == [["meta_lr", "differs", "\u2013", "0.001"], ["seed", "differs", "1", "2"]]
    browser.evaluate("document.querySelector('#settings input').click()")
    assert ["batch_size", "", "16", "16"] in browser.evaluate(rows)

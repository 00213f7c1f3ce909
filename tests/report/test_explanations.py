"""A page of what `metarm explain` writes: each token with its value, its colour, what pulls, and the map."""

import json

import pytest
from families import save_checkpoint
from programs import read_rows, run_metarm, write_rows
from test_figures import SECTIONS

HOSTILE = "<img src=x onerror='window.hurt = 1'>"


def part(tokens, values):
    return {"tokens": tokens, "values": values}


PAIR = {
    "where": "pairs.jsonl:1", "id": "first", "prompt": "Hi", "chosen": " there", "rejected": HOSTILE, "chosen_reward": 1.25, "rejected_reward": -0.5, "reward_difference": 1.75,
    "chosen_map": [1.0, 0.0], "rejected_map": [-1.0, 0.5], "subset": "words",
    "difference_attribution": {"shared": part(["Hi"], [0.25]), "chosen": part([" there", "</s>"], [1.0, -0.5]), "rejected": part([HOSTILE, "</s>"], [0.5, 0.0]), "error": 0.01},
    "change": {"reward_difference": -2.5, "flipped": True, "values": {"shared": [0.0], "chosen": [-1.5, 0.75], "rejected": [-0.75, 0.0]}},
    "influence": {"up": [{"where": "train.jsonl:3", "id": "t3", "cosine": 0.75, "dot": 0.5}], "down": [{"where": "train.jsonl:9", "cosine": -0.25, "dot": -0.125}]},
}
GROUP = {"where": "groups.jsonl:2", "prompt": "Hi", "responses": [" a", " b"], "rewards": [0.5, None], "attributions": [part(["Hi", " a"], [0.5, -0.25]), None], "map": [[0.0, 1.0], None]}

TOKENS = "[...document.querySelectorAll('#explanations .token')].map((token) => [token.textContent, Number(token.dataset.value)])"
SHADES = "[...document.querySelectorAll('#explanations .token')].map((token) => [token.classList.contains('against'), parseFloat(token.style.getPropertyValue('--share'))])"
PULLS = "[...document.querySelectorAll('#explanations tr[data-way]')].map((row) => [row.dataset.way, row.querySelector('th').textContent, ...[...row.querySelectorAll('data')].map((one) => Number(one.value))])"
MAP = "[...document.querySelectorAll('[data-chart=\"explanation-map\"] [data-kind]')].map((mark) => [mark.dataset.kind, mark.getBoundingClientRect().x])"
LOOKS = "[...document.querySelectorAll('[data-chart=\"explanation-map\"] [data-kind]')].map((mark) => [mark.dataset.kind, ...['fill', 'fill-opacity', 'd'].map((name) => mark.getAttribute(name))])"


@pytest.fixture
def page(browser, tmp_path):
    write_rows(tmp_path / "why.jsonl", [PAIR, GROUP])
    summary = json.loads(run_metarm("report", "why.jsonl", "--output", "page.html", "--json", cwd=tmp_path).stdout)
    assert (summary["explanations"], summary["runs"]) == (1, 0)
    browser.open(tmp_path / "page.html")
    assert browser.errors == [] and browser.evaluate("window.hurt === undefined")
    assert browser.evaluate(SECTIONS) == ["explanations"]
    return browser


def test_each_token_has_its_value_and_colour(page):
    assert page.evaluate(TOKENS) == [["Hi", 0.25], [" there", 1], ["</s>", -0.5], [HOSTILE, 0.5], ["</s>", 0], ["Hi", 0.5], [" a", -0.25]]
    assert page.evaluate(SHADES) == [[False, 11.25], [False, 45], [True, 22.5], [False, 22.5], [False, 0], [False, 45], [True, 22.5]]
    colours = page.evaluate("[...document.querySelectorAll('.token')].map((token) => getComputedStyle(token).backgroundColor)")
    assert len(set(colours[:5])) == 5 and colours[2].split("(")[1].split("/")[0] != colours[3].split("(")[1].split("/")[0]  # as strong, of another colour
    text = page.evaluate("document.querySelector('.explained').textContent")
    assert "pairs.jsonl:1, first, words" in text and "reward difference 1.750, error 1.0\u00a0%, change \u22122.500 deviations, order turned round" in text


def test_the_change_is_another_colour(page):
    page.evaluate("document.querySelector('#explanations select').value = 'change'")
    page.evaluate("document.querySelector('#explanations select').dispatchEvent(new Event('input'))")
    assert page.evaluate(TOKENS)[:5] == [["Hi", 0], [" there", -1.5], ["</s>", 0.75], [HOSTILE, -0.75], ["</s>", 0]]


def test_what_pulls_and_where_it_lies(page):
    assert page.evaluate(PULLS) == [["up", "train.jsonl:3 (t3)", 0.75, 0.5], ["down", "train.jsonl:9", -0.25, -0.125]]
    marks = page.evaluate(MAP)
    assert [kind for kind, _ in marks] == ["words", "words", "\u2013"] and marks[1][1] < marks[2][1] < marks[0][1]


def test_the_map_tells_two_fields_apart_without_colour(browser, tmp_path):
    """A field's kinds differ in what shows it and in nothing else: colour and filling the policy, the shape the round."""
    rows = [GROUP | {"where": f"groups.jsonl:{2 * i + round}", "policy": policy, "round": round, "map": [[i, round], None]} for i, policy in enumerate("ab") for round in (0, 1)]
    write_rows(tmp_path / "why.jsonl", rows)
    run_metarm("report", "why.jsonl", "--output", "page.html", cwd=tmp_path)
    browser.open(tmp_path / "page.html")
    assert browser.errors == []
    marks = browser.evaluate(LOOKS)
    assert [kinds for kinds, *_ in marks] == ["a, 0", "a, 1", "b, 0", "b, 1"]
    colours, fillings, shapes = (list(looks) for looks in list(zip(*marks))[1:])
    for looks in (colours, fillings):
        assert looks[0] == looks[1] != looks[2] == looks[3]
    assert shapes[0] == shapes[2] != shapes[1] == shapes[3]
    figure = "document.querySelector('[data-chart=\"explanation-map\"]')"
    assert browser.evaluate(f"[...{figure}.querySelectorAll('li')].map((kind) => kind.textContent)") == ["policy a", "policy b", "round 0", "round 1"]
    assert "Policy: colour and filling; round: shape." in browser.evaluate(f"{figure}.textContent")
    drawn = browser.evaluate(f"[...{figure}.querySelectorAll('li path')].map((path) => ['fill', 'fill-opacity', 'd'].map((name) => path.getAttribute(name)))")
    assert [look[:2] for look in drawn[:2]] == [[colours[0], fillings[0]], [colours[2], fillings[2]]] and [look[2] for look in drawn[2:]] == shapes[:2]


def test_no_page_is_wider_than_its_screen(page, tmp_path):
    page.open(tmp_path / "page.html", width=320, height=800)
    assert page.evaluate("document.documentElement.scrollWidth") == 320


def test_rows_without_attributions_have_their_texts(browser, tmp_path):
    plain = {name: value for name, value in PAIR.items() if name != "difference_attribution"} | {"change": {"reward_difference": 0.5, "flipped": False}}
    write_rows(tmp_path / "why.jsonl", [plain, {"where": "groups.jsonl:1", "prompt": "Hi", "responses": [" a", HOSTILE], "rewards": [0.5, None]}])
    run_metarm("report", "why.jsonl", "--output", "page.html", cwd=tmp_path)
    browser.open(tmp_path / "page.html")
    assert browser.evaluate("[...document.querySelectorAll('.explained .words')].map((text) => text.textContent)") == ["Hi", "there", HOSTILE, "a", HOSTILE]
    assert browser.evaluate(TOKENS) == [] and browser.evaluate("getComputedStyle([...document.querySelectorAll('#explanations button')].at(-1)).display") == "none"


def test_many_rows_are_shown_some_at_a_time(browser, tmp_path):
    write_rows(tmp_path / "why.jsonl", [PAIR | {"where": f"pairs.jsonl:{i}"} for i in range(1, 31)])
    run_metarm("report", "why.jsonl", "--samples", "25", "--output", "page.html", cwd=tmp_path)
    browser.open(tmp_path / "page.html")
    assert "The first 25 of 30 rows." in browser.evaluate("document.querySelector('#explanations').textContent")
    cards = "document.querySelectorAll('.explained').length"
    assert browser.evaluate(cards) == 10
    for shown in (20, 25):
        browser.evaluate("[...document.querySelectorAll('#explanations button')].at(-1).click()")
        assert browser.evaluate(cards) == shown
    assert browser.evaluate("[...document.querySelectorAll('#explanations button')].at(-1).hidden")


def test_what_the_command_writes(browser, tmp_path):
    save_checkpoint(tmp_path / "rm", "llama", "reward")
    write_rows(tmp_path / "pairs.jsonl", [{"prompt": "when the other inn", "chosen": " at a river", "rejected": " nine"}])
    run_metarm("explain", "--model", "rm", "--compare", "rm", "--pairs", "pairs.jsonl", "--output", "why.jsonl", "--attribution", "integrated", "--points", "8", cwd=tmp_path)
    run_metarm("report", "why.jsonl", "--output", "page.html", cwd=tmp_path)
    browser.open(tmp_path / "page.html")
    parts = read_rows(tmp_path / "why.jsonl")[0]["difference_attribution"]
    assert browser.evaluate(TOKENS) == [list(token) for name in ("shared", "chosen", "rejected") for token in zip(parts[name]["tokens"], parts[name]["values"])]


@pytest.mark.parametrize("row, problem", [
    (PAIR | {"difference_attribution": PAIR["difference_attribution"] | {"chosen": part(["a"], [1, 2])}}, "why.jsonl:2: difference_attribution: chosen: values: expected 1 numbers"),
    (GROUP | {"attributions": [part([7], [1])]}, "why.jsonl:2: attributions: tokens: expected texts, got number"),
    ({"prompt": "Hi"}, "why.jsonl:2: expected a row of `metarm explain`"),
])
def test_a_row_without_what_is_shown_is_an_error(row, problem, tmp_path):
    write_rows(tmp_path / "why.jsonl", [PAIR, row])
    result = run_metarm("report", "why.jsonl", "--output", "page.html", cwd=tmp_path, check=False)
    assert result.returncode == 2 and problem in result.stderr and result.stderr.count("\n") == 1

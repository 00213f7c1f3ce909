"""Conversations render as transformers' apply_chat_template renders them, and templates that are not known are refused."""

import json
import random
import re

import pytest
from chat_templates import PUBLISHED, TEMPLATES, UNKNOWN
from families import save_tokenizer
from programs import ROOT, run_program

KNOWN = [row for row in PUBLISHED if row["format"]]
DATE = "26 Jul 2024"  # Llama 3.2's template prints the day's, which would change a text's score overnight
SYSTEM = {"role": "system", "content": " Answer in verse. "}


def user(text):
    return {"role": "user", "content": text}


def assistant(text):
    return {"role": "assistant", "content": text}


CONVERSATIONS = [
    [user("Hi")],
    [user("  What is <s> 2 + 2?\n"), assistant("\n It is 4.  ")],
    [user("One"), assistant("Two"), user("Three\n\nand four"), assistant("Five é 世界 </s>")],
    [SYSTEM, user("Hello"), assistant("Greetings")],
    [SYSTEM, user("Hello"), assistant("Greetings"), user("Once more")],
    [user("Think"), assistant("<think>\nhm\n</think>\n\nYes"), user("Again"), assistant("<think>\nwell\n\n</think>\n\nNo")],
    [user("Odd"), user("order")],
    [user("A"), assistant("B"), assistant("C")],
    [user("\u3000你好\u00a0"), assistant("\u2028\x1c好的\x85\u3000")],
    [{"role": "system", "content": "\u2003\u00a0x "}, user("\u200b y \u200b")],
    [user("<tool_response>x</tool_response>"), assistant("<think>x</think>y</think>z")],
    [user("A"), SYSTEM, assistant("B")],
    [assistant("B"), user("A")],
    [SYSTEM],
]


def render(directory, conversations, generate, *template):
    requests = "".join(json.dumps({"messages": messages, "generate": generate}) + "\n" for messages in conversations)
    return [json.loads(line) for line in run_program("tokenize", directory, *template, input=requests).stdout.split("\n") if line]


def check_rendering(tokenizer, template, rows, generate):
    refused = 0
    for messages, got in zip(CONVERSATIONS, rows, strict=True):
        try:
            expected = tokenizer.apply_chat_template(messages, chat_template=template, tokenize=False, add_generation_prompt=generate, date_string=DATE)
        except Exception:  # the template's own raise_exception
            assert "error" in got, messages
            refused += 1
            continue
        assert got.get("text") == expected, messages
    assert refused < 9


@pytest.mark.parametrize("generate", [False, True])
@pytest.mark.parametrize("name", list(TEMPLATES))
def test_rendering(name, generate, tmp_path):
    check_rendering(save_tokenizer(tmp_path), TEMPLATES[name], render(tmp_path, CONVERSATIONS, generate, name), generate)


@pytest.mark.parametrize("generate", [False, True])
@pytest.mark.parametrize("row", KNOWN, ids=[row["source"] for row in KNOWN])
def test_published_templates(row, generate, tmp_path):
    tokenizer = save_tokenizer(tmp_path)
    tokenizer.chat_template = row["template"]
    tokenizer.save_pretrained(tmp_path)
    rows = render(tmp_path, CONVERSATIONS, generate)
    assert {got["format"] for got in rows if "format" in got} == {row["format"]}
    check_rendering(tokenizer, row["template"], rows, generate)


def recognise(templates):
    requests = "".join(json.dumps({"template": template}) + "\n" for template in templates)
    return [json.loads(line) for line in run_program("tokenize", "-", input=requests).stdout.split("\n") if line]


def test_published_templates_have_a_digest_here():
    source = (ROOT / "metarm" / "text" / "known_templates.cpp").read_text()
    digests = set(re.findall(r"\{0x([0-9a-f]{16}),", source))
    assert len(KNOWN) == 11
    assert {row["digest"] for row in recognise([row["template"] for row in KNOWN])} <= digests


EDITS = [("{{ ", "{{"), ("{{ ", "{{- "), (" }}", "}}"), (" }}", " -}}"), ("{%- ", "{% "), ("{% ", "{%- "), ("{% ", "{%+ "), (" %}", " -%}"), (" %}", " %}\n"),
         (" %}", " %}\n  "), ("{% ", "  {% "), ("{% ", "\n  {% "), ("%}", "%}{# x #}"), ("%}", "%}{#- x #}"), ("%}", "%}{# x -#}\n"), ("'", '"'), (" + ", "+"), (" + ", " }}{{ "),
         (" + ", " ~ "), ("['role']", ".role"), ("['content']", ".content"), (".content", "['content']"), (" | trim", ""), ("\n", ""), (" ", "  "), ("\\n", "\n"), ("\\n", "\\\\n")]


def edited(template, rng):
    for _ in range(rng.randrange(1, 3)):
        old, new = rng.choice(EDITS)
        places = [found.start() for found in re.finditer(re.escape(old), template)]
        if places:
            at = rng.choice(places)
            template = template[:at] + new + template[at + len(old):]
    return template


def test_templates_of_one_form_print_the_same(tmp_path):
    """White space, quotes and the like may differ in a known template, and nothing that shows."""
    tokenizer = save_tokenizer(tmp_path)
    rng = random.Random(0)
    small = [row["template"] for row in PUBLISHED if len(row["template"]) < 700] + list(TEMPLATES.values())
    pairs = [(template, edited(template, rng)) for template in small for _ in range(40)]

    def text(template, messages):
        try:
            return tokenizer.apply_chat_template(messages, chat_template=template, tokenize=False, add_generation_prompt=True)
        except Exception:
            return None

    forms = iter(recognise([template for pair in pairs for template in pair]))
    same = 0
    for (one, other), a, b in zip(pairs, forms, forms, strict=False):
        if one == other or a["form"] != b["form"] or a["form"] == "":
            continue
        same += 1
        for messages in CONVERSATIONS[:5]:
            assert text(one, messages) == text(other, messages), (one, other)
    assert same > 100


LLAMA3 = next(row["template"] for row in KNOWN if row["format"] == "llama3")


@pytest.mark.parametrize("where", ["chat_template.jinja", "tokenizer_config.json", "chat_template.json", "list"])
def test_places_of_a_template(where, tmp_path):
    save_tokenizer(tmp_path)
    config = json.loads((tmp_path / "tokenizer_config.json").read_text())
    if where == "chat_template.jinja":
        (tmp_path / where).write_text(LLAMA3)
    elif where == "chat_template.json":
        (tmp_path / where).write_text(json.dumps({"chat_template": LLAMA3}))
    elif where == "list":
        config["chat_template"] = [{"name": "tool_use", "template": "x"}, {"name": "default", "template": LLAMA3}]
    else:
        config["chat_template"] = LLAMA3
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    assert render(tmp_path, [[user("Hi")]], False)[0]["format"] == "llama3"


def test_unknown_templates_are_refused(tmp_path):
    save_tokenizer(tmp_path)
    (tmp_path / "chat_template.jinja").write_text(UNKNOWN["phi"])
    result = run_program("tokenize", tmp_path, check=False, input=json.dumps({"messages": [user("Hi")], "generate": False}) + "\n")
    assert result.returncode == 2
    assert "--chat-template" in result.stderr and "chatml" in result.stderr


def test_what_is_near_to_a_known_template_is_unknown():
    others = UNKNOWN | {row["source"]: row["template"] for row in PUBLISHED if not row["format"]}
    others |= {row["source"] + ", longer": row["template"] + "x" for row in KNOWN}
    recognised = zip(others, recognise(others.values()), strict=True)
    assert [what for what, got in recognised if got["format"]] == []


def test_a_named_template_overrides_the_checkpoint(tmp_path):
    save_tokenizer(tmp_path)
    (tmp_path / "chat_template.jinja").write_text(UNKNOWN["phi"])
    got = render(tmp_path, [[user("Hi"), assistant("Ho")]], False, "hh")[0]
    assert got["text"] == "\n\nHuman: Hi\n\nAssistant: Ho</s>"
    got = render(tmp_path, [[user("Hi"), assistant("Ho"), user("He")]], True, "vicuna")[0]
    assert got["text"].endswith("user's questions. USER: Hi ASSISTANT: Ho</s>USER: He ASSISTANT:")

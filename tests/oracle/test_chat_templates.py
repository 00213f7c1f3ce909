"""Conversations render as transformers' apply_chat_template renders them, and templates that are not known are refused."""

import json

import pytest
from chat_templates import TEMPLATES, UNKNOWN
from families import save_tokenizer
from programs import run_program

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
]


def render(directory, conversations, generate, *template):
    requests = "".join(json.dumps({"messages": messages, "generate": generate}) + "\n" for messages in conversations)
    return [json.loads(line) for line in run_program("tokenize", directory, *template, input=requests).stdout.split("\n") if line]


@pytest.mark.parametrize("generate", [False, True])
@pytest.mark.parametrize("name", list(TEMPLATES))
def test_rendering(name, generate, tmp_path):
    tokenizer = save_tokenizer(tmp_path)
    tokenizer.chat_template = TEMPLATES[name]
    tokenizer.save_pretrained(tmp_path)
    refused = 0
    for messages, got in zip(CONVERSATIONS, render(tmp_path, CONVERSATIONS, generate), strict=True):
        try:
            expected = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=generate)
        except Exception:  # the template's own raise_exception
            assert "error" in got, messages
            refused += 1
            continue
        assert got.get("text") == expected, messages
        assert got["format"] == name
    assert refused < len(CONVERSATIONS) - 2


@pytest.mark.parametrize("where", ["chat_template.jinja", "tokenizer_config.json", "chat_template.json", "list"])
def test_places_of_a_template(where, tmp_path):
    save_tokenizer(tmp_path)
    config = json.loads((tmp_path / "tokenizer_config.json").read_text())
    if where == "chat_template.jinja":
        (tmp_path / where).write_text(TEMPLATES["llama3"])
    elif where == "chat_template.json":
        (tmp_path / where).write_text(json.dumps({"chat_template": TEMPLATES["llama3"]}))
    elif where == "list":
        config["chat_template"] = [{"name": "tool_use", "template": "x"}, {"name": "default", "template": TEMPLATES["llama3"]}]
    else:
        config["chat_template"] = TEMPLATES["llama3"]
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    assert render(tmp_path, [[user("Hi")]], False)[0]["format"] == "llama3"


@pytest.mark.parametrize("what", list(UNKNOWN))
def test_unknown_templates_are_refused(what, tmp_path):
    save_tokenizer(tmp_path)
    (tmp_path / "chat_template.jinja").write_text(UNKNOWN[what])
    result = run_program("tokenize", tmp_path, check=False, input=json.dumps({"messages": [user("Hi")], "generate": False}) + "\n")
    assert result.returncode == 2
    assert "--chat-template" in result.stderr and "chatml" in result.stderr


def test_a_named_template_overrides_the_checkpoint(tmp_path):
    save_tokenizer(tmp_path)
    (tmp_path / "chat_template.jinja").write_text(UNKNOWN["phi"])
    got = render(tmp_path, [[user("Hi"), assistant("Ho")]], False, "hh")[0]
    assert got["text"] == "\n\nHuman: Hi\n\nAssistant: Ho</s>"
    got = render(tmp_path, [[user("Hi"), assistant("Ho"), user("He")]], True, "vicuna")[0]
    assert got["text"].endswith("user's questions. USER: Hi ASSISTANT: Ho</s>USER: He ASSISTANT:")

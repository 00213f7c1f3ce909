"""Jinja programs for transformers to run: published ones, and short ones that say what each format is."""

import importlib.util
from pathlib import Path

# The templates that TRL's package carries: which format each is of, None where it is not one of ours and is to be refused.
TRL_FORMATS = {
    "gemma": "gemma2",
    "gemma_training": "gemma2",
    "llama3": "llama3",
    "llama3_1": "llama3.1",
    "llama3_2": "llama3.1",
    "llama3_training": "llama3",
    "qwen2_5": "qwen2.5",
    "qwen2_5_training": "qwen2.5",
    "qwen3": "qwen3",
    "qwen3_instruct_2507": "chatml",
    "qwen3_instruct_2507_training": "chatml",
}


def load_published():
    """Rows {source, format, template}."""
    folder = Path(importlib.util.find_spec("trl").origin).parent / "chat_templates"
    return [{"source": path.stem, "format": TRL_FORMATS.get(path.stem), "template": path.read_text(encoding="utf-8")} for path in sorted(folder.glob("*.jinja"))]


PUBLISHED = load_published()

CHATML = """{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"""


def _chatml_with_default(system):
    return ("{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\\n" + system + "<|im_end|>\\n' }}{% endif %}"
            + CHATML.removeprefix("{% for message in messages %}"))


QWEN3 = """{%- set ns = namespace(last_query_index=messages|length - 1) %}
{%- for message in messages %}{%- if message.role == 'user' and not (message.content.startswith('<tool_response>') and message.content.endswith('</tool_response>')) %}{%- set ns.last_query_index = loop.index0 %}{%- endif %}{%- endfor %}
{%- for message in messages %}
    {%- if message.role != 'assistant' %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
    {%- else %}
        {%- set content = message.content %}
        {%- set reasoning = '' %}
        {%- if '</think>' in content %}
            {%- set reasoning = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
            {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
        {%- endif %}
        {%- if loop.index0 > ns.last_query_index and (loop.last or reasoning) %}
            {{- '<|im_start|>assistant\\n<think>\\n' + reasoning.strip('\\n') + '\\n</think>\\n\\n' + content.lstrip('\\n') + '<|im_end|>\\n' }}
        {%- else %}
            {{- '<|im_start|>assistant\\n' + content + '<|im_end|>\\n' }}
        {%- endif %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"""

ALTERNATE = "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles must alternate') }}{% endif %}"

LLAMA2 = ("{% if messages[0]['role'] == 'system' %}{% set rest = messages[1:] %}{% set system = '<<SYS>>\\n' + messages[0]['content'] + '\\n<</SYS>>\\n\\n' %}{% else %}{% set rest = messages %}{% set system = '' %}{% endif %}"
          "{% for message in rest %}" + ALTERNATE + "{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + ((system if loop.first else '') + message['content']).strip() + ' [/INST]' }}"
          "{% else %}{{ ' ' + message['content'].strip() + ' ' + eos_token }}{% endif %}{% endfor %}")

LLAMA3 = ("{% for message in messages %}{% set text = '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' + message['content'] | trim + '<|eot_id|>' %}"
          "{{ (bos_token if loop.first else '') + text }}{% endfor %}{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}")

LLAMA3_1 = ("{{- bos_token }}{%- if messages[0]['role'] == 'system' %}{%- set system = messages[0]['content']|trim %}{%- set rest = messages[1:] %}{%- else %}{%- set system = '' %}{%- set rest = messages %}{%- endif %}"
            "{{- '<|start_header_id|>system<|end_header_id|>\\n\\n' }}{{- 'Cutting Knowledge Date: December 2023\\n' }}{{- 'Today Date: 26 Jul 2024\\n\\n' }}{{- system }}{{- '<|eot_id|>' }}"
            "{%- for message in rest %}{{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' + message['content'] | trim + '<|eot_id|>' }}{%- endfor %}"
            "{%- if add_generation_prompt %}{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{%- endif %}")

MISTRAL = ("{{ bos_token }}{% for message in messages %}" + ALTERNATE + "{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + ' [/INST]' }}"
           "{% elif message['role'] == 'assistant' %}{{ message['content'] + eos_token}}{% endif %}{% endfor %}")

MISTRAL_V3 = """{%- if messages[0]["role"] == "system" %}{%- set system_message = messages[0]["content"] %}{%- set rest = messages[1:] %}{%- else %}{%- set rest = messages %}{%- endif %}
{{- bos_token }}
{%- for message in rest %}
    {%- if (message["role"] == "user") != (loop.index0 % 2 == 0) %}{{- raise_exception("roles must alternate") }}{%- endif %}
    {%- if message["role"] == "user" %}
        {%- if loop.last and system_message is defined %}{{- "[INST] " + system_message + "\\n\\n" + message["content"] + "[/INST]" }}{%- else %}{{- "[INST] " + message["content"] + "[/INST]" }}{%- endif %}
    {%- else %}{{- " " + message["content"]|trim + eos_token}}{%- endif %}
{%- endfor %}"""

GEMMA2 = ("{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}{% for message in messages %}" + ALTERNATE +
          "{% set role = 'model' if message['role'] == 'assistant' else message['role'] %}{{ '<start_of_turn>' + role + '\\n' + message['content'] | trim + '<end_of_turn>\\n' }}{% endfor %}"
          "{% if add_generation_prompt %}{{'<start_of_turn>model\\n'}}{% endif %}")

ZEPHYR = """{% for message in messages %}
{% if message['role'] == 'user' %}
{{ '<|user|>\\n' + message['content'] + eos_token }}
{% elif message['role'] == 'system' %}
{{ '<|system|>\\n' + message['content'] + eos_token }}
{% else %}
{{ '<|assistant|>\\n' + message['content'] + eos_token }}
{% endif %}
{% if loop.last and add_generation_prompt %}
{{ '<|assistant|>' }}
{% endif %}
{% endfor %}"""

TEMPLATES = {
    "chatml": CHATML,
    "smollm2": _chatml_with_default("You are a helpful AI assistant named SmolLM, trained by Hugging Face"),
    "qwen2": _chatml_with_default("You are a helpful assistant."),
    "qwen2.5": _chatml_with_default("You are Qwen, created by Alibaba Cloud. You are a helpful assistant."),
    "qwen3": QWEN3,
    "llama2": LLAMA2,
    "llama3": LLAMA3,
    "llama3.1": LLAMA3_1,
    "mistral": MISTRAL,
    "mistral-v3": MISTRAL_V3,
    "gemma2": GEMMA2,
    "zephyr": ZEPHYR,
}

# Templates of other models, or altered ones: to be refused, not guessed.
UNKNOWN = {
    "another default system message": _chatml_with_default("You are a pirate."),
    "tools": "{% if tools %}<|im_start|>system tool{% endif %}" + CHATML,
    "another thinking template": CHATML.replace("message['content']", "'<think>' + message['content']"),
    "chatml with a start token": "{{ bos_token }}" + CHATML,
    "chatml with an end token": CHATML.replace("'<|im_end|>' +", "'<|im_end|>' + eos_token +"),
    "chatml that leaves the last turn open": CHATML.replace("+ '<|im_end|>' + '\\n'}}", "}}{% if not loop.last %}{{ '<|im_end|>\\n' }}{% endif %}"),
    "chatml that trims": CHATML.replace("message['content'] +", "message['content'] | trim +"),
    "gemma with system messages": GEMMA2.replace("{{ raise_exception('System role not supported') }}", "{{ messages[0]['content'] }}"),
    "phi": "{% for message in messages %}<|{{ message['role'] }}|>\n{{ message['content'] }}<|end|>\n{% endfor %}",
    "mistral with a space": MISTRAL.replace("message['content'] + eos_token}}", "message['content'] + eos_token + ' '}}"),
    "the first llama 3, which opens an answer always": LLAMA3.replace("{% if add_generation_prompt %}", "").removesuffix("{% endif %}"),
    "tulu 3": ZEPHYR.replace("message['content'] + eos_token", "message['content'] + '\\n'", 2),
    "a template without a tag": "<|im_start|>user\n<|im_end|>",
    "an open tag": CHATML + "{{ 'x",
    "nothing": "",
}

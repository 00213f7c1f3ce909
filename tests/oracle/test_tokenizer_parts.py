"""Single parts of a tokenizer.json against the tokenizers library: patterns, what is refused, and what the library does unexpectedly."""

import json
import unicodedata

import pytest
from hostile_texts import hostile_texts
from programs import run_program
from test_tokenizers import compare
from tokenizer_kinds import LLAMA3_PATTERN, QWEN2_PATTERN, gpt2, llama2, metaspace_whole
from tokenizers import Regex, Tokenizer, decoders, pre_tokenizers

# One character of each kind that patterns tell apart, in several places; only what Unicode 14 has, as this Python and Debian's libraries do.
ODD = [chr(c) for c in range(1, 0x3400) if not 0xD800 <= c < 0xE000 and unicodedata.category(chr(c)) != "Cn"][::7]
ODD += list("\u0085\u00a0\u180e\u0303\u203f\u24b6\u300a\u3007\u2160\u00b2\u200d\u0345\x0b\x0c")
TEXTS = ["|".join(place.replace("{}", c) for place in ("a{}b", "{} {}", "1{}2", ". {}!", "'{}", "\n{}\n")) for c in ODD] + ["a\nb", "\nab\n", "aab", "aaaab", "b\nb", "xxabxx", ""]
PATTERNS = {
    "llama3": LLAMA3_PATTERN,
    "qwen2": QWEN2_PATTERN,
    "word": r"\w+",
    "no word": r"\W+",
    "neither": r"[^\w\s]+",
    "no space": r"\S+",
    "spaces but line ends": r"[^\S\n]+",
    "no space in a class": r"[\S\n]+",
    "script": r"\p{Han}+|\p{^Greek}b|\P{Cyrillic}a",
    "empty matches": "x*",
    "thousands": r"(?=(\d{3})+(?!\d))",
    "lines": "^a|b$",
    "at most": "a{,3}b",
    "code point": "\\u0061+",
    "escapes in a class": r"[\[\]\-a]+",
}


def with_pre_tokenizer(part):
    tokenizer = gpt2()
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([part, byte_level])
    return tokenizer


def save(tokenizer, tmp_path):
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    return tmp_path / "tokenizer.json"


# Every byte a token, each word numbered apart: so the ids show where the text was cut.
def words_show(tokenizer):
    state = json.loads(tokenizer.to_str())
    characters = [token for token in state["model"]["vocab"] if len(token) == 1]
    vocab = {token: i for i, token in enumerate(["<|endoftext|>"] + characters + ["</w>" + c for c in characters])}
    vocab |= {c + "</w>": len(vocab) + i for i, c in enumerate(characters)}
    state["model"] |= {"vocab": vocab, "merges": [], "end_of_word_suffix": "</w>"}
    return Tokenizer.from_str(json.dumps(state))


@pytest.mark.parametrize("behavior", ["isolated", "merged_with_previous"])
@pytest.mark.parametrize("name", list(PATTERNS))
def test_patterns(name, behavior, tmp_path):
    tokenizer = words_show(with_pre_tokenizer(pre_tokenizers.Split(Regex(PATTERNS[name]), behavior)))
    compare(save(tokenizer, tmp_path), tokenizer, TEXTS + hostile_texts(300, seed=3), True)


def test_whitespace_knows_marks(tmp_path):
    tokenizer = words_show(with_pre_tokenizer(pre_tokenizers.Whitespace()))
    compare(save(tokenizer, tmp_path), tokenizer, ["हिन्दी x²", *TEXTS], True)


def test_long_words_need_no_deep_stack(tmp_path):
    tokenizer = words_show(with_pre_tokenizer(pre_tokenizers.Split(Regex(r"(?:\p{L}\p{M}*)+"), "isolated")))
    compare(save(tokenizer, tmp_path), tokenizer, ["ab" * 50000 + " cd ef"], True)


def test_a_search_without_end_is_an_error(tmp_path):
    path = save(with_pre_tokenizer(pre_tokenizers.Split(Regex("(a+)+$"), "isolated")), tmp_path)
    result = run_program("tokenize", path, check=False, input=json.dumps({"text": "a" * 40 + "b", "special": False}) + "\n")
    assert result.returncode == 2
    assert "match limit" in result.stderr


def test_metaspace_decoder_takes_all_from_the_first_token(tmp_path):
    tokenizer = metaspace_whole()
    tokenizer.add_tokens(["▁▁", "▁x▁y"])
    tokenizer.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="first")
    compare(save(tokenizer, tmp_path), tokenizer, ["▁▁a", "▁x▁y b", "  a b", "a ▁▁ b"], False)


def test_bytes_overtake_an_unknown_token(tmp_path):
    for fuse in (True, False):
        state = json.loads(llama2().to_str())
        kept = [token for token in state["model"]["vocab"] if not token.startswith("<0x") or int(token[3:5], 16) % 3]
        state["model"] |= {"vocab": {token: i for i, token in enumerate(kept)}, "fuse_unk": fuse}
        tokenizer = Tokenizer.from_str(json.dumps(state))
        compare(save(tokenizer, tmp_path), tokenizer, TEXTS + hostile_texts(500, seed=4), True)


def edited(edit):
    state = json.loads(llama2().to_str())
    edit(state)
    return json.dumps(state)


def split_at(pattern):
    return lambda state: state.update(pre_tokenizer={"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False})


def start_ids(ids):
    return lambda state: state["post_processor"]["special_tokens"]["<s>"].update(ids=ids)


def sequences(*names):
    return lambda state: state["post_processor"].update(single=[{"Sequence": {"id": name, "type_id": 0}} for name in names])


def added(token, token_id):
    flags = dict.fromkeys(["single_word", "lstrip", "rstrip", "normalized"], False)
    return lambda state: state["added_tokens"].append({"id": token_id, "content": token, "special": True} | flags)


REFUSED = {
    "hex digits": (split_at(r"\h+"), r"\h"),
    "word boundary": (split_at(r"a\b"), r"\b"),
    "posix class": (split_at("[[:alpha:]]+"), "[:alpha:]"),
    "nested class": (split_at("[a-z&&[^aeiou]]+"), "&&"),
    "dot and lines": (split_at("(?m:a.b)"), "(?m"),
    "byte": (split_at(r"\C"), r"\C"),
    "start of a match": (split_at(r"a\K"), r"\K"),
    "huge id": (start_ids([99999999999]), "post_processor"),
    "negative id": (start_ids([-5]), "post_processor"),
    "id beyond the vocabulary": (start_ids([100000]), "post_processor"),
    "two texts": (sequences("A", "A"), "the sequence A once"),
    "the other text": (sequences("B"), "the sequence A once"),
    "a gap before an added token": (added("<new>", 900), "<new>: expected id"),
    "another id": (added("<0x00>", 5), "<0x00>: expected id"),
}


@pytest.mark.parametrize("what", list(REFUSED))
def test_refused(what, tmp_path):
    edit, message = REFUSED[what]
    (tmp_path / "tokenizer.json").write_text(edited(edit))
    result = run_program("tokenize", tmp_path / "tokenizer.json", check=False, input='{"text": "a", "special": true}\n')
    assert result.returncode == 2, result.stdout
    assert message in result.stderr

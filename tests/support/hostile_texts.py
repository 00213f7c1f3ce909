"""Texts that tokenizers get wrong: mixed scripts, combining marks, joined emoji, control characters, torn special tokens, long runs of spaces and digits."""

import random

SPECIALS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|begin_of_text|>", "<|eot_id|>", "<s>", "</s>", "<unk>", "<mask>", "<tail>", "<word>", "<tool_call>", "<bos>",
            "<start_of_turn>", "<0x0A>", "<pad>"]
WORDS = ["the", "Fox", "IT'S", "they'Ll", "don't", "we've", "x", "straße", "Größe", "ÉTÉ", "Привет", "погода", "世界", "こんにちは", "안녕하세요", "हिन्दी", "مرحبا", "ไทย", "ελληνικά", "İstanbul",
         "ŉ", "ǰ", "ﬁn", "Ⅷ", "½", "x²", "ﷺ", "𝔘𝔫𝔦", "Å", "A\u030a", "e\u0301\u0323", "\u1100\u1161\u11a8", "각", "ſ", "K", "ß", "ẞ", "Σς"]
EMOJI = ["😀", "👩‍👩‍👧", "🇩🇪", "👍🏽", "❤️", "🏳️‍🌈", "1️⃣", "\u200d", "\ufe0f", "🇩", "👨‍"]
CONTROLS = ["\x00", "\x01", "\x07", "\x1b", "\x1c", "\x1f", "\x7f", "\x85", "\u00a0", "\u00ad", "\u200b", "\u2028", "\u2029", "\u202e", "\u3000", "\ufeff", "\ufffd", "\ufffe", "\u0378", "\U000e0001",
            "\U0010ffff", "\v", "\f", "\u1680", "\u180e", "\u2009", "\u202f", "\u205f"]
SPACES = [" ", "  ", "   ", "\t", "\n", "\r\n", "\r", "\n\n", " \n", "\n ", "\t\t", " \t "]
PUNCTUATION = list(".,;:!?\"'`()[]{}<>|/\\@#$%^&*-_=+~") + ["...", "--", "<|", "|>", "¿", "«", "»", "’", "…", "—", "、", "。", "▁", "▁▁", "Ġ", "Ċ", "€", "√", "∑"]
DIGITS = ["0", "12", "345", "6789", "1234567890", "٣", "१२३", "１２", "3.14", "1,000", "0x1F", "²"]


def _piece(rng):
    kind = rng.randrange(10)
    if kind == 0:
        special = rng.choice(SPECIALS)
        return special if rng.random() < 0.6 else special[: rng.randrange(1, len(special))] if rng.random() < 0.5 else special[rng.randrange(1, len(special)) :]
    if kind == 1:
        return rng.choice(EMOJI)
    if kind == 2:
        return rng.choice(CONTROLS)
    if kind == 3:
        return rng.choice([" ", "\n", "\t", "\u00a0"]) * rng.randrange(1, 40)
    if kind == 4:
        return rng.choice(DIGITS) * rng.randrange(1, 8)
    if kind == 5:
        return rng.choice(PUNCTUATION) * rng.randrange(1, 4)
    if kind == 6:
        return "".join(chr(rng.choice([rng.randrange(0x20, 0x250), rng.randrange(0x300, 0x370), rng.randrange(0x400, 0x3000), rng.randrange(0x3040, 0xA000), rng.randrange(0x1F300, 0x1FAFF)]))
                       for _ in range(rng.randrange(1, 6)))
    return rng.choice(SPACES if kind == 7 else WORDS)


def hostile_texts(count, seed=0):
    rng = random.Random(seed)
    texts = ["", " ", "  ", "\n", "a", " a", "a ", "\x00", "<|im_end|>", " <|im_end|> ", "a" * 3000, " " * 3000, "7" * 1000, "é" * 500, "▁", "▁ ▁"]
    while len(texts) < count:
        texts.append("".join(_piece(rng) + (" " if rng.random() < 0.3 else "") for _ in range(rng.randrange(1, 14))))
    return texts

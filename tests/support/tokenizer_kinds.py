"""Tokenizers of every supported kind, trained on a few sentences with the tokenizers library: small vocabularies, the real pipelines."""

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

CORPUS = [
    "The quick brown fox jumps over the lazy dog, and then it's gone. They're here; we've seen 1234567890 of them!",
    "Ein schöner Tag für alle: Größe, Straße, Übermut. L'été à la plage, où ça? Niño, señor, ¿qué tal? Ação!",
    "Привет, как дела? Сегодня хорошая погода. こんにちは世界。今日はいい天気ですね。 你好，世界！我们走吧。 안녕하세요",
    "def f(x):\n    return x ** 2  # squares\n\n\tif x == 3:\n\t\tprint('three')\r\n",
    "مرحبا بالعالم हिन्दी में कुछ शब्द ไทย ελληνικά עברית",
    "Emoji 😀 👩‍👩‍👧 🇩🇪 and  spaces   of    many     widths; \u00a0no-break\u3000wide",
] * 4

QWEN2_PATTERN = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
LLAMA3_PATTERN = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


def _train(tokenizer, size, specials, alphabet=()):
    trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=list(specials), initial_alphabet=list(alphabet), show_progress=False, min_frequency=2)
    tokenizer.train_from_iterator(CORPUS, trainer)
    return tokenizer


def gpt2():
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    t.decoder = decoders.ByteLevel()
    t.post_processor = processors.ByteLevel(trim_offsets=False)
    return _train(t, 700, ["<|endoftext|>"], pre_tokenizers.ByteLevel.alphabet())


def gpt2_prefix_space():
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    t.decoder = decoders.ByteLevel()
    _train(t, 600, ["<s>", "</s>"], pre_tokenizers.ByteLevel.alphabet())
    t.add_special_tokens([AddedToken("<mask>", lstrip=True, normalized=False), AddedToken("<tail>", rstrip=True), AddedToken("<word>", single_word=True)])
    t.post_processor = processors.TemplateProcessing(single="<s> $A </s>", pair="<s> $A </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 1)])
    return t


def smollm2():
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    t.decoder = decoders.ByteLevel()
    return _train(t, 700, ["<|endoftext|>", "<|im_start|>", "<|im_end|>"], pre_tokenizers.ByteLevel.alphabet())


def qwen2():
    t = Tokenizer(models.BPE())
    t.normalizer = normalizers.NFC()
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(QWEN2_PATTERN), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    t.decoder = decoders.ByteLevel()
    t.post_processor = processors.ByteLevel(trim_offsets=False)
    _train(t, 700, [], pre_tokenizers.ByteLevel.alphabet())
    t.add_special_tokens(["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    t.add_tokens(["<tool_call>"])
    return t


def llama3():
    t = Tokenizer(models.BPE(ignore_merges=True))
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(LLAMA3_PATTERN), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    t.decoder = decoders.ByteLevel()
    _train(t, 700, [], pre_tokenizers.ByteLevel.alphabet())
    t.add_special_tokens(["<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>"])
    start = t.token_to_id("<|begin_of_text|>")
    t.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False),
                                            processors.TemplateProcessing(single="<|begin_of_text|> $A", pair="<|begin_of_text|> $A $B", special_tokens=[("<|begin_of_text|>", start)])])
    return t


def _byte_fallback(size):
    specials = ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)]
    t = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    return t, specials, size


def _train_fallback(t, specials, size):
    """Trains on the words alone, then puts the byte tokens into the vocabulary as ordinary entries."""
    import json

    _train(t, size, ["<unk>", "<s>", "</s>"])
    state = json.loads(t.to_str())
    vocab = state["model"]["vocab"]
    for token in specials:
        vocab.setdefault(token, len(vocab))
    return Tokenizer.from_str(json.dumps(state))


def llama2():
    """Replace/Prepend in the normalizer, no pre-tokenizer, as converted Llama 2 files have it."""
    t, specials, size = _byte_fallback(500)
    t.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    t.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    t.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="never")  # for training only: words
    t = _train_fallback(t, specials, size)
    import json

    state = json.loads(t.to_str())
    state["pre_tokenizer"] = None
    t = Tokenizer.from_str(json.dumps(state))
    t.post_processor = processors.TemplateProcessing(single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)])
    return t


def _metaspace(scheme, split=True):
    t, specials, size = _byte_fallback(500)
    t.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme=scheme, split=split)
    t.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    t = _train_fallback(t, specials, size)
    t.post_processor = processors.TemplateProcessing(single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)])
    return t


def mistral():
    return _metaspace("first")


def metaspace_always():
    t = _metaspace("always")
    t.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="always")
    return t


def metaspace_whole():
    return _metaspace("first", split=False)


def gemma():
    """Spaces become ▁ in the normalizer, and the text is split at them, merged with what precedes."""
    t, specials, size = _byte_fallback(600)
    t.normalizer = normalizers.Replace(" ", "▁")
    t.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    t.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    t = _train_fallback(t, specials, size)
    t.add_special_tokens(["<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>"])
    bos = t.token_to_id("<bos>")
    t.post_processor = processors.TemplateProcessing(single="<bos> $A", pair="<bos> $A <bos>:1 $B:1", special_tokens=[("<bos>", bos)])
    return t


def normalized():
    """The usual normalizers one after another, Whitespace, Punctuation and Digits."""
    t = Tokenizer(models.BPE(unk_token="<unk>"))
    t.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase(), normalizers.StripAccents(), normalizers.Strip(), normalizers.Replace(Regex(r"\s+"), " ")])
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation(), pre_tokenizers.Digits(individual_digits=False)])
    return _train(t, 600, ["<unk>"])


KINDS = {f.__name__: f for f in (gpt2, gpt2_prefix_space, smollm2, qwen2, llama3, llama2, mistral, metaspace_always, metaspace_whole, gemma, normalized)}

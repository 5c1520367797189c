#!/usr/bin/env python3
"""Makes the tokenizers in this folder and what the reference libraries encode with them.

Needs the Python packages `tokenizers` and `sentencepiece`. Run it in this folder; it takes a few seconds.
The training text is the sample model's README, this script, and made-up lines in several scripts.
"""
import json
import os
import random
import tempfile

import sentencepiece
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

HERE = os.path.dirname(os.path.abspath(__file__))
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
          r"|\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
SPACE = "\u2581"


def training_lines():
    random.seed(1)
    lines = []
    for name in ("../../../samples/model/README.md", "make_tokenizers.py"):
        with open(os.path.join(HERE, name), encoding="utf-8") as file:
            lines += file.read().splitlines()
    words = ("the quick brown fox jumps over a lazy dog while they're reading I'll write don't we've 12 345 6789 "
             "größer Straße élan naïve Привет мир 日本語 テキスト 한국어 مرحبا नमस्ते def return x = y + 1 ; // {}").split()
    for _ in range(400):
        lines.append(" ".join(random.choice(words) for _ in range(random.randint(3, 14))))
    return lines


TEXTS = [
    "", " ", "  ", "   a", "a   ", "\n", "\n\n\n", " \n \n", "\t\t", "Hello", " Hello world", "hello  world   !",
    "I'm you're WE'LL don't 'S 's", "3.14159 1000000 12,345", "a" * 60, " " * 60, "\n" * 17, "\r\n\r\n x",
    "e\u0301 \u00e9 \ufb01 \u2167 \u00bd \u212b", "日本語のテキスト。", "Привет мир", "مرحبا بالعالم", "नमस्ते",
    "👍🏽👩\u200d👩\u200d👧", "def f(x):\n    return x**2\n", "<s>hi</s>", "<|im_start|>user\nhi<|im_end|>\n",
    "a<|end|> b", "a <tag>b", "\u200b\u00a0\u3000", "x\x00y", "\x85a\x1cb\x1fc\u180ed", "한국어 텍스트", "1\u0663\u0967\u00b2",
    "\u1100\u1161\u11a8", "q\u0323\u0307 q\u0307\u0323", "\ufffd", "\U000e0001\U0001f9ff", SPACE + "a " + SPACE,
    "tag<tag>tag <tag> <tag>", "The model, 4.2M parameters; (bf16)", "<0x41>", "\u017f's 'ſ",
]


def save(name, tokenizer):
    folder = os.path.join(HERE, name)
    os.makedirs(folder, exist_ok=True)
    data = json.loads(tokenizer.to_str())
    with open(os.path.join(folder, "tokenizer.json"), "w", encoding="utf-8") as file:
        json.dump(data, file, ensure_ascii=False, separators=(",", ":"))
    write_expected(folder, [{
        "text": text,
        "ids": tokenizer.encode(text, add_special_tokens=False).ids,
        "ids_with_special": tokenizer.encode(text).ids,
        "decoded": tokenizer.decode(tokenizer.encode(text, add_special_tokens=False).ids, skip_special_tokens=False),
    } for text in TEXTS])


def write_expected(folder, entries):
    with open(os.path.join(folder, "expected.json"), "w", encoding="utf-8") as file:
        json.dump(entries, file, ensure_ascii=True, indent=0)


def byte_level(name, pattern, normalizer, specials, post=None, ignore_merges=False, size=600):
    tokenizer = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    if normalizer:
        tokenizer.normalizer = normalizer
    if pattern:
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
            pre_tokenizers.Split(Regex(pattern), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(training_lines(), trainers.BpeTrainer(
        vocab_size=size, show_progress=False, special_tokens=specials,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    tokenizer.add_tokens([AddedToken("<tag>", lstrip=True, rstrip=True, normalized=False)])
    if post:
        token = tokenizer.token_to_id(post)
        tokenizer.post_processor = processors.TemplateProcessing(single=f"{post} $A", special_tokens=[(post, token)])
    save(name, tokenizer)


def sentencepiece_kind(name, size=700):
    with tempfile.TemporaryDirectory() as folder:
        text = os.path.join(folder, "text")
        with open(text, "w", encoding="utf-8") as file:
            file.write("\n".join(training_lines()))
        sentencepiece.SentencePieceTrainer.train(
            input=text, model_prefix=os.path.join(folder, "m"), vocab_size=size, model_type="bpe",
            byte_fallback=True, normalization_rule_name="identity", remove_extra_whitespaces=False,
            user_defined_symbols=["<tag>"], split_digits=True, minloglevel=2, num_threads=1,
            character_coverage=0.98, max_sentence_length=100000)
        with open(os.path.join(folder, "m.model"), "rb") as file:
            model = file.read()
    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    folder = os.path.join(HERE, name + "-model")
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "tokenizer.model"), "wb") as file:
        file.write(model)
    with open(os.path.join(folder, "tokenizer_config.json"), "w", encoding="utf-8") as file:
        json.dump({"bos_token": "<s>", "eos_token": {"content": "</s>"}, "add_bos_token": True, "add_eos_token": True}, file)
    texts = [text for text in TEXTS if "<s>" not in text]
    write_expected(folder, [{
        "text": text,
        "ids": processor.encode(text),
        "ids_with_special": [1] + processor.encode(text) + [2],
        "decoded": processor.decode(processor.encode(text)),
    } for text in texts])
    # the same vocabulary in the other format: merges are all ways to join two pieces into one, best result first
    vocab = {processor.id_to_piece(i): i for i in range(processor.vocab_size())}
    merges = []
    for piece, index in vocab.items():
        if index < 260 or piece == "<tag>":
            continue
        for cut in range(1, len(piece)):
            left, right = piece[:cut], piece[cut:]
            if left in vocab and right in vocab:
                merges.append((-processor.get_score(index), index, left, right))
    merges = [(left, right) for _, _, left, right in sorted(merges)]
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.add_special_tokens([AddedToken(t, normalized=False, special=True) for t in ("<unk>", "<s>", "</s>")])
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend(SPACE), normalizers.Replace(" ", SPACE)])
    tokenizer.decoder = decoders.Sequence([
        decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    save(name + "-json", tokenizer)


byte_level("gpt2-style", None, None, ["<|endoftext|>"])
byte_level("llama3-style", LLAMA3, None, ["<|begin|>", "<|end|>"], post="<|begin|>", ignore_merges=True)
byte_level("qwen2-style", QWEN2, normalizers.NFC(), ["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
sentencepiece_kind("llama2-style")

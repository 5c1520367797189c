#!/usr/bin/env python3
"""Makes the folders spm-* here: SentencePiece models with maps of characters, and what SentencePiece 0.2.3 encodes.

Needs the Python package `sentencepiece`. Run it in this folder; it takes a second.
"""
import json
import os
import random
import tempfile

import sentencepiece

HERE = os.path.dirname(os.path.abspath(__file__))
# what a sequence of characters becomes, as code points in hexadecimal; the longest sequence counts
RULES = {"ﬁ": "fi", "ﬃ": "ffi", "Å": "å", "A": "a", "B": "b", "a\u0301": "á", "\t": " ", "\u3000": " ", "\u200b": "", "½": "1⁄2",
         "x  y": "xy", "\ufb01\u0301": "f í", "…": " . . ."}
WORDS = ("the quick brown fox jumps over a lazy dog while they're reading I'll write 12 345 größer Straße élan naïve "
         "Привет мир 日本語 テキスト 한국어 <tag> x y fi ffi ab aab").split()
TEXTS = [
    "", " ", "   ", "\t", "\u200b", "\u200b \u200b", "a", " a", "a ", "  the   quick ", "the\tquick\u3000fox", "aﬁ ﬃ ÅA½", "a\u0301 Á",
    "x  y x y x   y", "ﬁ\u0301ﬁ", "the…end… …", "日本語 한국어", "Привет\nмир\n\n", "😀😀 ☃a☃", "<tag>the<tag> <tag>", "the<unk>", "<s>x</s>",
    "<0x41>", "▁the▁▁quick", "\u200b a \u200b b", "aaaaaaaaaaaaaaaa", "ab" * 30, "\0a", "\ufffd", " \u3000\t fox", "they're I'll", "zzz",
]


def train(name, model_type, **options):
    random.seed(2)
    with tempfile.TemporaryDirectory() as folder:
        text, rules = os.path.join(folder, "text"), os.path.join(folder, "rules")
        with open(text, "w", encoding="utf-8") as file:
            for _ in range(500):
                file.write(" ".join(random.choice(WORDS) for _ in range(random.randint(3, 14))) + "\n")
        with open(rules, "w", encoding="utf-8") as file:
            for source, target in RULES.items():
                file.write("\t".join(" ".join(f"{ord(c):X}" for c in s) for s in (source, target)) + "\n")
        sentencepiece.SentencePieceTrainer.train(
            input=text, model_prefix=os.path.join(folder, "m"), model_type=model_type, normalization_rule_tsv=rules,
            minloglevel=2, num_threads=1, hard_vocab_limit=False, **options)
        with open(os.path.join(folder, "m.model"), "rb") as file:
            model = file.read()
    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    folder = os.path.join(HERE, name)
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "tokenizer.model"), "wb") as file:
        file.write(model)
    entries = []
    for text in TEXTS:
        ids = processor.encode(text)
        entries.append({"text": text, "ids": ids, "decoded": None if processor.unk_id() in ids else processor.decode(ids)})
    with open(os.path.join(folder, "expected.json"), "w", encoding="utf-8") as file:
        json.dump(entries, file, ensure_ascii=True, indent=0)


train("spm-unigram", "unigram", vocab_size=500, byte_fallback=True, user_defined_symbols=["<tag>", "aa", "ﬃ"])
train("spm-unigram-unknown", "unigram", vocab_size=200, remove_extra_whitespaces=False, character_coverage=0.98)
train("spm-unigram-bare", "unigram", vocab_size=200, add_dummy_prefix=False, split_by_whitespace=False)
train("spm-bpe", "bpe", vocab_size=500, byte_fallback=True, user_defined_symbols=["<tag>", "aa", "ﬃ"])

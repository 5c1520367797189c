#!/usr/bin/env python3
"""Makes components.json: each kind of normalizer, pre-tokenizer, decoder and added token, and what tokenizers 0.23.3 makes of texts.

Needs the Python package `tokenizers`. Run it in this folder; it takes a second.
The model has a token for each byte, no merges, and "</w>" behind each piece: its ids, as bytes, are the normalized text
and show where it was cut. That is what "pieces" holds, for each of "texts".
"""
import itertools
import json
import os

from tokenizers import Tokenizer

HERE = os.path.dirname(os.path.abspath(__file__))
SPACE = "\u2581"
MODEL = {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": "</w>",
         "fuse_unk": False, "byte_fallback": True, "vocab": {f"<0x{i:02X}>": i for i in range(256)}, "merges": []}
TEXTS = [
    "", " ", "Hello  World!", " I'm 3.14159, you're\r\n\t1234567-89 ", "\u00c5e\u0301\u00c9 \ufb01\u00bd\u2167\u00b2 \u0130\u0131\u017f\u00df",
    "日本語テキスト。ひらがな カタカナー 한국어\u1100\u1161", "Привет, мир… «да» नमस्ते", "a\u0001b\u00adc\u200bd\ufeffe\ufffdf\u0000g\u0085h\u00a0i\u3000j\u2028k",
    "👩\u200d👩\u200d👧 🇩🇪 😀x_y$z+1^2`|~", "aaabab-ab éab " + SPACE + "a", "\u212b\u0323\u0307 q\u0307\u0323 \u1e9b\u0323",
]


def tokenizer(normalizer=None, pre_tokenizer=None, decoder=None, post_processor=None, added=(), model=MODEL):
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": list(added), "normalizer": normalizer,
            "pre_tokenizer": pre_tokenizer, "post_processor": post_processor, "decoder": decoder, "model": model}


def kind(name, **options):
    return {"type": name, **options}


def regex(pattern):
    return {"Regex": pattern}


def string(pattern):
    return {"String": pattern}


def normalizers():
    for name in ("NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents", "Nmt", "ByteLevel"):
        yield kind(name)
    for left, right in itertools.product((False, True), repeat=2):
        yield kind("Strip", strip_left=left, strip_right=right)
    yield kind("Replace", pattern=string("ab"), content="<")
    yield kind("Replace", pattern=regex(r"\s+"), content=" ")
    yield kind("Replace", pattern=regex("a*"), content="-")
    yield kind("Prepend", prepend=SPACE)
    for clean, chinese, accents, lower in itertools.product((False, True), (False, True), (None, False, True), (False, True)):
        yield kind("BertNormalizer", clean_text=clean, handle_chinese_chars=chinese, strip_accents=accents, lowercase=lower)
    yield kind("Sequence", normalizers=[kind("NFD"), kind("StripAccents"), kind("Sequence", normalizers=[kind("Lowercase")])])
    yield charsmap()


def charsmap():
    """That of the folder spm-unigram."""
    import base64
    with open(os.path.join(HERE, "spm-unigram", "tokenizer.model"), "rb") as file:
        data = file.read()
    name = b"\x0a\x0cuser_defined\x12"  # name: "user_defined", precompiled_charsmap
    at = data.index(name) + len(name)
    size = data[at] & 127 | data[at + 1] << 7
    return kind("Precompiled", precompiled_charsmap=base64.b64encode(data[at + 2:at + 2 + size]).decode())


BEHAVIORS = ("Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous")


def pre_tokenizers():
    for name in ("Whitespace", "WhitespaceSplit", "BertPreTokenizer", "UnicodeScripts"):
        yield kind(name)
    for behavior in BEHAVIORS:
        yield kind("Punctuation", behavior=behavior)
        for invert in (False, True):
            yield kind("Split", pattern=regex(r"\s+|\p{N}{1,3}"), behavior=behavior, invert=invert)
            yield kind("Split", pattern=string("a"), behavior=behavior, invert=invert)
    for scheme, split in itertools.product(("always", "first", "never"), (False, True)):
        yield kind("Metaspace", replacement=SPACE, prepend_scheme=scheme, split=split)
    yield kind("Metaspace", replacement="_", add_prefix_space=True)
    for prefix, use_regex in itertools.product((False, True), repeat=2):
        yield kind("ByteLevel", add_prefix_space=prefix, trim_offsets=True, use_regex=use_regex)
    for single in (False, True):
        yield kind("Digits", individual_digits=single)
    yield kind("CharDelimiterSplit", delimiter="-")
    yield kind("CharDelimiterSplit", delimiter="\u00e9")
    yield kind("FixedLength", length=3)
    byte_level = kind("ByteLevel", add_prefix_space=True, trim_offsets=True, use_regex=False)
    yield kind("Sequence", pretokenizers=[kind("Whitespace"), kind("Digits", individual_digits=True), byte_level])
    yield kind("Sequence", pretokenizers=[byte_level, kind("Punctuation", behavior="Isolated")])
    for pattern in (
            r"[a-z&&[^aeiou]]+", r"[^a-z&&[^aeiou]]+", r"[a[bc]d]+", r"[^a[bc]]+", r"[\W]+", r"[^\W\d]+", r"\H\h", r"[\H]+", r"\p{Letter}+",
            r"\p{Han}+|[\p{hiragana}\p{Katakana}]+", r"\p{^Lu}+", r"[[:punct:]]+|[[:^alpha:]]", r"[\p{L}&&[^\p{Han}]]+", r"[]a]+|[&&a]",
            r"(?i:'s|'m)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s",
            r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+|\d+?|\w"):
        yield kind("Split", pattern=regex(pattern), behavior="Isolated", invert=False)


DECODED = [["ab"], ["Hello", "##lo", " .", "W</w>", "or</w>ld</w>"], [SPACE + "a", SPACE, SPACE + SPACE + "b", "c" + SPACE], [" n't", " 's", "##", "b"],
           ["<0xE6>", "<0x97>", "<0xA5>", "a", "<0xFF>", "<0x41>", "<0xE6>"], ["Ġa", "Ã", "©", "æ", "b"], ["</w>"], ["HHa", "H", "aHH", "HbH"]]


def decoders():
    yield None
    for name in ("ByteLevel", "ByteFallback", "Fuse", "BPEDecoder", "WordPiece", "Metaspace"):
        options = {"ByteLevel": dict(add_prefix_space=True, trim_offsets=True, use_regex=True), "BPEDecoder": dict(suffix="</w>"),
                   "WordPiece": dict(prefix="##", cleanup=True), "Metaspace": dict(replacement=SPACE, prepend_scheme="always", split=True)}
        yield kind(name, **options.get(name, {}))
    yield kind("WordPiece", prefix="##", cleanup=False)
    yield kind("Metaspace", replacement=SPACE, prepend_scheme="never", split=True)
    for start, stop in ((0, 0), (1, 0), (0, 1), (2, 0)):
        yield kind("Strip", content="H", start=start, stop=stop)
    yield kind("Replace", pattern=string(SPACE), content=" ")
    yield kind("Replace", pattern=regex("[ab]"), content="<>")
    replace = kind("Replace", pattern=string(SPACE), content=" ")
    yield kind("Sequence", decoders=[replace, kind("ByteFallback"), kind("Fuse"), kind("Strip", content=" ", start=1, stop=0)])
    yield kind("Sequence", decoders=[kind("Fuse"), kind("BPEDecoder", suffix="</w>"), kind("Strip", content="a", start=1, stop=1)])
    yield kind("Sequence", decoders=[kind("BPEDecoder", suffix="</w>"), kind("WordPiece", prefix="##", cleanup=True), kind("ByteFallback")])


FLAGS = ("single_word", "lstrip", "rstrip", "normalized", "special")
ADDED_TEXTS = ["<T>", "a<T>b", "a <T> b", "  <T>  <T>", "<T><T>x <t> <T>_", "<TT> <T>T <T<T>>", "É<T>é \n<T>\n", "<T>1 -<T>- <T>"]


def added():
    for flags in itertools.product((False, True), repeat=len(FLAGS)):
        first = {"id": 256, "content": "<T>", **dict(zip(FLAGS, flags))}
        second = {"id": 257, "content": "<TT>", **{flag: False for flag in FLAGS}}
        yield [first, second]


def decode(peer, ids):
    try:
        return peer.decode(ids)
    except BaseException:  # Strip panics where there is less than it should take off
        return None


def main():
    out = {"texts": TEXTS, "normalizers": [], "pre_tokenizers": [], "decoded": DECODED, "decoders": [], "added_texts": ADDED_TEXTS, "added": []}
    for key, configs, argument in (("normalizers", normalizers(), "normalizer"), ("pre_tokenizers", pre_tokenizers(), "pre_tokenizer")):
        for config in configs:
            peer = Tokenizer.from_str(json.dumps(tokenizer(**{argument: config})))
            out[key].append({"config": config, "pieces": [bytes(peer.encode(text).ids).decode() for text in TEXTS]})
    vocabulary = {token: index for index, token in enumerate(dict.fromkeys(itertools.chain(*DECODED)))}
    for config in decoders():
        peer = Tokenizer.from_str(json.dumps(tokenizer(decoder=config, model={**MODEL, "vocab": vocabulary, "byte_fallback": False})))
        out["decoders"].append({"config": config, "texts": [decode(peer, [vocabulary[t] for t in tokens]) for tokens in DECODED]})
    for tokens in added():
        peer = Tokenizer.from_str(json.dumps(tokenizer(normalizer=kind("Lowercase"), added=tokens)))
        parsed = [peer.encode(text).ids for text in ADDED_TEXTS]
        peer.encode_special_tokens = True
        out["added"].append({"tokens": tokens, "parsed": parsed, "literal": [peer.encode(text).ids for text in ADDED_TEXTS]})
    with open(os.path.join(HERE, "components.json"), "w", encoding="utf-8") as file:
        json.dump(out, file, ensure_ascii=False, separators=(",", ":"))


main()

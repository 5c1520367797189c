#!/usr/bin/env python3
"""Makes tests/fuzz/seeds/tokenizer/{unigram,charsmap,model-*} and seeds/template/chat: what seeds cut from real files lack.

The other seeds there are small tokenizer.json and tokenizer.model files of tests/golden/tokenizers.
"""
import base64
import json
import pathlib
import struct

FUZZ = pathlib.Path(__file__).parent
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, BYTE = 1, 2, 3, 4, 6
PIECES = [("<unk>", 0, UNKNOWN), ("<s>", 0, CONTROL), ("</s>", 0, CONTROL), ("<0x41>", 0, BYTE), ("<0xE2>", 0, BYTE),
          ("<tag>", 0, USER_DEFINED), ("▁", -2, NORMAL), ("▁a", -2.5, NORMAL), ("a", -3, NORMAL), ("ab", -3.25, NORMAL),
          ("b", -4, NORMAL), ("fi", -5, NORMAL), ("日", -6, NORMAL)]
TEXT = "  ab ﬁ  <tag>a<s>日本\u200b\tA☃"


def charsmap():
    """That of tests/golden/tokenizers/spm-unigram, which has a dozen rules."""
    data = (FUZZ.parent / "golden/tokenizers/spm-unigram/tokenizer.model").read_bytes()
    name = b"\x0a\x0cuser_defined\x12"  # name: "user_defined", precompiled_charsmap
    at = data.index(name) + len(name)
    return data[at + 2 : at + 2 + (data[at] & 127 | data[at + 1] << 7)]


def varint(value):
    out = b""
    while value >= 128:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])


def message(field, content):
    return varint(field << 3 | 2) + varint(len(content)) + content


def number(field, value):
    return varint(field << 3) + varint(value)


def model(kind, normalizer):
    """SentencePiece's ModelProto: pieces, trainer (kind, byte_fallback), normalizer."""
    pieces = b"".join(message(1, message(1, text.encode()) + varint(2 << 3 | 5) + struct.pack("<f", score) + number(3, what))
                      for text, score, what in PIECES)
    return pieces + message(2, number(3, kind) + number(35, 1)) + message(3, normalizer)


def unigram(**parts):
    vocab = [[text, score] for text, score, _ in PIECES]
    made = {"added_tokens": [{"id": 1, "content": "<s>", "special": True}], **parts,
            "model": {"type": "Unigram", "unk_id": 0, "byte_fallback": True, "vocab": vocab}}
    return json.dumps(made, ensure_ascii=False).encode() + b"\0" + TEXT.encode()


METASPACE = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
TEMPLATE = """{%- macro turn(m) -%}<|{{ m.role }}|>{{ m['content'] | trim }}{%- endmacro -%}
{%- set ns = namespace(n=0) -%}{{ bos_token }}{%- for m in messages if m.role != 'system' -%}
{{ turn(m) }}{% set ns.n = ns.n + 1 %}{%- endfor -%}{%- if tools is defined %}{{ tools | tojson(indent=2) }}{% endif -%}
{{ raise_exception('none') if ns.n == 0 else '<|assistant|>' if add_generation_prompt }}"""
VARIABLES = {"messages": [{"role": "system", "content": "x"}, {"role": "user", "content": " <b> é "}], "bos_token": "<s>",
             "tools": [{"f": {"x": [1, 2.5, None]}}], "add_generation_prompt": True}
SEEDS = {
    "tokenizer/unigram": unigram(pre_tokenizer=METASPACE, decoder=METASPACE),
    "tokenizer/charsmap": unigram(
        normalizer={"type": "Sequence", "normalizers": [
            {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(charsmap()).decode()},
            {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}]}, pre_tokenizer=METASPACE),
    "tokenizer/model-unigram": model(1, message(1, b"map") + message(2, charsmap()) + number(3, 1) + number(4, 1) + number(5, 1)),
    "tokenizer/model-bpe": model(2, message(1, b"identity") + number(3, 0) + number(4, 0) + number(5, 1)),
    "template/chat": TEMPLATE.encode() + b"\0" + json.dumps(VARIABLES).encode(),
}

if __name__ == "__main__":
    for name, data in SEEDS.items():
        (FUZZ / "seeds" / name).write_bytes(data)

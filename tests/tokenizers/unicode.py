#!/usr/bin/env python3
"""Finds the characters that Hugging Face's `tokenizers` takes for something else than this library does.

usage: GPTQ_TOKENIZERS=python unicode.py path/to/libgptq.so

Both read the same tokenizer.json: a normalizer that puts an X in the place of what a regular expression matches, or a
normal form, and tokens of single bytes. Every character goes through both. Prints for each how many differ, and which.
"""
import json
import os
import pathlib
import sys
import tempfile

from compare import Library

BATCH = 512


def normalizer(of):
    return {"type": of} if of[0] != "\\" else {"type": "Replace", "pattern": {"Regex": of}, "content": "X"}


CASES = [r"\p{L}", r"\p{N}", r"\p{M}", r"\p{P}", r"\p{S}", r"\p{Lu}", r"\p{Ll}", r"\p{Lm}", r"\p{Lo}", r"\p{Han}",
         r"\s", r"\d", r"\w", "NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents"]


def alphabet():
    """The letters that stand for bytes, by GPT-2's rule."""
    plain = [b for b in range(256) if 33 <= b <= 126 or 161 <= b <= 172 or b >= 174]
    others = [b for b in range(256) if b not in plain]
    return {chr(b): b for b in plain} | {chr(256 + i): b for i, b in enumerate(others)}


def write_tokenizer(folder, of):
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False, "trim_offsets": True}
    model = {"type": "BPE", "vocab": alphabet(), "merges": []}
    made = {"version": "1.0", "added_tokens": [], "normalizer": normalizer(of), "pre_tokenizer": byte_level,
            "post_processor": None, "decoder": byte_level, "model": model}
    (folder / "tokenizer.json").write_text(json.dumps(made))


def different(codes, ours, theirs):
    text = "".join(chr(c) + "\0" for c in codes)
    found = bytes(list(memoryview(ours.encode(text.encode())[1]).cast("i")))
    wanted = bytes(theirs.encode(text, add_special_tokens=False).ids)
    if found == wanted:
        return []
    return [c for c, a, b in zip(codes, found.split(b"\0"), wanted.split(b"\0")) if a != b]


def ranges(codes):
    out = []
    for c in codes:
        if out and c == out[-1][1] + 1:
            out[-1][1] = c
        else:
            out.append([c, c])
    return " ".join(f"{a:04X}" if a == b else f"{a:04X}-{b:04X}" for a, b in out)


def main():
    peer = os.environ.get("GPTQ_TOKENIZERS")
    if not peer:
        print("skip tokenizers: GPTQ_TOKENIZERS does not name a Python that has it")
        return
    if "TOKENIZERS_PARALLELISM" not in os.environ:
        os.environ.update(TOKENIZERS_PARALLELISM="false", RAYON_NUM_THREADS="1")
        os.execvp(peer, [peer, *sys.argv])
    import tokenizers
    codes = [c for c in range(1, 0x110000) if not 0xD800 <= c < 0xE000]
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        for of in CASES:
            write_tokenizer(folder, of)
            try:
                pair = Library(sys.argv[1], folder), tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
            except Exception as error:
                print(f"{of}: {error}")
                continue
            found = [c for at in range(0, len(codes), BATCH) for c in different(codes[at:at + BATCH], *pair)]
            print(f"{of}: {len(found)} differ: {ranges(found)}", flush=True)


if __name__ == "__main__":
    main()

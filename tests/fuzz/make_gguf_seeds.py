#!/usr/bin/env python3
"""Makes tests/fuzz/seeds/gguf: small files with every type of setting and of tensor that is known."""
import pathlib
import struct

U8, I8, U16, I16, U32, I32, F32, BOOL, TEXT, ARRAY, U64, I64, F64 = range(13)
CODES = {U8: "B", I8: "b", U16: "H", I16: "h", U32: "I", I32: "i", F32: "f", BOOL: "?", U64: "Q", I64: "q", F64: "d"}
BLOCKS = {0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 8: (32, 34), 14: (256, 210), 30: (1, 2)}


def text(value):
    return struct.pack("<Q", len(value.encode())) + value.encode()


def value(kind, what):
    if kind == TEXT:
        return text(what)
    if kind == ARRAY:
        element, values = what
        return struct.pack("<IQ", element, len(values)) + b"".join(value(element, v) for v in values)
    return struct.pack("<" + CODES[kind], what)


def gguf(settings, tensors, version=3, alignment=32):
    head = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(settings))
    for key, kind, what in settings:
        head += text(key) + struct.pack("<I", kind) + value(kind, what)
    data = b""
    for name, kind, shape in tensors:
        elements, size = BLOCKS[kind]
        count = 1
        for dimension in shape:
            count *= dimension
        data += b"\0" * (-len(data) % alignment)
        head += text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, len(data))
        data += bytes(i % 251 for i in range(count // elements * size))
    return head + b"\0" * (-len(head) % alignment) + data


SETTINGS = [("a", U8, 1), ("b", I8, -1), ("c", U16, 2), ("d", I16, -2), ("e", U32, 3), ("f", I32, -3), ("g", F32, 0.5),
            ("h", BOOL, True), ("i", TEXT, "words"), ("j", U64, 4), ("k", I64, -4), ("l", F64, 0.25),
            ("m", ARRAY, (TEXT, ["one", ""])), ("n", ARRAY, (I32, [1, -2])), ("o", ARRAY, (F32, [0.5, 1.5]))]
SEEDS = {
    "settings": gguf(SETTINGS, []),
    "tensors": gguf([], [(f"t{kind}", kind, [BLOCKS[kind][0] * 2, 2]) for kind in BLOCKS]),
    "aligned": gguf([("general.alignment", U32, 64)], [("a", 0, [3]), ("b", 2, [32, 1, 2])], alignment=64),
    "version2": gguf(SETTINGS[:3], [("a", 0, [3])], version=2),
    "vocabulary": gguf([("general.architecture", TEXT, "llama"), ("tokenizer.ggml.model", TEXT, "llama"),
                        ("tokenizer.ggml.tokens", ARRAY, (TEXT, ["<unk>", "<s>", "</s>", "<0x0A>"])),
                        ("tokenizer.ggml.scores", ARRAY, (F32, [0.0, 0.0, 0.0, -1.0])),
                        ("tokenizer.ggml.token_type", ARRAY, (I32, [2, 3, 3, 6]))], []),
    "byte_level": gguf([("general.architecture", TEXT, "qwen2"), ("tokenizer.ggml.model", TEXT, "gpt2"),
                        ("tokenizer.ggml.pre", TEXT, "viking"),
                        ("tokenizer.ggml.tokens", ARRAY, (TEXT, ["a", "b", "\u0120", "ab", "<|im_end|>", "<x>"])),
                        ("tokenizer.ggml.token_type", ARRAY, (I32, [1, 1, 1, 1, 3, 4])),
                        ("tokenizer.ggml.merges", ARRAY, (TEXT, ["a b"])), ("tokenizer.ggml.eos_token_id", U32, 4),
                        ("tokenizer.ggml.add_bos_token", BOOL, True), ("tokenizer.ggml.bos_token_id", U32, 4),
                        ("tokenizer.chat_template", TEXT, "{{ messages }}")], []),
}

if __name__ == "__main__":
    folder = pathlib.Path(__file__).parent / "seeds" / "gguf"
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in SEEDS.items():
        (folder / name).write_bytes(data)

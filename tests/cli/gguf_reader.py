"""GGUF by its published description, in Python alone: what the tool writes is read by nothing that shares code with it."""
import math
import pathlib
import struct

SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
STRING, ARRAY = 8, 9
# number in the file: name, elements of a block, its bytes
TYPES = {0: ("F32", 1, 4), 1: ("F16", 1, 2), 2: ("Q4_0", 32, 18), 3: ("Q4_1", 32, 20), 8: ("Q8_0", 32, 34), 30: ("BF16", 1, 2)}


class Cursor:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, kind):
        (value,) = struct.unpack_from("<" + kind, self.data, self.at)
        self.at += struct.calcsize("<" + kind)
        return value

    def text(self):
        size = self.take("Q")
        self.at += size
        return self.data[self.at - size : self.at].decode()

    def value(self, kind):
        if kind == STRING:
            return self.text()
        if kind == ARRAY:
            element, count = self.take("I"), self.take("Q")
            return [self.value(element) for _ in range(count)]
        return self.take(SCALARS[kind])


def bf16(data):
    return [struct.unpack("<f", b"\0\0" + data[i : i + 2])[0] for i in range(0, len(data), 2)]


def unpack_block(name, block):
    if name == "Q8_0":
        (d,) = struct.unpack_from("<e", block)
        return [d * code for code in struct.unpack_from("<32b", block, 2)]
    head = 2 if name == "Q4_0" else 4
    codes = [byte & 15 for byte in block[head:]] + [byte >> 4 for byte in block[head:]]
    if name == "Q4_0":
        (d,) = struct.unpack_from("<e", block)
        return [d * (code - 8) for code in codes]
    d, m = struct.unpack_from("<ee", block)
    return [d * code + m for code in codes]


def unpack(name, data, block_bytes):
    if name in ("F32", "F16"):
        kind = "f" if name == "F32" else "e"
        return list(struct.unpack(f"<{len(data) // block_bytes}{kind}", data))
    if name == "BF16":
        return bf16(data)
    return [value for at in range(0, len(data), block_bytes) for value in unpack_block(name, data[at : at + block_bytes])]


def read(path):
    """(settings, tensors): name to value, and name to (type, shape from the outermost dimension in, flat values)."""
    cursor = Cursor(pathlib.Path(path).read_bytes())
    assert cursor.data[:4] == b"GGUF"
    cursor.at = 4
    assert cursor.take("I") == 3
    tensor_count, setting_count = cursor.take("Q"), cursor.take("Q")
    settings = {}
    for _ in range(setting_count):
        name = cursor.text()
        assert name not in settings, name
        settings[name] = cursor.value(cursor.take("I"))
    entries = []
    for _ in range(tensor_count):
        name = cursor.text()
        dimensions = [cursor.take("Q") for _ in range(cursor.take("I"))]
        entries.append((name, dimensions[::-1], cursor.take("I"), cursor.take("Q")))
    alignment = settings.get("general.alignment", 32)
    start = -(-cursor.at // alignment) * alignment
    tensors, end = {}, 0
    for name, shape, kind, offset in entries:
        assert name not in tensors and offset % alignment == 0 and offset >= end, (name, offset, end)
        type_name, elements, block_bytes = TYPES[kind]
        assert shape[-1] % elements == 0, (name, shape)
        end = offset + math.prod(shape) // elements * block_bytes
        data = cursor.data[start + offset : start + end]
        assert len(data) == end - offset, name
        tensors[name] = type_name, shape, unpack(type_name, data, block_bytes)
    assert len(cursor.data) - start - end < alignment, "bytes behind the last tensor"
    return settings, tensors

#!/usr/bin/env python3
"""Makes tests/fuzz/seeds/layout: one small module in each layout, as fuzz_layout.cpp takes it."""
import json
import pathlib
import struct

SIZE = {"I32": 4, "F16": 2, "I64": 8, "I8": 1}


def seed(first, bits, group, k, n, tensors):
    header, data = {}, b""
    for name, (dtype, shape, values) in tensors.items():
        count = 1
        for size in shape:
            count *= size
        part = struct.pack(f"<{count}{ {'I32': 'I', 'F16': 'e', 'I64': 'q', 'I8': 'b'}[dtype] }", *values(count))
        header[f"m.{name}"] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(part)]}
        data += part
    text = json.dumps(header).encode()
    return bytes([first, bits, group, k // 8, n // 8]) + struct.pack("<Q", len(text)) + text + data


def words(count):
    return [(0x9E3779B9 * (i + 1)) & 0xFFFFFFFF for i in range(count)]


def scales(count):
    return [0.01 + i / 1000 for i in range(count)]


K, N, G = 32, 16, 2  # Marlin: 64 outputs
GPTQ = {"qweight": ("I32", [K // 8, N], words), "qzeros": ("I32", [G, N // 8], words), "scales": ("F16", [G, N], scales),
        "g_idx": ("I32", [K], lambda n: [i % G for i in range(n)])}
SEEDS = {
    "gptq": seed(0, 2, 1, K, N, GPTQ),
    "gptq_v2": seed(65, 2, 1, K, N, GPTQ),
    "awq_gemm": seed(66, 2, 1, K, N, {"qweight": ("I32", [K, N // 8], words), "qzeros": ("I32", [G, N // 8], words),
                                      "scales": ("F16", [G, N], scales)}),
    "awq_gemv": seed(67, 2, 1, K, N, {"qweight": ("I32", [N, K // 8], words), "qzeros": ("I32", [N, 1], words),
                                      "scales": ("F16", [N, 8], scales)}),
    "marlin": seed(4, 2, 1, K, 64, {"B": ("I32", [K // 16, 128], words), "s": ("F16", [G, 64], scales)}),
    "compressed": seed(69, 2, 1, K, N, {"weight_packed": ("I32", [N, K // 8], words),
                                        "weight_scale": ("F16", [N, G], scales),
                                        "weight_zero_point": ("I32", [N // 8, G], words),
                                        "weight_shape": ("I64", [2], lambda n: [N, K])}),
    "compressed_old": seed(69, 2, 1, K, N, {"weight_packed": ("I32", [N, K // 8], words),
                                            "weight_scale": ("F16", [N, G], scales),
                                            "weight_zero_point": ("I8", [N, G], lambda n: [i % 16 - 8 for i in range(n)]),
                                            "weight_g_idx": ("I32", [K], lambda n: [i % G for i in range(n)])}),
}

folder = pathlib.Path(__file__).parent / "seeds" / "layout"
folder.mkdir(exist_ok=True)
for name, data in SEEDS.items():
    (folder / name).write_bytes(data)

"""GPTQ-format tensors for make_models.py: packed one way (bit by bit), unpacked another (by shifts)."""

import numpy as np
import torch

LINEARS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj",  # Llama
           "c_attn", "c_proj", "c_fc")  # GPT-2
PARTS = ("qweight", "qzeros", "scales", "g_idx")


def is_linear(name):
    return name.endswith(tuple(f".{linear}.weight" for linear in LINEARS))


def pack(values, bits):
    """[n, columns] codes -> [ceil(n * bits / 32), columns] words: a column is a little-endian bit stream."""
    n, columns = values.shape
    stream = (values[:, None, :] >> np.arange(bits)[None, :, None]) & 1
    stream = stream.reshape(n * bits, columns)
    stream = np.pad(stream, ((0, -len(stream) % 32), (0, 0)))
    weights = (1 << np.arange(32, dtype=np.uint64))[None, :, None]
    words = (stream.reshape(-1, 32, columns).astype(np.uint64) * weights).sum(axis=1)
    return words.astype(np.uint32).view(np.int32)


def unpack(words, count, bits):
    """[words, columns] -> [count, columns]: value i starts at bit i * bits and may cross words."""
    words = np.vstack([words.view(np.uint32).astype(np.uint64), np.zeros((1, words.shape[1]), np.uint64)])
    start = np.arange(count) * bits
    pair = words[start // 32] | (words[start // 32 + 1] << np.uint64(32))
    return ((pair >> (start % 32).astype(np.uint64)[:, None]) & np.uint64((1 << bits) - 1)).astype(np.int64)


def self_test():
    known = {2: "1B1B1B1B 1B1B1B1B", 3: "53977053 70539770 97705397",
             4: "4D6F81A3 C5E7092B 4D6F81A3 C5E7092B",
             8: "18110A03 342D261F 5049423B 6C655E57 88817A73 A49D968F C0B9B2AB DCD5CEC7"}
    for bits, words in known.items():
        values = ((7 * np.arange(32) + 3) % (1 << bits))[:, None]
        packed = pack(values, bits)
        assert " ".join(f"{w:08X}" for w in packed.view(np.uint32)[:, 0]) == words, bits
        assert np.array_equal(unpack(packed, 32, bits), values), bits


def random_module(rng, module, shape, quantization):
    """Random codes, zeros, scales and groups of a Linear of [inputs, outputs] `shape`, packed."""
    inputs, outputs = shape
    bits, most = quantization["bits"], (1 << quantization["bits"]) - 1
    group = inputs if quantization["group_size"] == -1 else quantization["group_size"]
    groups = -(-inputs // group)
    codes = rng.integers(0, most + 1, (inputs, outputs))
    zeros = np.full((groups, outputs), 1 << (bits - 1))
    if not quantization["sym"]:
        v2 = quantization["checkpoint_format"] == "gptq_v2"
        zeros = zeros + rng.integers(-(most // 4) - 1, most // 4 + 2, zeros.shape)
        zeros[rng.random(zeros.shape) < 0.06] = 0 if v2 else 1  # v1 can't say 0 without ambiguity
        zeros[rng.random(zeros.shape) < 0.06] = most
    scales = 1.2 / (1 << bits) * rng.uniform(0.6, 1.4, zeros.shape)
    order = rng.permutation(inputs) if quantization["desc_act"] else np.arange(inputs)
    g_idx = np.empty(inputs, np.int32)
    g_idx[order] = np.arange(inputs) // group
    stored = zeros if quantization["checkpoint_format"] == "gptq_v2" else zeros - 1
    arrays = {"qweight": pack(codes, bits), "qzeros": np.ascontiguousarray(pack(stored.T, bits).T),
              "scales": scales.astype(np.float16), "g_idx": g_idx}
    return {f"{module}.{part}": torch.from_numpy(array) for part, array in arrays.items()}


def dequantize(tensors, module, quantization):
    """float32 [inputs, outputs]: scale * (code - zero)"""
    qweight, qzeros, scales, g_idx = (tensors[f"{module}.{part}"].numpy() for part in PARTS)
    bits = quantization["bits"]
    codes = unpack(qweight, len(g_idx), bits)
    zeros = unpack(np.ascontiguousarray(qzeros.T), scales.shape[1], bits).T
    if quantization["checkpoint_format"] == "gptq":
        zeros = zeros + 1
    return torch.from_numpy(scales.astype(np.float32)[g_idx] * (codes - zeros[g_idx]).astype(np.float32))


def dequantize_all(tensors, config):
    plain = {name: t for name, t in tensors.items() if not name.endswith(tuple(f".{part}" for part in PARTS))}
    for name in tensors:
        if name.endswith(".qweight"):
            module = name.removesuffix(".qweight")
            weight = dequantize(tensors, module, config["quantization_config"])
            plain[f"{module}.weight"] = weight if config["model_type"] == "gpt2" else weight.T
    return plain

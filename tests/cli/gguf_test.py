"""Exported GGUF files, as a reader that is not this library's sees them, against the folders that they were made from."""
import json
import shutil
import struct

import gguf_reader
from harness import ROOT, ToolTest

GOLDEN = ROOT / "tests" / "golden"
LLAMA = {"attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj",
         "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
         "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm"}
GPT2 = {"attn_qkv": "attn.c_attn", "attn_output": "attn.c_proj", "ffn_up": "mlp.c_fc", "ffn_down": "mlp.c_proj",
        "attn_norm": "ln_1", "ffn_norm": "ln_2"}
OUTER = {"llama": {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"},
         "gpt2": {"token_embd": "transformer.wte", "position_embd": "transformer.wpe", "output_norm": "transformer.ln_f"}}


def read_source(path):
    """Name to (shape, flat values) of the floats in a safetensors file."""
    data = path.read_bytes()
    (length,) = struct.unpack_from("<Q", data)
    tensors = {}
    for name, entry in json.loads(data[8 : 8 + length]).items():
        kind = entry.get("dtype")
        if kind not in ("F32", "F16", "BF16"):
            continue
        begin, end = (8 + length + offset for offset in entry["data_offsets"])
        tensors[name] = entry["shape"], gguf_reader.unpack(kind, data[begin:end], 4 if kind == "F32" else 2)
    return tensors


def source_name(name):
    """Of a GGUF tensor, as transformers calls it; and its part of a layer."""
    path, suffix = name.rsplit(".", 1)
    if not path.startswith("blk."):
        return {family: f"{names[path]}.{suffix}" for family, names in OUTER.items() if path in names}, path
    _, layer, part = path.split(".")
    names = {}
    if part in LLAMA:
        names["llama"] = f"model.layers.{layer}.{LLAMA[part]}.{suffix}"
    if part in GPT2:
        names["gpt2"] = f"transformer.h.{layer}.{GPT2[part]}.{suffix}"
    return names, part


def rows_of(shape, values):
    width = shape[-1] if len(shape) > 1 else 1
    return [values[at : at + width] for at in range(0, len(values), width)]


def paired(rows, heads):
    """llama.cpp rotates neighbours, transformers the halves of a head."""
    size = len(rows) // heads
    return [rows[head * size + half * (size // 2) + i] for head in range(heads) for i in range(size // 2) for half in (0, 1)]


class Gguf(ToolTest):
    def export(self, model, *options):
        """The folder, config.json, and what the reader finds in the file."""
        source = self.folder / "model"
        shutil.rmtree(source, ignore_errors=True)
        shutil.copytree(GOLDEN / "models" / model, source)
        shutil.copy(GOLDEN / "tokenizers" / "gpt2-style" / "tokenizer.json", source)
        self.succeed("convert", source, self.folder / "x.gguf", "--format", "gguf", "--overwrite", *options)
        return source, json.loads((source / "config.json").read_text()), *gguf_reader.read(self.folder / "x.gguf")

    def compare_tensors(self, model, types, tolerance=0.0, options=()):
        source, config, settings, tensors = self.export(model, *options)
        if "quantization_config" in config or (source / "quantize_config.json").exists():
            self.succeed("convert", source, self.folder / "plain", "--format", "dense", "--dtype", "f32", "--overwrite")
            source = self.folder / "plain"
        wanted = read_source(source / "model.safetensors")
        family = "gpt2" if model == "gpt2" else "llama"
        seen = set()
        for name, (kind, shape, values) in tensors.items():
            names, part = source_name(name)
            source_shape, expected = wanted[names[family]]
            seen.add(names[family])
            rows = rows_of(source_shape, expected)
            if family == "gpt2" and part in GPT2 and len(source_shape) == 2:
                rows = [list(row) for row in zip(*rows)]
                source_shape = source_shape[::-1]
            if settings["general.architecture"] == "llama" and part in ("attn_q", "attn_k"):
                rows = paired(rows, config["num_attention_heads" if part == "attn_q" else "num_key_value_heads"])
            self.assertEqual(shape, source_shape, name)
            self.assertIn(kind, types if len(shape) == 2 and name.startswith("blk.") else ("F32", "F16", "BF16"), name)
            flat = [value for row in rows for value in row]
            most = max(map(abs, flat))
            for found, value in zip(values, flat, strict=True):
                self.assertLessEqual(abs(found - value), tolerance * most, name)
        missing = {name for name in wanted if name not in seen and not name.endswith((".attn.bias", ".masked_bias"))}
        self.assertLessEqual(missing, {"lm_head.weight"} if config.get("tie_word_embeddings") or family == "gpt2" else set())

    def test_weights_that_are_not_quantized(self):
        for model in ("llama", "mistral", "qwen2", "gpt2"):
            with self.subTest(model):
                self.compare_tensors(model, ("F16", "BF16"))

    def test_codes_that_a_block_holds(self):
        self.compare_tensors("gptq-b3-g32-v1-asym", ("Q4_0",))
        self.compare_tensors("gptq-b8-perchannel", ("Q8_0",))

    def test_types_that_round(self):
        # by half a step of the largest weight of a block, and the rounding of its scale
        for name, tolerance in (("q8_0", 0.5 / 127 + 1e-3), ("q4_1", 1 / 15 + 1e-3), ("q4_0", 1 / 8 + 1e-3)):
            self.compare_tensors("gptq-b3-g32-v1-asym", (name.upper(),), tolerance, ("--type", name))

    def test_settings(self):
        for model in ("llama", "qwen2", "gpt2"):
            with self.subTest(model):
                source, config, settings, tensors = self.export(model)
                arch = settings["general.architecture"]
                self.assertEqual(arch, config["model_type"])
                pairs = {"block_count": ("num_hidden_layers", "n_layer"), "embedding_length": ("hidden_size", "n_embd"),
                         "context_length": ("max_position_embeddings", "n_positions"), "vocab_size": ("vocab_size",),
                         "attention.head_count": ("num_attention_heads", "n_head"), "rope.freq_base": ("rope_theta",),
                         "attention.head_count_kv": ("num_key_value_heads", "n_head"),
                         "attention.layer_norm_rms_epsilon": ("rms_norm_eps",),
                         "attention.layer_norm_epsilon": ("layer_norm_epsilon",)}
                flat = {**config, **config.get("rope_parameters", {})}
                for key, names in pairs.items():
                    wanted = [flat[name] for name in names if name in flat]
                    found = settings.get(f"{arch}.{key}")
                    self.assertEqual(found is None, not wanted, key)
                    if wanted:
                        self.assertAlmostEqual(found, wanted[0], delta=1e-6 * wanted[0], msg=key)
                tokenizer = json.loads((source / "tokenizer.json").read_text())
                vocabulary = {id: text for text, id in tokenizer["model"]["vocab"].items()}
                vocabulary |= {token["id"]: token["content"] for token in tokenizer["added_tokens"]}
                tokens = settings["tokenizer.ggml.tokens"]
                self.assertEqual(len(tokens), config["vocab_size"])
                for id, text in enumerate(tokens):
                    self.assertEqual(text, vocabulary.get(id, f"[PAD{id}]"))
                self.assertEqual(settings["tokenizer.ggml.model"], "gpt2")
                self.assertEqual(settings["tokenizer.ggml.pre"], "gpt-2")
                merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in tokenizer["model"]["merges"]]
                self.assertEqual(settings["tokenizer.ggml.merges"], merges)
                for id, kind in enumerate(settings["tokenizer.ggml.token_type"]):
                    special = any(token["id"] == id and token["special"] for token in tokenizer["added_tokens"])
                    self.assertEqual(kind, 3 if special else 1 if id in vocabulary else 5)

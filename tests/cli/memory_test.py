"""What a model takes of the machine's memory, and of its CPUs."""
import json
import os
import struct

from harness import MODEL, ROOT, ToolTest

HIDDEN, INTERMEDIATE, LAYERS, VOCAB, KV = 1024, 5632, 12, 256, 256


class Memory(ToolTest):
    def write_model(self):
        """4 bits in groups of 128, 122 MB of weights of any value, written piece by piece."""
        folder = self.folder / "m"
        folder.mkdir()
        golden = ROOT / "tests" / "golden" / "models" / "gptq-b4-g16"
        config = json.loads((golden / "config.json").read_text())
        config.update(hidden_size=HIDDEN, intermediate_size=INTERMEDIATE, num_hidden_layers=LAYERS, head_dim=64,
                      num_attention_heads=16, num_key_value_heads=KV // 64, vocab_size=VOCAB,
                      max_position_embeddings=2048)
        settings = {**json.loads((golden / "quantize_config.json").read_text()), "group_size": 128}
        config["quantization_config"] = settings
        (folder / "config.json").write_text(json.dumps(config))
        (folder / "quantize_config.json").write_text(json.dumps(settings))
        noise = os.urandom(1 << 20)
        entries, pieces, end = {}, [], 0

        def add(name, kind, shape, data):
            nonlocal end
            entries[name] = {"dtype": kind, "shape": shape, "data_offsets": [end, end + len(data)]}
            pieces.append(data)
            end += len(data)

        def any_bytes(count):
            return (noise * (count // len(noise) + 1))[:count]

        def floats(*shape):
            count = shape[0] * (shape[1] if len(shape) > 1 else 1)
            return "F16", list(shape), struct.pack("<e", 0.01) * count

        def add_linear(name, outputs, inputs):
            groups = inputs // 128
            add(name + ".qweight", "I32", [inputs // 8, outputs], any_bytes(inputs * outputs // 2))
            add(name + ".qzeros", "I32", [groups, outputs // 8], b"\x77" * (groups * outputs // 2))
            add(name + ".scales", *floats(groups, outputs))
            add(name + ".g_idx", "I32", [inputs], struct.pack(f"<{inputs}i", *(i // 128 for i in range(inputs))))

        add("model.embed_tokens.weight", *floats(VOCAB, HIDDEN))
        add("lm_head.weight", *floats(VOCAB, HIDDEN))
        add("model.norm.weight", *floats(HIDDEN))
        for layer in range(LAYERS):
            prefix = f"model.layers.{layer}."
            for name, outputs, inputs in (
                ("self_attn.q_proj", HIDDEN, HIDDEN), ("self_attn.k_proj", KV, HIDDEN), ("self_attn.v_proj", KV, HIDDEN),
                ("self_attn.o_proj", HIDDEN, HIDDEN), ("mlp.gate_proj", INTERMEDIATE, HIDDEN),
                ("mlp.up_proj", INTERMEDIATE, HIDDEN), ("mlp.down_proj", HIDDEN, INTERMEDIATE),
            ):
                add_linear(prefix + name, outputs, inputs)
            add(prefix + "input_layernorm.weight", *floats(HIDDEN))
            add(prefix + "post_attention_layernorm.weight", *floats(HIDDEN))
        header = json.dumps(entries).encode()
        with open(folder / "model.safetensors", "wb") as file:
            file.write(struct.pack("<Q", len(header)) + header)
            file.writelines(pieces)
        return folder

    def test_peak_is_little_more_than_the_weights(self):
        least = self.json("bench", MODEL, "--prompt", "1", "--generate", "2", "--repeat", "1")
        shown = self.json("bench", self.write_model(), "--prompt", "1", "--generate", "2", "--repeat", "1")
        weights = shown["weight_bytes_per_token"]
        self.assertGreater(weights, 115e6)
        program = least["peak_rss_bytes"] - least["weight_bytes_per_token"]
        self.assertLess(shown["peak_rss_bytes"] - program, 1.1 * weights)

    def test_sessions_take_little_beside_their_caches(self):
        """A prompt's activations, 35 MB of 512 tokens, are there while it is worked on."""
        model, tokens, more = self.write_model(), 512 + 4, 6
        one, several = (
            self.json("bench", model, "--prompt", "512", "--generate", "4", "--repeat", "1", "--sessions", str(count))
            for count in (1, 1 + more)
        )
        caches = LAYERS * tokens * 2 * KV * 2
        taken = (several["peak_rss_bytes"] - one["peak_rss_bytes"]) / more
        self.assertTrue(0.5 * caches < taken < caches + 8e6, taken)

    def test_as_many_threads_as_cpus_it_may_use(self):
        first = min(os.sched_getaffinity(0))
        everywhere = self.json("bench", MODEL, "--prompt", "1", "--generate", "2", "--repeat", "1")["threads"]
        allowed = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {first})
        try:
            one = self.json("bench", MODEL, "--prompt", "1", "--generate", "2", "--repeat", "1")["threads"]
        finally:
            os.sched_setaffinity(0, allowed)
        self.assertEqual(one, 1)
        self.assertTrue(1 <= everywhere <= len(allowed))

"""convert: from one format to another and back, and what it refuses."""
import json
import pathlib

from harness import MODEL, ToolTest


class Convert(ToolTest):
    def setUp(self):
        super().setUp()
        self.json("quantize", MODEL, self.folder / "q", "--samples", "4", "--seq-len", "64", "--group-size", "32")

    def tokens(self, folder):
        return self.json("generate", self.folder / folder, "--prompt", "Once upon", "--max-tokens", "12")["tokens"]

    def test_there_and_back(self):
        for source, out, form in (("q", "ct", "compressed_tensors"), ("ct", "v2", "gptq_v2"), ("v2", "again", "gptq")):
            shown = self.json("convert", self.folder / source, self.folder / out, "--format", form)
            self.assertEqual((shown["output"], shown["format"]), (str(self.folder / out), form))
            self.assertEqual(self.tokens(out), self.tokens("q"))
        self.assertEqual(self.json("info", self.folder / "ct")["quantization"], "compressed-tensors 4-bit g32 sym")
        first, last = ((self.folder / f / "model.safetensors").read_bytes() for f in ("q", "again"))
        self.assertEqual(first, last)
        config = json.loads((self.folder / "ct" / "config.json").read_text())["quantization_config"]
        self.assertEqual(config["ignore"], ["lm_head"])
        self.assertEqual(config["config_groups"]["group_0"]["targets"], ["Linear"])

    def test_dense(self):
        self.succeed("convert", self.folder / "q", self.folder / "plain", "--format", "dense", "--dtype", "f32",
                     "--max-shard-size", "4MB")
        self.assertEqual(self.tokens("plain"), self.tokens("q"))
        self.assertEqual(self.json("info", self.folder / "plain")["quantized"], 0)
        self.assertTrue((self.folder / "plain" / "model.safetensors.index.json").exists())

    def test_quantizer_writes_compressed_tensors(self):
        self.json("quantize", MODEL, self.folder / "ct", "--samples", "4", "--seq-len", "64", "--group-size", "32",
                  "--format", "compressed_tensors")
        self.json("convert", self.folder / "ct", self.folder / "gptq", "--format", "gptq")
        first, last = ((self.folder / f / "model.safetensors").read_bytes() for f in ("q", "gptq"))
        self.assertEqual(first, last)
        self.fail_with(1, "quantize", MODEL, self.folder / "no", "--order", "act", "--format", "compressed_tensors",
                       says=["--order act without --static-groups"])

    def test_gguf(self):
        out = self.folder / "model.gguf"
        shown = self.json("convert", self.folder / "q", out, "--format", "gguf")
        self.assertEqual(shown["bytes_after"], out.stat().st_size)
        self.assertEqual(out.read_bytes()[:8], b"GGUF\x03\0\0\0")
        self.fail_with(1, "convert", MODEL, out, "--format", "gguf", says=["--overwrite"])
        self.succeed("convert", out, self.folder / "back", "--format", "dense", "--dtype", "f32")
        self.assertEqual(self.tokens("back"), self.tokens("q"))
        self.fail_with(1, "convert", out, self.folder / "no", "--format", "gptq", says=["'dense'"])
        self.succeed("convert", MODEL, out, "--format", "gguf", "--type", "q8_0", "--overwrite")
        own = self.folder / "q" / "model.safetensors"
        before = own.read_bytes()
        self.fail_with(1, "convert", own.parent, own, "--format", "gguf", "--overwrite", says=["a file of the model"])
        self.assertEqual(own.read_bytes(), before)
        self.fail_with(2, "convert", MODEL, out, "--format", "gguf", "--type", "q5_0", says=["--type"])
        self.fail_with(2, "convert", MODEL, out, "--format", "dense", "--type", "q8_0", says=["--format gguf"])
        self.fail_with(2, "convert", MODEL, out, "--format", "gguf", "--dtype", "f16", says=["--format dense"])

    def test_the_type_is_described_in_one_way(self):
        root = pathlib.Path(__file__).resolve().parents[2]
        texts = {name: (root / name).read_text() for name in ("include/gptq.h", "docs/gguf.md", "src/api/option_table.cpp")}
        texts["help"] = self.succeed("convert", "--help").stdout
        for name, text in texts.items():
            flat = " ".join(text.split())
            self.assertIn("type of the layers' matrices, and of a quantized head", flat.replace("Type", "type"), name)
            self.assertIn("for each what holds it best", flat, name)

    def test_refusals(self):
        self.fail_with(2, "convert", self.folder / "q", self.folder / "out", says=["--format"])
        self.fail_with(2, "convert", self.folder / "q", self.folder / "out", "--format", "awq", says=["--format"])
        self.fail_with(1, "convert", MODEL, self.folder / "out", "--format", "gptq", says=["is not quantized"])
        self.fail_with(1, "convert", self.folder / "q", self.folder / "q", "--format", "gptq", says=["is the model itself"])
        self.assertEqual([path.name for path in self.folder.iterdir()], ["q"])

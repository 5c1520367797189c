"""Help, exit codes, and what goes to which stream."""
import json
import os
import re

import harness
from harness import MODEL, ToolTest, run

COMMANDS = ("quantize", "generate", "perplexity", "logits", "tokenize", "detokenize", "bench", "info")


class Usage(ToolTest):
    def test_alone_prints_the_manual(self):
        alone = self.succeed()
        self.assertEqual(alone.stdout, self.succeed("--help").stdout)
        self.assertEqual(alone.stderr, "")
        for word in (*COMMANDS, "Examples:", "Exit codes:", "130", "GPTQ_CPU_MASK"):
            self.assertIn(word, alone.stdout)
        self.assertLess(alone.stdout.index("Examples:"), alone.stdout.index("Commands:"))

    def test_help_of_each_command_starts_with_examples(self):
        for command in COMMANDS:
            with self.subTest(command):
                text = self.succeed(command, "-h").stdout
                self.assertTrue(text.startswith(f"Examples:\n  gptq {command} "), text[:80])
                for option in ("--threads", "--device", "--compute", "--json", "--quiet", "--verbose"):
                    self.assertIn(option, text)
                self.assertLessEqual(max(map(len, text.splitlines())), 100)

    def test_version(self):
        text = self.succeed("--version").stdout
        self.assertRegex(text, r"^gptq \d+\.\d+\.\d+\n.+")
        header = (harness.ROOT / "include" / "gptq.h").read_text()
        version = ".".join(re.search(rf"GPTQ_VERSION_{p} (\d+)", header)[1] for p in ("MAJOR", "MINOR", "PATCH"))
        self.assertTrue(text.startswith(f"gptq {version}\n"))

    def test_usage_errors(self):
        for arguments, says in (
            (("frobnicate",), "frobnicate"),
            (("--frobnicate",), "--frobnicate"),
            (("quantize", MODEL), "OUT"),
            (("quantize", MODEL, "out", "--bits", "x"), "--bits"),
            (("quantize", MODEL, "out", "--bits", "5"), "bits"),
            (("quantize", MODEL, "out", "--order", "best"), "order"),
            (("quantize", MODEL, "out", "--damp", "2"), "damp"),
            (("quantize", MODEL, "out", "--format", "gguf"), "format"),
            (("generate", MODEL), "--prompt"),
            (("generate", MODEL, "--prompt", "a", "--tokens", "1"), "--tokens"),
            (("generate", MODEL, "--tokens", "1,x"), "x"),
            (("generate", MODEL, "--prompt", "a", "--top-p", "0"), "top_p"),
            (("generate", MODEL, "--prompt", "a", "--temperature", "-1"), "temperature"),
            (("perplexity", MODEL), "--text"),
            (("perplexity", MODEL, "--text", "x", "--context", "1"), "--context"),
            (("tokenize", MODEL), "--text"),
            (("logits", MODEL, "--out", "x"), "--tokens"),
            (("info", MODEL, "--threads", "-3"), "threads"),
            (("info", MODEL, "--compute", "sloppy"), "compute"),
            (("bench", MODEL, "--repeat", "0"), "--repeat"),
        ):
            with self.subTest(" ".join(arguments)):
                self.fail_with(2, *arguments, says=(says, "--help"))

    def test_missing_model(self):
        missing = str(self.folder / "nothing-here")
        for arguments in (
            ("info", missing),
            ("generate", missing, "--prompt", "a"),
            ("quantize", missing, self.folder / "out"),
            ("tokenize", missing, "--text", "a"),
            ("bench", missing),
        ):
            with self.subTest(arguments[0]):
                self.fail_with(1, *arguments, says=("nothing-here",))
        self.assertEqual(list(self.folder.iterdir()), [])

    def test_unknown_device(self):
        self.fail_with(1, "generate", MODEL, "--prompt", "a", "--device", "abacus", says=("abacus",))

    def test_full_disk(self):
        if not os.path.exists("/dev/full"):
            self.skipTest("no /dev/full here")
        with open("/dev/full", "w") as full:
            done = harness.subprocess.run(
                [harness.TOOL, "info", MODEL], stdout=full, stderr=harness.subprocess.PIPE, encoding="utf-8"
            )
        self.assertEqual(done.returncode, 1)
        self.assertIn("gptq: error: standard output", done.stderr)

    def test_quiet_leaves_standard_error_empty(self):
        self.assertEqual(run("generate", MODEL, "--prompt", "Once", "--max-tokens", "3", "-q").stderr, "")

    def test_info(self):
        shown = self.json("info", MODEL)
        config = json.loads((harness.ROOT / "samples/model/config.json").read_text())
        self.assertEqual(shown["hidden_size"], config["hidden_size"])
        self.assertEqual(shown["n_layer"], config["num_hidden_layers"])
        self.assertEqual(shown["n_kv_head"], config["num_key_value_heads"])
        self.assertEqual(shown["vocab_size"], config["vocab_size"])
        self.assertEqual(shown["context_length"], config["max_position_embeddings"])
        self.assertEqual((shown["quantized"], shown["bits"], shown["family"]), (0, 0, "llama"))
        plain = self.succeed("info", MODEL).stdout
        self.assertRegex(plain, rf"(?m)^hidden_size +{config['hidden_size']}$")

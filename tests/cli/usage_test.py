"""Help, exit codes, and what goes to which stream."""
import collections
import json
import os
import pathlib
import re
import subprocess
import sys

import harness
from harness import MODEL, ROOT, ToolTest, run

COMMANDS = ("quantize", "generate", "perplexity", "logits", "tokenize", "detokenize", "bench", "info")


class Usage(ToolTest):
    def test_alone_prints_the_manual(self):
        alone = self.succeed()
        self.assertEqual(alone.stdout, self.succeed("--help").stdout)
        self.assertEqual(alone.stderr, "")
        for word in (*COMMANDS, "Examples:", "Exit codes:", "130", "GPTQ_CPU_MASK", "GPTQ_TRACE"):
            self.assertIn(word, alone.stdout)
        self.assertLess(alone.stdout.index("Examples:"), alone.stdout.index("Commands:"))

    def test_help_of_each_command_starts_with_examples(self):
        for command in COMMANDS:
            with self.subTest(command):
                text = self.succeed(command, "-h").stdout
                self.assertTrue(text.startswith(f"Examples:\n  gptq {command} "), text[:80])
                for option in ("--json", "--quiet", "--verbose"):
                    self.assertIn(option, text)
                computes = command not in ("convert", "tokenize", "detokenize")
                for option in ("--threads", "--device", "--compute"):
                    self.assertEqual(option in text, computes, option)
                self.assertLessEqual(max(map(len, text.splitlines())), 100)

    def test_version(self):
        text = self.succeed("--version").stdout
        self.assertRegex(text, r"^gptq \d+\.\d+\.\d+\n.+")
        header = (harness.ROOT / "include" / "gptq.h").read_text()
        version = ".".join(re.search(rf"GPTQ_VERSION_{p} (\d+)", header)[1] for p in ("MAJOR", "MINOR", "PATCH"))
        self.assertTrue(text.startswith(f"gptq {version}\n"))

    def test_pages_for_packages(self):
        pages = {name: self.succeed("--write-page", name).stdout for name in ("man", "bash", "zsh", "fish")}
        pages["man"] = pages["man"].replace("\\-", "-")
        for command in COMMANDS:
            options = re.findall(r"^  (?:-\w, )?(--[\w-]+)", self.succeed(command, "--help").stdout, flags=re.M)
            self.assertGreater(len(options), 4)
            for page, text in pages.items():
                self.assertRegex(text, rf"\b{command}\b", page)
                for option in options:
                    shown = f" -l {option[2:]} " if page == "fish" else option
                    self.assertIn(shown, text, f"{page} of {command}")
        self.assertIn("\n.SH EXIT STATUS\n", pages["man"])
        self.fail_with(2, "--write-page", "csh", says=("csh", "fish"))
        self.assertNotIn("--write-page", self.succeed("--help").stdout)

    def test_usage_errors(self):
        for arguments, says in (
            (("frobnicate",), "frobnicate"),
            (("--frobnicate",), "--frobnicate"),
            (("quantize", MODEL), "OUT"),
            (("quantize", MODEL, "out", "--bits", "x"), "--bits"),
            (("quantize", MODEL, "out", "--bits", "5"), "--bits is 5"),
            (("quantize", MODEL, "out", "--order", "best"), "--order is 'best'"),
            (("quantize", MODEL, "out", "--damp", "2"), "--damp is 2"),
            (("quantize", MODEL, "out", "--format", "gguf"), "--format is 'gguf', which is to convert to"),
            (("quantize", MODEL, "out", "--format", "awq"), "--format is 'awq'"),
            (("generate", MODEL), "--prompt"),
            (("generate", MODEL, "--prompt", "a", "--tokens", "1"), "--tokens"),
            (("generate", MODEL, "--tokens", "1,x"), "x"),
            (("generate", MODEL, "--prompt", "a", "--top-p", "0"), "--top-p is 0"),
            (("generate", MODEL, "--prompt", "a", "--temperature", "-1"), "--temperature is -1"),
            (("perplexity", MODEL), "--text"),
            (("perplexity", MODEL, "--text", "x", "--context", "1"), "--context"),
            (("tokenize", MODEL), "--text"),
            (("logits", MODEL, "--out", "x"), "--tokens"),
            (("convert", MODEL, "out", "--format", "dense", "--threads", "2"), "unknown option '--threads'"),
            (("convert", MODEL, "out", "--format", "dense", "--compute", "fast"), "unknown option '--compute'"),
            (("tokenize", MODEL, "--text", "a", "--device", "cpu"), "unknown option '--device'"),
            (("detokenize", MODEL, "--tokens", "1", "--threads", "2"), "unknown option '--threads'"),
            (("info", MODEL, "--threads", "-3"), "--threads is -3"),
            (("info", MODEL, "--compute", "sloppy"), "--compute"),
            (("bench", MODEL, "--repeat", "0"), "--repeat is 0"),
            (("bench", MODEL, "--prompt", "-5"), "--prompt is -5"),
            (("bench", MODEL, "--generate", "1"), "at least 2"),
            (("bench", MODEL, "--sessions", "0"), "--sessions is 0"),
            (("quantize", MODEL, "out", "--samples", "0"), "--samples is 0"),
            (("quantize", MODEL, "out", "--bits"), "--bits: its value is missing"),
            (("generate", MODEL, "--prompt", "a", "--max-tokens", "9" * 20), "9" * 20),
            (("generate", MODEL, "--prompt", "a", "--max-tokens", "1e3"), "a whole number"),
            (("generate", MODEL, "--prompt", "a", "--temperature", "0,7"), "such as 0.7"),
            (("generate", MODEL, "--prompt", "a", "--prompt-file", "b"), "only one of these"),
            (("generate", MODEL, "once"), "argument 'once' was not expected"),
        ):
            with self.subTest(" ".join(arguments)):
                self.fail_with(2, *arguments, says=(says, "--help"))

    def test_misspelled(self):
        for arguments, meant in (
            (("quantise",), "'quantize'"),
            (("help", "quantise"), "'quantize'"),
            (("--versoin",), "'--version'"),
            (("quantize", MODEL, "out", "--bit", "4"), "'--bits'"),
            (("quantize", MODEL, "out", "--group_size=64"), "'--group-size'"),
            (("quantize", MODEL, "out", "--calib", "x"), "'--calibration'"),
            (("generate", MODEL, "--promt", "a"), "'--prompt'"),
        ):
            with self.subTest(" ".join(arguments)):
                self.fail_with(2, *arguments, says=("did you mean " + meant,))
        self.assertNotIn("did you mean", run("frobnicate").stderr)
        self.fail_with(2, "--json", "info", MODEL, says=("'--json'; options of a command stand after it",))

    def test_help_of_a_command(self):
        self.assertEqual(self.succeed("help").stdout, self.succeed().stdout)
        self.assertEqual(self.succeed("help", "info").stdout, self.succeed("info", "--help").stdout)

    def test_the_last_of_two_counts(self):
        shown = self.json("generate", MODEL, "--prompt", "Once", "--max-tokens", "9", "--max-tokens", "2")
        self.assertEqual(len(shown["tokens"]), 2)

    def test_file_for_a_folder(self):
        for command in (("info",), ("bench",), ("tokenize", "--text", "a"), ("quantize", self.folder / "out")):
            with self.subTest(command[0]):
                where = f"{MODEL}/config.json"
                self.fail_with(1, command[0], where, *command[1:], says=("config.json' is not a folder",))

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

    def test_unknown_instruction_set(self):
        for mask, unknown in (("avx3,amx", "avx3"), ("AVX512", "AVX512"), ("amx,,avx512", None), ("bf16", None), ("", None)):
            said = self.succeed("info", MODEL, env={"GPTQ_CPU_MASK": mask}).stderr
            if unknown:
                self.assertIn(f"gptq: warning: GPTQ_CPU_MASK names '{unknown}'", said)
                self.assertIn("known are avx2, avx512, vnni, bf16 and amx", said)
            else:
                self.assertEqual(said, "")

    def test_trace(self):
        trace = self.folder / "trace.json"
        plain = self.succeed("generate", MODEL, "--prompt", "Once upon", "--max-tokens", "3").stdout
        traced = self.succeed(
            "generate", MODEL, "--prompt", "Once upon", "--max-tokens", "3", env={"GPTQ_TRACE": str(trace)}
        ).stdout
        self.assertEqual(traced, plain)
        written = trace.read_bytes()
        self.succeed("--version", env={"GPTQ_TRACE": str(trace)})
        self.assertEqual(trace.read_bytes(), written)
        table = subprocess.run(
            [sys.executable, ROOT / "tests/bench/trace.py", trace, "--rows", "1"], capture_output=True, text=True, check=True
        ).stdout
        self.assertRegex(table, r"linear \d+ x \d+ +\d+ ")
        self.assertIn("attention", table)
        # a token of the 4 layers: sums of the residual stream are part of the norms behind them
        events = json.loads(written.decode().rstrip().rstrip(",]") + "]")
        names = [event["name"] for event in events if event["ph"] == "X"]
        begin = max(i for i, name in enumerate(names) if name == "embed")
        self.assertEqual(
            collections.Counter(names[begin:]),
            {"embed": 1, "norm": 1, "linear": 17, "rope_store": 4, "attention": 4, "activate": 4, "add_norm": 8, "largest": 1},
        )
        self.fail_with(
            1, "generate", MODEL, "--prompt", "a", env={"GPTQ_TRACE": str(self.folder / "no/where")}, says=("GPTQ_TRACE", "no/where")
        )

    def test_unknown_device(self):
        self.fail_with(1, "generate", MODEL, "--prompt", "a", "--device", "abacus", says=("abacus",))

    def test_several_devices(self):
        prompt = ("generate", MODEL, "--prompt", "Once upon a time", "--max-tokens", "20", "--device")
        alone = self.succeed(*prompt, "cpu").stdout
        self.assertGreater(len(alone), 40)
        for split in ((), ("--layer-split", "1,3"), ("--layer-split", "0,4")):
            self.assertEqual(self.succeed(*prompt, "cpu,cpu", *split).stdout, alone, split)
        said = self.succeed(*prompt, "cpu,cpu", "--layer-split", "1,3", "-v").stderr
        self.assertRegex(said, r"1,3 layers on cpu \(.*\) \+ cpu \(")
        self.assertIn("layers 1 to 3 on cpu", said)
        trace = self.folder / "trace.json"
        self.succeed(*prompt, "cpu,cpu", env={"GPTQ_TRACE": str(trace)})
        names = {event["name"] for event in json.loads(trace.read_text().rstrip().rstrip(",") + "]")}
        self.assertLessEqual({"embed", "download", "upload", "largest"}, names)
        for arguments, says in (
            (("cpu,",), ("device 2 of the list 'cpu,'",)),
            (("cpu,abacus",), ("'abacus'",)),
            (("cpu,cpu,cpu,cpu,cpu",), ("5 devices for a model of 4 layers",)),
            (("cpu", "--layer-split", "2,2"), ("--layer-split has 2 numbers, but there is one device",)),
            (("cpu,cpu", "--layer-split", "2,3"), ("--layer-split adds up to 5 layers, but the model has 4",)),
            (("cpu,cpu", "--layer-split", "4"), ("--layer-split has 1 number, but there are 2 devices",)),
            (("cpu,cpu", "--layer-split", "2,x"), ("--layer-split is '2,x'", "20,12")),
        ):
            self.fail_with(1, *prompt, *arguments, says=says)
        out = self.folder / "out"
        self.fail_with(1, "quantize", MODEL, out, "--device", "cpu,cpu", says=("--device is the list 'cpu,cpu'", "one device"))
        self.assertFalse(out.exists())
        self.assertNotIn("layer_split", self.json("info", MODEL, "--device", "cpu,cpu"))

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
        self.assertEqual(shown["folder_bytes"], sum(path.stat().st_size for path in pathlib.Path(MODEL).iterdir()))
        self.assertNotIn("parameters", shown)  # only the weights tell, and info does not read them
        plain = self.succeed("info", MODEL).stdout
        self.assertRegex(plain, rf"(?m)^hidden_size +{config['hidden_size']}$")

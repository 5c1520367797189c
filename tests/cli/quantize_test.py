"""quantize: what it writes, what it refuses, and what is left when it is interrupted or killed."""
import fcntl
import json
import os
import pathlib
import re
import shutil
import signal
import struct
import termios
import time

import harness
from harness import MODEL, ROOT, STORIES, ToolTest, start

SMALL = ("--samples", "4", "--seq-len", "64")


class Quantize(ToolTest):
    def quantize(self, *arguments, out="out"):
        return self.json("quantize", MODEL, self.folder / out, *SMALL, *arguments)

    def divergence(self, model):
        return self.json("perplexity", model, "--text", STORIES, "--reference", MODEL, "--context", "128")["kl"]

    def test_output_is_a_model_folder(self):
        shown = self.quantize("--bits", "4", "--group-size", "32")
        out = self.folder / "out"
        names = {path.name for path in out.iterdir()}
        self.assertLessEqual({"config.json", "model.safetensors", "tokenizer.json", "quantize_config.json"}, names)
        self.assertEqual(shown["modules"], 28)
        self.assertLess(shown["bytes_after"], shown["bytes_before"])
        config = json.loads((out / "quantize_config.json").read_text())
        self.assertEqual((config["bits"], config["group_size"], config["sym"]), (4, 32, True))
        info = self.json("info", out)
        self.assertEqual((info["quantized"], info["bits"], info["group_size"], info["sym"]), (1, 4, 32, 1))
        self.assertEqual(len(self.json("generate", out, "--prompt", "Once", "--max-tokens", "5")["tokens"]), 5)
        self.assertEqual([path.name for path in self.folder.iterdir()], ["out"])

    def test_more_bits_are_closer(self):
        distance = {}
        for bits in (2, 3, 4, 8):
            self.quantize("--bits", bits, out=f"q{bits}")
            distance[bits] = self.divergence(self.folder / f"q{bits}")
        self.assertLess(distance[8], distance[4])
        self.assertLess(distance[4], distance[3])
        self.assertLess(distance[3], distance[2])
        self.assertLess(distance[8], 0.01)

    def test_options_reach_the_library(self):
        cases = {
            "asym": ("--asym",),
            "asym-v1": ("--asym", "--format", "gptq"),
            "v2": ("--format", "gptq_v2"),
            "act": ("--order", "act"),
            "none": ("--order", "none"),
            "static": ("--static-groups", "--order", "act"),
            "parallel": ("--no-true-sequential",),
            "channel": ("--group-size", "-1"),
            "damp": ("--damp", "0.1"),
            "text": ("--calibration", STORIES),
        }
        for name, options in cases.items():
            with self.subTest(name):
                self.quantize(*options, out=name)
                self.assertLess(self.divergence(self.folder / name), 1)
                config = json.loads((self.folder / name / "quantize_config.json").read_text())
                self.assertEqual(config["sym"], not name.startswith("asym"))
                self.assertEqual(config["desc_act"], name in ("act", "static"))
                self.assertEqual(config["group_size"], -1 if name == "channel" else 128)

    def test_large_models_become_several_files(self):
        self.quantize(out="one")
        self.quantize("--max-shard-size", "1MB", out="several")
        index = json.loads((self.folder / "several" / "model.safetensors.index.json").read_text())
        files = sorted(path.name for path in (self.folder / "several").glob("*.safetensors"))
        self.assertGreater(len(files), 2)
        self.assertEqual(files, [f"model-{i + 1:05}-of-{len(files):05}.safetensors" for i in range(len(files))])
        self.assertEqual(sorted(set(index["weight_map"].values())), files)
        self.assertEqual(list(index["weight_map"]), sorted(index["weight_map"]))
        prompt = ("--prompt", "Once upon", "--max-tokens", "8")
        one, several = (self.json("generate", self.folder / out, *prompt)["tokens"] for out in ("one", "several"))
        self.assertEqual(one, several)
        for size, code in (("0", 2), ("4TB", 2), ("-1", 2), ("GB", 2), ("", 2), ("9999999999G", 2)):
            self.fail_with(code, "quantize", MODEL, self.folder / "none", *SMALL, "--max-shard-size", size, says=["max"])
            self.assertFalse((self.folder / "none").exists())

    def test_dry_run_tells_the_memory(self):
        shapes = {
            "default": SMALL,
            "many": ("--samples", "96", "--seq-len", "256"),
            "plain": ("--samples", "96", "--seq-len", "256", "--target", "sequential", "--sweeps", "0", "--refit", "0"),
        }
        for name, shape in shapes.items():
            with self.subTest(name):
                text = ("--calibration", STORIES)
                planned = self.json("quantize", MODEL, self.folder / name, *shape, *text, "--dry-run")["planned"]
                self.assertEqual(list(self.folder.iterdir()), [])
                self.assertEqual(planned["modules"], 28)
                parts = [part["bytes"] for part in planned["memory"]]
                self.assertEqual((sum(parts), sorted(parts, reverse=True)), (planned["peak_memory"], parts))
                shown = self.json("quantize", MODEL, self.folder / name, *shape, *text)
                taken = max(module["memory"] for module in shown["report"]["modules"])
                known = shown["report"]["planned"]["peak_memory"]  # once the text is cut; before that, at most
                self.assertTrue(0.8 < known / taken < 1.25, (known, taken))
                self.assertGreaterEqual(planned["peak_memory"], known)
                size = (self.folder / name / "model.safetensors").stat().st_size
                self.assertTrue(0 <= size - planned["output_bytes"] < 20000)
                shutil.rmtree(self.folder / name)

    def test_memory_limit(self):
        arguments = ("--samples", "96", "--seq-len", "256", "--calibration", STORIES)
        for limit in ("1.5M", "0.001G"):
            self.fail_with(1, "quantize", MODEL, self.folder / "out", *arguments, "--memory-limit", limit,
                                     says=["--memory-limit", "needs"])
        self.assertFalse((self.folder / "out").exists())
        whole = self.json("quantize", MODEL, self.folder / "out", *arguments, "--dry-run")["planned"]
        limit = whole["peak_memory"] * 3 // 4
        less = self.json("quantize", MODEL, self.folder / "out", *arguments, "--dry-run", "--memory-limit", limit)
        self.assertEqual(whole["file_bytes"], 0)
        self.assertLessEqual(less["planned"]["peak_memory"], limit)
        self.fail_with(1, "quantize", MODEL, self.folder / "out", *arguments, "--dry-run", "--memory-limit", "1.5M",
                                 says=["--memory-limit", "needs"])

    def test_settings_of_single_modules(self):
        text = '{"+:.*down_proj": {"bits": 8, "group_size": 32}, "-:.*layers\\\\.0\\\\.": {}, ".*nothing": {"bits": 2}}'
        file = self.folder / "dynamic.json"
        file.write_text(text)
        for out, given in (("a", text), ("b", file)):
            shown = self.quantize("--dynamic", given, out=out)
            self.assertEqual(shown["modules"], 21)
            self.assertEqual(
                {(m["bits"], m["group_size"]) for m in shown["report"]["modules"]}, {(4, 128), (8, 32)}
            )
            self.assertEqual(len(shown["report"]["warnings"]), 1)
            config = json.loads((self.folder / out / "quantize_config.json").read_text())
            self.assertEqual(list(config["dynamic"].items()), list(json.loads(text).items()))
        weights = [(self.folder / out / "model.safetensors").read_bytes() for out in "ab"]
        self.assertEqual(weights[0], weights[1])
        done = self.succeed("quantize", MODEL, self.folder / "c", *SMALL, "--dynamic", text)
        self.assertIn("warning", done.stderr)
        self.assertIn("'.*nothing' matches no module", done.stderr)
        for bad in ('{"a(": {"bits": 8}}', '{"a": {"bitz": 8}}', '{"a": 8}'):
            self.fail_with(2, "quantize", MODEL, self.folder / "d", "--dynamic", bad, says=("dynamic", "'a"))
        self.fail_with(1, "quantize", MODEL, self.folder / "d", "--dynamic", self.folder / "none.json")

    def test_calibration_files(self):
        stories = pathlib.Path(STORIES).read_text().split("\n\n")
        lines, array, broken = (self.folder / name for name in ("a.jsonl", "a.json", "b.jsonl"))
        lines.write_text("".join(json.dumps({"text": story, "id": 1}) + "\n" for story in stories) + "\n")
        array.write_text(json.dumps([[1, 20 + i, 300, 4] * 8 for i in range(5)]))
        broken.write_text('{"text": "a"}\n{"text": \n')
        shown = self.quantize("--calibration", lines, out="lines")["report"]["calibration"]
        self.assertEqual((shown["source"], shown["documents"], shown["sequences"]), ("text", len(stories), 4))
        shown = self.quantize("--calibration", lines, "--no-packing", out="single")["report"]["calibration"]
        self.assertLessEqual(shown["tokens"], 4 * 64)
        shown = self.quantize("--calibration", array, out="tokens")["report"]["calibration"]
        self.assertEqual((shown["source"], shown["sequences"], shown["left_out"]), ("tokens", 4, 1))
        self.assertEqual(shown["tokens"], 128)
        renamed = self.folder / "lines.txt"
        renamed.write_bytes(lines.read_bytes())
        shown = self.quantize("--calibration", renamed, "--calibration-format", "jsonl", out="named")["report"]
        self.assertEqual(shown["calibration"]["documents"], len(stories))
        for text, says in (('{"text": "a"}\n{"text": \n', "line 2"), ('{"messages": []}', "messages"), ("\n", "neither")):
            broken.write_text(text)
            self.fail_with(1, "quantize", MODEL, self.folder / "out", "--calibration", broken, says=(says,))
        self.assertFalse((self.folder / "out").exists())

    def test_calibration_with_chats(self):
        model = self.copy_model()
        (model / "chat_template.jinja").write_text("{{ bos_token }}{% for m in messages %}{{ m.content }}\n{% endfor %}")
        chats, texts = self.folder / "chats.jsonl", self.folder / "texts.jsonl"
        chats.write_text('{"messages": [{"role": "user", "content": "Once upon a time there was a dog."}]}\n' * 9)
        texts.write_text('{"text": "<s>Once upon a time there was a dog.\\n"}\n' * 9)
        reports = [
            self.json("quantize", model, self.folder / path.stem, *SMALL, "--calibration", path)["report"]
            for path in (chats, texts)
        ]
        self.assertEqual(*(report["calibration"]["tokens"] for report in reports))
        self.assertEqual(*([module["loss"] for module in report["modules"]] for report in reports))

    def test_tied_head_is_not_quantized(self):
        self.fail_with(1, "quantize", MODEL, self.folder / "out", *SMALL, "--lm-head",
                       says=("gptq: error: --lm-head wants", "tie_word_embeddings"))  # fmt: skip
        untied = ROOT / "tests" / "golden" / "models" / "llama"
        out = self.folder / "out"
        self.succeed("quantize", untied, out, "--samples", "4", "--seq-len", "32", "--lm-head")
        self.assertTrue(json.loads((out / "quantize_config.json").read_text())["lm_head"])

    def test_messages_speak_of_flags(self):
        for arguments, says in (
            (("--refit", "9"), "--refit is 9, wanted at most --sweeps, which is 4"),
            (("--seq-len", "100000"), "--seq-len is 100000, but"),
            (("--dynamic", '{"-:.*": {}}'), "--dynamic skips every module"),
            (("--dynamic", '{".*": {"bits": 5}}'), "--dynamic: '.*'"),
        ):
            done = harness.run("quantize", MODEL, self.folder / "out", *arguments)
            self.assertIn(done.returncode, (1, 2))
            self.assertIn("gptq: error: " + says, done.stderr)

    def test_same_input_same_bytes(self):
        for out in ("a", "b"):
            self.quantize("--seed", "7", out=out)
        self.quantize("--seed", "7", "--threads", "1", out="c")
        first = (self.folder / "a" / "model.safetensors").read_bytes()
        self.assertEqual(first, (self.folder / "b" / "model.safetensors").read_bytes())
        self.assertEqual(first, (self.folder / "c" / "model.safetensors").read_bytes())

    def test_existing_output_is_refused_or_replaced(self):
        out = self.folder / "out"
        out.mkdir()
        (out / "mine").write_text("keep")
        self.fail_with(1, "quantize", MODEL, out, *SMALL, says=("out", "; --overwrite replaces it", "EXISTS"))
        self.assertEqual([path.name for path in out.iterdir()], ["mine"])
        self.quantize("--overwrite")
        self.assertTrue((out / "model.safetensors").is_file())
        self.assertFalse((out / "mine").exists())

    def test_faults_leave_no_output(self):
        out = self.folder / "out"
        short = self.folder / "short.txt"
        self.fail_with(1, "quantize", MODEL, self.folder / "none" / "out", *SMALL, says=("none",))
        self.fail_with(1, "quantize", MODEL, out, *SMALL, "--calibration", self.folder / "no.txt", says=("no.txt",))
        for text in ("", "a"):
            short.write_text(text)
            self.fail_with(1, "quantize", MODEL, out, *SMALL, "--calibration", short)
        model = self.copy_model()
        weights = model / "model.safetensors"
        os.truncate(weights, weights.stat().st_size - 10)
        self.fail_with(1, "quantize", model, out, *SMALL, says=("model.safetensors", "TRUNC"))
        (model / "config.json").write_text("{")
        self.fail_with(1, "quantize", model, out, *SMALL, says=("config.json",))
        (model / "config.json").unlink()
        self.fail_with(1, "quantize", model, out, *SMALL, says=("config.json",))
        self.assertFalse(out.exists())

    def test_quantized_input_is_refused(self):
        self.quantize(out="once")
        self.fail_with(1, "quantize", self.folder / "once", self.folder / "twice", *SMALL)
        self.assertFalse((self.folder / "twice").exists())

    def test_unreadable_file(self):
        if os.geteuid() == 0:
            self.skipTest("root reads everything")
        model = self.copy_model()
        (model / "model.safetensors").chmod(0)
        self.fail_with(1, "generate", model, "--prompt", "a", says=("model.safetensors",))


class Interrupt(ToolTest):
    def start_quantize(self, begun="layer", *more):
        """A running job whose first layer, or the one named, has begun."""
        job = start("quantize", MODEL, self.folder / "out", "--calibration", STORIES, "--samples", "3", "--seq-len",
                    "512", "--threads", "1", "--bits", "4", *more)  # fmt: skip
        self.addCleanup(job.wait)
        self.addCleanup(job.kill)
        line = job.stderr.readline()
        while line and begun not in line:
            line = job.stderr.readline()
        self.assertIn(begun, line)
        return job

    def stop(self, job, signal_number):
        started = time.monotonic()
        job.send_signal(signal_number)
        stdout, stderr = job.communicate(timeout=harness.SECONDS)
        return stdout, stderr, time.monotonic() - started

    def test_interrupt_ends_cleanly(self):
        job = self.start_quantize()
        stdout, stderr, seconds = self.stop(job, signal.SIGINT)
        self.assertEqual(job.returncode, 130, stderr)
        self.assertEqual(stdout, "")
        self.assertLess(seconds, 5)
        self.assertIn("gptq: interrupted", stderr)
        self.assertLessEqual({path.name for path in self.folder.iterdir()}, {".out.unfinished"})

    def test_the_same_command_goes_on(self):
        command = ("--calibration", STORIES, "--samples", "3", "--seq-len", "512", "--bits", "4")
        self.succeed("quantize", MODEL, self.folder / "whole", *command)
        job = self.start_quantize("layer 2")
        _, stderr, _ = self.stop(job, signal.SIGINT)
        self.assertRegex(stderr, r"gptq: interrupted; the same command goes on after layer [1-3] of 4\n")
        work = self.folder / ".out.unfinished"
        for more in ((), ("--restart",), ("--restart", "--bits", "3"), ("--no-resume", "--bits", "3")):
            self.succeed("quantize", MODEL, self.folder / "out", *command, *more, "--dry-run")
            self.assertTrue((work / "layer-0").is_file())
        # refused before the first layer: nothing is dropped
        limit = ("--restart", "--memory-limit", "1M")
        self.fail_with(1, "quantize", MODEL, self.folder / "out", *command, *limit, says=("--memory-limit",))
        self.assertTrue((work / "layer-0").is_file())
        said = self.fail_with(1, "quantize", MODEL, self.folder / "out", *command[:-1], "3", says=("its --bits is '4'", "3"))
        self.assertIn("start anew with --restart, or delete the folder", said.stderr)
        done = self.succeed("quantize", MODEL, self.folder / "out", *command, "--threads", "2")
        self.assertRegex(done.stderr, r"gptq: goes on after layer [1-3] of 4\n")
        self.assertFalse(work.exists())
        for name in ("model.safetensors", "config.json", "quantize_config.json"):
            self.assertEqual((self.folder / "out" / name).read_bytes(), (self.folder / "whole" / name).read_bytes())

    def test_restart_and_no_resume(self):
        self.stop(self.start_quantize("layer 2"), signal.SIGKILL)
        small = ("quantize", MODEL, self.folder / "out", "--samples", "2", "--seq-len", "32")
        self.fail_with(1, *small, says=(".out.unfinished", "EXISTS"))
        self.succeed(*small, "--restart")
        self.assertEqual([path.name for path in self.folder.iterdir()], ["out"])
        _, stderr, _ = self.stop(self.start_quantize("layer 2", "--overwrite", "--no-resume"), signal.SIGINT)
        self.assertTrue(stderr.endswith("gptq: interrupted\n"), stderr)
        self.assertEqual([path.name for path in self.folder.iterdir()], ["out"])

    def test_kill_leaves_nothing_that_looks_finished(self):
        job = self.start_quantize()
        self.stop(job, signal.SIGKILL)
        self.assertEqual(job.returncode, -signal.SIGKILL)
        self.assertFalse((self.folder / "out").exists())
        for left in self.folder.rglob("model.safetensors"):
            self.fail_with(1, "info", left.parent)
        self.succeed("quantize", MODEL, self.folder / "out", "--samples", "2", "--seq-len", "32", "--restart")
        self.assertTrue((self.folder / "out" / "model.safetensors").is_file())

    def test_interrupted_generation(self):
        job = start("generate", MODEL, "--prompt", "Once", "--ignore-eos", "--threads", "1")
        self.addCleanup(job.kill)
        self.assertTrue(job.stdout.read(1))
        _, stderr, _ = self.stop(job, signal.SIGINT)
        self.assertEqual(job.returncode, 130, stderr)
        self.assertIn("interrupted", stderr)


class Progress(ToolTest):
    def test_lines_where_there_is_no_terminal(self):
        done = self.succeed("quantize", MODEL, self.folder / "out", *SMALL)
        self.assertNotIn("\r", done.stderr)
        self.assertNotIn("\x1b", done.stderr)
        layers = [line for line in done.stderr.splitlines() if "layer" in line]
        self.assertTrue(4 <= len(layers) <= 14, done.stderr)
        self.assertRegex(layers[-1], r"^gptq: layer 4/4: +\d+ %  \d+:\d\d")
        self.assertIn("out", done.stdout)
        self.assertEqual(pathlib.Path(self.folder / "out").is_dir(), True)

    def test_bar_on_a_terminal(self):
        for environment, colour in (({}, True), ({"NO_COLOR": "1"}, False)):
            with self.subTest(colour):
                text = self.on_terminal({"TERM": "xterm", **environment})
                self.assertIn("\r", text)
                self.assertRegex(text, r"layer [1-4]/4 +\[")
                plain = re.sub(r"\x1b\[\d*m", "", text)
                self.assertRegex(
                    plain, r"\] +\d+ %  \d+:\d\d, \d+:\d\d left  (mlp|self_attn)\.\w+_proj, loss [\d.e+-]+[\r\n]"
                )
                for line in plain.replace("\x1b[K", "").replace("\n", "\r").split("\r"):
                    self.assertLess(len(line), 80, line)
                self.assertEqual("\x1b[32m" in text, colour)

    def test_the_result_stands_on_its_own_line(self):
        shown = self.on_terminal({"TERM": "xterm"}, both=True)
        self.assertRegex(shown, r"[\r\n](\x1b\[K)?\S*out: 28 modules")

    def test_a_narrow_terminal_gets_no_line_that_wraps(self):
        for columns in (16, 40):
            shown = self.on_terminal({"TERM": "xterm", "NO_COLOR": "1"}, columns=columns)
            self.assertIn("layer", shown)
            for line in shown.replace("\x1b[K", "").replace("\n", "\r").split("\r"):
                self.assertLess(len(line), columns, line)

    def on_terminal(self, environment, columns=80, both=False):
        """Standard error of a job that has a terminal for it, or both of its streams."""
        ours, theirs = os.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        job = harness.subprocess.Popen(
            [harness.TOOL, "quantize", MODEL, str(self.folder / "out"), "--overwrite", "--samples", "16"],
            stdout=theirs if both else harness.subprocess.DEVNULL,
            stderr=theirs,
            env={**{k: v for k, v in os.environ.items() if k != "NO_COLOR"}, **environment},
        )
        os.close(theirs)
        shown = b""
        try:
            while piece := os.read(ours, 4096):
                shown += piece
        except OSError:
            pass  # the other end is gone
        os.close(ours)
        self.assertEqual(job.wait(harness.SECONDS), 0)
        return shown.decode()

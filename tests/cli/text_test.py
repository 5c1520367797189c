"""tokenize, detokenize and generate."""
import json
import shutil
import signal
import subprocess
import time

import harness
from harness import MODEL, ToolTest

TEXTS = (
    "Once upon a time",
    "",
    " ",
    "\n\n  two lines\r\n",
    "caf\u00e9 \u4f60\u597d \U0001f469\u200d\U0001f469\u200d\U0001f467",
    '"quoted" {braces} [1,2] %d \\n --json -x',
    "{}",
    "--prompt",
    "'",
    "a" * 5000,
)


def wait_for_idle(process):
    """Until it has its second thread, which takes signals, and waits."""
    for _ in range(6000):
        with open(f"/proc/{process}/status") as status:
            lines = dict(line.split(":\t", 1) for line in status.read().splitlines() if ":\t" in line)
        if int(lines["Threads"]) >= 2 and lines["State"].startswith("S"):
            return
        time.sleep(0.01)
    raise AssertionError("it never waited")


class Tokenizer(ToolTest):
    def ids(self, *arguments, **options):
        return self.json("tokenize", MODEL, *arguments, **options)["ids"]

    def text_of(self, ids):
        return self.json("detokenize", MODEL, "--tokens", ",".join(map(str, ids)))["text"]

    def test_round_trip_of_arguments(self):
        for text in TEXTS:
            with self.subTest(text[:20]):
                ids = self.ids("--text", text, "--no-special")
                self.assertEqual(self.text_of(ids), text)
                self.assertEqual(bool(ids), bool(text))

    def test_file_and_standard_input_equal_the_argument(self):
        path = self.folder / "text"
        for text in TEXTS:
            path.write_bytes(text.encode())
            ids = self.ids("--text", text)
            self.assertEqual(self.ids("--file", path), ids)
        self.assertEqual(self.ids("--file", "-", stdin="Once upon"), self.ids("--text", "Once upon"))

    def test_file_with_nul(self):
        path = self.folder / "text"
        path.write_bytes(b"a\0b")
        self.assertEqual(self.text_of(self.ids("--file", path, "--no-special")), "a\0b")

    def test_special_token_in_text_becomes_that_token(self):
        self.assertEqual(self.ids("--text", "<s>", "--no-special"), [0])
        self.assertEqual(self.text_of([0]), "<s>")
        done = self.succeed("detokenize", MODEL, "--tokens", "0", "--skip-special")
        self.assertEqual(done.stdout, "\n")

    def test_plain_output(self):
        text = "Once upon a time"
        ids = " ".join(map(str, self.ids("--text", text)))
        self.assertEqual(self.succeed("tokenize", MODEL, "--text", text).stdout, ids + "\n")
        self.assertEqual(self.succeed("detokenize", MODEL, "--tokens", ids).stdout, text + "\n")

    def test_folder_of_tokenizer_files_alone(self):
        for name in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copy(f"{MODEL}/{name}", self.folder)
        ids = self.ids("--text", "Once upon a time")
        self.assertEqual(self.json("tokenize", self.folder, "--text", "Once upon a time")["ids"], ids)
        self.assertEqual(
            self.json("detokenize", self.folder, "--tokens", ",".join(map(str, ids)))["text"], "Once upon a time"
        )

    def test_folder_of_a_family_that_is_not_known(self):
        for name in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copy(f"{MODEL}/{name}", self.folder)
        (self.folder / "config.json").write_text('{"model_type": "llava_next", "text_config": {}}')
        ids = self.ids("--text", "Once upon a time")
        for more in ((), ("-v",)):
            self.assertEqual(self.json("tokenize", self.folder, "--text", "Once upon a time", *more)["ids"], ids)
        self.fail_with(1, "generate", self.folder, "--prompt", "Once", says=("llava_next", "not known"))
        self.fail_with(1, "info", self.folder, says=("llava_next", "not known"))
        (self.folder / "config.json").write_text('{"model_type": 5}')
        self.fail_with(1, "tokenize", self.folder, "--text", "Once", says=("model_type",))

    def test_faults(self):
        self.fail_with(1, "detokenize", MODEL, "--tokens", "4096", says=("4096",))
        self.fail_with(1, "detokenize", MODEL, "--tokens", "-1", says=("-1",))
        self.fail_with(2, "detokenize", MODEL, "--tokens", "99999999999", says=("99999999999",))
        self.fail_with(1, "tokenize", MODEL, "--file", self.folder / "none", says=("none",))
        self.fail_with(1, "tokenize", MODEL, "--file", self.folder)


class Generate(ToolTest):
    def test_streams_what_json_holds(self):
        arguments = ("generate", MODEL, "--prompt", "Once upon a time", "--max-tokens", "24")
        shown = self.json(*arguments)
        self.assertEqual(set(shown), {"tokens", "text", "finish_reason"})
        self.assertEqual(shown["finish_reason"], "length")
        self.assertEqual(len(shown["tokens"]), 24)
        self.assertEqual(self.succeed(*arguments).stdout.rstrip("\n"), shown["text"].rstrip("\n"))
        whole = self.json("detokenize", MODEL, "--tokens", ",".join(map(str, shown["tokens"])))["text"]
        self.assertEqual(whole, shown["text"])

    def test_ids_equal_their_text(self):
        ids = self.json("tokenize", MODEL, "--text", "Once upon a time")["ids"]
        by_text = self.json("generate", MODEL, "--prompt", "Once upon a time", "--max-tokens", "8")
        by_ids = self.json("generate", MODEL, "--tokens", ",".join(map(str, ids)), "--max-tokens", "8")
        self.assertEqual(by_text, by_ids)

    def test_seed_decides(self):
        def sample(seed, *more):
            return self.json(
                "generate", MODEL, "--prompt", "Once", "--max-tokens", "20", "--temperature", "1", "--seed", seed, *more
            )["tokens"]

        self.assertEqual(sample(1), sample(1))
        self.assertEqual(sample(1), sample(1, "--threads", "1"))
        self.assertGreater(len({tuple(sample(seed)) for seed in range(4)}), 1)

    def test_narrow_sampling_is_greedy(self):
        greedy = self.json("generate", MODEL, "--prompt", "Once", "--max-tokens", "12")["tokens"]
        for narrow in (("--top-k", "1"), ("--top-p", "0.000001"), ("--min-p", "1")):
            with self.subTest(narrow[0]):
                shown = self.json(
                    "generate", MODEL, "--prompt", "Once", "--max-tokens", "12", "--temperature", "1", *narrow
                )
                self.assertEqual(shown["tokens"], greedy)

    def test_stop_texts(self):
        arguments = ("generate", MODEL, "--prompt", "Once upon a time", "--max-tokens", "40")
        whole = self.json(*arguments)["text"]
        dot, comma = whole.index("."), whole.index(",")
        shown = self.json(*arguments, "--stop", "no such", "--stop", ".", "--stop", ",")
        self.assertEqual((shown["text"], shown["finish_reason"]), (whole[: min(dot, comma)], "stop"))
        self.assertEqual(self.succeed(*arguments, "--stop", ".").stdout, whole[:dot] + "\n")
        # brackets and quotes are text; each takes one value
        for text in ('["', "[no such,%s]" % whole[10:14], "[" + whole[20] + "]"):
            self.assertEqual(self.json(*arguments, "--stop", text)["text"], whole)
        shown = self.json("generate", "--stop", ".", MODEL, *arguments[2:])
        self.assertEqual(shown["text"], whole[:dot])
        self.fail_with(2, *arguments, "--stop", ".", "more", says=("more",))
        self.fail_with(1, *arguments, "--stop", "", says=("--stop", "1 to 4096"))
        self.fail_with(2, *arguments, "--stop", says=("--stop",))

    def test_ends_with_the_context(self):
        shown = self.json("generate", MODEL, "--prompt", "Once", "--ignore-eos")
        self.assertEqual(shown["finish_reason"], "context")
        prompt = len(self.json("tokenize", MODEL, "--text", "Once")["ids"])
        self.assertEqual(prompt + len(shown["tokens"]), 512)

    def test_prompt_longer_than_the_context(self):
        text = "Once upon a time " * 200
        done = self.succeed("generate", MODEL, "--prompt", text, "--max-tokens", "3", "--ignore-eos", "--json")
        self.assertIn("gptq: warning: ", done.stderr)
        self.assertIn("512", done.stderr)
        self.assertEqual(len(json.loads(done.stdout)["tokens"]), 3)

    def test_id_outside_the_vocabulary(self):
        self.fail_with(1, "generate", MODEL, "--tokens", "1,4096", says=("4096",))

    def test_empty_prompt_needs_a_token(self):
        for option in ("--prompt", "--tokens"):
            self.fail_with(1, "generate", MODEL, option, "", says=("the prompt is empty",))

    def test_prompt_from_a_file(self):
        path = self.folder / "prompt"
        path.write_text("Once upon a time")
        arguments = ("generate", MODEL, "--max-tokens", "8")
        by_argument = self.json(*arguments, "--prompt", "Once upon a time")
        self.assertEqual(self.json(*arguments, "--prompt-file", path), by_argument)
        self.assertEqual(self.json(*arguments, "--prompt-file", "-", stdin="Once upon a time"), by_argument)
        self.fail_with(1, *arguments, "--prompt-file", self.folder / "none", says=("none",))

    def test_interrupt_while_waiting_for_standard_input(self):
        job = subprocess.Popen(
            [harness.TOOL, "tokenize", MODEL, "--file", "-"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )
        self.addCleanup(job.kill)
        wait_for_idle(job.pid)
        job.send_signal(signal.SIGINT)
        self.assertEqual(job.wait(timeout=60), 130)
        stdout, stderr = job.communicate()
        self.assertEqual((stdout, stderr), ("", "gptq: interrupted\n"))

    def test_repetition_penalty_changes_the_text(self):
        plain = self.json("generate", MODEL, "--prompt", "Once", "--max-tokens", "60", "--ignore-eos")["tokens"]
        hard = self.json(
            "generate", MODEL, "--prompt", "Once", "--max-tokens", "60", "--ignore-eos", "--repetition-penalty", "5"
        )["tokens"]
        self.assertGreater(len(set(hard)), len(set(plain)))

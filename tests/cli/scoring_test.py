"""logits, perplexity and bench."""
import json
import math
import os

import harness
from harness import MODEL, ROOT, STORIES, ToolTest, read_logits, read_tensors


def log_softmax(row):
    most = max(row)
    total = most + math.log(math.fsum(math.exp(value - most) for value in row))
    return [value - total for value in row]


class Scoring(ToolTest):
    def logits(self, model, ids, *flags, **options):
        out = self.folder / "logits.safetensors"
        self.succeed("logits", model, "--tokens", ",".join(map(str, ids)), "--out", out, *flags, **options)
        return read_logits(out)

    def story_ids(self, count):
        return self.json("tokenize", MODEL, "--file", STORIES)["ids"][:count]

    def test_logits_are_those_that_generate_uses(self):
        ids = self.story_ids(24)
        rows = self.logits(MODEL, ids)
        self.assertEqual((len(rows), len(rows[0])), (24, 4096))
        shown = self.json("generate", MODEL, "--tokens", ",".join(map(str, ids)), "--max-tokens", "1")
        self.assertEqual(shown["tokens"], [rows[-1].index(max(rows[-1]))])

    def test_logits_are_causal(self):
        ids = self.story_ids(16)
        whole = self.logits(MODEL, ids)
        part = self.logits(MODEL, ids[:5])
        for row, expected in zip(part, whole):
            self.assertLess(max(abs(a - b) for a, b in zip(row, expected)), 1e-3)

    def test_tokens_file(self):
        ids = self.story_ids(7)
        (self.folder / "ids.json").write_text(json.dumps(ids))
        out = self.folder / "out.safetensors"
        shown = self.json("logits", MODEL, "--tokens-file", self.folder / "ids.json", "--out", out)
        self.assertEqual(shown["tokens"], 7)
        self.assertEqual(read_logits(out), self.logits(MODEL, ids))

    def test_logits_are_those_of_transformers(self):
        folders = sorted(p.parent for p in (ROOT / "tests/golden/models").glob("*/expected.safetensors"))
        self.assertGreater(len(folders), 10)
        for folder in folders:
            with self.subTest(folder.name):
                expected = read_tensors(folder / "expected.safetensors")
                (rows, length), ids = expected["input_ids"]
                (_, _, vocab), values = expected["logits"]
                for row in range(rows):
                    ours = self.logits(folder, ids[row * length : (row + 1) * length])
                    theirs = values[row * length * vocab : (row + 1) * length * vocab]
                    largest = max(map(abs, theirs))
                    for a, b in zip((value for line in ours for value in line), theirs, strict=True):
                        self.assertLess(abs(a - b), 1e-3 * largest)

    def test_long_sequences(self):
        rows = self.logits(MODEL, [1] * 600)
        self.assertEqual(len(rows), 600)
        gpt2 = ROOT / "tests/golden/models/gpt2"
        self.fail_with(1, "logits", gpt2, "--tokens", ",".join(["1"] * 49), "--out", self.folder / "x", says=("48",))

    def test_bad_logits_requests_leave_no_file(self):
        out = self.folder / "out.safetensors"
        bad = self.folder / "ids.json"
        self.fail_with(1, "logits", MODEL, "--tokens", "4096", "--out", out, says=("4096",))
        self.fail_with(2, "logits", MODEL, "--tokens", "", "--out", out)
        self.fail_with(1, "logits", MODEL, "--tokens", "1", "--out", self.folder / "none" / "out", says=("none",))
        self.fail_with(1, "logits", MODEL, "--tokens", "1", "--out", self.folder, says=("is a folder",))
        for text in ('{"a": 1}', "[1, 2", '[1, "2"]', "[1.5]", "[4294967296]", ""):
            bad.write_text(text)
            self.fail_with(1, "logits", MODEL, "--tokens-file", bad, "--out", out, says=("ids.json",))
        self.assertEqual([p.name for p in self.folder.iterdir()], ["ids.json"])

    def test_perplexity_is_its_definition(self):
        context, chunks = 16, 3
        ids = self.story_ids(context * chunks)
        shown = self.json("perplexity", MODEL, "--text", STORIES, "--context", context, "--chunks", chunks)
        nll = 0.0
        for chunk in range(chunks):
            part = ids[chunk * context : (chunk + 1) * context]
            rows = self.logits(MODEL, part)
            nll -= sum(log_softmax(row)[after] for row, after in zip(rows, part[1:])) / (context - 1)
        self.assertAlmostEqual(shown["nll"], nll / chunks, delta=1e-4)
        self.assertAlmostEqual(shown["perplexity"], math.exp(shown["nll"]), delta=1e-6 * shown["perplexity"])
        self.assertEqual(shown["tokens"], chunks * (context - 1))
        self.assertNotIn("kl", shown)

    def test_divergence_is_its_definition(self):
        quantized = self.folder / "q"
        self.succeed("quantize", MODEL, quantized, "--bits", "3", "--samples", "2", "--seq-len", "64")
        ids = self.story_ids(24)
        shown = self.json(
            "perplexity", quantized, "--text", STORIES, "--reference", MODEL, "--context", "24", "--chunks", "1"
        )
        kl = agreements = 0
        for ours, theirs in zip(self.logits(quantized, ids), self.logits(MODEL, ids)):
            p, q = log_softmax(theirs), log_softmax(ours)
            kl += math.fsum(math.exp(a) * (a - b) for a, b in zip(p, q))
            agreements += ours.index(max(ours)) == theirs.index(max(theirs))
        self.assertAlmostEqual(shown["kl"], kl / 24, delta=1e-4)
        self.assertAlmostEqual(shown["top1"], agreements / 24, delta=1e-9)
        self.assertGreater(shown["kl"], 0)

    def test_what_fast_costs(self):
        quantized = self.folder / "q"
        self.succeed("quantize", MODEL, quantized, "--samples", "2", "--seq-len", "64")
        itself = ("--text", STORIES, "--reference", quantized, "--context", "64", "--chunks", "4")
        shown = self.json("perplexity", quantized, *itself, "--compute", "fast", "--reference-compute", "exact")
        self.assertGreater(shown["kl"], 0)
        self.assertLess(shown["kl"], 1e-3)
        self.assertEqual(self.json("perplexity", quantized, *itself, "--compute", "fast")["kl"], 0)
        self.fail_with(2, "perplexity", MODEL, "--text", STORIES, "--reference-compute", "exact", says=("--reference",))

    def test_head_in_fewer_bits(self):
        itself = ("perplexity", MODEL, "--text", STORIES, "--reference", MODEL, "--context", "64", "--chunks", "4")
        eight, four = (self.json(*itself, "--head-bits", bits)["kl"] for bits in ("8", "4"))
        self.assertTrue(0 < eight < 1e-3 < four < 0.2, (eight, four))
        self.fail_with(1, *itself, "--head-bits", "5", says=("--head-bits", "0, 4 or 8"))

    def test_cache_of_8_bits(self):
        itself = ("perplexity", MODEL, "--text", STORIES, "--reference", MODEL, "--context", "64", "--chunks", "4")
        self.assertTrue(0 < self.json(*itself, "--kv-cache", "int8")["kl"] < 1e-3)
        self.assertEqual(self.json(*itself, "--kv-cache", "auto")["kl"], 0)
        self.fail_with(2, *itself, "--kv-cache", "int4", says=("--kv-cache", "int4", "auto", "int8"))
        ids = self.story_ids(40)
        plain, rounded = self.logits(MODEL, ids), self.logits(MODEL, ids, "--kv-cache", "int8")
        apart = max(abs(x - y) for x, y in zip(plain[-1], rounded[-1]))
        self.assertTrue(0 < apart < 0.05 * max(map(abs, plain[-1])), apart)
        bench = ("bench", MODEL, "--prompt", "60", "--generate", "4", "--repeat", "1")
        sizes = [self.json(*bench, "--kv-cache", kind)["cache_bytes"] for kind in ("auto", "int8")]
        self.assertTrue(0.4 < sizes[1] / sizes[0] < 0.7, sizes)

    def test_model_equals_itself(self):
        shown = self.json("perplexity", MODEL, "--text", STORIES, "--reference", MODEL, "--context", "64")
        self.assertEqual((shown["kl"], shown["top1"]), (0, 1))
        self.assertLess(shown["perplexity"], 40)

    def test_short_texts(self):
        text = self.folder / "short.txt"
        text.write_text("Once upon a time there was a cat.\n" * 4)
        count = len(self.json("tokenize", MODEL, "--file", text)["ids"])
        shown = self.json("perplexity", MODEL, "--text", text, "--context", "10")
        self.assertEqual(shown["tokens"], count // 10 * 9)
        self.fail_with(1, "perplexity", MODEL, "--text", text, "--context", count + 1, says=("short.txt", str(count)))
        text.write_text("")
        self.fail_with(1, "perplexity", MODEL, "--text", text, says=("short.txt",))

    def test_line_ends_do_not_matter(self):
        stories = open(STORIES, newline="").read()
        (self.folder / "crlf.txt").write_bytes(stories.replace("\n", "\r\n").encode())
        arguments = ("--context", "64", "--chunks", "2")
        self.assertEqual(
            self.json("perplexity", MODEL, "--text", self.folder / "crlf.txt", *arguments),
            self.json("perplexity", MODEL, "--text", STORIES, *arguments),
        )

    def test_instruction_sets_agree(self):
        ids = self.story_ids(20)
        best = self.logits(MODEL, ids)
        for mask in ("avx512", "avx512,avx2"):
            with self.subTest(mask):
                rows = self.logits(MODEL, ids, env={"GPTQ_CPU_MASK": mask})
                difference = max(abs(a - b) for row, other in zip(rows, best) for a, b in zip(row, other))
                self.assertLess(difference, 1e-3)

    def test_bench(self):
        shown = self.json("bench", MODEL, "--prompt", "32", "--generate", "8", "--repeat", "2")
        for key in ("prefill_tokens_per_second", "decode_tokens_per_second", "load_seconds"):
            self.assertGreater(shown[key], 0)
        weights = os.path.getsize(f"{MODEL}/model.safetensors")
        self.assertGreater(shown["peak_rss_bytes"], weights)
        self.assertTrue(0.5 * weights < shown["weight_bytes_per_token"] < 2.5 * weights)

    def test_bench_of_several_sessions(self):
        bench = ("bench", MODEL, "--prompt", "20", "--generate", "40", "--repeat", "3", "--threads", "1")
        one, four = (self.json(*bench, "--sessions", str(n)) for n in (1, 4))
        self.assertEqual((one["sessions"], four["sessions"]), (1, 4))
        self.assertEqual(four["cache_bytes"], 4 * one["cache_bytes"])
        self.assertIn("4 sessions of 40 tokens", self.succeed(*bench, "--sessions", "4").stdout)

    def test_bench_keeps_to_the_context(self):
        done = self.succeed("bench", MODEL, "--prompt", "5000", "--generate", "4", "--repeat", "1", "--json")
        self.assertIn("508", done.stderr)
        self.assertEqual(json.loads(done.stdout)["prompt_tokens"], 508)
        self.assertEqual(harness.run("bench", MODEL, "--prompt", "8", "--repeat", "1", "-q").returncode, 0)

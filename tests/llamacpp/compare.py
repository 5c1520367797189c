#!/usr/bin/env python3
"""Exports models as GGUF and compares what llama.cpp computes with what this library does.

usage: GPTQ_LLAMACPP=llama.cpp/build compare.py path/to/gptq [MODEL_FOLDER[:TYPE] ...]

Without models: the sample model, plain and quantized in all ways that map differently, and those of the extra test data.
Prints "ok", "FAIL" and "skip" lines with the figures: the largest difference of a logit by the largest logit (llama.cpp
rounds what it multiplies with a quantized matrix to 8 bits), how often the best token is the same, and how many greedy
tokens are, in a row. A greedy text may part where two tokens are as good as each other: the gap of their logits here
must then be small.
"""
import array
import json
import os
import pathlib
import re
import struct
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "samples" / "model"
GREEDY = 48
TEXT = (ROOT / "samples" / "stories.txt").read_text()[:1200] + "\n  It's 1234 o'clock; déjà-vu… naïve 你好 🦙!\n\n\tdone."


def command(*arguments, stdin=None):
    done = subprocess.run([str(a) for a in arguments], input=stdin, capture_output=True, encoding="utf-8", timeout=900)
    if done.returncode != 0:
        raise RuntimeError(f"{arguments[0]}: {done.stderr.strip()[-400:]}")
    return done


def build_probe(build, folder):
    cache = (pathlib.Path(build) / "CMakeCache.txt").read_text()
    source = pathlib.Path(re.search(r"^CMAKE_HOME_DIRECTORY:INTERNAL=(.*)$", cache, re.M).group(1))
    library = next(pathlib.Path(build).rglob("libllama.so")).parent
    probe = folder / "logits"
    command("cc", "-O1", f"-I{source}/include", f"-I{source}/ggml/include", ROOT / "tests/llamacpp/logits.c", "-o",
            probe, f"-L{library}", "-lllama", "-lggml", "-lggml-base", f"-Wl,-rpath,{library}")
    return probe


def read_floats(path, offset=0):
    values = array.array("f")
    values.frombytes(path.read_bytes()[offset:])
    return values


def read_logits(path):
    """Of a safetensors file with this one tensor."""
    (length,) = struct.unpack("<Q", path.read_bytes()[:8])
    return read_floats(path, 8 + length)


class Comparison:
    def __init__(self, tool, probe, folder):
        self.tool, self.probe, self.folder, self.failed = tool, probe, folder, 0

    def convert(self, source, form):
        out = self.folder / "model.gguf"
        shown = command(self.tool, "convert", source, out, "--format", "gguf", "--type", form, "--overwrite", "-v")
        return out, shown.stderr

    def tokens(self, source, gguf, log):
        """(ids, whether llama.cpp makes the same of the text); fixed ids where there is no tokenizer."""
        text = " ".join(TEXT.split()) if "several blanks" in log else TEXT
        if not any((source / name).exists() for name in ("tokenizer.json", "tokenizer.model")):
            return [(7 * i + 3) % 60 for i in range(60)], None
        ours = json.loads(command(self.tool, "tokenize", source, "--text", text, "--json").stdout)["ids"]
        theirs = [int(i) for i in command(self.probe, gguf, "-", 0, stdin=text).stdout.split()]
        limit = json.loads((source / "config.json").read_text())
        context = limit.get("max_position_embeddings", limit.get("n_positions", 1024)) - GREEDY
        return ours[: min(256, context)], ours == theirs

    def check(self, name, source, form, bound):
        try:
            gguf, log = self.convert(source, form)
            ids, same = self.tokens(source, gguf, log)
            window = re.search(r"of more than (\d+) tokens", log)
            greedy = GREEDY
            if window:
                ids, greedy = ids[: int(window.group(1)) // 2], int(window.group(1)) // 2
            line, good = self.figures(source, gguf, ids, greedy, bound)
            if same is False:
                line, good = line + ", other tokens", False
        except (RuntimeError, KeyError) as error:
            line, good = str(error), False
        self.failed += not good
        print(f"{'ok  ' if good else 'FAIL'} llama.cpp: {name} as {form}: {line}", flush=True)

    def figures(self, source, gguf, ids, greedy, bound):
        listed = ",".join(map(str, ids))
        theirs = [int(i) for i in command(self.probe, gguf, self.folder / "theirs", greedy,
                                          stdin=" ".join(map(str, ids))).stdout.split()]
        command(self.tool, "logits", source, "--tokens", listed, "--out", self.folder / "ours.safetensors")
        ours = json.loads(command(self.tool, "generate", source, "--tokens", listed, "--max-tokens", greedy,
                                  "--ignore-eos", "--compute", "exact", "--json").stdout)["tokens"][-greedy:]
        a, b = read_floats(self.folder / "theirs"), read_logits(self.folder / "ours.safetensors")
        if len(a) != len(b):
            return f"{len(a)} logits, wanted {len(b)}", False
        width = len(a) // len(ids)
        difference = max(abs(x - y) for x, y in zip(a, b)) / max(map(abs, b))
        rows = [(a[i : i + width], b[i : i + width]) for i in range(0, len(a), width)]
        best = sum(x.index(max(x)) == y.index(max(y)) for x, y in rows) / len(rows)
        equal = next((i for i, (x, y) in enumerate(zip(ours, theirs)) if x != y), greedy)
        good = difference <= bound
        line = f"logits {difference:.1e}, best token {best:.0%}, greedy {equal} of {greedy}"
        if equal < greedy:
            gap = self.gap(source, ids + ours[:equal], ours[equal], theirs[equal])
            line += f" (then two tokens {gap:.1e} apart)"
            good = good and gap <= 2 * bound
        return line, good

    def gap(self, source, ids, one, other):
        """How far apart the two are here, by the largest logit."""
        command(self.tool, "logits", source, "--tokens", ",".join(map(str, ids)), "--out",
                self.folder / "gap.safetensors")
        logits = read_logits(self.folder / "gap.safetensors")
        last = logits[len(logits) // len(ids) * (len(ids) - 1) :]
        return abs(last[one] - last[other]) / max(map(abs, last))

    def quantized(self, *options):
        out = self.folder / "quantized"
        command(self.tool, "quantize", SAMPLE, out, "--samples", 4, "--seq-len", 128, "--overwrite", *options)
        return out


def extra_data():
    named = os.environ.get("GPTQ_TEST_DATA")
    return pathlib.Path(named) if named else ROOT / "../shared/data"


def check_all(comparison):
    half, eight = 5e-3, 5e-2  # activations of 16 bits, and of 8
    comparison.check("sample", SAMPLE, "auto", half)
    for form in ("f16", "q8_0", "q4_0", "q4_1"):
        comparison.check("sample", SAMPLE, form, {"f16": half, "q8_0": eight}.get(form, 0.3))
    for name, options in (
        ("4 bits g128", ("--group-size", 128)),
        ("4 bits g32 asymmetric", ("--group-size", 32, "--asym")),
        ("4 bits act-order", ("--order", "act")),
        ("8 bits", ("--bits", 8, "--group-size", 32)),
        ("3 bits g32", ("--bits", 3, "--group-size", 32)),
        ("2 bits g16", ("--bits", 2, "--group-size", 16)),
    ):
        comparison.check(f"sample {name}", comparison.quantized(*options), "auto", eight)
    data = extra_data()
    names = [f"families/{n}" for n in ("llama", "llama-bias", "llama3-rope", "llama-rope-linear", "llama-rope-yarn",
                                       "mistral", "qwen2", "gpt2")]
    names += ["models/books", "models/stories260k", "gptq/gpt2-b4-g32", "gptq/qwen2-b4-g32", "gptq/llama-awq-g32"]
    names += [f"gptq/llama-{n}" for n in ("b4-g32", "b4-perchannel", "b8-g32", "b8-perchannel-v2-asym", "b3-g32-v2-asym",
                                          "b4-g32-v1-asym", "b2-g16", "mixed", "b4-g32-actorder")]
    for name in names:
        if (data / name).exists():
            comparison.check(name, data / name, "auto", eight if name.startswith("gptq") else half)
        else:
            print(f"skip llama.cpp: {name} is not in the extra data")


def main():
    build = os.environ.get("GPTQ_LLAMACPP")
    if not build:
        print("skip llama.cpp: GPTQ_LLAMACPP does not name its build folder")
        return 0
    tool = pathlib.Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory(prefix="gptq-llamacpp-") as name:
        folder = pathlib.Path(name)
        comparison = Comparison(tool, build_probe(build, folder), folder)
        for argument in sys.argv[2:]:
            source, _, form = argument.partition(":")
            comparison.check(source, pathlib.Path(source), form or "auto", 0.05)
        if not sys.argv[2:]:
            check_all(comparison)
    return 1 if comparison.failed else 0


if __name__ == "__main__":
    sys.exit(main())

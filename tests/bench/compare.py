#!/usr/bin/env python3
"""Measures this library and llama.cpp in turn and prints the table of docs/performance.md. See compare.sh.

usage: compare.py decoder_bench MODEL llamacpp_bench MODEL.gguf [--threads N] [--repeat N] [--compute fast] [--only PART...]
                  [--json FILE [--title NAME]]
--json puts what was measured into a list in FILE, under the model's name or another one; plot.py draws it.
"""
import argparse
import json
import os
import pathlib
import re
import statistics
import subprocess
import time

CASES = {  # name: (question, tokens)
    "prompt of 512": "prefill 512",
    "generation, 128 tokens of context": "decode 1 128 128",
    "generation, 4,096 tokens of context": "decode 1 4096 32",
    "8 sequences, 128 tokens of context each": "decode 8 128 32",
}
REST = 0.05  # seconds between two turns: threads of the other program may spin for milliseconds after its own


class Program:
    def __init__(self, *command):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8")
        _, seconds, size, *name = self.process.stdout.readline().split()
        self.load_seconds, self.bytes, self.name = float(seconds), int(size), " ".join(name)

    def ask(self, question):
        time.sleep(REST)
        print(question, file=self.process.stdin, flush=True)
        return float(self.process.stdout.readline())


def machine(threads):
    text = pathlib.Path("/proc/cpuinfo").read_text()
    name = re.search(r"^model name\s*: (.*)$", text, re.M)
    flags = set((re.search(r"^flags\s*: (.*)$", text, re.M) or [0, ""])[1].split())
    sets = [f for f in ("avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8") if f in flags]
    return f"{name[1] if name else os.uname().machine}, {threads} threads; {', '.join(sets)}"


def spread(values):
    return f"{statistics.median(values):.1f} ({min(values):.1f} to {max(values):.1f})"


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    for name in ("bench", "model", "llamacpp", "gguf"):
        parser.add_argument(name)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--compute", default="fast")
    parser.add_argument("--only", nargs="*", default=[""], help="cases whose name has one of these in it")
    parser.add_argument("--json", type=pathlib.Path)
    parser.add_argument("--title")
    a = parser.parse_args()
    kept = json.loads(a.json.read_text()) if a.json and a.json.exists() else []
    theirs = Program(a.llamacpp, a.gguf, str(a.threads))
    ours = Program(a.bench, a.model, str(a.threads), a.compute)
    print(machine(a.threads), "(seconds of CPU)" if a.threads == 1 else "")
    print(f"{ours.name}, {a.compute}: loaded in {ours.load_seconds:.2f} s, {ours.bytes / 1e6:.1f} MB of weights per token")
    print(f"llama.cpp: loaded in {theirs.load_seconds:.2f} s, {theirs.bytes / 1e6:.1f} MB of weights\n")
    print("| tokens per second: median (least to most) | libgptq | llama.cpp | ratio | of the bandwidth |\n|---|---|---|---|---|")
    measured = {}
    for name, question in CASES.items():
        if not any(part in name for part in a.only):
            continue
        mine, other, reads = [], [], []
        decodes = question.startswith("decode 1 ")
        for turn in range(a.repeat + 1):  # the first one warms up
            values = ours.ask(question), theirs.ask(question), ours.ask("bandwidth") if decodes else 0.0
            for series, value in zip((mine, other, reads), values):
                if turn > 0:
                    series.append(value)
        ratio = statistics.median(x / y for x, y in zip(mine, other))
        share = "" if not decodes else (
            f"{statistics.median(mine) * ours.bytes / statistics.median(reads):.0%} of {statistics.median(reads) / 1e9:.1f} GB/s")
        print(f"| {name} | {spread(mine)} | {spread(other)} | {ratio:.2f} | {share} |", flush=True)
        measured[name] = {"libgptq": mine, "llama.cpp": other}
    if a.json:
        title = a.title or ours.name
        kept = [model for model in kept if model["model"] != title]
        kept.append({"model": title, "machine": machine(a.threads), "tokens_per_second": measured})
        a.json.write_text(json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    main()

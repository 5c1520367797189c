#!/usr/bin/env python3
"""Compares with GPTQModel: whether it loads what this library writes, and which of the two quantizes better and faster.

usage: GPTQ_GPTQMODEL=python compare.py path/to/gptq load
       GPTQ_GPTQMODEL=python compare.py path/to/gptq quality MODEL CALIBRATION TEXT [CASE...]
       GPTQ_GPTQMODEL=python compare.py path/to/gptq speed MODEL CALIBRATION [SAMPLES [ROUNDS]]

GPTQ_GPTQMODEL is a Python that has torch, transformers and gptqmodel (7.7.0).
load: the sample model, quantized in all ways that differ on disk; prints "ok", "FAIL" and "skip" lines with the largest
      difference of a logit, by the largest logit. GPTQModel multiplies in 16 bits. (It refuses asymmetric folders of
      format gptq that it has not written itself; gptq_v2 is the default for those.)
quality: both quantize with the first 64 x 512 tokens of CALIBRATION; a row for each CASE with the KL to MODEL over 20 x
      512 tokens of TEXT, in nat per token, and the ratio.
speed: 4 bits, groups of 128, both in turn; wall and CPU seconds (GPTQModel's without its imports) and peak memory.
"""
import array
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
SAMPLE = ROOT / "samples" / "model"
LENGTH = 512
BOUND = 4e-3  # of the largest logit: the products are rounded to 16 bits
PLAIN = ("--range", "minmax", "--target", "sequential", "--sweeps", "0")

# our options, GPTQModel's
CASES = {
    "4-bit g128": ((), {"bits": 4, "group_size": 128}),
    "4-bit g128 act-order": (("--order", "act"), {"bits": 4, "group_size": 128, "desc_act": True}),
    "4-bit g32 asym": (("--group-size", "32", "--asym"), {"bits": 4, "group_size": 32, "sym": False, "format": "gptq_v2"}),
    "3-bit g128": (("--bits", "3"), {"bits": 3, "group_size": 128}),
    "2-bit g32 asym": (
        ("--bits", "2", "--group-size", "32", "--asym"),
        {"bits": 2, "group_size": 32, "sym": False, "format": "gptq_v2"},
    ),
    "8-bit g128": (("--bits", "8"), {"bits": 8, "group_size": 128}),
}

LAYOUTS = {
    "2 bits": ("--bits", "2", "--group-size", "32"),
    "3 bits": ("--bits", "3"),
    "4 bits": (),
    "8 bits": ("--bits", "8"),
    "asymmetric": ("--asym", "--group-size", "32"),
    "3 bits, asymmetric": ("--bits", "3", "--asym", "--group-size", "64"),
    "act-order": ("--order", "act"),
    "act-order, groups of 32": ("--order", "act", "--group-size", "32"),
    "one group": ("--group-size", "-1"),
    "shards": ("--max-shard-size", "1MB"),
    "dynamic": ("--dynamic", '{"+:.*\\\\.down_proj": {"bits": 8, "group_size": 32}, "-:.*\\\\.layers\\\\.0\\\\.mlp": {}}'),
    "dynamic, act-order": ("--order", "act", "--dynamic", '{"-:.*\\\\.layers\\\\.1\\\\.": {}}'),
}


def run(*arguments, **more):
    done = subprocess.run([str(a) for a in arguments], capture_output=True, encoding="utf-8", timeout=7200, **more)
    if done.returncode != 0:
        raise RuntimeError(f"{arguments[0]} {arguments[1]}: {done.stderr.strip()[-600:]}")
    return done


def read_floats(data):
    values = array.array("f")
    values.frombytes(data)
    return values


class Tools:
    def __init__(self, gptq, python, folder):
        self.gptq, self.python, self.folder = gptq, python, folder

    def ours(self, *arguments):
        return run(self.gptq, *arguments).stdout

    def peer(self, command, *arguments):
        """Its last line as JSON; the rest is what GPTQModel has to say."""
        # compiled extensions are looked for by name beside the interpreter
        path = str(pathlib.Path(self.python).parent) + os.pathsep + os.environ["PATH"]
        env = dict(os.environ, PATH=path)
        done = run(self.python, HERE / "peer.py", command, *arguments, env=env, cwd=self.folder)  # it leaves logs there
        return json.loads(done.stdout.strip().splitlines()[-1])

    def write(self, name, value):
        path = self.folder / name
        path.write_text(json.dumps(value))
        return path

    def quantize(self, model, calibration, out, samples, options):
        """What our whole process took."""
        shutil.rmtree(out, ignore_errors=True)
        how = ("--calibration", calibration, "--samples", samples, "--seq-len", LENGTH, "--no-resume", "--quiet")
        started = time.monotonic()
        command = [str(a) for a in (self.gptq, "quantize", model, out, *how, *options)]
        job = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        _, status, used = os.wait4(job.pid, 0)
        job.returncode = os.waitstatus_to_exitcode(status)
        if job.returncode != 0:
            raise RuntimeError(f"quantize: exit code {job.returncode}")
        return {
            "seconds": time.monotonic() - started,
            "cpu_seconds": used.ru_utime + used.ru_stime,
            "peak_bytes": used.ru_maxrss * 1024,
        }

    def peer_quantize(self, model, calibration, out, samples, options):
        shutil.rmtree(out, ignore_errors=True)
        how = self.write("options.json", {**options, "samples": samples, "length": LENGTH})
        return self.peer("quantize", model, out, calibration, how)


def largest_difference(tools, folder):
    text = " ".join((ROOT / "samples" / "stories.txt").read_text().split())[:900]
    ids = json.loads(tools.ours("tokenize", folder, "--text", text, "--json"))["ids"]
    tokens = tools.write("ids.json", ids)
    tools.ours("logits", folder, "--tokens-file", tokens, "--out", tools.folder / "ours", "--compute", "exact")
    shape = tools.peer("logits", folder, tokens, tools.folder / "theirs")["shape"]
    if shape[0] != len(ids):
        raise RuntimeError(f"{shape} logits for {len(ids)} tokens")
    data = (tools.folder / "ours").read_bytes()
    ours = read_floats(data[8 + int.from_bytes(data[:8], "little") :])
    theirs = read_floats((tools.folder / "theirs").read_bytes())
    if len(ours) != len(theirs):
        raise RuntimeError(f"{len(ours)} logits, GPTQModel has {len(theirs)}")
    return max(abs(a - b) for a, b in zip(ours, theirs)) / max(map(abs, theirs))


def load(tools):
    failed = 0
    for name, options in LAYOUTS.items():
        out = tools.folder / "quantized"
        shutil.rmtree(out, ignore_errors=True)
        try:
            run(tools.gptq, "quantize", SAMPLE, out, "--samples", "4", "--seq-len", "128", "--no-resume", *options)
            worst = largest_difference(tools, out)
            verdict = "ok  " if worst <= BOUND else "FAIL"
            print(f"{verdict} {name}: logits differ by {worst:.1e} of the largest", flush=True)
        except (RuntimeError, subprocess.TimeoutExpired) as error:
            verdict = "FAIL"
            print(f"FAIL {name}: {error}", flush=True)
        failed += verdict == "FAIL"
    return failed


def quality(tools, model, calibration, text, *cases):
    print("| | libgptq: KL | perplexity | s | GPTQModel: KL | perplexity | s | ratio of KL |\n|---|---|---|---|---|---|---|---|")
    for name in cases or CASES:
        mine, theirs = CASES[name]
        row = []
        for quantize, options in ((tools.quantize, mine), (tools.peer_quantize, theirs)):
            out = tools.folder / "quantized"
            took = quantize(model, calibration, out, 64, options)
            how = ("--context", LENGTH, "--chunks", 20, "--compute", "exact", "--json")
            said = tools.ours("perplexity", out, "--text", text, "--reference", model, *how)
            row.append((json.loads(said.strip().splitlines()[-1]), took["seconds"]))
        cells = [f"{said['kl']:.3g} | {said['perplexity']:.3f} | {seconds:.0f}" for said, seconds in row]
        print(f"| {name} | {' | '.join(cells)} | {row[0][0]['kl'] / row[1][0]['kl']:.2f} |", flush=True)
    return 0


def speed(tools, model, calibration, samples="64", rounds="1"):
    out = tools.folder / "quantized"
    ways = {
        "GPTQModel": lambda: tools.peer_quantize(model, calibration, out, int(samples), CASES["4-bit g128"][1]),
        "libgptq, plain": lambda: tools.quantize(model, calibration, out, samples, PLAIN),
        "libgptq": lambda: tools.quantize(model, calibration, out, samples, ()),
    }
    for _ in range(int(rounds)):
        peer = None
        for name, way in ways.items():
            took = way()
            peer = peer or took
            ratios = ", ".join(f"{took[key] / peer[key]:.2f}" for key in ("seconds", "cpu_seconds", "peak_bytes"))
            print(
                f"{name}: {took['seconds']:.1f} s, {took['cpu_seconds']:.1f} s of CPU, "
                f"{took['peak_bytes'] / 1e6:.0f} MB; to GPTQModel {ratios}",
                flush=True,
            )
    return 0


def main():
    if len(sys.argv) < 3 or sys.argv[2] not in ("load", "quality", "speed"):
        sys.exit(__doc__)
    python = os.environ.get("GPTQ_GPTQMODEL", "")
    if not python:
        print("skip GPTQModel: GPTQ_GPTQMODEL does not name a Python that has it")
        return
    with tempfile.TemporaryDirectory() as folder:
        tools = Tools(pathlib.Path(sys.argv[1]).resolve(), python, pathlib.Path(folder))
        paths = [pathlib.Path(a).resolve() if pathlib.Path(a).exists() else a for a in sys.argv[3:]]
        failed = {"load": load, "quality": quality, "speed": speed}[sys.argv[2]](tools, *paths)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Sums up a trace that the library wrote ($GPTQ_TRACE): a line per op and shape, those that took longest first.

usage: trace.py TRACE [--rows N]      --rows: ops of N rows alone, as 1 for the decoding of one sequence
"""
import argparse
import collections
import json


def events(path):
    text = open(path, encoding="utf-8").read().rstrip()
    # the array has no end while the process lives, or when it was killed: the last line counts if it is whole
    lines = [line.rstrip(",") for line in text.splitlines()[1:] if line.endswith("},")]
    return [json.loads(line) for line in lines]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trace")
    parser.add_argument("--rows", type=int)
    options = parser.parse_args()
    sums = collections.defaultdict(lambda: [0, 0.0, 0, 0])
    for event in events(options.trace):
        args = event["args"]
        if options.rows is not None and args["rows"] != options.rows:
            continue
        name = " ".join(filter(None, (event["name"], args.get("shape"))))
        entry = sums[name]
        entry[0] += 1
        entry[1] += event["dur"]
        entry[2] += args["bytes"]
        entry[3] += args["flops"]
    total = sum(entry[1] for entry in sums.values())
    if total == 0:
        raise SystemExit(f"{options.trace}: no op" + (f" of {options.rows} rows" if options.rows is not None else ""))
    print(f"{'op':<32} {'calls':>8} {'us each':>10} {'share':>6} {'GB/s':>8} {'GFLOP/s':>9}")
    for name, (calls, us, nbytes, flops) in sorted(sums.items(), key=lambda item: -item[1][1]):
        rate = 1e3 * us if us else float("inf")
        print(f"{name:<32} {calls:>8} {us / calls:>10.1f} {100 * us / total:>5.1f}% {nbytes / rate:>8.1f} {flops / rate:>9.1f}")
    print(f"{'all':<32} {'':>8} {total / 1e3:>7.1f} ms")


if __name__ == "__main__":
    main()

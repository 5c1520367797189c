#!/usr/bin/env python3
"""Sums up a trace that the library wrote ($GPTQ_TRACE): a line per op and shape, those that took longest first; times
and rates are medians.

usage: trace.py TRACE [--rows N]      --rows: ops of N rows alone, as 1 for the decoding of one sequence
"""
import argparse
import collections
import json
import statistics


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
    ops = collections.defaultdict(list)
    for event in events(options.trace):
        args = event["args"]
        if options.rows is not None and args["rows"] != options.rows:
            continue
        name = " ".join(filter(None, (event["name"], args.get("shape"))))
        ops[name].append((event["dur"], args["bytes"], args["flops"]))
    total = sum(us for calls in ops.values() for us, _, _ in calls)
    if total == 0:
        raise SystemExit(f"{options.trace}: no op" + (f" of {options.rows} rows" if options.rows is not None else ""))
    print(f"{'op':<32} {'calls':>8} {'us each':>10} {'share':>6} {'GB/s':>8} {'GFLOP/s':>9}")
    for name, calls in sorted(ops.items(), key=lambda item: -sum(call[0] for call in item[1])):
        # medians, since the first calls may fetch weights from a disk
        median = statistics.median(us for us, _, _ in calls)
        gbytes, gflops = (statistics.median(1e-3 * call[i] / max(call[0], 1e-3) for call in calls) for i in (1, 2))
        share = 100 * sum(us for us, _, _ in calls) / total
        print(f"{name:<32} {len(calls):>8} {median:>10.1f} {share:>5.1f}% {gbytes:>8.1f} {gflops:>9.1f}")
    print(f"{'all':<32} {'':>8} {total / 1e3:>7.1f} ms")


if __name__ == "__main__":
    main()

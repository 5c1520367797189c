#!/usr/bin/env python3
"""Measures folders of one shape in turn: what a width, a group size or an order costs for each byte of weights.

usage: formats.py decoder_bench MODEL MODEL... [--threads N] [--repeat N] [--compute fast] [--question "decode 1 128 64"]
Prints a row for each: bytes of weights that a token reads, tokens per second, bytes per second, and the latter by those
of the first MODEL.
"""
import argparse
import os
import statistics

from compare import Program, machine, spread


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("bench")
    parser.add_argument("models", nargs="+")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--compute", default="fast")
    parser.add_argument("--question", default="decode 1 128 64")
    a = parser.parse_args()
    programs = [Program(a.bench, model, str(a.threads), a.compute) for model in a.models]
    speeds = [[] for _ in programs]
    for _ in range(a.repeat):
        for program, values in zip(programs, speeds):
            values.append(program.ask(a.question))
    print(f"{machine(a.threads)}; {a.question}")
    first = programs[0].bytes * statistics.median(speeds[0])
    for program, values, path in zip(programs, speeds, a.models):
        rate = program.bytes * statistics.median(values)
        print(
            f"{os.path.basename(os.path.normpath(path)):<16} {program.bytes / 1e6:7.1f} MB  "
            f"{spread(values):>28} tokens/s  {rate / 1e9:5.1f} GB/s  {rate / first:.2f}"
        )


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Runs the tests that CMake registered in a build folder, and counts their cases.

usage: run_ctest.py BUILD_FOLDER [--match REGEX] [--label LABEL] [--jobs N]
Prints a line per entry and the output of those that fail. GoogleTest cases are counted one by one; any other entry
counts as one case. The last line is "counts PASSED FAILED SKIPPED".
With N jobs each executable of GoogleTest, by its name NAME_test, is run as N processes that have an N-th of its cases each.
"""
import argparse
import concurrent.futures
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree

SECONDS = 2400


def entries(build, match, label):
    listing = subprocess.run(
        ["ctest", "--test-dir", build, "--show-only=json-v1"], check=True, capture_output=True, text=True
    ).stdout
    for test in json.loads(listing)["tests"]:
        properties = {p["name"]: p["value"] for p in test.get("properties", [])}
        if re.search(match, test["name"]) and (not label or label in properties.get("LABELS", [])):
            yield test["name"], any(word.endswith("_test") for word in test.get("command", ()))


def case_counts(report):
    passed = failed = skipped = 0
    for case in ElementTree.parse(report).getroot().iter("testcase"):
        if case.get("status") == "notrun":
            continue
        if case.find("failure") is not None:
            failed += 1
        elif case.find("skipped") is not None or case.get("result") == "skipped":
            skipped += 1
        else:
            passed += 1
    return passed, failed, skipped


def run_entry(build, name, shard, shards, folder):
    report = folder / (re.sub(r"\W", "_", name) + f"-{shard}.xml")
    environment = {**os.environ, "GTEST_OUTPUT": f"xml:{report}", "GTEST_COLOR": "no"}
    if shards > 1:
        environment |= {"GTEST_TOTAL_SHARDS": str(shards), "GTEST_SHARD_INDEX": str(shard)}
    started = time.monotonic()
    done = subprocess.run(
        ["ctest", "--test-dir", build, "-R", f"^{re.escape(name)}$", "--timeout", str(SECONDS), "--output-on-failure"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=environment,
    )
    broken = done.returncode != 0
    try:
        counts = case_counts(report)
    except (OSError, ElementTree.ParseError):
        skips = "(Skipped)" in done.stdout or "***Skipped" in done.stdout
        counts = (0, 1, 0) if broken else (0, 0, 1) if skips else (1, 0, 0)
    if broken and counts[1] == 0:  # it crashed or ran out of time after its cases, or between them
        counts = (counts[0], 1, counts[2])
    return counts, time.monotonic() - started, done.stdout if broken else ""


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build")
    parser.add_argument("--match", default="")
    parser.add_argument("--label", default="")
    parser.add_argument("--jobs", type=int, default=1)
    arguments = parser.parse_args()
    found = list(entries(arguments.build, arguments.match, arguments.label))
    total = [0, 0, 0]
    with tempfile.TemporaryDirectory() as temporary, concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        folder = pathlib.Path(temporary)
        runs = []
        for name, cases in found:
            shards = arguments.jobs if cases else 1
            runs.append((name, [pool.submit(run_entry, arguments.build, name, i, shards, folder) for i in range(shards)]))
        for name, parts in runs:
            results = [part.result() for part in parts]
            counts = [sum(column) for column in zip(*(r[0] for r in results))]
            word = "FAIL" if counts[1] else "ok  "
            seconds = max(r[1] for r in results)
            print(f"{word} {name}: {counts[0]} passed, {counts[1]} failed, {counts[2]} skipped ({seconds:.1f} s)")
            for output in (r[2] for r in results if r[2]):
                print("\n".join("     " + line for line in output.splitlines()[-200:]))
            sys.stdout.flush()
            total = [a + b for a, b in zip(total, counts)]
    if not found:
        print("FAIL no test is registered")
        total[1] += 1
    print("counts", *total)
    return 1 if total[1] else 0


if __name__ == "__main__":
    sys.exit(main())

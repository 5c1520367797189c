#!/usr/bin/env python3
"""The tests of the gptq tool.

usage: run.py TOOL [part of a test's name ...]
"""
import sys

sys.dont_write_bytecode = True

import harness  # noqa: E402

if __name__ == "__main__":
    sys.exit(harness.main(sys.argv))

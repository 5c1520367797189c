#!/usr/bin/env python3
"""What the shared library exports is what gptq.h declares, and its own objects call nothing that a library must not.

usage: exports.py LIBRARY HEADER OBJECT_FOLDER
Prints one "ok" or "FAIL" line per check; fails if any failed.
"""
import pathlib
import re
import subprocess
import sys

# A library does not print, end the process, or change what the whole process shares.
DENIED = {
    "printf", "puts", "putchar", "vprintf", "fprintf", "vfprintf", "perror", "stdout", "stderr",
    "__printf_chk", "__vprintf_chk", "__fprintf_chk", "__vfprintf_chk",
    "exit", "_exit", "_Exit", "quick_exit", "abort", "raise", "__assert_fail",
    "setlocale", "signal", "sigaction", "sigprocmask", "system", "popen", "fork", "vfork", "execve",
    "setenv", "putenv", "unsetenv", "chdir", "umask", "atexit", "rand", "srand",
    "_ZSt4cout", "_ZSt4cerr", "_ZSt4clog",
}  # fmt: skip


def symbols(arguments):
    output = subprocess.run(["nm", *arguments], check=True, capture_output=True, text=True).stdout
    return output.splitlines()


def exported(library):
    names = {line.split()[-1].split("@")[0] for line in symbols(["-D", "--defined-only", library]) if line.split()}
    return {name for name in names if not re.fullmatch(r"GPTQ_\d+(\.\d+)?", name)}  # version nodes


def declared(header):
    text = re.sub(r"/\*.*?\*/", "", pathlib.Path(header).read_text(encoding="utf-8"), flags=re.S)
    return set(re.findall(r"^GPTQ_API[^;(]*?\b(gptq_\w+)\s*\(", text, flags=re.M))


def denied_imports(objects):
    """(object, symbol) pairs."""
    current = ""
    for line in symbols(["-u", *objects]):
        if line.endswith(":"):
            current = line[:-1]
        elif line.split() and line.split()[-1].split("@")[0] in DENIED:
            yield f"{pathlib.Path(current).name} uses {line.split()[-1]}"


def main():
    library, header, folder = sys.argv[1:4]
    have, want = exported(library), declared(header)
    objects = sorted(str(p) for p in pathlib.Path(folder).rglob("*.o"))
    checks = (
        ("gptq.h declares functions", [] if len(want) > 20 else [f"found {len(want)}"]),
        ("only gptq_* is exported", sorted(n for n in have if not n.startswith("gptq_"))),
        ("every declared function is exported", sorted(want - have)),
        ("every exported function is declared", sorted(have - want)),
        ("objects were found to check", [] if len(objects) > 10 else [f"found {len(objects)} below {folder}"]),
        ("no call that a library must not make", sorted(denied_imports(objects)) if objects else []),
    )
    failed = 0
    for name, faults in checks:
        print(("FAIL " if faults else "ok   ") + name)
        for fault in faults:
            print("     " + fault)
        failed += bool(faults)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""A program that was built against the last release runs with this library: the functions that gptq.h declares, their
types and the values of its constants are still what they were. More of them may have come.

usage: guard.py LIBRARY HEADER_FOLDER            prints one "ok", "FAIL" or "skip" line per check; fails if any failed
       guard.py --write LIBRARY HEADER_FOLDER    makes the baseline, which is that of the last release, anew

The library needs debug information; the baseline, gptq-0.abi and gptq-0.constants beside this file, is what abidw and
gptq.h tell of it.
"""
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree

HERE = pathlib.Path(__file__).resolve().parent
ABI, CONSTANTS = HERE / "gptq-0.abi", HERE / "gptq-0.constants"


def dump(library, headers):
    """Functions and public types as XML, without what depends on where it was built."""
    command = ["abidw", "--headers-dir", headers, "--exported-interfaces-only", "--drop-private-types", "--no-show-locs"]
    command += ["--no-corpus-path", "--no-comp-dir-path", library]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    text = re.sub(r" path='[^']*/(src/[^']*)'", r" path='\1'", text)
    return re.sub(r" *<elf-needed>.*?</elf-needed>\n", "", text, flags=re.S)


def constants(headers):
    """Lines "NAME VALUE" of the constants that mean something to a compiled program."""
    text = re.sub(r"/\*.*?\*/", "", (pathlib.Path(headers) / "gptq.h").read_text(encoding="utf-8"), flags=re.S)
    found = re.findall(r"^#define (GPTQ_\w+) +(\(?-?\d+\)?|\"[^\"]*\") *$", text, flags=re.M)
    return sorted(f"{name} {value.strip('()')}" for name, value in found if not name.startswith("GPTQ_VERSION_"))


def differences(old, new):
    """What a program built against `old` would miss in `new`, in the words of abidiff; "" if nothing."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [pathlib.Path(folder) / name for name in ("old.abi", "new.abi")]
        for path, text in zip(paths, (old, new)):
            path.write_text(text, encoding="utf-8")
        result = subprocess.run(["abidiff", "--no-added-syms", *paths], capture_output=True, text=True)
    return "" if result.returncode == 0 else result.stdout + result.stderr or f"abidiff: {result.returncode}"


def without(text, function):
    tree = ElementTree.fromstring(text)
    for parent in tree.iter():
        for child in [c for c in parent if function in (c.get("name"), c.get("elf-symbol-id", "").split("@")[0])]:
            parent.remove(child)
    return ElementTree.tostring(tree, encoding="unicode")


def with_other_parameter(text, function):
    """Its last parameter gets the type of its first."""
    tree = ElementTree.fromstring(text)
    for declaration in tree.iter("function-decl"):
        if declaration.get("name") == function:
            parameters = declaration.findall("parameter")
            parameters[-1].set("type-id", parameters[0].get("type-id"))
    return ElementTree.tostring(tree, encoding="unicode")


def checks(library, headers):
    old, new = ABI.read_text(encoding="utf-8"), dump(library, headers)
    described = {d.get("name") for d in ElementTree.fromstring(new).iter("function-decl")}
    symbols = {s.get("name") for s in ElementTree.fromstring(new).iter("elf-symbol")}
    known = set(constants(headers))
    gone = [line for line in CONSTANTS.read_text(encoding="utf-8").splitlines() if line not in known]
    sample = "gptq_session_append_text"
    yield "the library has debug information", "" if described and described == symbols else f"of {len(described)} of {len(symbols)} functions"
    yield "no function or type of the last release is gone or changed", differences(old, new)
    yield "no constant of the last release is gone or changed", "\n".join(gone)
    yield "the guard sees a function that is gone", "" if differences(old, without(new, sample)) else "it does not"
    yield "the guard sees a type that changed", "" if differences(old, with_other_parameter(new, sample)) else "it does not"
    yield "the guard lets a new function pass", differences(without(old, sample), new)


def main(arguments):
    write = arguments[:1] == ["--write"]
    library, headers = arguments[write:]
    if shutil.which("abidiff") is None:
        print("skip ABI: abidiff is not here")
        return 0
    if write:
        ABI.write_text(dump(library, headers), encoding="utf-8")
        CONSTANTS.write_text("\n".join(constants(headers)) + "\n", encoding="utf-8")
        return 0
    failed = 0
    for name, fault in checks(library, headers):
        print(("FAIL " if fault else "ok   ") + name)
        for line in fault.splitlines():
            print("     " + line)
        failed += bool(fault)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

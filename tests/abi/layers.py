#!/usr/bin/env python3
"""The dependency direction, the size of files and the reach of the samples, read from the #include lines.

usage: layers.py SOURCE_ROOT
Prints one "ok" or "FAIL" line per check; fails if any failed.
"""
import pathlib
import re
import sys

# A layer may include itself and these.
MAY_INCLUDE = {
    "api": {"quant", "session", "model", "text", "format", "backend", "base"},
    "quant": {"session", "model", "text", "format", "backend", "base"},
    "session": {"model", "text", "format", "backend", "base"},
    "model": {"text", "format", "backend", "base"},
    "format": {"base"},
    "text": {"base"},
    "backend": {"base"},
    "cpu": {"backend", "base"},
    "base": set(),
}
MOST_LINES = 500  # but for the header, which is the whole ABI and its manual
PROJECT_INCLUDE = re.compile(r'^\s*#\s*include\s*"([^"]+)"')
ANY_INCLUDE = re.compile(r'^\s*#\s*include\s*["<]([^">]+)[">]')
CODE = {".h", ".cpp", ".c", ".inc", ".cu", ".cuh"}


def includes(path, pattern):
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        match = pattern.match(line)
        if match:
            yield number, match.group(1)


def code_files(folder):
    return sorted(p for p in folder.rglob("*") if p.suffix in CODE) if folder.is_dir() else []


def layer_faults(root):
    for path in code_files(root / "src"):
        layer = path.relative_to(root / "src").parts[0]
        if layer not in MAY_INCLUDE:
            yield f"{path.relative_to(root)}: layer '{layer}' is not known"
            continue
        for number, name in includes(path, PROJECT_INCLUDE):
            target = name.split("/")[0]
            if name == "gptq.h" and layer == "api":
                continue
            if not (root / "src" / name).is_file():
                yield f'{path.relative_to(root)}:{number}: "{name}" is not below src/'
            elif target != layer and target not in MAY_INCLUDE[layer]:
                yield f"{path.relative_to(root)}:{number}: {layer} must not include {target} ({name})"


def cuda_faults(root):
    """cuda/ sees the seam and what is below it; in tests/cuda are the twins of its instructions."""
    for path in code_files(root / "cuda"):
        for number, name in includes(path, PROJECT_INCLUDE):
            if name == "device_twins.h" and path.name == "device.cuh":
                continue
            if name.split("/")[0] not in {"cuda", "backend", "base"}:
                yield f"{path.relative_to(root)}:{number}: cuda must not include {name}"


def size_faults(root):
    for folder in ("src", "cuda", "samples", "tests", "include"):
        for path in code_files(root / folder):
            lines = len(path.read_text(encoding="utf-8").splitlines())
            if lines > MOST_LINES and path.name != "gptq.h":
                yield f"{path.relative_to(root)}: {lines} lines, at most {MOST_LINES} wanted"


def sample_faults(root):
    """Samples and the tests of the installed library use gptq.h alone."""
    for folder in ("samples", "tests/consumer"):
        for path in code_files(root / folder):
            for number, name in includes(path, ANY_INCLUDE):
                if (root / "src" / name).is_file():
                    yield f"{path.relative_to(root)}:{number}: may include gptq.h alone, not {name}"


def name_faults(root):
    """Two types of one name in one namespace: their inline functions would be one to the linker, whichever that is."""
    places = {}
    for folder in ("src", "cuda"):
        for path in code_files(root / folder):
            text = path.read_text(encoding="utf-8")
            space = re.search(r"^namespace ([\w:]+) \{", text, re.MULTILINE)
            if path.suffix != ".h" or space is None or re.search(r"^namespace \{", text, re.MULTILINE):
                continue  # what is unnamed is each file's own
            for name in re.findall(r"^(?:struct|class|enum class) (\w+)\b[^;{]*\{", text, re.MULTILINE):
                places.setdefault((space[1], name), []).append(str(path.relative_to(root)))
    for (space, name), files in places.items():
        if len(set(files)) > 1:  # a specialization is in the same
            yield f"{space}::{name} is defined in {' and '.join(files)}"


def main():
    root = pathlib.Path(sys.argv[1]).resolve()
    if not code_files(root / "src"):
        print(f"FAIL layers: no sources below {root}/src")
        return 1
    failed = 0
    for name, faults in (
        ("layers include downwards only", layer_faults(root)),
        ("cuda includes the seam and what is below it", cuda_faults(root)),
        (f"no file over {MOST_LINES} lines", size_faults(root)),
        ("samples include gptq.h alone", sample_faults(root)),
        ("types of headers have names of their own", name_faults(root)),
    ):
        found = list(faults)
        print(("FAIL " if found else "ok   ") + name)
        for fault in found:
            print("     " + fault)
        failed += bool(found)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""Looks at the built plugin: what it exports and needs, for which GPUs it has code, what instructions that is made of, and
what it says on this machine.

usage: plugin.py LIBGPTQ PLUGIN CUOBJDUMP
Prints one "ok", "FAIL" or "skip" line per check; fails if any failed.
"""
import ctypes
import os
import pathlib
import re
import subprocess
import sys

GPUS = ["80", "86", "89", "90", "100", "120"]
PTX = ["120"]
# of the products: copies that need no registers, tensor cores, loads of 16 bytes
INSTRUCTIONS = ["LDGSTS", "HMMA", "LDG.E.128"]
DEVICE_ERROR = -8


def output(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def exports(plugin):
    names = {line.split()[-1] for line in output("nm", "-D", "--defined-only", plugin).splitlines()}
    return [] if names == {"gptq_plugin"} else [f"exports {sorted(names)}"]


def needs(plugin):
    """The C and C++ libraries; nothing of CUDA."""
    found = re.findall(r"NEEDED.*\[(.*)\]", output("readelf", "-dW", plugin))
    allowed = re.compile(r"lib(stdc\+\+|gcc_s|c|m|dl|rt|pthread)\.so\.\d+|ld-linux.*")
    return [f"needs {name}" for name in found if not allowed.fullmatch(name)]


def targets(plugin, cuobjdump):
    code = set(re.findall(r"sm_(\d+)\w*\.cubin", output(cuobjdump, "--list-elf", plugin)))
    ptx = set(re.findall(r"sm_(\d+)\w*\.ptx", output(cuobjdump, "--list-ptx", plugin)))
    return [f"no code for sm_{gpu}" for gpu in GPUS if gpu not in code] + [f"no PTX {p}" for p in PTX if p not in ptx]


def instructions(plugin, cuobjdump):
    faults = []
    for gpu in ("80", "90"):
        code = output(cuobjdump, "-sass", "-arch", f"sm_{gpu}", plugin)
        faults += [f"sm_{gpu} has no {name}" for name in INSTRUCTIONS if not re.search(rf"\b{re.escape(name)}\b", code)]
    return faults


def says(libgptq, plugin):
    """Where there is no GPU it opens all the same, and says so."""
    os.environ["GPTQ_PLUGIN_PATH"] = str(pathlib.Path(plugin).parent)
    library = ctypes.CDLL(libgptq)
    library.gptq_last_error_message.restype = ctypes.c_char_p
    status = library.gptq_device_check(b"cuda")
    message = library.gptq_last_error_message().decode()
    if os.path.exists("/dev/nvidiactl"):
        return [] if status == 0 else [f"status {status}: {message}"]
    return [] if status == DEVICE_ERROR and "driver" in message else [f"status {status}: {message}"]


def main():
    libgptq, plugin, cuobjdump = (str(pathlib.Path(p).resolve()) for p in sys.argv[1:4])
    checks = [
        ("exports one function", lambda: exports(plugin)),
        ("needs no library of CUDA", lambda: needs(plugin)),
        ("opens, and says what this machine has", lambda: says(libgptq, plugin)),
    ]
    if os.path.exists(cuobjdump):
        checks.append(("has code for all GPUs", lambda: targets(plugin, cuobjdump)))
        checks.append(("is made of the instructions that it should", lambda: instructions(plugin, cuobjdump)))
    else:
        print("skip the plugin's code: cuobjdump is not here")
    failed = 0
    for name, check in checks:
        try:
            faults = check()
        except (OSError, subprocess.CalledProcessError) as error:
            faults = [str(error)]
        print(("FAIL " if faults else "ok   ") + "the plugin " + name)
        for fault in faults:
            print("     " + fault)
        failed += bool(faults)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

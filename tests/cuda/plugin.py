#!/usr/bin/env python3
"""Looks at the built plugin and the library: what the plugin exports, what both need, for which GPUs it has code, and what it
says on this machine. instructions.py and gates.py look at that code, drivers.py at what it says elsewhere.

usage: plugin.py LIBGPTQ PLUGIN CUOBJDUMP
Prints one "ok", "FAIL" or "skip" line per check; fails if any failed.
"""
import ctypes
import os
import pathlib
import re
import subprocess
import sys

GPUS = {"80", "86", "89", "90", "100", "120"}  # as cuda/language.cmake has them: code for 90a runs on no successor of sm_90
PTX = {"120"}
OF_C = r"lib(stdc\+\+|gcc_s|c|m|dl|rt|pthread)\.so\.\d+|ld-linux.*"
DEVICE_ERROR = -8


def output(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def exports(plugin):
    names = {line.split()[-1] for line in output("nm", "-D", "--defined-only", plugin).splitlines()}
    return [] if names == {"gptq_plugin"} else [f"exports {sorted(names)}"]


def needs(file, allowed):
    """Nothing beside these libraries, and so nothing of CUDA."""
    found = re.findall(r"NEEDED.*\[(.*)\]", output("readelf", "-dW", file))
    return [f"needs {name}" for name in found if not re.fullmatch(allowed, name)] or ([] if found else ["needs nothing at all"])


def targets(plugin, cuobjdump):
    code = set(re.findall(r"\.sm_(\w+)\.cubin", output(cuobjdump, "--list-elf", plugin)))
    ptx = set(re.findall(r"\.sm_(\w+)\.ptx", output(cuobjdump, "--list-ptx", plugin)))
    return [f"has {what} for {sorted(found)}, wanted {sorted(wanted)}"
            for what, found, wanted in (("code", code, GPUS), ("PTX", ptx, PTX)) if found != wanted]


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
        ("the plugin exports one function", lambda: exports(plugin)),
        ("the plugin needs no library of CUDA", lambda: needs(plugin, OF_C)),
        ("libgptq.so needs no library of CUDA", lambda: needs(libgptq, OF_C + r"|lib(pcre2-8|utf8proc)\.so\.\d+")),
        ("the plugin opens, and says what this machine has", lambda: says(libgptq, plugin)),
    ]
    if os.path.exists(cuobjdump):
        checks.append(("the plugin has code for all GPUs", lambda: targets(plugin, cuobjdump)))
    else:
        print("skip the plugin's code: cuobjdump is not here")
    failed = 0
    for name, check in checks:
        try:
            faults = check()
        except (OSError, subprocess.CalledProcessError) as error:
            faults = [str(error)]
        print(("FAIL " if faults else "ok   ") + name)
        for fault in faults:
            print("     " + fault)
        failed += bool(faults)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

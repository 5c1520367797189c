#!/usr/bin/env python3
"""What the built plugin says of drivers that it can't use: each stands in for libcuda.so.1, made of fake/driver.c.

usage: drivers.py LIBGPTQ PLUGIN
Prints one "ok" or "FAIL" line per driver; fails if any failed.
"""
import os
import pathlib
import subprocess
import sys
import tempfile

SOURCE = pathlib.Path(__file__).resolve().parent / "fake/driver.c"
DEVICE_ERROR = -8
# what it is, its version, what cuInit() answers, and what the message ends in
DRIVERS = [
    ("for CUDA 12.8", 12080, 0, "the NVIDIA driver is too old: it is for CUDA 12.8, wanted 13.0 or newer"),
    ("for CUDA 11.4, and no device", 11040, 100, "the NVIDIA driver is too old: it is for CUDA 11.4, wanted 13.0 or newer"),
    ("without a device", 13000, 100, "the NVIDIA driver has no device"),
    ("newer than the plugin, without a device", 14020, 100, "the NVIDIA driver has no device"),
    # the library of one release, the kernel's module of another: an update without a reboot
    (
        "that does not begin",
        13000,
        803,
        "the NVIDIA driver: system has unsupported display driver / cuda driver combination (cudaErrorSystemDriverMismatch)",
    ),
]
# in a process of its own, since the loader reads LD_LIBRARY_PATH but once: asked twice, as a host does that hopes for better
ASK = """
import ctypes, sys
library = ctypes.CDLL(sys.argv[1])
library.gptq_last_error_message.restype = ctypes.c_char_p
for _ in range(2):
    print(library.gptq_device_check(b"cuda"), library.gptq_last_error_message().decode())
"""


def faults_of(libgptq, plugin, version, init, wanted, folder):
    flags = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-Wl,-soname,libcuda.so.1"]
    macros = [f"-DDRIVER_VERSION={version}", f"-DINIT_RESULT={init}"]
    subprocess.run(["cc", *flags, *macros, str(SOURCE), "-o", f"{folder}/libcuda.so.1"], check=True, capture_output=True, text=True)
    environment = {**os.environ, "LD_LIBRARY_PATH": folder, "GPTQ_PLUGIN_PATH": str(pathlib.Path(plugin).parent)}
    run = subprocess.run(
        [sys.executable, "-c", ASK, libgptq], env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    if run.returncode != 0:
        return [f"exit code {run.returncode}: {run.stderr.strip()}"]
    lines = run.stdout.splitlines()
    fits = len(lines) == 2 and all(line.startswith(f"{DEVICE_ERROR} ") and line.endswith(wanted) for line in lines)
    return [] if fits else [f"it says '{line}'" for line in lines] + [f"wanted {DEVICE_ERROR} ... '{wanted}'"]


def main():
    libgptq, plugin = (str(pathlib.Path(p).resolve()) for p in sys.argv[1:3])
    failed = 0
    for name, version, init, wanted in DRIVERS:
        with tempfile.TemporaryDirectory() as folder:
            try:
                faults = faults_of(libgptq, plugin, version, init, wanted, folder)
            except (OSError, subprocess.SubprocessError) as error:
                faults = [f"{error} {getattr(error, 'stderr', None) or ''}"]
        print(("FAIL " if faults else "ok   ") + f"the plugin names a driver {name}")
        for fault in faults:
            print("     " + fault)
        failed += bool(faults)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

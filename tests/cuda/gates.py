#!/usr/bin/env python3
"""Compiles the kernels with nvcc and looks at what ptxas says of each: nothing in local memory, no more registers than its
ceiling, no shared memory but what its launch asks for. Nothing that warns passes, nor in the C++ that only a toolkit compiles.

usage: gates.py NVCC [--arch SM]... [--include FOLDER]...     without --arch: 80, 90 and 120
       gates.py CUOBJDUMP --plugin PLUGIN                      the same numbers of a plugin that is built, for all its GPUs
Prints one "ok" or "FAIL" line per source file, of kernels and architecture; fails if any failed.
"""
import argparse
import pathlib
import re
import subprocess
import sys
import tempfile
import typing
from concurrent.futures import ThreadPoolExecutor

ROOT = pathlib.Path(__file__).resolve().parents[2]
# Most registers of a thread, by a part of the kernel's mangled name; the first that fits counts. 255 are all that there are.
CEILINGS = {
    # one block of 256 threads, and 96 KB of shared memory: what it takes now, and a few
    r"\d(gemm|gemm_parts)I\w+?ELi\d+ELi4EEE": 224,  # of 32 rows
    r"\d(gemm|gemm_parts)I\w+?ELi\d+ELi2EEE": 200,  # of 16
    r"9add_tilesI": 184,
    # blocks of 128 threads on an SM: two, three, four
    r"6attendI\w+?ELi256E": 255,
    r"6attendI\w+?ELi128E": 168,
    r"6attendI\w+?ELi64E": 128,
    r"6matvecI": 96,  # two of 256, and what is in flight
}
MOST = 128  # of the others: two blocks of 256 threads
# of shared memory that a kernel has without its launch asking for it, bytes: what newer GPUs keep for themselves
MOST_SHARED = 1024
KERNELS = [*sorted((ROOT / "cuda").glob("*.cu")), ROOT / "tests/cuda/wrappers.cu", ROOT / "tests/gpu/read.cu"]
# of the other files the shim's tests are made, too
HOST = [ROOT / "cuda/runtime_cuda.cpp", *sorted((ROOT / "tests/gpu").glob("*.cpp"))]
FOLDERS = ["", "src", "include", "tests", "tests/gpu", "tests/cuda"]
HOST_FLAGS = ["-std=c++20", "-O1", "-Xcompiler", "-Wall,-Wextra,-Wpedantic,-Werror"]
FLAGS = ["-std=c++20", "-O3", "-Werror", "all-warnings", "-Xcompiler", "-Wall,-Wextra,-Werror", "-Xptxas", "-v,-warn-spills"]


class Kernel(typing.NamedTuple):
    name: str  # mangled
    registers: int
    local: int  # bytes
    shared: int  # bytes, without those that a launch asks for

    def faults(self):
        ceiling = next((most for part, most in CEILINGS.items() if re.search(part, self.name)), MOST)
        if self.registers > ceiling:
            yield f"{self.name}: {self.registers} registers, at most {ceiling} wanted"
        if self.local > 0:
            yield f"{self.name}: {self.local} bytes of local memory"
        if self.shared > MOST_SHARED:
            yield f"{self.name}: {self.shared} bytes of shared memory, at most {MOST_SHARED} wanted"


def kernels_of(report):
    """Each kernel in ptxas's report."""
    name, local = "", 0
    for line in report.splitlines():
        if found := re.search(r"Compiling entry function '(\w+)'", line):
            name, local = found.group(1), 0
        elif found := re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", line):
            local = sum(int(found.group(i)) for i in (1, 2, 3))
        elif found := re.search(r"Used (\d+) registers", line):
            shared = re.search(r"(\d+) bytes smem", line)
            yield Kernel(name, int(found.group(1)), local, int(shared.group(1)) if shared else 0)


def beyond(kernels):
    """What is wrong with kernels."""
    return [fault for kernel in kernels for fault in kernel.faults()] if kernels else ["no kernel in it"]


def complaints(run):
    """What a compiler that failed has said."""
    said = [line for line in (run.stdout + run.stderr).splitlines() if "error" in line or "warning" in line]
    return said or [f"nvcc: exit code {run.returncode}"]


def includes_of(includes):
    return [f"-I{folder}" for folder in [*(ROOT / f for f in FOLDERS), *includes]]


def host_faults(source, nvcc, includes, folder):
    command = [nvcc, *HOST_FLAGS, *includes_of(includes), "-c", str(source), "-o", f"{folder}/{source.stem}.o"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    return complaints(run) if run.returncode != 0 else []


def faults_of(source, arch, nvcc, includes, folder):
    command = [nvcc, *FLAGS, f"-arch=sm_{arch}", *includes_of(includes)]
    command += ["-c", str(source), "-o", f"{folder}/{source.stem}-{arch}.o"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode != 0:
        return complaints(run), 0, 0
    kernels = list(kernels_of(run.stdout + run.stderr))
    return beyond(kernels), len(kernels), most_registers(kernels)


def most_registers(kernels):
    return max((kernel.registers for kernel in kernels), default=0)


def kernels_of_plugin(report):
    """The same of each architecture in what cuobjdump says of a plugin. A stack frame has what is spilled in it."""
    found, arch, name = {}, "", ""
    for line in report.splitlines():
        if entry := re.match(r"arch = sm_(\w+)", line):
            arch = entry.group(1)
        elif entry := re.match(r" *Function (\w+):", line):
            name = entry.group(1)
        elif entry := re.match(r" *REG:(\d+) STACK:(\d+) SHARED:(\d+) LOCAL:(\d+)", line):
            registers, stack, shared, local = map(int, entry.groups())
            found.setdefault(arch, []).append(Kernel(name, registers, stack + local, shared))
    return found


def gates_of_plugin(cuobjdump, plugin):
    run = subprocess.run([cuobjdump, "--dump-resource-usage", plugin], capture_output=True, text=True, check=False)
    found = kernels_of_plugin(run.stdout)
    most = max(map(len, found.values()), default=0)
    failed = 0
    for arch, kernels in found.items():
        faults = beyond(kernels)
        if len(kernels) != most:
            faults.append(f"{len(kernels)} kernels, others have {most}")
        word = "FAIL" if faults else "ok  "
        print(f"{word} the plugin for sm_{arch}: {len(kernels)} kernels, at most {most_registers(kernels)} registers")
        for fault in faults:
            print("     " + fault)
        failed += bool(faults)
    if not found:
        print(f"FAIL {plugin} has no kernels: {run.stderr.strip() or f'exit code {run.returncode}'}")
    return 1 if failed or not found else 0


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("tool")
    arguments.add_argument("--plugin")
    arguments.add_argument("--arch", action="append")
    arguments.add_argument("--include", action="append", default=[])
    given = arguments.parse_args()
    if given.plugin:
        return gates_of_plugin(given.tool, given.plugin)
    jobs = [(s, a) for s in KERNELS for a in given.arch or ["80", "90", "120"]]
    failed = 0
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(2) as pool:
        for source, faults in zip(HOST, pool.map(lambda s: host_faults(s, given.tool, given.include, folder), HOST)):
            print(f"{'FAIL' if faults else 'ok  '} {source.relative_to(ROOT)}")
            for fault in faults:
                print("     " + fault)
            failed += bool(faults)
        results = pool.map(lambda job: faults_of(*job, given.tool, given.include, folder), jobs)
        for (source, arch), (faults, kernels, registers) in zip(jobs, results):
            print(f"{'FAIL' if faults else 'ok  '} {source.name} for sm_{arch}: {kernels} kernels, at most {registers} registers")
            for fault in faults:
                print("     " + fault)
            failed += bool(faults)
    return 1 if failed or not jobs else 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""What instructions each kernel of the built plugin is made of, for each GPU that it has code for: what its speed rests on
must be in it, wherever ptxas has put it, and nothing that goes by way of local memory.

usage: instructions.py CUOBJDUMP PLUGIN
Prints one "ok" or "FAIL" line per GPU; fails if any failed.
"""
import collections
import re
import subprocess
import sys

COPY = r"LDGSTS\.E\.BYPASS\.128\b"  # cp.async of 16 bytes, past the first cache
ONCE = r"LDG\.E\.NA\.{}\.CONSTANT"  # what is read once: it leaves the first cache alone
MATRIX, TURNED = r"LDSM\.16\.M88\.4", r"LDSM\.16\.MT88\.4"
MMA = {"6BFloat": r"HMMA\.16816\.F32\.BF16$", "4Half": r"HMMA\.16816\.F32$", "": r"HMMA\.16816\.F32\.BF16$"}
LOCAL = r"LDL|STL"
# of sm_90 and newer: griddepcontrol.launch_dependents and .wait
FIRST_OF_NEXT, AFTER_EARLIER = "PREEXIT", "ACQBULK"

# Kinds of kernels by a part of their mangled names, and the fewest of each instruction. {mma}: of the kernel's type of
# activations, which is its first template argument.
KINDS = {
    # copies are a stage's: 8 strips of weights, rows, scales and zero points; half a stage is 4 steps of 2 strips
    "gemm": (r"4gemmI", {COPY: 10, "{mma}": 8, r"LDS\.(64|128)$": 2}),
    "gemm of parts": (r"10gemm_partsI", {COPY: 10, "{mma}": 8, r"LDS\.(64|128)$": 2}),
    # as many loads as are in flight, before the loop and in it
    "matvec of 16 bits": (r"6matvecI\w+Li16E", {ONCE.format(128): 8, "{mma}": 4}),
    "matvec of 8 bits": (r"6matvecI\w+Li8E", {ONCE.format(128): 8, "{mma}": 8}),
    "matvec of 4 bits": (r"6matvecI\w+Li4E", {ONCE.format(128): 8, "{mma}": 16}),
    "matvec of 2 and 3 bits": (r"6matvecI\w+Li[23]E", {ONCE.format(64): 8, "{mma}": 16}),
    # Q and the tiles of K and V, in two places of the code
    "attention": (r"6attendI", {COPY: 24, "{mma}": 16, MATRIX: 4, TURNED: 4}),
    "sums over inputs": (r"9add_tilesI", {COPY: 4, "{mma}": 32, TURNED: 12}),
    "product in halves": (r"14multiply_splitE", {"{mma}": 24, MATRIX: 12}),
    "unpacking of 16, 8 and 4 bits": (r"12unpack_slabsI\w+Li(16|8|4)E", {ONCE.format(128): 1}),
    "elementwise": (r"12map_elementsI", {r"LDG\.E\.128(\.CONSTANT)?$": 1, r"STG\.E\.128$": 1}),
    # fp32, from shared memory
    "factor": (r"(11update_rest|12factor_panel|10invert_row)E", {r"LDS\.128$": 8, r"FFMA$": 64}),
}
# these begin to read weights before earlier kernels are done (sm_90 and newer)
AHEAD = r"6matvecI"


def code_of(cuobjdump, plugin):
    """(GPU, kernel, its instructions in their order), GPU as 90 or 90a."""
    gpu, name, code = "", "", []
    with subprocess.Popen([cuobjdump, "-sass", plugin], stdout=subprocess.PIPE, text=True) as run:
        for text in run.stdout:
            if ";" in text:  # /*0040*/  @!P0 LDG.E R2, ... ;  /* 0x... */
                words = text.split(None, 3)
                code.append((words[2] if words[1][0] == "@" else words[1]).rstrip(";"))
                continue
            if text.lstrip().startswith("/*"):
                continue
            entry, arch = re.match(r"\s*Function : (\S+)", text), re.match(r"arch = sm_(\w+)", text)
            if (entry or arch) and code:
                yield gpu, name, code
                code = []
            if entry:
                name = entry.group(1)
            if arch:
                gpu = arch.group(1)
        if code:
            yield gpu, name, code
    if run.returncode != 0:
        raise OSError(f"{cuobjdump}: exit code {run.returncode}")


def is_sm_90_or_newer(gpu):
    return int(re.match(r"\d+", gpu).group()) >= 90


def faults_of(wanted, gpu, name, code):
    counts = collections.Counter(code)
    mma = next(pattern for kind, pattern in MMA.items() if kind in name)
    faults = []
    for pattern, least in wanted.items():
        pattern = pattern.replace("{mma}", mma)
        found = sum(n for instruction, n in counts.items() if re.match(pattern, instruction))
        if found < least:
            faults.append(f"{name}: {found} of {pattern}, at least {least} wanted")
    if re.search(AHEAD, name) and is_sm_90_or_newer(gpu):
        loads = [i for i, instruction in enumerate(code) if re.match(ONCE.format(r"\d+"), instruction)]
        if AFTER_EARLIER not in code or not loads or code.index(AFTER_EARLIER) < loads[0]:
            faults.append(f"{name}: no weights are read before {AFTER_EARLIER}")
    return faults


def faults_of_any(gpu, name, code):
    """What is wanted of all kernels."""
    faults = [f"{name}: {instruction}" for instruction in sorted(set(code)) if re.match(LOCAL, instruction)]
    if is_sm_90_or_newer(gpu):
        faults += [f"{name}: no {wanted}" for wanted in (FIRST_OF_NEXT, AFTER_EARLIER) if wanted not in code]
    return faults


def main():
    cuobjdump, plugin = sys.argv[1:3]
    kernels, faults = collections.defaultdict(collections.Counter), collections.defaultdict(list)
    for gpu, name, code in code_of(cuobjdump, plugin):
        kernels[gpu]["all"] += 1
        faults[gpu] += faults_of_any(gpu, name, code)
        for kind, (kernel, wanted) in KINDS.items():
            if re.search(kernel, name):
                kernels[gpu][kind] += 1
                faults[gpu] += faults_of(wanted, gpu, name, code)
    failed = 0
    for gpu, found in kernels.items():
        faults[gpu] += [f"no kernel of kind '{kind}'" for kind in KINDS if kind not in found]
        print(f"{'FAIL' if faults[gpu] else 'ok  '} instructions of {found['all']} kernels for sm_{gpu}")
        for fault in faults[gpu][:20]:
            print("     " + fault)
        failed += bool(faults[gpu])
    if not kernels:
        print(f"FAIL {plugin} has no kernels")
    return 1 if failed or not kernels else 0


if __name__ == "__main__":
    sys.exit(main())

#!/bin/sh
# Fetches what the plugin is built with, for machines without a CUDA toolkit: get-toolkit.sh [FOLDER]
# FOLDER, build/cuda-toolkit by default, gets bin, include and lib as a toolkit has them, from the wheels that NVIDIA
# publishes on PyPI, by the versions and hashes in toolkit.txt (110 MB to fetch, 300 MB in all). Does nothing, and needs no
# network, when they are there. What it fetches is under NVIDIA's licence: https://docs.nvidia.com/cuda/eula/
set -eu
here=$(cd "$(dirname "$0")" && pwd)
folder=${1:-$here/../build/cuda-toolkit}
pins=$here/toolkit.txt

say() { echo "get-toolkit: $*"; }
fail() {
  say "$*" >&2
  exit 1
}

if cmp -s "$pins" "$folder/toolkit.txt" && [ -x "$folder/bin/nvcc" ]; then
  say "everything needed is in $folder"
  exit 0
fi
if [ -e "$folder" ] && [ ! -e "$folder/toolkit.txt" ] && [ -n "$(ls -A "$folder")" ]; then
  fail "$folder is there and was not made by this script; please name another folder"
fi
python3 -m pip --version >/dev/null 2>&1 || fail "needs Python 3 with pip (on Debian: python3-pip)"

mkdir -p "$(dirname "$folder")"
folder=$(cd "$(dirname "$folder")" && pwd)/$(basename "$folder")
scratch=$folder.new.$$
trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' HUP INT TERM
say "fetching CUDA $(sed -n 's/^nvidia-cuda-nvcc==\([0-9.]*\).*/\1/p' "$pins") to $folder"
python3 -m pip install --quiet --disable-pip-version-check --no-deps --no-compile --only-binary=:all: --require-hashes \
  --target "$scratch/wheels" -r "$pins" >"$scratch.log" 2>&1 || {
  cat "$scratch.log" >&2
  rm -f "$scratch.log"
  fail "pip could not install them (is the network there? is there a wheel for $(uname -m)?)"
}
rm -f "$scratch.log"

toolkit=$scratch/wheels/nvidia/cu13
[ -x "$toolkit/bin/nvcc" ] || fail "the wheels have no nvidia/cu13/bin/nvcc: their layout is another one"
ln -s lib "$toolkit/lib64" # where nvcc and CMake look
"$toolkit/bin/nvcc" --version >/dev/null || fail "$toolkit/bin/nvcc does not run here"
cp "$pins" "$toolkit/toolkit.txt"
rm -rf "$folder"
mv "$toolkit" "$folder"
say "done"

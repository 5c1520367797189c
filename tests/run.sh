#!/bin/bash
# Builds and tests everything: run.sh [--quick] [--cuda] [--cuda-sanitizers]
#   --quick            the dev build, its tests and the format alone
#   --cuda             fetches a CUDA toolkit where there is none; without it the plugin for GPUs is not built there
#   --cuda-sanitizers  all tests of the kernels of GPUs, compiled as C++, go through AddressSanitizer, which takes long, and not
#                      a part of them alone that has each kernel
# Every step runs, whatever failed before it. The last line is "N passed, N failed", with ", N skipped" when some were;
# the exit code is 0 when none failed. Needs no network when tests/install-deps.sh has nothing to install and the toolkit is there.
set -u
cd "$(dirname "$0")/.."
export LC_ALL=C.UTF-8 PYTHONDONTWRITEBYTECODE=1

quick=no cuda=no shim=OFF
for option in "$@"; do
  case "$option" in
    --quick) quick=yes ;;
    --cuda) cuda=yes ;;
    --cuda-sanitizers) shim=ON ;;
    *) echo "usage: tests/run.sh [--quick] [--cuda] [--cuda-sanitizers]" >&2; exit 2 ;;
  esac
done

jobs=$(nproc)
scratch=$(mktemp -d)
# where tests have their files: in memory if there is room, so that none waits for a disk
files=$scratch
if [ "$(df -k --output=avail /dev/shm 2>/dev/null | tail -n 1)" -gt 4000000 ] 2>/dev/null; then files=$(mktemp -d -p /dev/shm); fi
trap 'rm -rf "$scratch" "$files"' EXIT
passed=0 failed=0 skipped=0

heading() { printf '\n== %s (%d s)\n' "$*" "$SECONDS"; }
ok() { echo "ok   $1"; passed=$((passed + 1)); }
fail() { echo "FAIL $1"; failed=$((failed + 1)); }
skip() { echo "skip $1"; skipped=$((skipped + 1)); }

# check NAME COMMAND...: one check; its output is shown when it fails.
check() {
  local name=$1 since=$SECONDS
  shift
  if "$@" >"$scratch/log" 2>&1; then
    since=$((SECONDS - since))
    [ $since -eq 0 ] || name="$name ($since s)"
    ok "$name"
  else
    fail "$name"
    { grep -E 'error:|FAILED' "$scratch/log" | head -n 20; echo ...; tail -n 25 "$scratch/log"; } | cut -c 1-300 | sed 's/^/     /'
    return 1
  fi
}

# checks NAME COMMAND...: a script that prints "ok", "FAIL" and "skip" lines of its own.
checks() {
  local name=$1 status bad
  shift
  "$@" 2>&1 | tee "$scratch/log"
  status=${PIPESTATUS[0]}
  bad=$(grep -c '^FAIL ' "$scratch/log")
  passed=$((passed + $(grep -c '^ok ' "$scratch/log")))
  skipped=$((skipped + $(grep -c '^skip ' "$scratch/log")))
  failed=$((failed + bad))
  if [ "$status" -ne 0 ] && [ "$bad" -eq 0 ]; then fail "$name: exit code $status"; fi
}

# cases BUILD_FOLDER OPTION...: the registered tests, counted case by case.
cases() {
  local counts
  TMPDIR=$files python3 tests/support/run_ctest.py --jobs $((jobs < 4 ? jobs : 4)) "$@" 2>&1 | tee "$scratch/log" | grep -v '^counts '
  counts=$(sed -n 's/^counts //p' "$scratch/log" | tail -n 1)
  if [ -z "$counts" ]; then fail "tests of $1: the runner broke"; return; fi
  set -- $counts
  passed=$((passed + $1)) failed=$((failed + $2)) skipped=$((skipped + $3))
}

# build PRESET TARGETS [CMAKE_OPTION...]
build() {
  local preset=$1 targets=$2
  shift 2
  # shellcheck disable=SC2086
  check "configure $preset" cmake --preset "$preset" "$@" &&
    check "build $preset" cmake --build "build/$preset" --parallel "$jobs" --target $targets -- -k 0
}

# What the layers base and cpu are on arm64, by a cross compiler and an emulator.
arm64() {
  local tool
  for tool in aarch64-linux-gnu-g++ qemu-aarch64; do
    if ! command -v $tool >/dev/null; then skip "arm64: $tool is not here"; return; fi
  done
  if [ ! -d /usr/src/googletest ]; then skip "arm64: the source of GoogleTest is not in /usr/src/googletest"; return; fi
  if build arm64 "base_test ops_test"; then cases build/arm64 --match '^(base|ops.*|isa_symbols)$'; fi
}

format() {
  if ! clang-format --version 2>/dev/null | grep -q 'version 14\.'; then
    skip "clang-format 14 is not here"
    return
  fi
  # the columns of gptq.h are set by hand
  find src cuda samples tests \( -name '*.h' -o -name '*.cpp' -o -name '*.c' -o -name '*.cu' -o -name '*.cuh' \) \
    -print0 >"$scratch/files"
  check "clang-format" xargs -0 -a "$scratch/files" clang-format --dry-run --Werror
}

header() {
  local compiler
  for compiler in gcc clang; do
    if ! command -v $compiler >/dev/null; then skip "$compiler is not here"; continue; fi
    for dialect in "c -std=c99" "c++ -std=c++17"; do
      echo '#include <gptq.h>' >"$scratch/header.in"
      # shellcheck disable=SC2086
      check "gptq.h: $compiler -x $dialect -pedantic" \
        $compiler -x $dialect -pedantic -Wall -Wextra -Werror -Iinclude -fsyntax-only "$scratch/header.in"
    done
  done
}

# The Debian packages, and among them the plugin for NVIDIA GPUs where there is a CUDA toolkit.
packages() {
  local nvcc cuobjdump plugin=OFF
  if [ $cuda = yes ] && ! command -v nvcc >/dev/null && [ ! -x /usr/local/cuda/bin/nvcc ]; then
    check "the CUDA toolkit is fetched" cuda/get-toolkit.sh
  fi
  if nvcc=$(PATH=$PATH:/usr/local/cuda/bin:$PWD/build/cuda-toolkit/bin command -v nvcc); then
    plugin=ON
    checks "kernels" python3 tests/cuda/gates.py "$nvcc" --arch 90
  elif [ $cuda = yes ]; then
    skip "the plugin for GPUs: no nvcc is here"
  else
    skip "the plugin for GPUs: no nvcc is here, --cuda fetches one"
  fi
  if ! command -v dpkg-gensymbols >/dev/null; then
    skip "the packages, and the plugin in them: dpkg-dev is not here"
    return
  fi
  rm -rf build/deb/packages  # those of another version, or of another choice of plugin
  build deb all -DGPTQ_CUDA=$plugin || return
  if [ $plugin = ON ]; then
    cuobjdump=$(dirname "$nvcc")/cuobjdump
    checks "plugin" python3 tests/cuda/plugin.py build/deb/src/libgptq.so build/deb/src/gptq/libgptq-cuda.so "$cuobjdump"
    checks "drivers" python3 tests/cuda/drivers.py build/deb/src/libgptq.so build/deb/src/gptq/libgptq-cuda.so
    if [ -x "$cuobjdump" ]; then
      checks "kernels of the plugin" python3 tests/cuda/gates.py "$cuobjdump" --plugin build/deb/src/gptq/libgptq-cuda.so
      checks "instructions" python3 tests/cuda/instructions.py "$cuobjdump" build/deb/src/gptq/libgptq-cuda.so
    else
      skip "the kernels of the plugin: no cuobjdump is here"
    fi
  fi
  if check "packages" cmake -E chdir build/deb cpack; then
    checks "packages" bash tests/packages/run.sh build/deb "$scratch/packages"
  fi
}

# said NAME: what a command in the background has said, and its status
said() {
  cat "$scratch/$1.log"
  return "$(cat "$scratch/$1.status")"
}

# One fuzzer on each core.
fuzz() {
  local fuzzer name seeds names=()
  for fuzzer in build/asan/tests/fuzz/*; do
    [ -f "$fuzzer" ] && [ -x "$fuzzer" ] || continue
    name=$(basename "$fuzzer")
    names+=("$name")
    mkdir -p "$scratch/corpus-$name" "$scratch/artifacts"
    seeds=tests/fuzz/seeds/${name#fuzz_}
    while [ "$(jobs -rp | wc -l)" -ge "$jobs" ]; do wait -n; done
    {
      "$fuzzer" -runs=20000 -seed=1 -timeout=30 -rss_limit_mb=3000 -max_total_time=120 \
        -artifact_prefix="$scratch/artifacts/" "$scratch/corpus-$name" $([ -d "$seeds" ] && echo "$seeds")
      echo $? >"$scratch/$name.status"
    } >"$scratch/$name.log" 2>&1 &
  done
  wait
  for name in "${names[@]}"; do check "fuzz $name" said "$name"; done
  [ ${#names[@]} -gt 0 ] || fail "no fuzzer was built"
}

sanitizers() {
  heading "AddressSanitizer, UndefinedBehaviorSanitizer, fuzzers"
  if command -v clang++ >/dev/null; then
    if build asan all -DGPTQ_BUILD_TOOL=OFF -DGPTQ_CUDA_SHIM=ON -DGPTQ_CUDA_SHIM_ALL=$shim; then fuzz; fi
    cases build/asan
  else
    skip "clang is not here"
  fi
  heading "ThreadSanitizer"
  # the layers with threads, and those of a host on a GPU
  build tsan "base_test api_test cuda_models_test" -DGPTQ_BUILD_TOOL=OFF -DGPTQ_CUDA_SHIM=ON
  cases build/tsan --match '^(base|api|cuda_threads)$'
}

heading "Packages"
sh tests/install-deps.sh || echo "going on with what is installed"

heading "Build and tests"
build dev "all benches"
cases build/dev

heading "Format"
format

if [ $quick = no ]; then
  heading "Structure"
  checks "layers" python3 tests/abi/layers.py .
  header
  if [ -e build/dev/src/libgptq.so ]; then
    checks "exports" python3 tests/abi/exports.py build/dev/src/libgptq.so include/gptq.h build/dev/src
    checks "ABI" python3 tests/abi/guard.py build/dev/src/libgptq.so include
  else
    fail "exports: there is no build/dev/src/libgptq.so"
  fi
  if command -v doxygen >/dev/null; then
    check "Doxygen has nothing to warn of" cmake --build build/dev --target docs
  else
    skip "doxygen is not here"
  fi

  heading "arm64"
  arm64

  heading "The gptq tool"
  checks "tool" python3 tests/cli/run.py build/dev/samples/cli/gptq

  heading "GGUF files in llama.cpp"
  checks "llama.cpp" python3 tests/llamacpp/compare.py build/dev/samples/cli/gptq

  heading "What is written, in GPTQModel"
  checks "GPTQModel" python3 tests/gptqmodel/compare.py build/dev/samples/cli/gptq load

  heading "Installation and programs that use it"
  if build release all && check "install" cmake --install build/release --prefix "$scratch/prefix"; then
    checks "consumers" bash tests/consumer/run.sh "$scratch/prefix" "$scratch/consumer"
    heading "Bindings"
    checks "bindings" bash tests/bindings/run.sh "$scratch/prefix" "$scratch/bindings"
  fi

  heading "Debian packages, the plugin for NVIDIA GPUs"
  packages

  sanitizers
fi

printf '\n%d s\n' "$SECONDS"
summary="$passed passed, $failed failed"
[ $skipped -eq 0 ] || summary="$summary, $skipped skipped"
echo "$summary"
[ $failed -eq 0 ] && [ $passed -gt 0 ]

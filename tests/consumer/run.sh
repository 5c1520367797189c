#!/bin/bash
# Builds programs against an installed library, and against the source tree, and runs them.
# usage: run.sh PREFIX SCRATCH      prints an "ok" or "FAIL" line per check
set -u
prefix=$(cd "$1" && pwd)
scratch=$(mkdir -p "$2" && cd "$2" && pwd)
root=$(cd "$(dirname "$0")/../.." && pwd)
model=$root/samples/model
prompt="Once upon a time"
failed=0

check() {  # check NAME COMMAND...
  local name=$1 output
  shift
  if output=$("$@" 2>&1); then
    echo "ok   $name"
  else
    echo "FAIL $name"
    printf '%s\n' "$output" | tail -n 30 | sed 's/^/     /'
    failed=1
  fi
}

# A prefix that was moved after the installation works all the same.
moved=$scratch/moved
rm -rf "$moved" && cp -a "$prefix" "$moved"
pc=$(dirname "$(find "$moved" -name gptq.pc | head -n 1)")
lib=$(dirname "$pc")
export PKG_CONFIG_PATH=$pc LD_LIBRARY_PATH=$lib

pkg_config() { test "$(pkg-config --modversion gptq)" = "$(env -u LD_LIBRARY_PATH "$moved/bin/gptq" --version | sed -n '1s/gptq //p')"; }
check "pkg-config and the tool tell one version" pkg_config

compile() {  # compile COMPILER NAME
  # shellcheck disable=SC2046
  "$1" -std=c99 -pedantic -Wall -Wextra -Werror "$root/samples/c/$2.c" $(pkg-config --cflags --libs gptq) -o "$scratch/$2"
}
check "samples/c/generate.c compiles as C99" compile cc generate
check "samples/c/quantize.c compiles as C99" compile cc quantize

same_text() {
  local by_sample by_tool
  by_sample=$("$scratch/generate" "$model" "$prompt") || return 1
  by_tool=$("$moved/bin/gptq" generate "$model" --prompt "$prompt" --max-tokens 200) || return 1
  test -n "$by_sample" && test "$by_sample" = "$by_tool" || { echo "$by_sample / $by_tool"; return 1; }
}
check "generate.c and the tool write the same text" same_text

quantizes() {
  rm -rf "$scratch/quantized"
  "$scratch/quantize" "$model" "$scratch/quantized" "$root/samples/stories.txt" &&
    test -s "$scratch/quantized/model.safetensors" && test -s "$scratch/quantized/quantize_config.json" &&
    test -n "$("$scratch/generate" "$scratch/quantized" "$prompt")"
}
check "quantize.c writes a model that generate.c reads" quantizes

refuses() {
  local output
  output=$("$scratch/generate" "$scratch/none" "$prompt" 2>&1) && return 1
  printf '%s' "$output" | grep -q none
}
check "generate.c names a folder that is not there" refuses

first=$("$moved/bin/gptq" generate "$model" --prompt "$prompt" --max-tokens 1 --json | sed 's/.*"tokens":\[\([0-9]*\)\].*/\1/')
cmake_consumer() {  # cmake_consumer BUILD_FOLDER OPTION...
  local folder=$scratch/$1
  shift
  cmake -G Ninja -S "$root/tests/consumer" -B "$folder" "$@" && cmake --build "$folder" --parallel 2 &&
    test "$("$folder/consumer" "$model" "$prompt")" = "$first"
}
check "a CMake project finds it by pkg-config" cmake_consumer by-pkg-config
check "a CMake project embeds the source tree" env -u LD_LIBRARY_PATH bash -c "$(declare -f cmake_consumer)
  scratch='$scratch' root='$root' model='$model' prompt='$prompt' first='$first'
  cmake_consumer embedded -DGPTQ_SOURCE='$root'"
check "a CMake project embeds it as a static library" env -u LD_LIBRARY_PATH bash -c "$(declare -f cmake_consumer)
  scratch='$scratch' root='$root' model='$model' prompt='$prompt' first='$first'
  cmake_consumer static -DGPTQ_SOURCE='$root' -DBUILD_SHARED_LIBS=OFF"

unloads() {
  cc -std=c99 -pedantic -Wall -Wextra -Werror -D_DEFAULT_SOURCE "$root/tests/abi/unload.c" -ldl -o "$scratch/unload" &&
    "$scratch/unload" "$lib/libgptq.so" "$model"
}
check "the library can be unloaded after use" unloads
exit $failed

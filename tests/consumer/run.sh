#!/bin/bash
# Builds programs against an installed library, and against the source tree, and runs them.
# usage: run.sh PREFIX SCRATCH      prints an "ok" or "FAIL" line per check
set -u
prefix=$(cd "$1" && pwd)
scratch=$(mkdir -p "$2" && cd "$2" && pwd)
root=$(cd "$(dirname "$0")/../.." && pwd)
model=$root/samples/model
prompt="Once upon a time"
. "$root/tests/support/checks.sh"

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
check "samples/c/chat.c compiles as C99" compile cc chat
check "samples/c/quantize.c compiles as C99" compile cc quantize
check "samples/c/batch.c compiles as C99" compile cc batch

same_text() {
  local by_sample by_tool
  by_sample=$("$scratch/generate" "$model" "$prompt") || return 1
  by_tool=$("$moved/bin/gptq" generate "$model" --prompt "$prompt" --max-tokens 200) || return 1
  test -n "$by_sample" && test "$by_sample" = "$by_tool" || { echo "$by_sample / $by_tool"; return 1; }
}
check "generate.c and the tool write the same text" same_text

# More texts than it has at a time; they come in the order in which they end.
batches() {
  local prompts=("$prompt" "The little dog" "A cat" "One day" "The sea") each
  cmp <("$scratch/batch" "$model" "${prompts[@]}" | sort) <(
    for each in "${prompts[@]}"; do printf '%s%s\n' "$each" "$("$scratch/generate" "$model" "$each")"; done | sort)
}
check "batch.c writes what generate.c does of each" batches

chats() {
  local folder
  folder=$(chat_model "$scratch") || return 1
  echo '{"messages": [{"role": "user", "content": "Tell me a story."}], "add_generation_prompt": true}' >"$scratch/chat.json"
  cmp <("$scratch/chat" "$folder" "$scratch/chat.json") <("$scratch/generate" "$model" "$prompt") || return 1
  ! "$scratch/chat" "$model" "$scratch/chat.json" 2>"$scratch/chat.error" && grep -q 'chat_template' "$scratch/chat.error"
}
check "chat.c answers by the template, and says where there is none" chats

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
needs() { readelf -d "$1" | grep -q "NEEDED.*libgptq.so.0"; }

# Links libgptq.a, libstdc++ and all else into the program, which then needs no library at all.
static_program() {
  # shellcheck disable=SC2046
  cc -std=c99 -pedantic -Wall -Wextra -Werror "$root/tests/consumer/consumer.c" -static \
    $(pkg-config --static --cflags --libs gptq) -o "$scratch/consumer-static" || return 1
  if readelf -d "$scratch/consumer-static" | grep NEEDED; then return 1; fi
  test "$(env -u LD_LIBRARY_PATH "$scratch/consumer-static" "$model" "$prompt")" = "$first"
}
check "a C program links everything by pkg-config --static" static_program

# A C++ program that has inline functions of the same names as the library's own.
shares_inline_functions() {
  # shellcheck disable=SC2046
  c++ -std=c++20 -Wall -Wextra -Werror "$root/tests/consumer/same_inline.cpp" -Wl,-Bstatic -lgptq -Wl,-Bdynamic \
    $(pkg-config --static --cflags --libs gptq) -o "$scratch/same-inline" && ! needs "$scratch/same-inline" &&
    test "$(env -u LD_LIBRARY_PATH "$scratch/same-inline" "$model" "$prompt")" = "$first"
}
check "libgptq.a keeps its own JSON apart from the program's" shares_inline_functions

hides() {
  local seen
  seen=$(nm --defined-only "$lib/libgptq.a" | awk 'NF == 3 && $2 ~ /^[A-Z]$/ && $2 !~ /[VWu]/ && $3 !~ /^gptq_/ { print $3 }')
  test -z "$seen" || { echo "$seen"; return 1; }
  nm --defined-only "$lib/libgptq.a" | grep -q ' T gptq_model_load'
}
check "libgptq.a shows gptq_* alone" hides

cmake_consumer() {  # cmake_consumer BUILD_FOLDER LINKS FROM OPTION...: LINKS is shared or static
  local folder=$scratch/$1 links=$2
  # beside the other builds, so that ccache knows what it compiles
  if [ -d "$3" ]; then folder=$root/build/consumer-$1; fi
  shift 2
  rm -rf "$folder"
  cmake -G Ninja -S "$root/tests/consumer" -B "$folder" -DCMAKE_PREFIX_PATH="$moved" -DGPTQ_FROM="$@" &&
    cmake --build "$folder" --parallel 2 || return 1
  if [ "$links" = shared ]; then needs "$folder/consumer" || return 1; else ! needs "$folder/consumer" || return 1; fi
  test "$(env -u LD_LIBRARY_PATH "$folder/consumer" "$model" "$prompt")" = "$first"
}
check "a CMake project finds it by find_package" cmake_consumer by-package shared package
check "a CMake project finds the static library by find_package" cmake_consumer by-package-static static static
check "a CMake project finds it by pkg-config" cmake_consumer by-pkg-config shared pkg-config
check "a CMake project embeds the source tree" cmake_consumer embedded shared "$root" -DGPTQ_HARDEN=ON
check "a CMake project embeds it as a static library" cmake_consumer static static "$root" -DGPTQ_HARDEN=ON -DBUILD_SHARED_LIBS=OFF

unloads() {
  cc -std=c99 -pedantic -Wall -Wextra -Werror -D_DEFAULT_SOURCE "$root/tests/abi/unload.c" -ldl -o "$scratch/unload" &&
    "$scratch/unload" "$lib/libgptq.so" "$model"
}
check "dlopen: a program generates, and the library can be unloaded" unloads
exit $failed

#!/bin/sh
# From a fresh clone to a quantized model that tells a story: builds the library, quantizes samples/model to 4 bits,
# compares both, and lets the small one speak. Run it again at any time; it writes below build/ and out/ only.
set -eu
export LC_ALL=C.UTF-8
cd "$(dirname "$0")/.."

model=samples/model
text=samples/stories.txt
out=out/quickstart
quantized=$out/model-4bit
gptq=build/release/samples/cli/gptq

heading() { printf '\n== %s\n' "$*"; }
# A number of the JSON object in the last line of $1: field FILE KEY
field() { tail -n 1 "$1" | sed -n "s/.*\"$2\":\([0-9.eE+-]*\).*/\1/p"; }
megabytes() { wc -c <"$1/model.safetensors" | awk '{ printf "%.2f MB", $1 / 1e6 }'; }

heading "Packages"
sh tests/install-deps.sh --build-only

heading "Build (build/release)"
mkdir -p "$out"
cmake --preset release >"$out/configure.log" 2>&1 || { cat "$out/configure.log" >&2; exit 1; }
cmake --build build/release --parallel "$(nproc)" --target gptq_tool

heading "Quantize $model to 4 bits; the model writes its own calibration text"
"$gptq" quantize "$model" "$quantized" --bits 4 --group-size 128 --samples 32 --seq-len 256 --overwrite

heading "Compare on $text"
"$gptq" perplexity "$model" --text "$text" --context 256 --json -q >"$out/before.json"
"$gptq" perplexity "$quantized" --text "$text" --context 256 --reference "$model" --json -q >"$out/after.json"
printf '%-12s %14s %14s\n' '' '16 bits' '4 bits'
printf '%-12s %14s %14s\n' 'size' "$(megabytes "$model")" "$(megabytes "$quantized")"
printf '%-12s %14.2f %14.2f\n' 'perplexity' "$(field "$out/before.json" perplexity)" "$(field "$out/after.json" perplexity)"
printf 'same best token in %.1f %% of positions\n' "$(awk "BEGIN { print 100 * $(field "$out/after.json" top1) }")"

heading "A story by the 4-bit model"
prompt="Once upon a time, there was a little"
printf '%s' "$prompt"
"$gptq" generate "$quantized" --prompt "$prompt" --max-tokens 200 --temperature 0.7 --top-p 0.9 --seed 3

heading "Try it"
printf '%s\n' "$gptq generate $quantized --prompt \"One day, a cat\" --temperature 0.8 --seed 1" "$gptq --help"

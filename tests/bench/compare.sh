#!/bin/sh
# Side by side with llama.cpp, in one command: builds both programs, and llama.cpp itself unless GPTQ_LLAMACPP names a
# build of it, writes the model for llama.cpp, and measures both in turn.
# usage: tests/bench/compare.sh BUILD_FOLDER MODEL_FOLDER [compare.py's options]     MODEL_FOLDER: quantized, 4 bits
set -eu
[ $# -ge 2 ] || { sed -n '2,4s/^# //p' "$0"; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
build=$1 model=$2
shift 2
cmake --build "$build" --target decoder_bench gptq_tool
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
llama=${GPTQ_LLAMACPP:-}
if [ -z "$llama" ]; then
  llama=$build/llamacpp/build
  [ -e "$llama/CMakeCache.txt" ] || "$here/build_llamacpp.sh" "$build/llamacpp"
fi
source=$(sed -n 's/^CMAKE_HOME_DIRECTORY:INTERNAL=//p' "$llama/CMakeCache.txt")
libraries=$(dirname "$(find "$llama" -name libllama.so | head -n 1)")
cc -O2 "-I$source/include" "-I$source/ggml/include" "$here/llamacpp_bench.c" -o "$work/llamacpp_bench" \
  "-L$libraries" -lllama -lggml -lggml-base "-Wl,-rpath,$libraries"
"$build/samples/cli/gptq" convert "$model" "$work/model.gguf" --format gguf
python3 "$here/compare.py" "$build/tests/bench/decoder_bench" "$model" "$work/llamacpp_bench" "$work/model.gguf" "$@"

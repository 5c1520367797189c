#!/bin/sh
# Builds llama.cpp for this machine from the sources in PyPI's llama-cpp-python. usage: build_llamacpp.sh FOLDER
set -eu
folder=$1
mkdir -p "$folder/source"
python3 -m pip download --quiet --no-deps --no-binary :all: --no-build-isolation -d "$folder" llama-cpp-python==0.3.36
tar xzf "$folder"/llama_cpp_python-*.tar.gz -C "$folder/source" --strip-components=1
llama=$folder/source/vendor/llama.cpp
# gcc 12 believes that the tile configuration of AMX, on the stack, is not read, and leaves its stores out
sed -i 's/^    _tile_loadconfig(&tc);/    __asm__ volatile("" : : "r"(\&tc) : "memory"); _tile_loadconfig(\&tc);/' \
  "$llama/ggml/src/ggml-cpu/amx/mmq.cpp"
cmake -S "$llama" -B "$folder/build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DGGML_NATIVE=ON -DLLAMA_CURL=OFF \
  -DLLAMA_OPENSSL=OFF -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_SERVER=OFF
cmake --build "$folder/build" --target llama

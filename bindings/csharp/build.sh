#!/bin/bash
# Builds the binding with Mono: build.sh OUT makes OUT/Gptq.dll, OUT/Gptq.xml (its documentation) and OUT/libgptq-csharp.so.
# Needs mcs, a C compiler, and an installed libgptq that pkg-config finds.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
out=$(cd "$1" && pwd)

# -z nodelete: when an AssemblyLoadContext goes whose models nobody closed, the code of their threads has to stay
# shellcheck disable=SC2046
${CC:-cc} -O2 -shared -fPIC -fno-strict-aliasing "$here/native/gptq_csharp.c" $(pkg-config --cflags --libs gptq) \
  -Wl,-soname,libgptq-csharp.so -Wl,--no-undefined -Wl,-z,nodelete -Wl,-rpath,'$ORIGIN' -o "$out/libgptq-csharp.so"

version=$(sed -n 's/.*GPTQ_VERSION_[A-Z]* = \([0-9]*\);/\1/p' "$here/src/generated/GptqApi.cs" | paste -sd .)
printf '[assembly: System.Reflection.AssemblyVersion("%s")]\n' "$version" >"$out/AssemblyInfo.cs"
mcs -nologo -target:library -langversion:7 -optimize+ -debug- -warn:4 -warnaserror+ -doc:"$out/Gptq.xml" \
  -out:"$out/Gptq.dll" "$out/AssemblyInfo.cs" "$here"/src/*.cs "$here"/src/generated/*.cs
rm "$out/AssemblyInfo.cs"

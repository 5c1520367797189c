#!/bin/bash
# Makes every generated file of the bindings, in place: generate.sh
# generate.sh --check makes them elsewhere, and fails where a file that is checked in differs.
# Needs swig 4.1, python3, and a libgptq that was built from this source: $GPTQ_LIBRARY, else the one that pkg-config finds.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
header=$here/../include
library=${GPTQ_LIBRARY:-$(pkg-config --variable=libdir gptq)/libgptq.so}

out=$here
if [ "${1:-}" = --check ]; then
  out=$(mktemp -d)
  trap 'rm -rf "$out"' EXIT
fi

swig_to() {  # swig_to FOLDER C_FILE SWIG_OPTION...: the files of the language to FOLDER, the C to C_FILE
  local folder=$out/$1 c=$out/$2
  shift 2
  mkdir -p "$folder" "$(dirname "$c")"
  (cd "$here" && swig "$@" -I"$header" -outdir "$folder" -o "$c" gptq.i)  # it writes down the name that it is given
}

swig_to go/internal/capi go/internal/capi/capi_wrap.c -go -intgosize 64 -package capi
swig_to csharp/src/generated csharp/native/gptq_csharp.c -csharp -namespace Gptq -dllimport gptq-csharp \
  -DSWIG_CSHARP_NO_EXCEPTION_HELPER -DSWIG_CSHARP_NO_STRING_HELPER -DSWIG_CSHARP_NO_IMCLASS_STATIC_CONSTRUCTOR
swig_to java/src/main/java/io/github/libgptq java/src/main/native/gptq_java.c -java -package io.github.libgptq
sed -i 's/^public interface/interface/' "$out/java/src/main/java/io/github/libgptq/GptqApiConstants.java"  # SWIG has no option for it
swig_to rust rust/gptq.xml -xml
mkdir -p "$out/rust/gptq-sys/src"
python3 "$here/rust/generate_sys.py" "$out/rust/gptq.xml" >"$out/rust/gptq-sys/src/sys.rs"
rm "$out/rust/gptq.xml"
python3 "$here/generate_options.py" "$library" "$out"

[ "$out" != "$here" ] || exit 0
status=0
while IFS= read -r file; do
  diff -u "$here/$file" "$out/$file" || status=1
done < <(cd "$out" && find . -type f | sort)
[ $status = 0 ] || echo "generated files are stale: run bindings/generate.sh" >&2
exit $status

#!/bin/bash
# Tests the bindings of all languages against an installed library: that the generated files are those that gptq.h gives,
# then each language by its own script. A language whose toolchain is not there says "skip".
# usage: run.sh PREFIX SCRATCH [LANGUAGE...]      prints "ok", "FAIL" and "skip" lines
set -u
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
prefix=$(cd "$1" && pwd)
scratch=$(mkdir -p "$2" && cd "$2" && pwd)
shift 2
. "$root/tests/support/checks.sh"

PKG_CONFIG_PATH=$(dirname "$(find "$prefix" -name gptq.pc | head -n 1)")
export PKG_CONFIG_PATH LD_LIBRARY_PATH=${PKG_CONFIG_PATH%/pkgconfig}
export GPTQ_TEST_MODEL=$root/samples/model GPTQ_TEST_EXPECTED=$scratch/expected.txt

expects() {
  # shellcheck disable=SC2046
  cc -std=c99 "$root/samples/c/generate.c" $(pkg-config --cflags --libs gptq) -o "$scratch/generate" &&
    "$scratch/generate" "$GPTQ_TEST_MODEL" "Once upon a time" >"$GPTQ_TEST_EXPECTED"
}
check "the C sample writes what the bindings are to write" expects || exit 1

if [ $# -eq 0 ]; then
  if ! command -v swig >/dev/null; then
    skip "generated files: swig is not here"
  else
    check "the generated files are those of gptq.h" \
      env GPTQ_LIBRARY="$LD_LIBRARY_PATH/libgptq.so" "$root/bindings/generate.sh" --check
  fi
  for script in "$here"/*.sh; do set -- "$@" "$(basename "$script" .sh)"; done
fi
for language in "$@"; do
  [ "$language" != run ] || continue
  bash "$here/$language.sh" "$prefix" "$scratch/$language" || failed=1
done
exit $failed

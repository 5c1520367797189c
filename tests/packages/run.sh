#!/bin/bash
# Checks the Debian packages that the preset "deb" has built: what is in them, how it was built, and that it works.
# usage: run.sh BUILD_FOLDER SCRATCH      prints an "ok", "FAIL" or "skip" line per check
set -u
build=$(cd "$1" && pwd)
scratch=$(mkdir -p "$2" && cd "$2" && pwd)
root=$(cd "$(dirname "$0")/../.." && pwd)
packages=$build/packages
model=$root/samples/model
prompt="Once upon a time"
. "$root/tests/support/checks.sh"

count() { ls "$packages"/*.deb && test "$(ls "$packages"/*.deb | wc -l)" = 3; }
check "there are three packages" count

# All that lintian warns of counts, but that no bug of Debian's asks for these packages: they are not made for an upload.
if command -v lintian >/dev/null; then
  check "lintian has nothing to warn of" lintian --allow-root --fail-on error,warning \
    --suppress-tags initial-upload-closes-no-bugs "$packages"/*.deb
else
  skip "lintian is not here"
fi

unpacked=$scratch/root
rm -rf "$unpacked"
for package in "$packages"/*.deb; do dpkg-deb -x "$package" "$unpacked"; done
pc=$(dirname "$(find "$unpacked/usr" -name gptq.pc)")
lib=$(dirname "$pc")
export PKG_CONFIG_PATH=$pc
field() { dpkg-deb -f "$packages"/"$1"_*.deb "$2"; }

multiarch() { test "$lib" = "$unpacked/usr/lib/$(dpkg-architecture -qDEB_HOST_MULTIARCH)" && test -e "$lib/libgptq.so.0"; }
check "libraries are where Debian has them" multiarch

depends() {
  field libgptq0 Depends | grep -q 'libpcre2-8-0' && field libgptq0 Depends | grep -q 'libutf8proc' &&
    field libgptq0 Depends | grep -q 'libstdc++6' && field gptq-tools Depends | grep -q 'libgptq0 (>= ' &&
    field libgptq-dev Depends | grep -q 'libgptq0 (= ' || { field libgptq0 Depends; field gptq-tools Depends; return 1; }
}
check "packages depend on what they need" depends

symbols() {
  local declared
  declared=$(dpkg-deb -I "$packages"/libgptq0_*.deb symbols | grep -c ' gptq_.*@GPTQ_0 [0-9]') &&
    test "$declared" -eq "$(grep -c '^GPTQ_API [^(]*gptq_' "$root/include/gptq.h")" || { echo "$declared symbols"; return 1; }
}
check "the symbols file has every function of gptq.h" symbols

hardened() {  # hardened FILE
  readelf -lW "$1" | grep -q GNU_RELRO && readelf -dW "$1" | grep -q BIND_NOW && ! readelf -dW "$1" | grep -q 'R.*PATH' &&
    readelf -hW "$1" | grep -q 'DYN' && nm -D "$1" | grep -q '__stack_chk_fail' && nm -D "$1" | grep -q '_chk@' &&
    ! readelf -SW "$1" | grep -qE '\.(symtab|debug_info)'
}
check "the library is hardened and stripped" hardened "$lib/libgptq.so.0"
check "the tool is hardened and stripped" hardened "$unpacked/usr/bin/gptq"

links() {
  # shellcheck disable=SC2046
  cc -std=c99 "$root/samples/c/generate.c" $(pkg-config --cflags --libs gptq) -o "$scratch/generate" &&
    test "$(LD_LIBRARY_PATH=$lib "$scratch/generate" "$model" "$prompt")" = \
      "$(LD_LIBRARY_PATH=$lib "$unpacked/usr/bin/gptq" generate "$model" --prompt "$prompt" --max-tokens 200)"
}
check "a C program links and writes what the tool writes" links

man() {
  local page=$unpacked/usr/share/man/man1/gptq.1.gz word
  for word in quantize generate perplexity bench info tokenize detokenize logits --group-size --repetition-penalty 130; do
    zcat "$page" | sed 's/\\-/-/g' | grep -q -e "$word" || { echo "no $word"; return 1; }
  done
  if command -v groff >/dev/null; then test -z "$(zcat "$page" | groff -man -Tutf8 -ww 2>&1 >/dev/null)"; fi
}
check "gptq(1) has every command and is clean" man

# complete WORD...: what bash offers for the last word
complete_words() {
  bash -c '. "$0"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _gptq; printf "%s\n" "${COMPREPLY[@]}"' \
    "$unpacked/usr/share/bash-completion/completions/gptq" "$@"
}
completes() {
  test "$(complete_words gptq qu)" = quantize && test "$(complete_words gptq quantize --group)" = --group-size &&
    test "$(cd "$root" && complete_words gptq info samples/mo)" = samples/model &&
    test "$(cd "$root" && complete_words gptq quantize --calibration samples/stor)" = samples/stories.txt &&
    test -z "$(complete_words gptq generate --seed '')"
}
check "bash completes commands, options, folders and files" completes
if command -v zsh >/dev/null; then check "the completion for zsh parses" zsh -n "$unpacked/usr/share/zsh/vendor-completions/_gptq"; fi
if command -v fish >/dev/null; then
  check "the completion for fish parses" fish -n "$unpacked/usr/share/fish/vendor_completions.d/gptq.fish"
fi

reproducible() {
  rm -rf "$scratch/again"
  TZ=Asia/Kolkata LC_ALL=C cpack --config "$build/CPackConfig.cmake" -B "$scratch/again" || return 1
  for package in "$packages"/*.deb; do cmp "$package" "$scratch/again/$(basename "$package")" || return 1; done
}
check "packing again gives the same bytes" reproducible
exit $failed

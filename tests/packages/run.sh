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

wanted="gptq-tools libgptq-dev libgptq0"
cuda=no
if grep -qx 'GPTQ_CUDA:BOOL=ON' "$build/CMakeCache.txt"; then cuda=yes wanted="gptq-tools libgptq-cuda libgptq-dev libgptq0"; fi
names() {
  local there
  there=$(for package in "$packages"/*.deb; do basename "${package%%_*}"; done | LC_ALL=C sort | paste -s -d ' ')
  test "$there" = "$wanted" || { echo "there are '$there', wanted '$wanted'"; return 1; }
}
check "there are the packages $wanted" names

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

# ---- the plugin for NVIDIA GPUs
plugin=$lib/gptq/libgptq-cuda.so
# says PATTERN: what the library, where it was unpacked, says of the device cuda
says() {
  local said
  said=$(env -u GPTQ_PLUGIN_PATH LD_LIBRARY_PATH="$lib" "$scratch/device_check" cuda) && grep -q -e "$1" <<<"$said" ||
    { echo "it says '$said', wanted '$1'"; return 1; }
}
device_check() {
  # shellcheck disable=SC2046
  cc -std=c99 -Wall -Wextra -Werror "$root/tests/packages/device_check.c" $(pkg-config --cflags --libs gptq) \
    -o "$scratch/device_check"
}
plugin_contents() {
  local name files
  name=$(basename "$packages"/libgptq-cuda_*.deb)
  files=$(dpkg-deb --fsys-tarfile "$packages/$name" | tar -t | grep -v '/$' | grep -v '^./usr/share/doc/libgptq-cuda/')
  test "$files" = "./${plugin#"$unpacked/"}" || { echo "$files"; return 1; }
  zgrep -q . "$unpacked/usr/share/doc/libgptq-cuda/changelog.Debian.gz" &&
    grep -q '^License: NVIDIA-CUDA' "$unpacked/usr/share/doc/libgptq-cuda/copyright" &&
    grep -q '^License: Expat' "$unpacked/usr/share/doc/libgptq-cuda/copyright" &&
    ! grep -q 'NVIDIA' "$unpacked/usr/share/doc/libgptq0/copyright"
}
# The library of the same version and no library of CUDA: the driver comes from the machine, and is but suggested.
plugin_depends() {
  local depends
  depends=$(field libgptq-cuda Depends)
  grep -qF "libgptq0 (= $(field libgptq0 Version))" <<<"$depends" && grep -q 'libstdc++6' <<<"$depends" &&
    ! grep -qiE 'cuda|nvidia' <<<"$depends" && test -z "$(field libgptq-cuda Recommends)" &&
    field libgptq-cuda Suggests | grep -q 'libcuda1 (>= 580)' || { dpkg-deb -f "$packages"/libgptq-cuda_*.deb; return 1; }
}
# says_so: what the installed plugin has to say of this machine
says_so() {
  if [ -e /dev/nvidiactl ]; then says '^0 '; else says '^-8 .*there is no NVIDIA driver: libcuda.so.1 is not found'; fi
}
# A plugin whose headers had another hash: its own, but for the first digits.
other_build() {
  local hash status
  hash=$(strings -a "$plugin" | sed -n 's/^\([0-9a-f]\{16\}\) libstdc++.*/\1/p')
  [ ${#hash} = 16 ] || { echo "no hash in $plugin: '$hash'"; return 1; }
  cp "$plugin" "$scratch/plugin.so"
  LC_ALL=C sed -i "s/$hash/0123456789abcdef/g" "$plugin"
  says "^-6 .*/gptq/libgptq-cuda.so' is of another build: .*0123456789abcdef.*wanted .*$hash"
  status=$?
  cp "$scratch/plugin.so" "$plugin"
  return $status
}
not_there() {
  local status
  mv "$plugin" "$scratch/plugin.so"
  says "^-3 .*/gptq/libgptq-cuda.so' is not there"
  status=$?
  mv "$scratch/plugin.so" "$plugin"
  return $status
}
check "a program that asks for a device links" device_check
if [ $cuda = yes ]; then
  check "the plugin is hardened and stripped" hardened "$plugin"
  check "libgptq-cuda has the plugin and nothing else" plugin_contents
  check "libgptq-cuda depends on libgptq0 of its version, and on no driver" plugin_depends
  check "the plugin is found, and says what this machine has" says_so
  check "a plugin of another build is refused by name" other_build
  check "a plugin that is not there is missed by name" not_there
else
  skip "libgptq-cuda: the packages were built without GPTQ_CUDA"
  check "a plugin that is not there is missed by name" says "^-3 .*/gptq/libgptq-cuda.so' is not there"
fi

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

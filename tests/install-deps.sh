#!/bin/sh
# Installs the Debian packages that building (--build-only) and testing need, if they are missing.
# As root, or by sudo. Does nothing, and needs no network, when all of them are there.
set -eu

build="cmake ninja-build g++ pkg-config nlohmann-json3-dev libpcre2-dev libutf8proc-dev libcli11-dev"
tests="libgtest-dev libbenchmark-dev gcc clang libclang-rt-14-dev clang-format ccache python3 binutils git junit4"
# COMMAND:PACKAGE, wanted where there is no such command: toolchains may have come from elsewhere
commands="go:golang-go cargo:cargo rustc:rustc mcs:mono-mcs mono:mono-runtime javac:default-jdk-headless mvn:maven
  swig:swig doxygen:doxygen abidiff:abigail-tools lintian:lintian dpkg-gensymbols:dpkg-dev groff:groff-base
  valgrind:valgrind aarch64-linux-gnu-g++:g++-aarch64-linux-gnu qemu-aarch64:qemu-user"

wanted=$build
if [ "${1:-}" != "--build-only" ]; then
  wanted="$build $tests"
  for pair in $commands; do
    command -v "${pair%%:*}" >/dev/null || wanted="$wanted ${pair#*:}"
  done
  # fetches what the plugin for GPUs is built with
  python3 -m pip --version >/dev/null 2>&1 || wanted="$wanted python3-pip"
fi

if ! command -v dpkg-query >/dev/null; then
  echo "install-deps: no dpkg here; please install what these Debian packages hold: $wanted" >&2
  exit 0
fi

installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

missing=
for package in $wanted; do
  installed "$package" || missing="$missing $package"
done
if [ -z "$missing" ]; then
  echo "install-deps: everything needed is installed"
  exit 0
fi

root=
if [ "$(id -u)" -ne 0 ]; then
  if ! command -v sudo >/dev/null; then
    echo "install-deps: needs root or sudo to install:$missing" >&2
    exit 1
  fi
  root=sudo
fi

echo "install-deps: installing$missing"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
export DEBIAN_FRONTEND=noninteractive
# The package lists may be old or absent: an update that fails need not matter.
$root apt-get -qq update >"$log" 2>&1 || echo "install-deps: apt-get update failed; trying with the lists at hand" >&2
# shellcheck disable=SC2086
if ! $root env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends $missing >"$log" 2>&1; then
  cat "$log" >&2
  echo "install-deps: apt-get could not install$missing (is the network there?)" >&2
  exit 1
fi
echo "install-deps: done"

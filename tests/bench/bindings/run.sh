#!/bin/bash
# What each binding costs: tokens per second of the same generation in C and in every language, one thread, in turns.
# usage: run.sh PREFIX MODEL [TOKENS=300] [ROUNDS=7]     PREFIX: where the library is installed
# Prints the median and the best of each, as numbers and as ratios to C. A run warms up with the same generation.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../.." && pwd)
prefix=$(cd "$1" && pwd)
model=$(cd "$2" && pwd)
tokens=${3:-300} rounds=${4:-7}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
PKG_CONFIG_PATH=$(dirname "$(find "$prefix" -name gptq.pc | head -n 1)")
export PKG_CONFIG_PATH LD_LIBRARY_PATH=${PKG_CONFIG_PATH%/pkgconfig}
cd "$work"

# shellcheck disable=SC2046
cc -O2 -std=c99 -D_POSIX_C_SOURCE=200809L "$here/bench.c" $(pkg-config --cflags --libs gptq) -o c
mkdir -p rust/src && cp "$here/bench.rs" rust/src/main.rs
printf '[package]\nname = "bench"\nversion = "0.0.0"\nedition = "2021"\n[dependencies]\ngptq = { path = "%s" }\n[workspace]\n' \
  "$root/bindings/rust/gptq" >rust/Cargo.toml
cargo build --quiet --release --manifest-path rust/Cargo.toml --target-dir "$work/target"
mkdir go && cp "$here/bench.go" go/main.go
printf 'module bench\n\ngo 1.19\n\nrequire github.com/libgptq/libgptq/bindings/go v0.0.0\n\nreplace github.com/libgptq/libgptq/bindings/go => %s\n' \
  "$root/bindings/go" >go/go.mod
(cd go && go build -o bench .)
"$root/bindings/csharp/build.sh" "$work/csharp"
mcs -nologo -optimize+ -r:csharp/Gptq.dll -out:csharp/Bench.exe "$here/Bench.cs"
sh "$root/bindings/java/src/main/native/build.sh" "$work/classes/io/github/libgptq/native"
javac --release 8 -Xlint:-options -d classes "$root"/bindings/java/src/main/java/io/github/libgptq/*.java "$here/Bench.java"
export XDG_CACHE_HOME=$work/cache

run() {
  case $1 in
    C) ./c "$model" "$tokens" ;;
    Rust) target/release/bench "$model" "$tokens" ;;
    Go) go/bench "$model" "$tokens" ;;
    C#) mono csharp/Bench.exe "$model" "$tokens" ;;
    Java) java -cp classes Bench "$model" "$tokens" ;;
  esac
}
languages="C Rust Go C# Java"
for _ in $(seq "$rounds"); do
  for language in $languages; do run "$language" >>"$language.rates"; done
done

column() { sort -n "$1.rates" | awk -v best="$2" '{ v[NR] = $1 } END { print best ? v[NR] : v[int((NR + 1) / 2)] }'; }
printf '%-6s %10s %8s %10s %8s   tokens/s, %d tokens, %d rounds\n' "" median ratio best ratio "$tokens" "$rounds"
for language in $languages; do
  awk -v l="$language" -v m="$(column "$language" 0)" -v b="$(column "$language" 1)" -v cm="$(column C 0)" \
    -v cb="$(column C 1)" 'BEGIN { printf "%-6s %10.1f %8.3f %10.1f %8.3f\n", l, m, m / cm, b, b / cb }'
done

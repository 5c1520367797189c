#!/bin/bash
# What each binding costs: tokens per second of the same generation in C and in every language, one thread, in turns.
# usage: run.sh PREFIX MODEL [TOKENS=300] [ROUNDS=7]     PREFIX: where the library is installed
# Prints tokens per second, and the part of each run's own time that was not spent in passes through the model: that one
# hardly depends on what else the machine does. A run warms up with the same generation.
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

# column LANGUAGE FIELD: the median of a field over the rounds
column() { sort -n -k "$2,$2" "$1.rates" | awk -v f="$2" '{ v[NR] = $f } END { print v[int((NR + 1) / 2)] }'; }
printf '%-6s %10s %8s %22s   medians of %d rounds of %d tokens\n' "" "tokens/s" "to C" "outside the model, %" "$rounds" "$tokens"
for language in $languages; do
  awk -v l="$language" -v r="$(column "$language" 1)" -v c="$(column C 1)" -v o="$(column "$language" 2)" \
    'BEGIN { printf "%-6s %10.1f %8.3f %22.3f\n", l, r, r / c, o }'
done

#!/bin/bash
# Builds and tests the Rust crates against an installed library.
# usage: rust.sh PREFIX SCRATCH      prints an "ok", "FAIL" or "skip" line per check
# PREFIX must be what pkg-config and the dynamic linker find. $GPTQ_TEST_MODEL is the model folder, $GPTQ_TEST_EXPECTED a
# file with what samples/c/generate.c prints for it and "Once upon a time".
set -u
prefix=$(cd "$1" && pwd)
scratch=$(mkdir -p "$2" && cd "$2" && pwd)
root=$(cd "$(dirname "$0")/../.." && pwd)
rust=$root/bindings/rust
msrv=1.63
export GPTQ_TEST_MODEL=${GPTQ_TEST_MODEL:-$root/samples/model} TMPDIR=$scratch
export CARGO_TARGET_DIR=$scratch/target CARGO_NET_OFFLINE=true CARGO_TERM_COLOR=never RUST_BACKTRACE=0
. "$root/tests/support/checks.sh"
prefix_of_names="rust: "

# suite NAME COMMAND...: a `cargo test`, with a line for each of its tests.
suite() {
  local name=$1 status
  shift
  "$@" >"$scratch/log" 2>&1
  status=$?
  sed -nE 's/^test (.*) \.\.\. (ok|FAILED)$/\2 \1/p' "$scratch/log" |
    sed -E "s/^ok (.*)/ok   rust: $name: \1/; s/^FAILED (.*)/FAIL rust: $name: \1/"
  [ $status = 0 ] && return
  failed=1
  grep -q '^test .* FAILED$' "$scratch/log" || echo "FAIL rust: $name"
  tail -n 40 "$scratch/log" | sed 's/^/     /'
}

if ! command -v cargo >/dev/null; then
  skip "cargo is not here"
  exit 0
fi
cd "$rust" || exit 1
manifest=$root/samples/rust/Cargo.toml

# ---- The crates
suite tests cargo test --locked --workspace --no-fail-fast
if cargo fmt --version >/dev/null 2>&1; then
  check "cargo fmt" cargo fmt --check
  check "cargo fmt of the samples" cargo fmt --check --manifest-path "$manifest"
else
  skip "cargo fmt is not here"
fi
if cargo clippy --version >/dev/null 2>&1; then
  check "cargo clippy" cargo clippy --locked --workspace --all-targets -- -D warnings
  check "cargo clippy of the samples" cargo clippy --locked --manifest-path "$manifest" -- -D warnings
else
  skip "cargo clippy is not here"
fi
check "documentation without warnings" env RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps
documents_alone() {  # as docs.rs does, without the library
  env -u LD_LIBRARY_PATH DOCS_RS=1 PKG_CONFIG_LIBDIR=/nowhere PKG_CONFIG_PATH= CARGO_TARGET_DIR="$scratch/docs" \
    cargo doc --locked --workspace --no-deps
}
check "documentation needs no library" documents_alone
if rustup toolchain list 2>/dev/null | grep -q "^$msrv"; then
  with_msrv() { CARGO_TARGET_DIR=$scratch/msrv cargo +$msrv "$@"; }
  check "Rust $msrv builds everything" with_msrv build --locked --workspace --all-targets
  check "Rust $msrv passes the tests of generation" with_msrv test --locked -p gptq --test generation
elif [[ $(rustc --version) != "rustc $msrv."* ]]; then  # else all of the above was with it
  skip "Rust $msrv is not here"
fi

# ---- How the library is found
lib=$(dirname "$(find "$prefix" -name libgptq.so | head -n 1)")
without_pkg_config() {
  GPTQ_LIB_DIR=$lib PKG_CONFIG=/nowhere CARGO_TARGET_DIR=$scratch/lib-dir cargo build --locked -p gptq-sys --tests
}
check "GPTQ_LIB_DIR takes the place of pkg-config" without_pkg_config
says_what_is_missing() {
  local output
  output=$(PKG_CONFIG_LIBDIR=/nowhere PKG_CONFIG_PATH='' CARGO_TARGET_DIR=$scratch/missing cargo build --locked 2>&1) && return 1
  grep -q 'GPTQ_LIB_DIR' <<<"$output" && ! grep -q panicked <<<"$output" || { echo "$output"; return 1; }
}
check "a build without the library says what to do" says_what_is_missing

# ---- Memory
if command -v valgrind >/dev/null; then
  memory() {
    local binary
    binary=$(cargo test --locked -p gptq --test lifetimes --no-run 2>&1 | sed -n 's/.*(\(.*lifetimes-[0-9a-f]*\)).*/\1/p')
    test -x "$binary" && valgrind -q --error-exitcode=1 --leak-check=full --show-leak-kinds=definite,indirect \
      --errors-for-leak-kinds=definite,indirect "$binary" --test-threads=1
  }
  check "valgrind: no errors, no leaks" memory
else
  skip "valgrind is not here"
fi

# ---- The README's example, outside the source tree, and the samples
example() {  # example WORD MODEL
  rm -rf "$scratch/example/src" && mkdir -p "$scratch/example/src" || return 1
  example_with "$1" README.md >"$scratch/example/src/main.rs"
  test "$(wc -l <"$scratch/example/src/main.rs")" -le 12 || { echo "longer than 12 lines"; return 1; }
  printf '[package]\nname = "example"\nversion = "0.1.0"\nedition = "2021"\n\n[dependencies]\ngptq = { path = "%s" }\n' \
    "$rust/gptq" >"$scratch/example/Cargo.toml"
  (cd "$scratch/example" && cargo run --quiet -- "$2") >"$scratch/example.out" || return 1
  diff <(cat "$GPTQ_TEST_EXPECTED") <(cat "$scratch/example.out"; echo)
}
if [ -n "${GPTQ_TEST_EXPECTED:-}" ]; then
  check "README.md: the example writes the text of the C sample" example generate_with "$GPTQ_TEST_MODEL"
  check "README.md: so does the chat" example tokenize_chat "$(chat_model "$scratch")"
else
  skip "GPTQ_TEST_EXPECTED names no file with the text of the C sample"
fi

check "samples/rust builds" cargo build --locked --manifest-path "$manifest"
chats() {
  printf 'Once upon a time\nThe end of the story\n' | "$CARGO_TARGET_DIR/debug/chat" "$GPTQ_TEST_MODEL" >"$scratch/chat.out" &&
    test "$(grep -c '^> ' "$scratch/chat.out")" = 3 && test "$(wc -c <"$scratch/chat.out")" -gt 100
}
check "chat answers line by line" chats
quantizes() {
  rm -rf "$scratch/quantized"
  "$CARGO_TARGET_DIR/debug/quantize" "$GPTQ_TEST_MODEL" "$scratch/quantized" "$root/samples/stories.txt" 2>"$scratch/progress" &&
    grep -q '100 %  layer 4/4' "$scratch/progress" &&
    echo "Once upon a time" | "$CARGO_TARGET_DIR/debug/chat" "$scratch/quantized"
}
check "quantize writes a model that chat reads" quantizes
refuses() {
  local output
  output=$("$CARGO_TARGET_DIR/debug/chat" "$scratch/none" 2>&1 </dev/null) && return 1
  grep -q "$scratch/none" <<<"$output"
}
check "chat names a folder that is not there" refuses
exit $failed

#!/bin/bash
# Tests the Go binding and its samples against an installed library.
# usage: go.sh PREFIX SCRATCH      prints an "ok", "FAIL" or "skip" line per check
# $GPTQ_TEST_EXPECTED names what samples/c/generate.c writes for "Once upon a time"; $GPTQ_TEST_MODEL the model for that.
set -u
prefix=$(cd "$1" && pwd)
scratch=$(mkdir -p "$2" && cd "$2" && pwd)
root=$(cd "$(dirname "$0")/../.." && pwd)
binding=$root/bindings/go
export GPTQ_TEST_MODEL=${GPTQ_TEST_MODEL:-$root/samples/model}
if [ -z "${PKG_CONFIG_PATH:-}" ]; then
  PKG_CONFIG_PATH=$(dirname "$(find "$prefix" -name gptq.pc | head -n 1)")
  export PKG_CONFIG_PATH LD_LIBRARY_PATH=${PKG_CONFIG_PATH%/pkgconfig}
fi
# Nothing is fetched, and no workspace or toolchain of the caller's takes part.
export GOPROXY=off GOTOOLCHAIN=local GOWORK=off GOFLAGS=-buildvcs=false CGO_ENABLED=1
# Go's cache does not see that pkg-config says something else than for an earlier library in another folder.
export CGO_LDFLAGS="-O2 -g -L${PKG_CONFIG_PATH%/pkgconfig}"
export HOME=${HOME:-$scratch}
. "$root/tests/support/checks.sh"
prefix_of_names="go: "

if ! command -v go >/dev/null; then
  skip "there is no Go here"
  exit 0
fi

tidy() {
  local files
  files=$(gofmt -l "$binding"/*.go "$root/samples/go") && test -z "$files" || { echo "gofmt: $files"; return 1; }
  (cd "$binding" && go vet .) && (cd "$root/samples/go" && go vet ./...)
}
check "gofmt and vet find nothing" tidy

log=$scratch/go-test.log
(cd "$binding" && go test -count=1 -v .) >"$log" 2>&1
tests=$?
sed -nE 's/^.*--- PASS: ([^ ]+) .*/ok   go: \1/p; s/^.*--- FAIL: ([^ ]+) .*/FAIL go: \1/p; s/^.*--- SKIP: ([^ ]+) .*/skip go: \1/p' "$log"
if [ $tests != 0 ]; then
  echo "FAIL go: go test"
  grep -v -e '^=== ' -e '--- PASS' "$log" | tail -n 60 | sed 's/^/     /'
  failed=1
fi

with_race() { cd "$binding" && go test -count=1 -race .; }
check "tests under the race detector" with_race

with_cgocheck() {  # an experiment of the build since Go 1.21, a setting of the run before
  cd "$binding" || return 1
  if GOEXPERIMENT=cgocheck2 go version >/dev/null 2>&1; then
    GOEXPERIMENT=cgocheck2 go test -count=1 .
  else
    GODEBUG=cgocheck=2 go test -count=1 .
  fi
}
check "tests with all checks of cgo" with_cgocheck

samples() { cd "$root/samples/go" && go build -o "$scratch/go-samples/" ./...; }
check "the samples build" samples

chats() {
  local answer
  answer=$(echo "Once upon a time" | "$scratch/go-samples/chat" "$1") || return 1
  test "${answer#> }" != "> " && test -n "${answer#> }" || return 1
  if [ -n "${2:-}" ]; then test "$answer" = "$(echo -n "> "; cat "$2"; echo "> ")"; fi || { echo "$answer"; return 1; }
}
check "the chat streams what the sample in C writes" chats "$GPTQ_TEST_MODEL" "${GPTQ_TEST_EXPECTED:-}"

quantizes() {
  rm -rf "$scratch/go-quantized"
  "$scratch/go-samples/quantize" "$root/samples/model" "$scratch/go-quantized" "$root/samples/stories.txt" &&
    chats "$scratch/go-quantized"
}
check "a model that the sample quantizes can be talked to" quantizes

readme() {  # its first two pieces of code are one program
  local folder=$scratch/go-readme
  rm -rf "$folder" && mkdir -p "$folder" && cd "$folder" || return 1
  awk '/^```go$/ { piece++; inside = 1; next } /^```$/ { inside = 0 } inside && piece <= 2' "$binding/README.md" >main.go
  go mod init example.com/readme && go mod edit -require github.com/libgptq/libgptq/bindings/go@v0.0.0 \
    -replace "github.com/libgptq/libgptq/bindings/go=$binding" && go build -o readme . &&
    cd "$root" && "$folder/readme" | grep -q "little girl"
}
check "the program of the README runs elsewhere" readme

readme_chat() {  # the function alone, with the imports of that program
  local folder=$scratch/go-readme
  cd "$folder" && { example_with '"context"' "$binding/README.md" && example_with TokenizeChat "$binding/README.md"; } >main.go &&
    printf 'package main\n\nimport (\n\t"os"\n\n\tgptq "github.com/libgptq/libgptq/bindings/go"\n)\n\n%s\n' \
      'func main() { chat(gptq.Must(gptq.Load(os.Args[1]))) }' >run.go &&
    go build -o chat . && ./chat "$(chat_model "$scratch")" >chat.out && test -s chat.out || return 1
  [ -z "${GPTQ_TEST_EXPECTED:-}" ] || { cat chat.out; echo; } | cmp - "$GPTQ_TEST_EXPECTED"
}
check "its chat answers by the template" readme_chat

readme_several() {  # another function of it, beside the chat
  local folder=$scratch/go-readme word
  cd "$folder" && for word in '"context"' TokenizeChat NextAll; do example_with "$word" "$binding/README.md"; done >main.go &&
    printf 'package main\n\nimport (\n\t"os"\n\n\tgptq "github.com/libgptq/libgptq/bindings/go"\n)\n\n%s\n' \
      'func main() { print(several(gptq.Must(gptq.Load(os.Args[1])), "Once upon a time", "The dog")[0]) }' >run.go &&
    go build -o several . && ./several "$GPTQ_TEST_MODEL" 2>several.out && grep -q "little girl" several.out
}
check "its several stories are written together" readme_several
exit $failed

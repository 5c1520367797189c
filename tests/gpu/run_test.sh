#!/bin/bash
# run.sh with programs that stand for those of a machine with a GPU: what it runs, says, keeps and ends with.
set -u
here=$(cd "$(dirname "$0")" && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
failed=0
mkdir -p "$scratch/binaries/bin" "$scratch/binaries/lib" "$scratch/tools"

# gpu_test as its environment says: FAKE_LIST is what it ends with when it is asked for its tests, FAKE_BAD a suite that fails
cat >"$scratch/binaries/bin/gpu_test" <<'end'
#!/bin/sh
case $1 in
  --gtest_list_tests)
    [ "${FAKE_LIST:-0}" != 77 ] || { echo "no GPU to test on: none" >&2; exit 77; }
    echo "on a GPU of paper, compute capability 9.0"
    [ "${FAKE_LIST:-0}" = 0 ] || { echo "this GPU can't run the tests: no pinned memory" >&2; exit "$FAKE_LIST"; }
    printf 'StepTest.\n  AGraphForAllPositions\nCuda/LinearTest.\n  EveryWidth/0  # GetParam() = 0\n' ;;
  *"${FAKE_BAD:-nothing}"*) echo "Failure: it was asked to"; exit 1 ;;
  *"${FAKE_GONE:-nothing}"*) echo "[==========] Running 0 tests from 0 test suites." ;;
  *) echo "[==========] Running 1 test from 1 test suite. $* blocking=$CUDA_LAUNCH_BLOCKING" ;;
esac
end
cat >"$scratch/binaries/bin/gpu_models_test" <<'end'
#!/bin/sh
echo models
end
cat >"$scratch/binaries/bin/gpu_bench" <<'end'
#!/bin/sh
while [ $# -gt 0 ]; do
  [ "$1" != --json ] || echo '{"asked": "'"${0##*/}"'"}' >"$2"
  shift
done
head -c 3000000 /dev/zero | tr '\0' x
end
cat >"$scratch/binaries/bin/gpu_pipeline" <<'end'
#!/bin/sh
all=$*
while [ $# -gt 0 ]; do
  [ "$1" != --json ] || echo '{"asked": "'"$all"'"}' >"$2"
  shift
done
end
# FAKE_REFUSES: what it says instead of running anything
cat >"$scratch/tools/compute-sanitizer" <<'end'
#!/bin/sh
[ -z "${FAKE_REFUSES:-}" ] || { echo "========= Error: $FAKE_REFUSES"; exit 1; }
shift 4
exec "$@"
end
chmod +x "$scratch/binaries/bin/"* "$scratch/tools/"*

# suite CODE NAME=VALUE... : run.sh in such a world ends with CODE; what it says is in $scratch/said, its files in results
suite() {
  local wanted=$1 code=0
  shift
  rm -rf "$scratch/results"
  env PATH="$scratch/tools:$PATH" "$@" "$here/run.sh" --binaries "$scratch/binaries" --results "$scratch/results" \
    ${options:-} >"$scratch/said" 2>&1 || code=$?
  [ $code = "$wanted" ] || fault "$*: exit code $code, wanted $wanted"
}
fault() {
  echo "FAIL $1"
  sed 's/^/     /' "$scratch/said" | cut -c 1-200 | head -n 60
  failed=1
}
says() { grep -q -e "$1" "$scratch/said" || fault "it does not say '$1'"; }
says_not() { ! grep -q -e "$1" "$scratch/said" || fault "it says '$1'"; }
# result EXPRESSION: true of the results, r
result() {
  python3 -c 'import json, sys; r = json.load(open(sys.argv[1])); sys.exit(not ('"$1"'))' "$scratch"/results/*.json ||
    fault "of the results it is not true that $1"
}

suite 0
says '^on a GPU of paper'
for tool in memcheck racecheck synccheck; do
  for what in attention linear sums solve factor refine step others; do says "^ok   $tool of $what"; done
done
says_not '^FAIL\|^skip'
result 'r["device"].startswith("a GPU of paper") and not r["quick"] and r["bench"]["asked"] == "gpu_bench"'
result '"7b-layer" in r["layer"]["asked"] and "--shape 1b" in r["pipeline"]["asked"]'
result 'all(s["exit_code"] == 0 for s in r["steps"]) and len(r["steps"]) == 2 + 24 + 4'
# sanitizers before what is measured, and what is measured whatever they say
result '[s["name"] for s in r["steps"]].index("synccheck of others") < [s["name"] for s in r["steps"]].index("Models")'
[ "$(find "$scratch/results" -type f | wc -l)" = 2 ] || fault "results are not two files"
tar -xzf "$scratch"/results/*-logs.tar.gz -C "$scratch" || fault "the logs can't be unpacked"
grep -q 'blocking=0' "$scratch/logs/StepTest.log" || fault "StepTest was blocking"
grep -q 'blocking=1' "$scratch/logs/Cuda-LinearTest.log" || fault "LinearTest was not blocking"
[ "$(wc -c <"$scratch/logs/bench.log")" -lt 1100000 ] || fault "a log of 3 MB is as long as it was"

suite 1 FAKE_BAD=LinearTest
says '^FAIL Cuda/LinearTest: exit code 1'
says '^FAIL memcheck of linear'
says '^ok   StepTest'
says '^ok   pipeline'
suite 1 FAKE_GONE=SolveTest
says '^FAIL racecheck of solve: exit code 4'
suite 0 FAKE_REFUSES='Device not supported'
says '^skip sanitizers: compute-sanitizer does not work here: .*Device not supported'
suite 1 FAKE_LIST=3
says '^FAIL tests: exit code 3'
says '^skip sanitizers'
result 'r["bench"] is not None and r["pipeline"] is not None'
suite 77 FAKE_LIST=77
says 'no GPU to test on: none'
options=--quick suite 0
says '^skip sanitizers: --quick'
result '"--samples 8" in r["layer"]["asked"]'

# tests that sanitizers are to run are there
sed -n '/^small_tests/,/^end/s/^[a-z]* \([^ ]*\)$/\1/p' "$here/run.sh" | tr : '\n' >"$scratch/filters"
[ "$(wc -l <"$scratch/filters")" -gt 20 ] || fault "run.sh has few tests for sanitizers"
while IFS=. read -r suite name; do
  suite=${suite#Cuda/} name=${name%/[01]}
  grep -hqE "^TEST(_F|_P)?\($suite, ${name/\*/.*}\)" "$here"/../cuda/*_test.cpp || fault "no test is called $suite.$name"
done <"$scratch/filters"
[ $failed -ne 0 ] || echo ok
exit $failed

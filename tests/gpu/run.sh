#!/bin/sh
# Everything that an NVIDIA GPU is needed for, in one go and without a network: run.sh [OPTIONS]
#   --pack FOLDER      builds (without a GPU, too) and puts what --binaries needs into FOLDER; runs nothing
#   --binaries FOLDER  runs what is there instead of building
#   --quick            fewer shapes, and no sanitizers: for a look
#   --shape NAME       of the model that is made, quantized and run: tiny, 1b (default) or 7b (of 20 GB in TMPDIR)
#   --results FOLDER   where the results and what the steps said go, as two files; tests/gpu/results otherwise
# GPTQ_GPU_ARCHITECTURES=90-real: what to compile for (;-separated), instead of the GPU that is here. CUDACXX: the nvcc.
# What is built is in build/gpu. The steps take ten minutes at most, 25 with --shape 7b; what is not done then is left out.
# Exit codes: 0 all is well, 1 something failed, 2 a wrong call, 77 there is no GPU that can be used.
set -u
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
pack='' binaries='' quick=no shape=1b results=$here/results

usage() {
  sed -n '2,10s/^# \{0,1\}//p' "$0" >&2
  exit 2
}
while [ $# -gt 0 ]; do
  case $1 in
    --quick) quick=yes ;;
    --pack | --binaries | --shape | --results)
      [ $# -gt 1 ] || usage
      case $1 in
        --pack) pack=$2 ;;
        --binaries) binaries=$2 ;;
        --shape)
          case $2 in tiny | 1b | 7b) shape=$2 ;; *) usage ;; esac ;;
        *) results=$2 ;;
      esac
      shift ;;
    *) usage ;;
  esac
  shift
done

# The architecture of the GPU that is here, or of the one that the results are for.
architecture() {
  nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | head -n 1 | tr -d . | grep . || echo 90
}

build() {
  if [ -z "${CUDACXX:-}" ] && [ -x "$root/build/cuda-toolkit/bin/nvcc" ]; then
    export CUDACXX="$root/build/cuda-toolkit/bin/nvcc" # another may be in PATH, and too old
  fi
  if [ -z "${CUDACXX:-}" ] && ! PATH=$PATH:/usr/local/cuda/bin command -v nvcc >/dev/null; then
    echo "no nvcc is here: install CUDA 13, run cuda/get-toolkit.sh, or give --binaries FOLDER" >&2
    exit 1
  fi
  # a compiler that warns of more than those known is no reason not to measure
  (cd "$root" && cmake --preset cuda -B build/gpu -DGPTQ_GPU_TESTS=ON -DGPTQ_WERROR=OFF \
    "-DCMAKE_CUDA_ARCHITECTURES=${GPTQ_GPU_ARCHITECTURES:-$(architecture)-real}" &&
    cmake --build build/gpu --target gpu_suite) || exit 1
}

# gather FOLDER: what was built, without debugging information, and the libraries that it needs of this system but for those
# of C and C++: these are part of any system, and of a newer one they ask for its C library.
gather() {
  mkdir -p "$1/bin" "$1/lib/gptq" || exit 1
  for program in gpu/gpu_test gpu/gpu_bench gpu/gpu_models_test */gpu_pipeline; do
    # shellcheck disable=SC2086
    strip -o "$1/bin/${program##*/}" "$root"/build/gpu/tests/$program || exit 1
  done
  strip --strip-debug -o "$1/lib/libgptq.so.0" "$root/build/gpu/src/libgptq.so.0" &&
    strip --strip-debug -o "$1/lib/gptq/libgptq-cuda.so" "$root/build/gpu/src/gptq/libgptq-cuda.so" || exit 1
  for file in "$1"/bin/* "$1"/lib/*.so.0; do
    LD_LIBRARY_PATH=$1/lib ldd "$file" | sed -n 's/.*=> \(\/[^ ]*\).*/\1/p'
  done | sort -u | grep -Ev '/(libc|libm|libdl|librt|libpthread|ld-linux[^/]*|libstdc\+\+|libgcc_s|libgptq)\.so' | while read -r library; do
    cp -L "$library" "$1/lib/" || exit 1
  done
}

# What is packed may have to travel.
most_packed=60
check_size() {
  size=$(du -sm "$1" | cut -f 1)
  [ "$size" -le $most_packed ] || {
    echo "$1 has $size MB, at most $most_packed wanted: $(du -sm "$1"/*/* | sort -rn | head -n 3 | tr '\n\t' '; ')" >&2
    exit 1
  }
}

# Results and logs, also of a run that was stopped.
finish() {
  code=$?
  trap - EXIT HUP INT TERM
  if [ -n "$steps" ]; then
    write_results || code=1
  fi
  rm -rf "$scratch"
  exit $code
}
json() { if [ -s "$1" ]; then cat "$1"; else echo null; fi; }
# The logs in one file, of long ones both ends.
most_log=1000000
pack_logs() {
  mkdir -p "$results" "$scratch/logs" || return 1
  for log in "$scratch"/*.log; do
    if [ "$(wc -c <"$log")" -gt $most_log ]; then
      { head -c $((most_log / 2)) "$log"; printf '\n[...]\n'; tail -c $((most_log / 2)) "$log"; } >"$scratch/logs/${log##*/}"
    else
      cp "$log" "$scratch/logs/" || return 1
    fi
  done
  tar -czf "$results/$run-logs.tar.gz" -C "$scratch" logs
}
write_results() {
  pack_logs || return 1
  {
    echo "{"
    echo "  \"date\": \"$begun\","
    echo "  \"commit\": \"$(git -C "$root" rev-parse HEAD 2>/dev/null || echo unknown)\","
    echo "  \"device\": \"$device\","
    echo "  \"driver\": \"$(nvidia-smi --query-gpu=driver_version --format=csv,noheader 2>/dev/null | head -n 1)\","
    echo "  \"quick\": $([ $quick = yes ] && echo true || echo false),"
    echo "  \"steps\": [$steps"
    echo "  ],"
    echo "  \"bench\": $(json "$scratch/bench.json"),"
    echo "  \"layer\": $(json "$scratch/layer.json"),"
    echo "  \"pipeline\": $(json "$scratch/pipeline.json")"
    echo "}"
  } >"$results/$run.json" || return 1
  echo "results in $results/$run.json, what was said in $results/$run-logs.tar.gz"
}

steps=''
scratch=$(mktemp -d) || exit 1
trap finish EXIT
trap 'exit 1' HUP INT TERM
if [ -z "$binaries" ]; then
  build
  binaries=${pack:-$scratch/binaries}
  gather "$binaries"
  check_size "$binaries"
fi
if [ -n "$pack" ]; then
  echo "packed: $(du -sh "$pack" | cut -f 1) in $pack"
  exit 0
fi
[ -x "$binaries/bin/gpu_test" ] || {
  echo "$binaries has no bin/gpu_test: --pack makes such a folder" >&2
  exit 2
}
binaries=$(cd "$binaries" && pwd)
export LD_LIBRARY_PATH="$binaries/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
export GPTQ_PLUGIN_PATH="$binaries/lib/gptq" GPTQ_SOURCE_DIR="$root"

start=$(date +%s)
# 77: no GPU; anything else but 0: these tests can't run, what is measured may
timeout -k 5 60 "$binaries/bin/gpu_test" --gtest_list_tests >"$scratch/tests" 2>"$scratch/said"
listed=$?
if [ $listed -eq 77 ]; then
  cat "$scratch/said"
  echo "the GPU suite was not run"
  exit 77
fi
device=$(sed -n 's/^on //p' "$scratch/tests")
echo "on ${device:=an unknown device}"

begun=$(date -u +%Y-%m-%dT%H:%MZ)
run=$(date -u +%Y-%m-%d-%H%M)-$(echo "${device%%,*}" | tr -c 'A-Za-z0-9\n' - | tr A-Z a-z)
[ $shape = 7b ] && pipeline_limit=900 all=1500 || pipeline_limit=160 all=590
failed=0

# step NAME SECONDS COMMAND...: the first failure and the end of its output are shown where it fails
step() {
  name=$1 limit=$2
  shift 2
  begin=$(date +%s)
  [ "$limit" -le $((deadline - begin - 10)) ] || limit=$((deadline - begin - 10))
  if [ "$limit" -lt 5 ]; then
    echo "FAIL $name: no time is left for it"
    failed=1 steps="$steps${steps:+,}
    {\"name\": \"$name\", \"exit_code\": null, \"seconds\": 0}"
    return
  fi
  log=$scratch/$(echo "$name" | tr -c 'A-Za-z0-9\n' -).log
  timeout -k 5 "$limit" "$@" >"$log" 2>&1
  code=$?
  # a filter that fits no test any more
  ! grep -q 'Running 0 tests' "$log" || code=4
  seconds=$(($(date +%s) - begin))
  if [ $code -eq 0 ]; then
    echo "ok   $name ($seconds s)"
  else
    grep -m 1 -A 15 -E 'Failure|Invalid|ERROR SUMMARY|^gpu_' "$log"
    echo "..."
    tail -n 20 "$log"
    case $code in
      124 | 137) echo "FAIL $name: stopped after $seconds s" ;;
      *) echo "FAIL $name: exit code $code after $seconds s" ;;
    esac
    failed=1
  fi
  steps="$steps${steps:+,}
    {\"name\": \"$name\", \"exit_code\": $code, \"seconds\": $seconds}"
}

# A process for each suite: after a kernel's fault CUDA refuses all work of its process. Suites that hang leave time for
# what is measured.
deadline=$((start + 200))
if [ $listed -ne 0 ]; then
  step tests 5 sh -c 'cat "$1" && exit "$2"' sh "$scratch/said" $listed
fi
for suite in $(sed -n 's/^\([A-Za-z_][^ ]*\)\.\( .*\)*$/\1/p' "$scratch/tests"); do
  # what waits for each launch may refuse to make graphs of them
  [ "$suite" = StepTest ] && blocking=0 || blocking=1
  step "$suite" 60 env CUDA_LAUNCH_BLOCKING=$blocking "$binaries/bin/gpu_test" "--gtest_filter=$suite.*"
  # libraries have streams and kernels of their own: in the order that nobody waits for, too
  case $suite in
    *Library* | *Cusolver* | *Quantization*)
      step "$suite without blocking" 60 env CUDA_LAUNCH_BLOCKING=0 "$binaries/bin/gpu_test" "--gtest_filter=$suite.*" ;;
  esac
done

# Small shapes of each kind of kernel, which take NVIDIA's sanitizers seconds: first what reads and writes where it may not,
# then what races in shared memory, then barriers that not all threads reach.
small_tests() {
  cat <<'end'
attention Cuda/AttentionTest.EveryShapeOfHeads/1:Cuda/AttentionTest.ManySequences/0:Cuda/AttentionTest.HeadsThatShareOneHeadOfKeys/1
linear Cuda/LinearTest.EveryWidth/1:Cuda/LinearTest.InputsInAnyOrderAndScalesOfAnyKind/0:Cuda/PartsTest.EverySpreadOfRows/1
sums Cuda/ProductsTest.UpperIsAboveTheDiagonal/1:FloatsTest.MultipliesEveryShape:FloatsTest.PermutesHessians
solve SolveTest.EveryKindOfGroup:SolveTest.SpreadsDrift
factor Factor.InvertsTheHessian:Factor.SaysWhereThereIsNone
refine RefineTest.EveryWidth:RefineTest.FindsTheLossAlone
step StepTest.AGraphForAllPositions:StepTest.SessionsInTurn
others Wrappers.*:Cuda/RowsTest.*/1:Cuda/RopeTest.*/1:Cuda/RouteTest.*/1:Cuda/DeltaTest.GoesOnFromItsState/1:BackendTest.Largest
end
}
# Whether a sanitizer can do anything with this GPU: there are machines that refuse it.
sanitizer_works() {
  timeout -k 5 60 "$sanitizer" --tool memcheck --error-exitcode 9 "$binaries/bin/gpu_test" \
    --gtest_filter=Wrappers.PowersOfTwoAreNear >"$scratch/sanitizer.log" 2>&1
}
sanitizer=$(PATH=$PATH:/usr/local/cuda/bin command -v compute-sanitizer)
deadline=$((start + 330))
if [ $quick = yes ] || [ $listed -ne 0 ]; then
  echo "skip sanitizers: $([ $quick = yes ] && echo --quick || echo the tests do not run)"
elif [ -z "$sanitizer" ]; then
  echo "skip sanitizers: no compute-sanitizer is here"
elif ! sanitizer_works; then
  echo "skip sanitizers: compute-sanitizer does not work here: $(grep -m 1 -iE 'error|not supported' "$scratch/sanitizer.log" || tail -n 1 "$scratch/sanitizer.log")"
else
  for tool in memcheck racecheck synccheck; do
    small_tests >"$scratch/small"
    while read -r name filter <&3; do
      # kernels of a graph are looked at as they are launched
      [ $name = step ] && blocking=0 || blocking=1
      step "$tool of $name" 30 env CUDA_LAUNCH_BLOCKING=$blocking "$sanitizer" --tool $tool --error-exitcode 9 \
        "$binaries/bin/gpu_test" "--gtest_filter=$filter"
    done 3<"$scratch/small"
  done
fi

deadline=$((start + all))
step Models 80 "$binaries/bin/gpu_models_test"
if [ $quick = yes ]; then
  step bench 60 "$binaries/bin/gpu_bench" --quick --json "$scratch/bench.json"
  set -- --samples 8
else
  step bench 90 "$binaries/bin/gpu_bench" --json "$scratch/bench.json"
  set --
fi
# of the shape of a model that has no time here one layer has
step layer 60 "$binaries/bin/gpu_pipeline" --shape 7b-layer --samples 32 "$@" --json "$scratch/layer.json" "$scratch/layer"
step pipeline $pipeline_limit "$binaries/bin/gpu_pipeline" --shape "$shape" "$@" --json "$scratch/pipeline.json" "$scratch/model"
cat "$scratch/bench.log" "$scratch/layer.log" "$scratch/pipeline.log" 2>/dev/null
exit $failed

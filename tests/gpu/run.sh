#!/bin/sh
# Everything that an NVIDIA GPU is needed for, in one go and without a network: run.sh [OPTIONS]
#   --pack FOLDER      builds (without a GPU, too) and puts what --binaries needs into FOLDER; runs nothing
#   --binaries FOLDER  runs what is there instead of building
#   --quick            fewer shapes, and no sanitizers: for a look
#   --shape NAME       of the model that is made, quantized and run: tiny, 1b (default) or 7b (of 20 GB in TMPDIR)
#   --results FOLDER   where the results and what the steps said go; tests/gpu/results otherwise
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
write_results() {
  mkdir -p "$results/$run-logs" && cp "$scratch"/*.log "$results/$run-logs/" || return 1
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
    echo "  \"pipeline\": $(json "$scratch/pipeline.json")"
    echo "}"
  } >"$results/$run.json" || return 1
  echo "results in $results/$run.json, what was said in $results/$run-logs"
}

steps=''
scratch=$(mktemp -d) || exit 1
trap finish EXIT
trap 'exit 1' HUP INT TERM
if [ -z "$binaries" ]; then
  build
  binaries=${pack:-$scratch/binaries}
  gather "$binaries"
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

"$binaries/bin/gpu_test" --gtest_list_tests >"$scratch/tests" 2>"$scratch/said"
code=$?
if [ $code -ne 0 ]; then
  cat "$scratch/said"
  echo "the GPU suite was not run"
  exit $code
fi
device=$(sed -n 's/^on //p' "$scratch/tests")
echo "on $device"

begun=$(date -u +%Y-%m-%dT%H:%MZ)
run=$(date -u +%Y-%m-%d-%H%M)-$(echo "${device%%,*}" | tr -c 'A-Za-z0-9\n' - | tr A-Z a-z)
[ $shape = 7b ] && pipeline_limit=900 all=1500 || pipeline_limit=160 all=600
start=$(date +%s)
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
deadline=$((start + 230))
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
deadline=$((start + all))
step Models 100 "$binaries/bin/gpu_models_test"
if [ $quick = yes ]; then
  step bench 60 "$binaries/bin/gpu_bench" --quick --json "$scratch/bench.json"
  step pipeline $pipeline_limit "$binaries/bin/gpu_pipeline" --shape "$shape" --samples 8 --json "$scratch/pipeline.json" "$scratch/model"
else
  step bench 90 "$binaries/bin/gpu_bench" --json "$scratch/bench.json"
  step pipeline $pipeline_limit "$binaries/bin/gpu_pipeline" --shape "$shape" --json "$scratch/pipeline.json" "$scratch/model"
fi
cat "$scratch/bench.log" "$scratch/pipeline.log" 2>/dev/null
# last, since they take what time is left
sanitizer=$(PATH=$PATH:/usr/local/cuda/bin command -v compute-sanitizer)
if [ $quick = no ] && [ -n "$sanitizer" ]; then
  for tool in memcheck racecheck synccheck; do
    step $tool 60 "$sanitizer" --tool $tool --error-exitcode 9 "$binaries/bin/gpu_test" \
      '--gtest_filter=BackendTest.*:StateTest.*:Cuda/PartsTest.EverySpreadOfRows/1:Wrappers.*'
  done
else
  echo "skip sanitizers: $([ $quick = yes ] && echo --quick || echo no compute-sanitizer is here)"
fi
exit $failed

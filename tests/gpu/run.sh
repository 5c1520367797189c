#!/bin/sh
# Everything that an NVIDIA GPU is needed for, in one go and without a network: run.sh [OPTIONS]
#   --pack FOLDER      builds (without a GPU, too) and puts what --binaries needs into FOLDER; runs nothing
#   --binaries FOLDER  runs what is there instead of building
#   --quick            fewer shapes, and no sanitizers: for a look
#   --shape NAME       of the model that is made, quantized and run: tiny, 1b (default) or 7b
#   --results FOLDER   where the results go; tests/gpu/results otherwise
# Exit codes: 0 all is well, 1 something failed, 2 a wrong call, 77 there is no GPU that can be used.
set -u
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
pack='' binaries='' quick=no shape=1b results=$here/results

usage() {
  sed -n '2,8s/^# \{0,1\}//p' "$0" >&2
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
        --shape) shape=$2 ;;
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
  if [ -z "${CUDACXX:-}" ] && ! PATH=$PATH:/usr/local/cuda/bin:$root/build/cuda-toolkit/bin command -v nvcc >/dev/null; then
    echo "no nvcc is here: install CUDA 13, run cuda/get-toolkit.sh, or give --binaries FOLDER" >&2
    exit 1
  fi
  (cd "$root" && cmake --preset cuda -DGPTQ_GPU_TESTS=ON "-DCMAKE_CUDA_ARCHITECTURES=${GPTQ_GPU_ARCHITECTURES:-$(architecture)-real}" &&
    cmake --build build/cuda --target gpu_suite) || exit 1
}

# gather FOLDER: what was built, without debugging information, and the libraries that it needs of this system but for the
# C library's own.
gather() {
  mkdir -p "$1/bin" "$1/lib/gptq" || exit 1
  for program in gpu/gpu_test gpu/gpu_bench gpu/gpu_models_test */gpu_pipeline; do
    # shellcheck disable=SC2086
    strip -o "$1/bin/${program##*/}" "$root"/build/cuda/tests/$program || exit 1
  done
  strip --strip-debug -o "$1/lib/libgptq.so.0" "$root/build/cuda/src/libgptq.so.0" &&
    strip --strip-debug -o "$1/lib/gptq/libgptq-cuda.so" "$root/build/cuda/src/gptq/libgptq-cuda.so" || exit 1
  for file in "$1"/bin/* "$1"/lib/*.so.0; do
    LD_LIBRARY_PATH=$1/lib ldd "$file" | sed -n 's/.*=> \(\/[^ ]*\).*/\1/p'
  done | sort -u | grep -Ev '/(libc|libm|libdl|librt|libpthread|ld-linux[^/]*|libgptq)\.so' | while read -r library; do
    cp -L "$library" "$1/lib/" || exit 1
  done
}

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
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

failed=0 steps=''
# step NAME SECONDS COMMAND...: its output is shown where it fails
step() {
  name=$1 limit=$2
  shift 2
  begin=$(date +%s)
  timeout "$limit" "$@" >"$scratch/$name.log" 2>&1
  code=$?
  seconds=$(($(date +%s) - begin))
  if [ $code -eq 0 ]; then
    echo "ok   $name ($seconds s)"
  else
    tail -n 60 "$scratch/$name.log"
    echo "FAIL $name: exit code $code after $seconds s"
    failed=1
  fi
  steps="$steps${steps:+,}
    {\"name\": \"$name\", \"exit_code\": $code, \"seconds\": $seconds}"
}

step ops 150 "$binaries/bin/gpu_test"
step models 150 "$binaries/bin/gpu_models_test"
sanitizer=$(PATH=$PATH:/usr/local/cuda/bin command -v compute-sanitizer)
if [ $quick = no ] && [ -n "$sanitizer" ]; then
  for tool in memcheck racecheck synccheck; do
    step $tool 60 "$sanitizer" --tool $tool --error-exitcode 9 "$binaries/bin/gpu_test" \
      '--gtest_filter=BackendTest.*:StateTest.*:Cuda/PartsTest.EverySpreadOfRows/1:Wrappers.*'
  done
else
  echo "skip sanitizers: $([ $quick = yes ] && echo --quick || echo no compute-sanitizer is here)"
fi
if [ $quick = yes ]; then
  step bench 60 "$binaries/bin/gpu_bench" --quick --json "$scratch/bench.json"
  step pipeline 60 "$binaries/bin/gpu_pipeline" --shape "$shape" --samples 8 --json "$scratch/pipeline.json" "$scratch/model"
else
  step bench 120 "$binaries/bin/gpu_bench" --json "$scratch/bench.json"
  step pipeline 200 "$binaries/bin/gpu_pipeline" --shape "$shape" --json "$scratch/pipeline.json" "$scratch/model"
fi
cat "$scratch/bench.log" "$scratch/pipeline.log" 2>/dev/null

mkdir -p "$results" || exit 1
day=$(date -u +%Y-%m-%d)
file=$results/$day-$(echo "${device%%,*}" | tr -c 'A-Za-z0-9\n' - | tr A-Z a-z).json
json() { if [ -s "$1" ]; then cat "$1"; else echo null; fi; }
{
  echo "{"
  echo "  \"date\": \"$day\","
  echo "  \"commit\": \"$(git -C "$root" rev-parse HEAD 2>/dev/null || echo unknown)\","
  echo "  \"device\": \"$device\","
  echo "  \"driver\": \"$(nvidia-smi --query-gpu=driver_version --format=csv,noheader 2>/dev/null | head -n 1)\","
  echo "  \"steps\": [$steps"
  echo "  ],"
  echo "  \"bench\": $(json "$scratch/bench.json"),"
  echo "  \"pipeline\": $(json "$scratch/pipeline.json")"
  echo "}"
} >"$file" || exit 1
echo "results in $file"
exit $failed

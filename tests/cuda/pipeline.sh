#!/bin/sh
# gpu_pipeline on the shim: pipeline.sh PROGRAM FOLDER-OF-THE-PLUGIN. What it measures is written; without the plugin it says
# that there is no device, and nothing is left.
set -eu
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
GPTQ_PLUGIN_PATH=$2 "$1" --shape tiny --samples 4 --length 32 --json "$scratch/results.json" "$scratch/work"
for name in quantize load prefill decode; do
  grep -q "\"name\": \"$name\"" "$scratch/results.json" || { echo "FAIL $name is not in the results"; exit 1; }
done
[ ! -e "$scratch/work" ] || { echo "FAIL it left its folder"; exit 1; }
code=0
GPTQ_PLUGIN_PATH=$scratch "$1" --shape tiny "$scratch/work" 2>"$scratch/said" || code=$?
[ $code = 77 ] && grep -q "no device" "$scratch/said" || { echo "FAIL code $code: $(cat "$scratch/said")"; exit 1; }
echo ok

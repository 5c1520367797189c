#!/bin/sh
# Checks that object files compiled for instruction sets above the baseline define no symbol that the linker may
# prefer over another file's: no weak or unique ones, and no function but the entry point.
# usage: isa_symbols.sh NM OBJECT...
nm=$1
shift
[ $# -gt 0 ] || { echo "no object files given"; exit 2; }
status=0
for object; do
  symbols=$("$nm" -C --defined-only "$object") || exit 2
  bad=$(printf '%s\n' "$symbols" | grep -E '^[0-9a-f]+ [A-Zuvw] ' | grep -vE ' T gptq::cpu::(kernels|gemms?)_[a-z0-9]+\(\)$')
  entry=$(printf '%s\n' "$symbols" | grep -cE ' T gptq::cpu::(kernels|gemms?)_[a-z0-9]+\(\)$')
  if [ -n "$bad" ]; then
    echo "$object defines:"
    echo "$bad"
    status=1
  fi
  if [ "$entry" -ne 1 ]; then
    echo "$object: $entry entry points, wanted 1"
    status=1
  fi
done
exit $status

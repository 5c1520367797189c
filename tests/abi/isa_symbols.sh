#!/bin/sh
# Checks that object files compiled for instruction sets above the baseline define no symbol that the linker may
# prefer over another file's: no weak or unique ones, and nothing but the one entry point.
# usage: isa_symbols.sh NM OBJECT...
nm=$1
shift
[ $# -gt 0 ] || { echo "no object files given"; exit 2; }
status=0
# a function that gives its table, or the table itself
wanted=' (T gptq::cpu::(kernels|gemms|rounded)_[a-z0-9_]+\(\)|[DR] gptq::cpu::kRounded[A-Za-z0-9]+)$'
for object; do
  symbols=$("$nm" -C --defined-only "$object") || exit 2
  bad=$(printf '%s\n' "$symbols" | grep -E '^[0-9a-f]+ [A-Zuvw] ' | grep -vE "$wanted")
  entry=$(printf '%s\n' "$symbols" | grep -cE "$wanted")
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

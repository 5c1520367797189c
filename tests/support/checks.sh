# For scripts that print a line per check; to be sourced. `failed` is 1 after the first check that failed.
# A script may set `prefix_of_names`, which comes before each name: "rust: ".
failed=0
prefix_of_names=

# check NAME COMMAND...: "ok NAME", or "FAIL NAME", what the command said of errors and the end of its output, and status 1.
check() {
  local name=$prefix_of_names$1 output
  shift
  if output=$("$@" 2>&1); then
    echo "ok   $name"
    return
  fi
  echo "FAIL $name"
  { grep -E 'ERROR|error:' <<<"$output" | head -n 10; tail -n 30 <<<"$output"; } | cut -c 1-300 | sed 's/^/     /'
  failed=1
  return 1
}

# skip WHAT_IS_MISSING
skip() { echo "skip $prefix_of_names$1"; }

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

# example_with WORD FILE.md: the first block of code that has WORD in it
example_with() {
  awk -v word="$1" '/^```/ { if (inside && found) exit; inside = !inside; text = ""; next }
    inside { text = text $0 "\n"; found = found || index($0, word) } END { printf "%s", text }' "$2"
}

# chat_model SCRATCH: makes a copy of samples/model with a chat template, by which "Tell me a story." is answered with what
# follows "Once upon a time"; prints its folder
chat_model() {
  local source
  source=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../samples/model" && pwd)
  rm -rf "$1/chat-model" && cp -r "$source" "$1/chat-model" &&
    printf '%s' "{% if add_generation_prompt and messages[-1].content == 'Tell me a story.' %}" \
      'Once upon a time{% endif %}' >"$1/chat-model/chat_template.jinja" && printf '%s' "$1/chat-model"
}

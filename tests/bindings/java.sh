#!/bin/bash
# Builds and tests the Java binding against an installed library: java.sh PREFIX SCRATCH
# Prints "ok NAME", "FAIL NAME" or "skip NAME" per check. Needs a JDK, a C compiler and pkg-config; Maven with its plugins, or
# JUnit 4 (Debian's junit4), for the tests themselves. Reads PKG_CONFIG_PATH, GPTQ_TEST_MODEL and GPTQ_TEST_EXPECTED.
set -u
prefix=$(cd "$1" && pwd)
scratch=$(mkdir -p "$2" && cd "$2" && pwd)
root=$(cd "$(dirname "$0")/../.." && pwd)
java=$root/bindings/java
export GPTQ_TEST_MODEL=${GPTQ_TEST_MODEL:-$root/samples/model}
export PKG_CONFIG_PATH=${PKG_CONFIG_PATH:-$(dirname "$(find "$prefix" -name gptq.pc | head -n 1)")}
export XDG_CACHE_HOME=$scratch/cache
unset LD_LIBRARY_PATH  # the jar has its own
. "$root/tests/support/checks.sh"
prefix_of_names="java: "

for tool in java javac jar javadoc cc pkg-config; do
  if ! command -v $tool >/dev/null; then
    skip "$tool is not here"
    exit 0
  fi
done
sources=$java/src/main/java/io/github/libgptq
release="--release 8"
javac $release -version >/dev/null 2>&1 || release=  # a JDK 8

by_hand() {
  rm -rf "$scratch/classes"
  sh "$java/src/main/native/build.sh" "$scratch/classes/io/github/libgptq/native" &&
    javac $release -Xlint:all,-options -Werror -d "$scratch/classes" "$sources"/*.java &&
    jar cf "$scratch/gptq.jar" -C "$scratch/classes" .
}
check "a jar by javac alone" by_hand || exit 1
check "javadoc without a warning" javadoc -quiet -Xdoclint:all -Xwerror -d "$scratch/javadoc" \
  -sourcepath "$java/src/main/java" io.github.libgptq

maven() { (cd "$java" && mvn -B -ntp package -Dgptq.build="$scratch/maven"); }
jar=$scratch/gptq.jar
if ! command -v mvn >/dev/null; then
  skip "mvn is not here"
elif maven >"$scratch/maven.log" 2>&1; then
  check "mvn package" true
  jar=$(find "$scratch/maven" -maxdepth 1 -name 'gptq-*.jar')
elif grep -qE 'could not be resolved|Could not transfer|offline mode' "$scratch/maven.log"; then
  skip "mvn can't get its plugins"
else
  check "mvn package" sh -c "cat '$scratch/maven.log'; false"
fi

# Once more by hand, to tell the tests apart, with the JVM's checks of every JNI call.
junit=
for file in /usr/share/java/junit4.jar ~/.m2/repository/junit/junit/4.13.2/junit-4.13.2.jar; do
  hamcrest=$(ls /usr/share/java/hamcrest*.jar ~/.m2/repository/org/hamcrest/hamcrest-core/1.3/*.jar 2>/dev/null | tr '\n' ':')
  [ -e "$file" ] && [ -n "$hamcrest" ] && junit=$file:$hamcrest
done
tests() {
  javac $release -Xlint:all,-options,-try -cp "$jar:$junit" -d "$scratch/tests" "$java"/src/test/java/io/github/libgptq/*.java
}
if [ -z "$junit" ]; then
  skip "JUnit 4 is not here"
elif check "the tests compile" tests; then
  (cd "$java" && exec java -Xcheck:jni -cp "$jar:$scratch/tests:$junit" io.github.libgptq.TestLines "java: ") 2>&1 |
    tee "$scratch/lines" | grep -E '^(ok|FAIL|skip|     )'
  [ "${PIPESTATUS[0]}" -eq 0 ] && grep -q '^ok' "$scratch/lines" || failed=1
  check "-Xcheck:jni has nothing to say" sh -c \
    "grep '^ok' '$scratch/lines' >/dev/null && ! grep -v '^WARNING: .*\(estricted method\|native.access\|System::load\)' '$scratch/lines' |
      grep -nE 'WARNING|FATAL|JNI local refs|A fatal error'"  # JDK 24 warns of every native library
fi

# The samples, as a user has them: the jar, and no library of the system.
mkdir -p "$scratch/samples"
check "the samples compile" javac $release -Xlint:all,-options,-try -Werror -cp "$jar" -d "$scratch/samples" "$root"/samples/java/*.java
sample() {
  local program=$1
  shift
  (cd "$scratch" && java -cp "$jar:$scratch/samples" "$program" "$@")
}
chats() {
  local text
  text=$(echo "Once upon a time" | sample Chat "$GPTQ_TEST_MODEL" 2>/dev/null) && test -n "$text" &&
    { [ -z "${GPTQ_TEST_EXPECTED:-}" ] || test "$text" = "$(cat "$GPTQ_TEST_EXPECTED")"; }
}
check "the chat writes what the C sample writes" chats
readme_chat() {
  local text
  rm -rf "$scratch/readme" && mkdir -p "$scratch/readme" && example_with tokenizeChat "$java/README.md" >"$scratch/readme/Talk.java" &&
    javac $release -Xlint:-options -cp "$jar" -d "$scratch/readme" "$scratch/readme/Talk.java" &&
    text=$(java -cp "$jar:$scratch/readme" Talk "$(chat_model "$scratch")" 2>/dev/null) && test -n "$text" &&
    { [ -z "${GPTQ_TEST_EXPECTED:-}" ] || test "$text" = "$(cat "$GPTQ_TEST_EXPECTED")"; }
}
check "README.md: the chat answers by the template" readme_chat
readme_stories() {
  local text
  example_with nextAll "$java/README.md" >"$scratch/readme/Stories.java" &&
    javac $release -Xlint:-options -cp "$jar" -d "$scratch/readme" "$scratch/readme/Stories.java" &&
    text=$(java -cp "$jar:$scratch/readme" Stories "$GPTQ_TEST_MODEL" 2>/dev/null) && grep -q "little girl" <<<"$text"
}
check "README.md: several stories are written together" readme_stories
recovers() {  # the second line is the first one that the context has room for
  local text
  text=$({ printf 'word %.0s' {1..20000}; printf '\nOnce upon a time\n'; } | sample Chat "$GPTQ_TEST_MODEL" 2>/dev/null) &&
    { [ -z "${GPTQ_TEST_EXPECTED:-}" ] || printf '%s' "$text" | tail -n +2 | cmp - <(head -c -1 "$GPTQ_TEST_EXPECTED"); }
}
check "the chat goes on after a line that is longer than the context" recovers
quantizes() {
  rm -rf "$scratch/quantized"
  sample Quantize "$GPTQ_TEST_MODEL" "$scratch/quantized" "$root/samples/stories.txt" &&
    grep -q '"bits": *4' "$scratch/quantized/quantize_config.json" &&
    test -n "$(echo "Once upon a time" | sample Chat "$scratch/quantized" 2>/dev/null)"
}
check "a folder that the sample quantized writes text" quantizes
refuses() {
  local output
  output=$(sample Quantize "$scratch/none" "$scratch/out" 2>&1) && return 1
  printf '%s' "$output" | grep -q "$scratch/none"
}
check "the sample names a folder that is not there" refuses
exit $failed

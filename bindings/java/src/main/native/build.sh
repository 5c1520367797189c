#!/bin/sh
# Builds the native half of the binding, and puts it where the jar has it: build.sh OUTPUT [JAVA_HOME]
#   OUTPUT/linux-x86_64/libgptq-java.so   the glue, finds the library beside itself
#   OUTPUT/linux-x86_64/libgptq.so.0      a copy of the installed library, without debug information
#   OUTPUT/linux-x86_64/natives.sha256    the list that they are checked against
# Needs a C compiler, a JDK, and libgptq by pkg-config.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
out=$1/$(uname -s | tr '[:upper:]' '[:lower:]')-$(uname -m)
java=${2:-${JAVA_HOME:-$(dirname "$(dirname "$(readlink -f "$(command -v javac)")")")}}
[ -e "$java/include/jni.h" ] || java=$java/..  # the JRE inside a JDK 8
[ -e "$java/include/jni.h" ] || { echo "build.sh: $java/include/jni.h is not there: a JDK is needed" >&2; exit 1; }
pkg-config --exists --print-errors gptq

mkdir -p "$out"
cp -L "$(pkg-config --variable=libdir gptq)/libgptq.so.0" "$out/libgptq.so.0"
chmod u+w "$out/libgptq.so.0"
strip --strip-unneeded "$out/libgptq.so.0"
# -z now: what an old library lacks is an error at the loading, not in the middle of a call
# -z nodelete: when a class loader goes whose models nobody closed, the code of their threads has to stay
# shellcheck disable=SC2046
${CC:-cc} -std=c99 -O2 -fPIC -fvisibility=hidden -fno-strict-aliasing -Wall -Wextra -Wno-unused-parameter -shared \
  -I"$java/include" -I"$java/include/linux" "$here/gptq_java.c" -o "$out/libgptq-java.so" \
  $(pkg-config --cflags --libs gptq) -Wl,--enable-new-dtags -Wl,-rpath,'$ORIGIN' -Wl,-z,now -Wl,-z,nodelete -s
cd "$out"
sha256sum libgptq-java.so libgptq.so.0 >natives.sha256

#!/bin/bash
# Builds and tests the C# binding against an installed library: csharp.sh PREFIX SCRATCH
# prints an "ok", "FAIL" or "skip" line per check. From the caller: PKG_CONFIG_PATH, LD_LIBRARY_PATH,
# GPTQ_TEST_MODEL (samples/model), GPTQ_TEST_EXPECTED (what samples/c/generate.c prints for "Once upon a time")
set -u
root=$(cd "$(dirname "$0")/../.." && pwd)
prefix=$(cd "$1" && pwd)
scratch=$(mkdir -p "$2" && cd "$2" && pwd)
source=$root/bindings/csharp
bin=$scratch/bin
. "$root/tests/support/checks.sh"
prefix_of_names="csharp "

for tool in mcs mono; do
  command -v $tool >/dev/null || { skip "$tool is not here"; exit 0; }
done

compile() {  # compile PROGRAM SOURCE...
  local program=$1
  shift
  mcs -nologo -langversion:7 -debug -warn:4 -warnaserror+ -r:"$bin/Gptq.dll" -out:"$bin/$program" "$@"
}

rm -rf "$bin" && mkdir -p "$scratch/work" "$scratch/outside"
check "build.sh compiles without a warning, every public item documented" "$source/build.sh" "$bin"
stays() { readelf -d "$bin/libgptq-csharp.so" | grep -q NODELETE; }
check "libgptq-csharp.so stays in the process" stays
check "the tests compile" compile tests.exe "$source"/tests/*.cs
if test -s "$bin/tests.exe"; then
  mono --debug "$bin/tests.exe" "$scratch/work" || failed=1
else
  failed=1
fi

same_as_expected() { cmp - "$GPTQ_TEST_EXPECTED"; }

readme_example() {  # outside the source tree, the library beside the program
  local blocks='/^```csharp/{p=1;next} /^```/{if(p)exit} p'
  awk "$blocks" "$source/README.md" >"$scratch/outside/hello.cs" && test "$(wc -l <"$scratch/outside/hello.cs")" -le 12 &&
    cd "$scratch/outside" && mcs -nologo -r:"$bin/Gptq.dll" -out:hello.exe hello.cs &&
    cp "$bin/Gptq.dll" "$bin/libgptq-csharp.so" . &&
    { mono hello.exe "$GPTQ_TEST_MODEL" && echo; } | same_as_expected
}
check "the README's example, at most 12 lines, writes the text of the C sample" readme_example

readme_chat() {
  example_with TokenizeChat "$source/README.md" >"$scratch/outside/talk.cs" && cd "$scratch/outside" &&
    mcs -nologo -r:"$bin/Gptq.dll" -out:talk.exe talk.cs &&
    { mono talk.exe "$(chat_model "$scratch")" && echo; } | same_as_expected
}
check "its chat answers by the template" readme_chat

readme_stories() {
  example_with NextAll "$source/README.md" >"$scratch/outside/stories.cs" && cd "$scratch/outside" &&
    mcs -nologo -r:"$bin/Gptq.dll" -out:stories.exe stories.cs && mono stories.exe "$GPTQ_TEST_MODEL" | grep -q "little girl"
}
check "its several stories are written together" readme_stories

chat() {
  compile Chat.exe "$root/samples/csharp/Chat.cs" &&
    echo "Once upon a time" | mono "$bin/Chat.exe" "$GPTQ_TEST_MODEL" | same_as_expected
}
check "samples/csharp/Chat.cs writes the text of the C sample" chat

quantize() {
  local out=$scratch/quantized
  rm -rf "$out"
  compile Quantize.exe "$root/samples/csharp/Quantize.cs" &&
    mono "$bin/Quantize.exe" "$GPTQ_TEST_MODEL" "$out" "$root/samples/stories.txt" 2>&1 | grep -q '100 %' &&
    echo "Once upon a time" | mono "$bin/Chat.exe" "$out" | grep -q '[a-z]' &&
    ! mono "$bin/Quantize.exe" "$GPTQ_TEST_MODEL" "$out"
}
check "samples/csharp/Quantize.cs makes a model that Chat.cs reads, and spares one that is there" quantize

package() { rm -rf "$scratch/pack" && "$source/pack.sh" "$scratch/pack"; }
check "pack.sh makes a NuGet package of the right structure" package

unpacked() {  # everything out of the package, nothing of the prefix
  rm -rf "$scratch/unpacked" && mkdir "$scratch/unpacked" &&
    python3 -m zipfile -e "$scratch"/pack/Gptq.*.nupkg "$scratch/unpacked" && cd "$scratch/unpacked" &&
    cp lib/netstandard2.0/Gptq.dll runtimes/linux-x64/native/*.so* "$scratch/outside/hello.exe" . &&
    { env -u LD_LIBRARY_PATH mono hello.exe "$GPTQ_TEST_MODEL" && echo; } | same_as_expected
}
if compgen -G "$scratch/pack/Gptq.*-mono.nupkg" >/dev/null; then
  check "the package's files run by themselves" unpacked
else
  skip "the package's files run by themselves: the assembly is not Mono's"
fi

damaged_package() {
  local nupkg
  nupkg=$(ls "$scratch"/pack/Gptq.*.nupkg) && rm -rf "$scratch/damaged" && mkdir "$scratch/damaged" &&
    python3 - "$nupkg" "$scratch/damaged/$(basename "$nupkg")" <<'PYTHON'
import sys
import zipfile

with zipfile.ZipFile(sys.argv[1]) as whole, zipfile.ZipFile(sys.argv[2], "w") as part:
    for name in whole.namelist():
        if not name.endswith("libgptq.so.0"):
            part.writestr(name, whole.read(name))
PYTHON
  ! python3 "$source/check_nupkg.py" "$scratch/damaged/$(basename "$nupkg")"
}
check "a package without a library is noticed" damaged_package
exit $failed

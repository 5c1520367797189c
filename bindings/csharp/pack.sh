#!/bin/bash
# Makes the NuGet package: pack.sh OUT makes OUT/Gptq.VERSION.nupkg, laid out in OUT/layout.
# The assembly comes from a .NET SDK. Without one it comes from mcs: it then runs under Mono alone, and the version ends
# in -mono. Needs what build.sh needs, and python3.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
out=$(cd "$1" && pwd)
layout=$out/layout managed=$out/layout/lib/netstandard2.0 native=$out/layout/runtimes/linux-x64/native
version=$(pkg-config --modversion gptq)
rm -rf "$layout" && mkdir -p "$managed" "$native"

"$here/build.sh" "$out/build"
if command -v dotnet >/dev/null; then
  dotnet build "$here/Gptq.csproj" -c Release -p:Version="$version" -o "$out/build"
else
  version=$version-mono
fi
cp "$out/build/Gptq.dll" "$out/build/Gptq.xml" "$managed"
cp "$out/build/libgptq-csharp.so" "$native"
cp -L "$(pkg-config --variable=libdir gptq)/libgptq.so.0" "$native"
cp "$here/README.md" "$here/../../LICENSE" "$layout"
sed "s/\\\$version\\\$/$version/" "$here/Gptq.nuspec" >"$layout/Gptq.nuspec"

package=$out/Gptq.$version.nupkg
rm -f "$package"
python3 "$here/make_nupkg.py" "$layout" "$package"
python3 "$here/check_nupkg.py" "$package"
echo "$package"

"""Checks a package against Gptq.nuspec and the conventions: check_nupkg.py PACKAGE; what is wrong goes to stderr."""
import pathlib
import sys
import xml.etree.ElementTree as ElementTree
import zipfile

NUSPEC = "{http://schemas.microsoft.com/packaging/2013/05/nuspec.xsd}"
TYPES = "{http://schemas.openxmlformats.org/package/2006/content-types}"
RELATIONS = "{http://schemas.openxmlformats.org/package/2006/relationships}"
ELF_X86_64 = (b"\x7fELF\x02\x01", b"\x3e\x00")


def typed(name, types):
    if "." in name.rsplit("/", 1)[-1] and name.rsplit(".", 1)[1].lower() in types["extensions"]:
        return True
    return "/" + name in types["parts"]


def faults(package):
    here = pathlib.Path(__file__).parent
    wanted = [node.get("src") for node in ElementTree.parse(here / "Gptq.nuspec").iter(NUSPEC + "file")]
    with zipfile.ZipFile(package) as archive:
        if archive.testzip():
            yield "a damaged entry: " + archive.testzip()
        names = archive.namelist()
        for name in wanted:
            if name not in names or not archive.getinfo(name).file_size:
                yield name + " is missing or empty"
        content = ElementTree.fromstring(archive.read("[Content_Types].xml"))
        types = {"extensions": {node.get("Extension") for node in content.iter(TYPES + "Default")},
                 "parts": {node.get("PartName") for node in content.iter(TYPES + "Override")}}
        for name in names:
            if name != "[Content_Types].xml" and not typed(name, types):
                yield name + " has no content type"
        relations = ElementTree.fromstring(archive.read("_rels/.rels"))
        targets = [node.get("Target").lstrip("/") for node in relations.iter(RELATIONS + "Relationship")]
        if "Gptq.nuspec" not in targets:
            yield "_rels/.rels does not name Gptq.nuspec"
        for target in targets:
            if target not in names:
                yield "_rels/.rels names " + target + ", which is missing"
        manifest = ElementTree.fromstring(archive.read("Gptq.nuspec"))
        version = manifest.findtext(f"{NUSPEC}metadata/{NUSPEC}version")
        if pathlib.Path(package).name != f"Gptq.{version}.nupkg":
            yield f"version {version} in the file {package}"
        for name in wanted:
            head = archive.read(name)[:20]
            if "/native/" in name and (head[:6], head[18:20]) != ELF_X86_64:
                yield name + " is no ELF file for x86-64"
            if name.endswith(".dll") and head[:2] != b"MZ":
                yield name + " is no assembly"


if __name__ == "__main__":
    found = list(faults(sys.argv[1]))
    for fault in found:
        print(f"{sys.argv[1]}: {fault}", file=sys.stderr)
    sys.exit(1 if found else 0)

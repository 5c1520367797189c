"""Makes a NuGet package of a folder as pack.sh lays it out: make_nupkg.py LAYOUT PACKAGE

A package is a zip in the Open Packaging Conventions (ECMA-376 part 2): besides the files it holds [Content_Types].xml, the
types by extension, and _rels/.rels, which names the nuspec; <files> of the nuspec stays outside.
"""
import pathlib
import re
import sys
import xml.etree.ElementTree as ElementTree
import zipfile

NUSPEC = "{http://schemas.microsoft.com/packaging/2013/05/nuspec.xsd}"
RELATION = "http://schemas.microsoft.com/packaging/2010/07/manifest"
TYPES = {"rels": "application/vnd.openxmlformats-package.relationships+xml"}
HEAD = '<?xml version="1.0" encoding="utf-8"?>\n'


def content_types(names):
    extensions = sorted({name.rsplit(".", 1)[1] for name in names if "." in name.rsplit("/", 1)[-1]} | {"rels"})
    defaults = "".join(f'  <Default Extension="{e}" ContentType="{TYPES.get(e, "application/octet")}" />\n'
                       for e in extensions)
    overrides = "".join(f'  <Override PartName="/{name}" ContentType="application/octet" />\n'
                        for name in names if "." not in name.rsplit("/", 1)[-1])
    return (f'{HEAD}<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">\n'
            f"{defaults}{overrides}</Types>\n")


def main(layout, package):
    nuspec = (layout / "Gptq.nuspec").read_text()
    files = [node.get("src") for node in ElementTree.fromstring(nuspec).iter(NUSPEC + "file")]
    manifest = re.sub(r"\s*<files>.*</files>", "", nuspec, flags=re.S)
    relations = (f'{HEAD}<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">\n'
                 f'  <Relationship Type="{RELATION}" Target="/Gptq.nuspec" Id="R1" />\n</Relationships>\n')
    with zipfile.ZipFile(package, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("_rels/.rels", relations)
        archive.writestr("Gptq.nuspec", manifest)
        for name in files:
            archive.write(layout / name, name)
        archive.writestr("[Content_Types].xml", content_types(["Gptq.nuspec", *files]))


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))

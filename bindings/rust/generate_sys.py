#!/usr/bin/env python3
"""Rust declarations of the whole C ABI: generate_sys.py GPTQ.XML, where `swig -xml` made the file from gptq.i

Types, names and values come from SWIG's parse tree. It drops comments: those come from gptq.h itself, by name. The output
depends on nothing else."""
import pathlib
import re
import sys
import textwrap
import xml.etree.ElementTree

HEADER = pathlib.Path(__file__).resolve().parents[2] / "include" / "gptq.h"
WIDTH = 100

TYPES = {"void": "c_void", "char": "c_char", "int32_t": "i32", "int64_t": "i64", "double": "f64"}
CONST = "q(const)."

PREAMBLE = """\
// Made by bindings/generate.sh from gptq.h; not to be edited.

use std::ffi::CStr;
use std::marker::{PhantomData, PhantomPinned};
use std::os::raw::{c_char, c_void};

const fn text(with_nul: &'static [u8]) -> &'static CStr {
    // SAFETY: the texts below end in their only NUL.
    unsafe { CStr::from_bytes_with_nul_unchecked(with_nul) }
}
"""


# ---- SWIG's notation: "p." pointer to, "q(const)." const, "f(...)." function returning --------------------------------

def rust_type(swig):
    if not swig.startswith("p."):
        return TYPES.get(swig, swig)
    target = swig[2:]
    if target.startswith(CONST):
        return f"*const {rust_type(target[len(CONST):])}"
    return f"*mut {rust_type(target)}"


def returned(attributes):
    """The decl "f(void).p." with the type "q(const).char" is a function that returns p.q(const).char."""
    pointers = attributes["decl"].rpartition(").")[2]
    swig = pointers + attributes["type"]
    return "" if swig == "void" else f" -> {rust_type(swig)}"


def attributes_of(node):
    found = node.find("attributelist")
    return {a.get("name"): a.get("value") for a in found.findall("attribute")}


def parameters(node):
    parms = [attributes_of(parm) for parm in node.find("attributelist").iterfind("parmlist/parm")]
    return [f"{parm['name']}: {rust_type(parm['type'])}" for parm in parms if parm["type"] != "void"]


# ---- Documentation -----------------------------------------------------------------------------------------------------

def comments(header):
    """Text of the comment before, or after on the line of, each declaration, by the declaration's name."""
    texts = {}
    for match in re.finditer(r"/\*\*(.*?)\*/\s*([^;]*);", header, re.S):
        text, declaration = match.groups()
        name = re.search(r"\(\*(\w+)\)\(", declaration) or re.search(r"\b(gptq_\w+)\(", declaration)
        name = name.group(1) if name else declaration.split()[-1]
        texts[name] = "\n".join(re.sub(r"^\s*\* ?", "", line) for line in text.split("\n"))
    after = r"^(?:#define (GPTQ_\w+) .*?|typedef struct \w+ (\w+); *)/\* (.*?) *\*/"
    for match in re.finditer(after, header, re.M | re.S):
        if "\n" not in match.group(0).partition("/*")[0]:
            texts[match.group(1) or match.group(2)] = match.group(3)
    return texts


def markdown(text, links):
    """Names become code, and links where they are documented; what Markdown would take for markup is escaped."""
    def code(match):
        word = match.group(0)
        name = word.rstrip("()")
        return f"[`{name}`]" if name in links else f"`{word}`"

    parts = re.split(r"(`[^`]*`)", " ".join(text.split()))
    for i in range(0, len(parts), 2):
        words = re.split(r'((?<!")\b(?:gptq|GPTQ)_\w+(?:\(\)|\*)?)', parts[i])
        for j, word in enumerate(words):
            words[j] = code(re.match(".*", word)) if j % 2 else re.sub(r"([\[\]<>*])", r"\\\1", word)
        parts[i] = "".join(words)
    return "".join(parts)


def sentence(text):
    return text and text[0].upper() + text[1:] + "." * (text[-1] not in ".:)")


def items(text, pattern):
    """`text` cut before each line that `pattern` matches."""
    cuts = [0] + [m.start() for m in re.finditer(pattern, text, re.M) if text[: m.start()].strip()] + [len(text)]
    return [text[a:b] for a, b in zip(cuts, cuts[1:])]


def returns(text, links):
    if not re.search(r"^\s*GPTQ_\w+ {2,}", text, re.M):
        return [sentence("Returns " + markdown(text, links))]
    named = [re.sub(r"^\s*(GPTQ_\w+) {2,}", r"\1: ", item) for item in items(text, r"^\s*GPTQ_")]
    return ["Returns"] + ["- " + markdown(item, links) for item in named]


def paragraphs(text, links):
    """The comment's @tags as paragraphs and lists; the short ones share the last line."""
    lead, *tags = re.split(r"@(\w+)(?:\[\w+\])?", text)
    result, notes = [sentence(markdown(lead, links))], []
    for tag, body in zip(tags[::2], tags[1::2]):
        if tag == "param":
            name, meaning = re.match(r"\s*((?:\w+, )*\w+)(.*)", body, re.S).groups()
            names = ", ".join(f"`{word}`" for word in name.split(", "))
            result.append(f"- {names}: {markdown(meaning, links)}")
        elif tag == "return":
            result += returns(body, links)
        elif tag == "note":
            result.append(sentence(markdown(body, links)))
        elif tag == "blocks":
            notes.append("Blocks.")
        else:
            label = {"since": "Since", "owner": "Owner:", "threadsafe": "Threads:"}[tag]
            notes.append(f"{label} {markdown(body, links)}.")
    return [p for p in result if p] + ([" ".join(notes)] if notes else [])


def doc(name, texts, links, indent=""):
    lines, before = [], ""
    for paragraph in paragraphs(texts.get(name, ""), links):
        item = paragraph.startswith("- ")
        if lines and not (item and before.startswith("- ")):
            lines.append("")
        lines += textwrap.wrap(paragraph, WIDTH - len(indent) - 4, subsequent_indent="  " * item,
                               break_long_words=False, break_on_hyphens=False)
        before = paragraph
    return [f"{indent}/// {line}".rstrip() for line in lines]


# ---- Declarations ------------------------------------------------------------------------------------------------------

def constant(attributes):
    name, value = attributes["name"], attributes["value"].strip("()")
    if attributes["type"] == "int":
        status = name in ("GPTQ_OK", "GPTQ_DONE") or name.startswith("GPTQ_ERROR_")
        return [f"pub const {name}: {'gptq_status' if status else 'i32'} = {int(value)};"]
    return [f'pub const {name}: &CStr = text(b"{value}\\0");']


def typedef(attributes, node):
    name, decl = attributes["name"], attributes["decl"]
    if decl.startswith("p.f("):
        head = "    unsafe extern \"C\" fn("
        arguments = [f"{' ' * 8}{p}," for p in parameters(node)]
        return [f"pub type {name} = Option<", head, *arguments, f"    ){returned(attributes)},", ">;"]
    if attributes["type"].startswith("struct "):
        return ["#[repr(C)]", f"pub struct {name} {{", "    _data: [u8; 0],",
                "    _marker: PhantomData<(*mut u8, PhantomPinned)>,", "}"]
    return [f"pub type {name} = {rust_type(attributes['type'])};"]


def function(attributes, node):
    head, arguments = f"    pub fn {attributes['name']}(", parameters(node)
    line = f"{head}{', '.join(arguments)}){returned(attributes)};"
    if len(line) <= WIDTH:
        return [line]
    return [head, *(f"{' ' * 8}{argument}," for argument in arguments), f"    ){returned(attributes)};"]


def listing(name, element, names, value):
    """For the tests of the crate: each name beside what it stands for."""
    lines = ["", "#[cfg(test)]", f"pub(crate) fn {name}() -> Vec<(&'static str, {element})> {{", "    vec!["]
    return lines + [f'        ("{n}", {value(n)}),' for n in names] + ["    ]", "}"]


def declarations(tree):
    """Kind, attributes and node of all that is declared in gptq.h, in its order."""
    for node in tree.iter():
        if node.tag not in ("cdecl", "constant"):
            continue
        attributes = attributes_of(node)
        if attributes["name"].lower().startswith("gptq_"):
            yield attributes.get("kind", "constant"), attributes, node


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__.splitlines()[0])
    header = HEADER.read_text(encoding="utf-8")
    texts = comments(header)
    found = list(declarations(xml.etree.ElementTree.parse(sys.argv[1])))
    names = [attributes["name"] for _, attributes, _ in found]
    functions = [attributes["name"] for kind, attributes, _ in found if kind == "function"]
    exported = re.findall(r"^GPTQ_API [^;]*?\b(gptq_\w+)\(", header, re.M)
    if sorted(functions) != sorted(exported):
        sys.exit(f"SWIG and gptq.h disagree on {sorted(set(functions) ^ set(exported))}")

    lines = PREAMBLE.splitlines()
    for kind, attributes, node in found:
        if kind != "function":
            body = constant(attributes) if kind == "constant" else typedef(attributes, node)
            lines += [""] + doc(attributes["name"], texts, names) + body
    lines += ["", 'extern "C" {']
    for kind, attributes, node in found:
        if kind == "function":
            lines += [""] * (attributes["name"] != functions[0])
            lines += doc(attributes["name"], texts, names, "    ") + function(attributes, node)
    lines += ["}"]
    errors = [name for name in names if name.startswith("GPTQ_ERROR_")]
    lines += listing("functions", "*const ()", functions, lambda name: f"{name} as *const ()")
    lines += listing("errors", "gptq_status", errors, lambda name: name)
    lines += listing("keys", "&'static CStr", [n for n in names if n.startswith("GPTQ_KEY_")], lambda name: name)
    print("\n".join(lines))


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Makes gguf_cuts.json: how llama.cpp cuts texts into words, for every name of a way to do so that is known here.

usage: make_gguf_cuts.py llama.cpp/build

No function of llama.cpp tells its words, so the vocabulary does: it has every string of up to LONGEST bytes of TEXTS, and
merges that grow a word from its left end, so that a token ends where a word does, or after LONGEST bytes. Stored are the
lengths of the tokens in bytes, made by the llama.cpp of llama-cpp-python 0.3.36.
"""
import json
import pathlib
import struct
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path += [str(ROOT / "tests/llamacpp"), str(ROOT / "tests/fuzz")]
from compare import build_probe
from make_gguf_seeds import ARRAY, BOOL, I32, TEXT, U32, gguf

LONGEST = 12
NAMES = """default gpt-2 phi-2 mpt olmo jais jina-es jina-de jina-v2-es jina-v2-de jina-v1-en jina-v2-code roberta-bpe
    gigachat a.x-4.0 mellum modern-bert exaone4 trillion granite-docling
    llama-bpe llama3 llama-v3 falcon3 falcon-h1 pixtral midm-2.0 lfm2 jina-v5-nano
    smaug-bpe dbrx chatglm-bpe glm4 glm5 minicpm5 jais-2
    qwen2 deepseek-r1-qwen stablelm2 kormo f2llmv2 megrez hunyuan solar-open grok-2 qwen35 ufakzeka laguna
    bailingmoe bailingmoe2 llada-moe seed-coder exaone-moe
    tekken gpt-4o llama4 kanana2 talkie minimax-m2 granite-embed-multi-97m tiny_aya cohere2moe
    smollm starcoder refact command-r codeshell exaone minerva-7b mellum2
    falcon deepseek-llm deepseek-coder deepseek-v3 hunyuan-dense joyai-llm hy_v4 spark2_5 youtu
    bloom poro-chat gpt3-finnish viking chameleon superbpe""".split()
TEXTS = [
    "Hello, world! It's what I'd SAY: they'LL've gone.",
    "camelCase XMLHttpRequest isn'T iPhone12Pro",
    "x = 3.14159 + 1234567 - 10 ** 12345; y=0",
    "12 123 1234 12345 123456 1234567890",
    "  two   three    four     end   ",
    "tab\tnew\nline\n\nblank \n \n  indent\r\nwindows\r\n",
    "    def f(x):\n        return x[0]/2  # why?\n",
    "\t\t\n\n\n   \n   x",
    "你好,世界。今天是2024年! ひらがなカタカナ 한국어 텍스트",
    "été naïve straße, señor; привет мир",
    "...!!! ??? -- «quote» “curly” ‘single’ … — 100% $5 £6 €7",
    "a.b,c;d:e(f)g[h]{i}|j\\k/l<m>n^o~p`q@r#s&t*u_v-w+x=y",
    "🙂🙂 ok 👍🏽. a🙂b",
    "http://example.org/a?b=c&d=%20#e",
    "½ ² Ⅷ ٣٤٥ ৪২ 一二三",
    "don't 'tis 's x's  'S  ''",
    "\u00a0nbsp\u3000ideographic\u2003em",
    "a/b/c//d\n/e /\n/ f",
    "(a) ( b ) |c| . d ,e ! f",
    "a  12   345\n\n 6\t7  \n  8",
    "'Twas rock'n'roll, x'tis, Ankara'da'd 'll",
    "x  \n\n  y \t z   \n",
    "नमस्ते दुनिया cafe\u0301 กำลัง ki\u0323ss ЁЖik ÉTÉ Straße",
]
# by place in TEXTS: names for which llama.cpp does other than the regexes of their models say, as their tokenizer.json has
# them and this library follows: case and marks of letters, \b, blanks beyond ASCII in a range, NFC
LEFT_OUT = {
    TEXTS.index("camelCase XMLHttpRequest isn'T iPhone12Pro"): "tiny_aya cohere2moe youtu",
    TEXTS.index("你好,世界。今天是2024年! ひらがなカタカナ 한국어 텍스트"): "tiny_aya cohere2moe",
    TEXTS.index("\u00a0nbsp\u3000ideographic\u2003em"): "deepseek-llm deepseek-coder",
    TEXTS.index("a  12   345\n\n 6\t7  \n  8"): "tiny_aya cohere2moe",
    len(TEXTS) - 1: "tekken gpt-4o llama4 kanana2 talkie minimax-m2 granite-embed-multi-97m tiny_aya cohere2moe youtu "
                    "qwen2 deepseek-r1-qwen",
}


def alphabet():
    """The letters that stand for bytes, by GPT-2's rule."""
    plain = [b for b in range(256) if 33 <= b <= 126 or 161 <= b <= 172 or b >= 174]
    others = [b for b in range(256) if b not in plain]
    return {b: chr(b) for b in plain} | {b: chr(256 + i) for i, b in enumerate(others)}


def vocabulary():
    letters = alphabet()
    tokens, merges = {letters[b]: None for b in range(256)}, []
    for text in (t.encode() for t in TEXTS):
        for begin in range(len(text)):
            for end in range(begin + 2, min(begin + LONGEST, len(text)) + 1):
                token = "".join(letters[b] for b in text[begin:end])
                if token not in tokens:
                    tokens[token] = None
                    merges.append(f"{token[:-1]} {token[-1]}")
    return list(tokens), merges


def file_of(name, tokens, merges):
    return gguf([("general.architecture", TEXT, "llama"), ("tokenizer.ggml.model", TEXT, "gpt2"),
                 ("tokenizer.ggml.pre", TEXT, name), ("tokenizer.ggml.tokens", ARRAY, (TEXT, tokens)),
                 ("tokenizer.ggml.token_type", ARRAY, (I32, [1] * len(tokens))),
                 ("tokenizer.ggml.merges", ARRAY, (TEXT, merges)), ("tokenizer.ggml.bos_token_id", U32, 0),
                 ("tokenizer.ggml.add_bos_token", BOOL, False)], [])


def main():
    tokens, merges = vocabulary()
    made = {"longest": LONGEST, "texts": TEXTS, "lengths": {}}
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        probe, path = build_probe(sys.argv[1], folder), folder / "vocabulary.gguf"
        for name in NAMES:
            path.write_bytes(file_of(name, tokens, merges))
            made["lengths"][name] = lines = []
            for place, text in enumerate(TEXTS):
                if name in LEFT_OUT.get(place, "").split():
                    lines.append(None)
                    continue
                done = subprocess.run([probe, path, "-", "0"], input=text.encode(), capture_output=True, check=True)
                lengths = [len(tokens[int(i)]) for i in done.stdout.split()]
                assert sum(lengths) == len(text.encode()), (name, text)
                lines.append(" ".join(map(str, lengths)))
    same = {}
    for name, lines in made["lengths"].items():
        same.setdefault(json.dumps(lines), []).append(name)
    made["lengths"] = {" ".join(names): json.loads(lines) for lines, names in same.items()}
    out = pathlib.Path(__file__).parent / "gguf_cuts.json"
    out.write_text(json.dumps(made, ensure_ascii=False, indent=1) + "\n")


if __name__ == "__main__":
    main()

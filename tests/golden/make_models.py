#!/usr/bin/env python3
"""Makes the checkpoints in tests/golden/models: tiny random models with the answers of transformers.

They give a second opinion on the model code that is independent of it: names, biases, rotary variants,
windows, spellings of config.json, shards, data types and the packed GPTQ layout. They have no tokenizers.
model_cases.py says what they are, gptq_pack.py packs the GPTQ ones.

Needs: python3 -m pip install torch transformers==5.23.0 safetensors numpy
Run:   python3 tests/golden/make_models.py           writes every folder, prints the sensitivity table
       python3 tests/golden/make_models.py --check   only reads the folders back and compares

A folder NAME holds
  config.json, model.safetensors  the checkpoint; sharded and GPTQ ones have the files that such folders have
  expected.safetensors            input_ids i32 [B, T]; logits f32 [B, T, V] of one causal pass over each row;
                                  greedy_ids i32 [8], the continuation of row 0 with a key-value cache;
                                  greedy_logits f32 [8, V], from which each of those ids is the largest
Expected values are computed in float32 on exactly the stored weights, GPTQ ones after dequantizing.

The table shows how far the logits move (largest difference / largest logit) when one feature is read
wrongly: a fixture that would not notice is refused. "noise" is float32 against float64, the floor of any
comparison. The same versions give the same bytes; --check allows for the noise.
"""

import copy
import json
import shutil
import sys
import tempfile
import zlib
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.utils import logging

import gptq_pack
import make_variants
from model_cases import cases

MODELS = Path(__file__).resolve().parent / "models"
STEPS = 8  # of the greedy continuation
FIRST_ORDINARY_ID = 3  # 0, 1, 2 are special ids in every config
LEAST_EFFECT = 0.01  # of the largest logit, for every misreading
MOST_NOISE = 4e-6
LEAST_MARGIN = 0.01  # between the two largest logits of a greedy step, of the largest logit
MOST_FILE_BYTES = 100_000
MOST_FOLDER_BYTES = 120_000
IGNORABLE = ("attn.bias", "attn.masked_bias", "rotary_emb.inv_freq")


def random_tensor(seed, name, shape):
    """Large enough that a mistake shows: norms around 1, no bias zero."""
    rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
    noise = torch.from_numpy(rng.standard_normal(shape).astype(np.float32))
    if "norm" in name or ".ln_" in name:
        return 1 + 0.2 * noise if name.endswith("weight") else 0.3 * noise
    if name.endswith("bias"):
        return 0.4 * noise
    scale = {"embed_tokens.weight": 0.8, "wte.weight": 0.8, "wpe.weight": 0.6, "lm_head.weight": 0.5}
    return noise * next((s for end, s in scale.items() if name.endswith(end)), 0.35)


def stored_tensors(case):
    """The checkpoint's tensors by name; shapes are those of the model that transformers builds."""
    with tempfile.TemporaryDirectory() as folder:
        write_json(Path(folder) / "config.json", without_quantization(case.config))
        config = AutoConfig.from_pretrained(folder)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    tensors = {}
    for name, like in model.state_dict().items():
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        if case.quantized and gptq_pack.is_linear(name):
            continue
        tensors[name] = random_tensor(case.seed, name, tuple(like.shape)).to(case.dtype)
    if case.quantized:
        for name, like in model.state_dict().items():
            if gptq_pack.is_linear(name):
                shape = like.shape if case.config["model_type"] == "gpt2" else like.shape[::-1]
                module = name.removesuffix(".weight")
                rng = np.random.default_rng([case.seed, zlib.crc32(module.encode())])
                tensors |= gptq_pack.random_module(rng, module, shape, case.config["quantization_config"])
    return case.finish(tensors)


def without_quantization(config):
    return {key: value for key, value in config.items() if key != "quantization_config"}


def write_json(path, value):
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def write_checkpoint(folder, case, tensors):
    folder.mkdir(parents=True)
    write_json(folder / "config.json", case.config)
    if case.quantized:
        write_json(folder / "quantize_config.json", case.config["quantization_config"])
    names = sorted(tensors)
    if case.shards == 1:
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        return
    weight_map = {}
    for i in range(case.shards):
        part = f"model-{i + 1:05d}-of-{case.shards:05d}.safetensors"
        chosen = names[len(names) * i // case.shards : len(names) * (i + 1) // case.shards]
        weight_map |= dict.fromkeys(chosen, part)
        save_file({n: tensors[n] for n in chosen}, folder / part, metadata={"format": "pt"})
    total = sum(t.numel() * t.element_size() for t in tensors.values())
    write_json(folder / "model.safetensors.index.json",
               {"metadata": {"total_size": total}, "weight_map": weight_map})


def read_checkpoint(folder):
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    tensors = {}
    for path in sorted(folder.glob("model*.safetensors")):
        tensors |= load_file(path)
    return config, tensors


def load_by_transformers(folder, dtype):
    model, info = AutoModelForCausalLM.from_pretrained(
        folder, dtype=dtype, attn_implementation="eager", output_loading_info=True)
    missing = [n for n in info["missing_keys"] if n != "lm_head.weight"]
    unknown = [n for n in info["unexpected_keys"] if not n.endswith(IGNORABLE)]
    assert not missing and not unknown and not info["mismatched_keys"], (folder, info)
    return model.eval()


def load_model(config, tensors, dtype=torch.float32):
    """A model of the checkpoint, with GPTQ modules dequantized by this script."""
    if "quantization_config" in config:
        tensors = gptq_pack.dequantize_all(tensors, config)
        config = without_quantization(config)
    with tempfile.TemporaryDirectory() as folder:
        write_json(Path(folder) / "config.json", config)
        save_file({n: t.contiguous() for n, t in tensors.items()}, Path(folder) / "model.safetensors",
                  metadata={"format": "pt"})
        return load_by_transformers(folder, dtype)


@torch.no_grad()
def answers(make_model, ids):
    """Each pass has a model of its own: the dynamic rotary kind remembers the longest text it saw."""
    rows = [make_model()(input_ids=row[None]).logits[0] for row in ids]
    result = {"input_ids": ids.to(torch.int32), "logits": torch.stack(rows)}
    model, cache, feed, steps = make_model(), None, ids[:1], []
    for _ in range(STEPS):
        out = model(input_ids=feed, past_key_values=cache, use_cache=True)
        cache, feed = out.past_key_values, out.logits[:, -1].argmax(-1, keepdim=True)
        steps.append(out.logits[0, -1])
    result["greedy_logits"] = torch.stack(steps)
    result["greedy_ids"] = result["greedy_logits"].argmax(-1).to(torch.int32)
    return result


def difference(found, wanted):
    """Largest difference of the prompt's logits, relative to the largest logit."""
    return float((found["logits"] - wanted["logits"]).abs().max() / wanted["logits"].abs().max())


def noise(case, tensors, wanted, ids):
    """Float32 against float64."""
    double = answers(lambda: load_model(case.config, tensors, torch.float64), ids)
    greedy = (double["greedy_logits"] - wanted["greedy_logits"]).abs().max() / wanted["logits"].abs().max()
    return max(difference(double, wanted), float(greedy))


def sensitivity(case, tensors, wanted, ids):
    rows = {"noise": noise(case, tensors, wanted, ids)}
    for label, misread in case.misreadings.items():
        config, changed = copy.deepcopy(case.config), dict(tensors)
        misread(config, changed)
        rows[label] = difference(answers(lambda: load_model(config, changed), ids), wanted)
    return rows


def refuse_blind(case, rows):
    blind = [label for label in case.misreadings if rows[label] <= case.least_effect.get(label, LEAST_EFFECT)]
    assert not blind, f"{case.name}: would not notice {blind}"


def greedy_margin(wanted):
    """How clear the continuation is; 0 when it meets a special id, which would end a generation."""
    top = wanted["greedy_logits"].topk(2, dim=-1).values
    clear = int(wanted["greedy_ids"].min()) >= FIRST_ORDINARY_ID
    return float((top[:, 0] - top[:, 1]).min() / wanted["logits"].abs().max()) if clear else 0.0


def choose_weights(case):
    """The first seed whose continuation is clear at every step and whose values are well conditioned."""
    for case.seed in range(1, 100):
        tensors = stored_tensors(case)
        rng = np.random.default_rng([case.seed, zlib.crc32(b"input_ids")])
        ids = torch.from_numpy(rng.integers(FIRST_ORDINARY_ID, case.config["vocab_size"], (2, case.length)))
        wanted = answers(lambda: load_model(case.config, tensors), ids)
        if greedy_margin(wanted) > LEAST_MARGIN and noise(case, tensors, wanted, ids) < MOST_NOISE:
            return tensors, ids, wanted
    raise AssertionError(f"{case.name}: no seed will do")


def make(case):
    tensors, ids, wanted = choose_weights(case)
    rows = sensitivity(case, tensors, wanted, ids)
    folder = MODELS / case.name
    shutil.rmtree(folder, ignore_errors=True)
    write_checkpoint(folder, case, tensors)
    save_file({n: t.contiguous() for n, t in wanted.items()}, folder / "expected.safetensors")
    sizes = [path.stat().st_size for path in folder.iterdir()]
    assert max(sizes) <= MOST_FILE_BYTES and sum(sizes) <= MOST_FOLDER_BYTES, (case.name, sizes)
    print(f"{case.name}: {sum(sizes)} bytes, largest file {max(sizes)}, "
          f"logits std {float(wanted['logits'].std()):.2f}, "
          f"largest {float(wanted['logits'].abs().max()):.1f}, "
          f"least greedy margin {greedy_margin(wanted):.3f}, seed {case.seed}")
    for label, value in rows.items():
        print(f"    {value:9.2e}  {label}")
    refuse_blind(case, rows)


def check(folder):
    """The files as they lie there give the expected values."""
    wanted = load_file(folder / "expected.safetensors")
    config, tensors = read_checkpoint(folder)
    quantized = "quantization_config" in config
    found = answers(lambda: load_model(config, tensors) if quantized
                    else load_by_transformers(folder, torch.float32), wanted["input_ids"].long())
    assert difference(found, wanted) < 5 * MOST_NOISE, folder
    assert torch.equal(found["greedy_ids"], wanted["greedy_ids"]), folder


def main():
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    torch.set_num_threads(1)
    gptq_pack.self_test()
    if "--check" not in sys.argv[1:]:
        for case in cases():
            make(case)
    # make_compressed.py and make_variants.py have others beside them
    folders = sorted(path for path in MODELS.iterdir() if path.is_dir() and path.name not in make_variants.CASES
                     and not path.name.startswith("compressed-"))
    assert {path.name for path in folders} == {case.name for case in cases()}, "a folder without its case"
    for folder in folders:
        check(folder)
    total = sum(path.stat().st_size for path in MODELS.rglob("*") if path.is_file())
    print(f"{len(folders)} folders read back as expected, {total} bytes")


if __name__ == "__main__":
    main()

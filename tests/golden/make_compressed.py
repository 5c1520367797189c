#!/usr/bin/env python3
"""Makes tests/golden/models/compressed-*: dense checkpoints of that folder, quantized and packed by compressed-tensors.

The package itself rounds, packs and unpacks the weights, so that nothing of the layout is this project's; transformers
computes the answers. It also loads the symmetric folder by itself (asymmetric ones it can't in these versions: it expects
zero points that are not packed). Files and answers are as make_models.py describes.

Needs: python3 -m pip install torch transformers==5.23.0 compressed-tensors==0.20.0 safetensors numpy
Run:   python3 tests/golden/make_compressed.py           writes the folders
       python3 tests/golden/make_compressed.py --check   only reads them back and compares
"""

import json
import re
import shutil
import sys

import torch
from compressed_tensors.compressors import BaseCompressor
from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme
from compressed_tensors.quantization.utils import calculate_qparams
from safetensors.torch import load_file, save_file
from transformers.utils import logging

import gptq_pack
from make_models import (FIRST_ORDINARY_ID, LEAST_MARGIN, MODELS, MOST_NOISE, answers, difference, greedy_margin,
                         load_by_transformers, load_model, without_quantization, write_json)


def scheme(targets, **weights):
    return QuantizationScheme(targets=targets, format="pack-quantized", weights=QuantizationArgs(type="int", **weights))


# folder: its dense source, the schemes (the first whose target fits a module counts), modules left as they are
CASES = {
    "compressed-b4-g16-asym": ("llama", [scheme(["Linear"], num_bits=4, symmetric=False, strategy="group",
                                                group_size=16)], []),
    "compressed-mixed": ("qwen2", [scheme(["re:.*down_proj$"], num_bits=8, symmetric=True, strategy="channel"),
                                   scheme(["re:.*(attn|gate|up).*_proj$"], num_bits=4, symmetric=True,
                                          strategy="group", group_size=16)],
                         ["model.layers.0.self_attn.v_proj"]),
}


PACKER = BaseCompressor.load_from_registry("pack-quantized")


def scheme_of(module, schemes):
    return next((s for s in schemes if any(fits(module, t) for t in s.targets)), None)


def fits(module, target):
    return bool(re.match(target[3:], module)) if target.startswith("re:") else target == "Linear"


def compress(weight, args, scheme):
    """The module's tensors: ranges by the package, of each group or row."""
    rows = weight.reshape(weight.shape[0], -1, args.group_size or weight.shape[1])
    scale, zero = calculate_qparams(rows.amin(-1), rows.amax(-1), args)
    state = {"weight": weight, "weight_scale": scale.to(torch.bfloat16)}
    if not args.symmetric:
        state["weight_zero_point"] = zero.to(torch.int8)
    return PACKER.compress(state, scheme)


def tensors_of(source, schemes, ignored):
    tensors = {}
    for name, tensor in load_file(MODELS / source / "model.safetensors").items():
        module = name.removesuffix(".weight")
        found = None
        if gptq_pack.is_linear(name) and module not in ignored:
            found = scheme_of(module, schemes)
        if found is None:
            tensors[name] = tensor
        else:
            parts = compress(tensor.float(), found.weights, found)
            tensors |= {f"{module}.{part}": value for part, value in parts.items()}
    return tensors


def config_of(source, schemes, ignored):
    config = json.loads((MODELS / source / "config.json").read_text(encoding="utf-8"))
    config["quantization_config"] = {
        "quant_method": "compressed-tensors", "format": "pack-quantized", "quantization_status": "compressed",
        "kv_cache_scheme": None, "ignore": [*ignored, "lm_head"],
        "config_groups": {f"group_{i}": json.loads(s.model_dump_json()) for i, s in enumerate(schemes)},
    }
    return config


def dense_tensors(folder, schemes):
    """The folder's tensors, unpacked by the package."""
    stored = load_file(folder / "model.safetensors")
    tensors = {name: tensor for name, tensor in stored.items() if ".weight_" not in name}
    for name in stored:
        if name.endswith(".weight_packed"):
            module = name.removesuffix(".weight_packed")
            parts = {n.removeprefix(f"{module}."): t for n, t in stored.items() if n.startswith(f"{module}.weight_")}
            parts["weight_scale"] = parts["weight_scale"].float()
            unpacked = PACKER.decompress(parts, scheme_of(module, schemes))
            tensors[f"{module}.weight"] = unpacked["weight"]
    return tensors


def model_of(folder, schemes):
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    tensors = dense_tensors(folder, schemes)
    return lambda: load_model(without_quantization(config), tensors)


def check(name, schemes):
    wanted = load_file(MODELS / name / "expected.safetensors")
    ids = wanted["input_ids"].long()
    models = [model_of(MODELS / name, schemes)]
    if all(s.weights.symmetric for s in schemes):
        models.append(lambda: load_by_transformers(MODELS / name, torch.float32))
    for model in models:
        assert difference(answers(model, ids), wanted) < 5 * MOST_NOISE, name


def make(name, source, schemes, ignored):
    folder = MODELS / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    config = config_of(source, schemes, ignored)
    write_json(folder / "config.json", config)
    tensors = {n: t.contiguous() for n, t in tensors_of(source, schemes, ignored).items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    for seed in range(1, 100):
        ids = torch.randint(FIRST_ORDINARY_ID, config["vocab_size"], (2, 20),
                            generator=torch.Generator().manual_seed(seed))
        wanted = answers(model_of(folder, schemes), ids)
        if greedy_margin(wanted) > LEAST_MARGIN:
            break
    else:
        raise AssertionError(f"{name}: no seed will do")
    save_file({n: t.contiguous() for n, t in wanted.items()}, folder / "expected.safetensors")
    dense = answers(lambda: load_by_transformers(MODELS / source, torch.float32), ids)
    print(f"{name}: {sum(path.stat().st_size for path in folder.iterdir())} bytes, seed {seed}, "
          f"{difference(wanted, dense):.3f} from {source}")


def main():
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    torch.set_num_threads(1)
    for name, case in CASES.items():
        if "--check" not in sys.argv[1:]:
            make(name, *case)
        check(name, case[1])
    print(f"{len(CASES)} folders read back as expected")


if __name__ == "__main__":
    main()

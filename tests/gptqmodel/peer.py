#!/usr/bin/env python3
"""What GPTQModel does with a model on the CPU, for compare.py; runs in its Python (torch, transformers, gptqmodel).

usage: peer.py logits FOLDER IDS.json OUT            logits of one causal pass, f32 [tokens, vocabulary]
       peer.py quantize BASE OUT TEXT OPTIONS.json   QuantizeConfig(**OPTIONS); "samples" and "length" cut the text in order

The last line of standard output is one JSON object.
"""
import json
import os
import resource
import sys
import time

os.environ["CUDA_VISIBLE_DEVICES"] = ""
os.environ.setdefault("GPTQMODEL_CPU_WORKERS", "2")

import torch
from gptqmodel import BACKEND, GPTQModel, QuantizeConfig
from transformers import AutoTokenizer

torch.set_num_threads(len(os.sched_getaffinity(0)))


def seconds_of_cpu():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def logits(folder, ids, out):
    model = GPTQModel.load(folder, device="cpu", backend=BACKEND.TORCH, dtype=torch.float16)
    with torch.no_grad():
        result = model.model(torch.tensor([json.load(open(ids))])).logits[0].float().contiguous()
    result.numpy().tofile(out)
    return {"shape": list(result.shape)}


def quantize(base, out, text, options):
    options = json.load(open(options))
    samples, length = options.pop("samples"), options.pop("length")
    ids = AutoTokenizer.from_pretrained(base)(open(text, encoding="utf-8").read()).input_ids
    cut = [ids[i * length : (i + 1) * length] for i in range(samples)]
    calibration = [{"input_ids": part, "attention_mask": [1] * len(part)} for part in cut]
    started, cpu = time.monotonic(), seconds_of_cpu()
    model = GPTQModel.load(base, QuantizeConfig(**options), device="cpu")
    model.quantize(calibration, batch_size=1)
    model.save(out)
    return {
        "seconds": time.monotonic() - started,
        "cpu_seconds": seconds_of_cpu() - cpu,
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


if __name__ == "__main__":
    print("\n" + json.dumps({"logits": logits, "quantize": quantize}[sys.argv[1]](*sys.argv[2:])))

"""The checkpoints of make_models.py, and for each the ways of misreading it that its values must expose."""

from dataclasses import dataclass, field
from typing import Callable

import torch

import gptq_pack


@dataclass
class Case:
    name: str
    config: dict
    misreadings: dict[str, Callable]  # label -> changes (config, tensors) in place
    dtype: torch.dtype = torch.bfloat16
    shards: int = 1
    length: int = 20
    seed: int = 1  # set by the choice of weights
    finish: Callable = lambda tensors: tensors  # renames or adds tensors before they are stored
    least_effect: dict[str, float] = field(default_factory=dict)

    @property
    def quantized(self):
        return "quantization_config" in self.config


LLAMA = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 64, "hidden_size": 32,
    "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
    "hidden_act": "silu", "rms_norm_eps": 1e-5, "max_position_embeddings": 64, "attention_bias": False,
    "mlp_bias": False, "tie_word_embeddings": False, "bos_token_id": 1, "eos_token_id": 2,
    "dtype": "bfloat16",
}
WIDE_HEADS = {"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16}
GPT2 = {
    "architectures": ["GPT2LMHeadModel"], "model_type": "gpt2", "vocab_size": 64, "n_positions": 48,
    "n_embd": 32, "n_layer": 2, "n_head": 4, "n_inner": 64, "activation_function": "gelu_new",
    "layer_norm_epsilon": 1e-5, "bos_token_id": 1, "eos_token_id": 2, "dtype": "bfloat16",
}


def changed(base, *removed, **values):
    return {key: value for key, value in (base | values).items() if key not in removed}


# Misreadings.


def setting(**values):
    return lambda config, tensors: config.update(values)


def rope(**values):
    """Overrides keys of the rotary settings; None removes one."""

    def apply(config, tensors):
        key = "rope_parameters" if "rope_parameters" in config else "rope_scaling"
        kept = config[key] | values
        config[key] = {name: value for name, value in kept.items() if value is not None}

    return apply


def without_rope_scaling(config, tensors):
    old = config.pop("rope_scaling", None) or {}
    theta = config.get("rope_theta", (config.get("rope_parameters") or old).get("rope_theta", 10000.0))
    config["rope_parameters"] = {"rope_type": "default", "rope_theta": theta}


def embedding_as_head(config, tensors):
    config["tie_word_embeddings"] = True
    del tensors["lm_head.weight"]


def zeroed(*ends):
    def apply(config, tensors):
        found = [name for name in tensors if name.endswith(ends)]
        assert found
        tensors.update({name: torch.zeros_like(tensors[name]) for name in found})

    return apply


def transposed(end):
    def apply(config, tensors):
        tensors.update({name: t.T.contiguous() for name, t in tensors.items() if name.endswith(end)})

    return apply


def head_order(permute):
    """Reorders rows of projections by `permute`, a function of [heads, head_dim, ...] and the name."""

    def apply(config, tensors):
        dim = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
        for name, t in list(tensors.items()):
            if "q_proj" in name or "k_proj" in name:
                tensors[name] = permute(t.reshape(-1, dim, *t.shape[1:]), name).reshape(t.shape).contiguous()
            if name.endswith("o_proj.weight"):
                columns = permute(t.T.reshape(-1, dim, t.shape[0]), name)
                tensors[name] = columns.reshape(-1, t.shape[0]).T.contiguous()

    return apply


def swapped_groups(t, name):
    """Query head h then meets key head h % 2 in place of h / 2."""
    return t if "k_proj" in name else t[[0, 2, 1, 3]]


def adjacent_pairs(t, name):
    """What an implementation computes that rotates neighbours (2i, 2i + 1) in place of (i, i + dim / 2)."""
    if "o_proj" in name:
        return t
    half = t.shape[1] // 2
    return t[:, [i // 2 + half * (i % 2) for i in range(2 * half)]] if half else t


def natural_groups(config, tensors):
    size = config["quantization_config"]["group_size"]
    for name, t in list(tensors.items()):
        if name.endswith("g_idx"):
            tensors[name] = torch.arange(len(t), dtype=torch.int32) // size


def quantization(**values):
    return lambda config, tensors: config["quantization_config"].update(values)


def one_group(config, tensors):
    for name, t in list(tensors.items()):
        if name.endswith("g_idx"):
            tensors[name] = torch.zeros_like(t)


# Tensors as old files have them.


def with_inv_freq(tensors):
    """Llama files of 2023 carry the rotary frequencies of every layer."""
    inv_freq = 1.0 / 10000.0 ** (torch.arange(0, 8, 2).float() / 8)
    return tensors | {f"model.layers.{i}.self_attn.rotary_emb.inv_freq": inv_freq.clone() for i in range(2)}


def bare_names_with_masks(tensors):
    """The first GPT-2 files: no "transformer." in the names, the causal mask and its constant as tensors."""
    bare = {name.removeprefix("transformer."): t for name, t in tensors.items()}
    for i in range(GPT2["n_layer"]):
        bare[f"h.{i}.attn.bias"] = torch.ones(48, 48).tril().view(1, 1, 48, 48).to(torch.uint8)
        bare[f"h.{i}.attn.masked_bias"] = torch.tensor(-1e4)
    return bare


def far_negative_activations(tensors):
    """The exact GELU and its tanh form differ most, relative to their values, left of -1."""
    stored = dict(tensors)
    for name, t in tensors.items():
        if name.endswith("c_fc.bias"):
            stored[name] = t - 1.75
        if name.endswith("c_fc.weight"):
            stored[name] = t * 0.25
        if name.endswith("mlp.c_proj.weight"):
            stored[name] = t * 16
    return stored


def llama_cases():
    both = {"heads grouped wrongly": head_order(swapped_groups),
            "rotated in pairs": head_order(adjacent_pairs)}
    yield Case("llama", changed(LLAMA, rope_parameters={"rope_type": "default", "rope_theta": 10000.0}),
               both | {"embedding as head": embedding_as_head, "rope theta 500": rope(rope_theta=500.0)})
    yield Case(
        "llama-bias-tied",
        changed(LLAMA, head_dim=12, attention_bias=True, mlp_bias=True, tie_word_embeddings=True,
                rms_norm_eps=0.05, dtype="float32",
                rope_parameters={"rope_type": "default", "rope_theta": 500.0}),
        both | {"no qkv bias": zeroed("q_proj.bias", "k_proj.bias", "v_proj.bias"),
                "no o bias": zeroed("o_proj.bias"),
                "no gate, up bias": zeroed("gate_proj.bias", "up_proj.bias"),
                "no down bias": zeroed("down_proj.bias"), "norm eps 1e-6": setting(rms_norm_eps=1e-6)},
        dtype=torch.float32)
    yield Case("llama-f16-old",
               changed(LLAMA, "dtype", "attention_bias", "mlp_bias", torch_dtype="float16", rope_scaling=None,
                       rope_theta=500.0, pretraining_tp=1, transformers_version="4.31.0"),
               both | {"rope theta 10000": setting(rope_theta=10000.0)}, dtype=torch.float16,
               finish=with_inv_freq)
    yield Case("llama-sharded", changed(LLAMA, hidden_act="gelu", rope_theta=10000.0), {
        "silu": setting(hidden_act="silu"), "embedding as head": embedding_as_head}, shards=2)
    yield Case("llama-linear",
               changed(LLAMA, rope_theta=1000.0, rope_scaling={"type": "linear", "factor": 3.0}),
               {"no rope scaling": without_rope_scaling, "factor 2": rope(factor=2.0),
                "rope theta 10000": setting(rope_theta=10000.0)})


def rope_cases():
    plain = {"no rope scaling": without_rope_scaling}
    yield Case("llama-dynamic",
               changed(LLAMA, max_position_embeddings=12, rope_theta=1000.0,
                       rope_scaling={"type": "dynamic", "factor": 2.0}),
               plain | {"factor 3": rope(factor=3.0), "context 16": setting(max_position_embeddings=16)})
    yarn = {"rope_type": "yarn", "rope_theta": 1000.0, "factor": 4.0, "original_max_position_embeddings": 16}
    yield Case("llama-yarn", changed(LLAMA, **WIDE_HEADS, rope_parameters=yarn),
               plain | {"no temperature": rope(attention_factor=1.0), "factor 3": rope(factor=3.0),
                        "original context 64": rope(original_max_position_embeddings=64)})
    yield Case("llama-yarn-given",
               changed(LLAMA, **WIDE_HEADS, max_position_embeddings=256, rope_parameters=yarn | {
                   "original_max_position_embeddings": 64, "attention_factor": 1.3,
                   "beta_fast": 4.0, "beta_slow": 0.5, "truncate": False}),
               plain | {"default temperature": rope(attention_factor=None),
                        "beta_fast 32": rope(beta_fast=32.0),
                        "beta_slow 1": rope(beta_slow=1.0), "range rounded": rope(truncate=True)})
    yield Case("llama-yarn-mscale",
               changed(LLAMA, **WIDE_HEADS, rope_theta=1000.0, rope_scaling={
                   "type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16, "mscale": 3.0,
                   "mscale_all_dim": 1.0}),
               plain | {"no mscale": rope(mscale=None), "no mscale_all_dim": rope(mscale_all_dim=None)})
    yield Case("llama-llama3",
               changed(LLAMA, **WIDE_HEADS, rope_theta=1000.0, rope_scaling={
                   "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                   "original_max_position_embeddings": 48}),
               plain | {"factor 4": rope(factor=4.0), "low_freq_factor 2": rope(low_freq_factor=2.0),
                        "high_freq_factor 8": rope(high_freq_factor=8.0),
                        "original context 64": rope(original_max_position_embeddings=64)})


def window_cases():
    mistral = changed(LLAMA, "attention_bias", "mlp_bias", architectures=["MistralForCausalLM"],
                      model_type="mistral", rope_theta=10000.0, sliding_window=6)
    yield Case("mistral", mistral, {"no window": setting(sliding_window=None),
                                    "window 5": setting(sliding_window=5),
                                    "window 7": setting(sliding_window=7)})
    qwen2 = changed(LLAMA, "attention_bias", "mlp_bias", architectures=["Qwen2ForCausalLM"],
                    model_type="qwen2", rms_norm_eps=1e-6, rope_theta=1000000.0, tie_word_embeddings=True,
                    sliding_window=4, use_sliding_window=False, max_window_layers=1)
    yield Case("qwen2", qwen2, {"window used": setting(use_sliding_window=True),
                                "no q, k bias": zeroed("q_proj.bias", "k_proj.bias"),
                                "no v bias": zeroed("v_proj.bias"),
                                "rope theta 10000": setting(rope_theta=10000.0)})
    yield Case("qwen2-window",
               changed(qwen2, tie_word_embeddings=False, use_sliding_window=True, num_hidden_layers=3,
                       sliding_window=5),
               {"no window": setting(use_sliding_window=False), "window 4": setting(sliding_window=4),
                "from layer 0": setting(max_window_layers=0), "from layer 2": setting(max_window_layers=2)})


def gpt2_cases():
    biases = {"no c_attn bias": zeroed("c_attn.bias"), "no attn.c_proj bias": zeroed("attn.c_proj.bias"),
              "no mlp bias": zeroed("c_fc.bias", "mlp.c_proj.bias"),
              "no norm bias": zeroed("ln_1.bias", "ln_2.bias", "ln_f.bias")}
    yield Case("gpt2", changed(GPT2, "n_inner", n_ctx=48),
               biases | {"attn.c_proj transposed": transposed("attn.c_proj.weight"),
                         "no positions": zeroed("wpe.weight")})
    yield Case("gpt2-bare-names", GPT2, biases, finish=bare_names_with_masks)
    yield Case("gpt2-gelu-unscaled",
               changed(GPT2, activation_function="gelu", scale_attn_weights=False, tie_word_embeddings=False,
                       layer_norm_epsilon=0.05),
               {"gelu_new": setting(activation_function="gelu_new"),
                "relu": setting(activation_function="relu"),
                "scores scaled": setting(scale_attn_weights=True), "embedding as head": embedding_as_head,
                "norm eps 1e-5": setting(layer_norm_epsilon=1e-5)},
               finish=far_negative_activations, least_effect={"gelu_new": 1e-3})


def gptq_config(base, bits, group_size, checkpoint_format="gptq", sym=True, desc_act=False, **more):
    return base | {"dtype": "float16", "quantization_config": {
        "bits": bits, "group_size": group_size, "desc_act": desc_act, "sym": sym, "quant_method": "gptq",
        "checkpoint_format": checkpoint_format, **more}}


def gptq_cases():
    llama = changed(LLAMA, intermediate_size=64, rope_theta=10000.0)
    by_gptqmodel = {"lm_head": False, "pack_dtype": "int32", "meta": {"quantizer": ["gptqmodel:7.7.0"]}}
    by_autogptq = {"damp_percent": 0.01, "static_groups": False, "true_sequential": True,
                   "model_name_or_path": None, "model_file_base_name": "model", "is_marlin_format": False}
    half = {"dtype": torch.float16}
    yield Case("gptq-b4-g16", gptq_config(llama, 4, 16, **by_autogptq),
               {"zeros as v2": quantization(checkpoint_format="gptq_v2"), "one group": one_group}, **half)
    yield Case("gptq-b4-g16-v2-asym-actorder",
               gptq_config(changed(llama, intermediate_size=72), 4, 16, "gptq_v2", sym=False, desc_act=True,
                           **by_gptqmodel),
               {"zeros as v1": quantization(checkpoint_format="gptq"), "g_idx ignored": natural_groups},
               **half)
    yield Case("gptq-b3-g32-v1-asym",
               gptq_config(changed(llama, num_key_value_heads=4), 3, 32, sym=False, **by_gptqmodel),
               {"zeros as v2": quantization(checkpoint_format="gptq_v2"), "one group": one_group}, **half)
    yield Case("gptq-b8-perchannel", gptq_config(llama, 8, -1, **by_autogptq),
               {"zeros as v2": quantization(checkpoint_format="gptq_v2")}, **half,
               least_effect={"zeros as v2": 5e-3})
    yield Case("gptq-gpt2-b2-g16", gptq_config(GPT2, 2, 16, **by_gptqmodel),
               {"zeros as v2": quantization(checkpoint_format="gptq_v2"), "one group": one_group,
                "no bias": zeroed("c_attn.bias", "c_fc.bias", "c_proj.bias")}, **half)


def cases():
    return [*llama_cases(), *rope_cases(), *window_cases(), *gpt2_cases(), *gptq_cases()]

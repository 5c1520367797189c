#!/usr/bin/env python3
"""Makes the checkpoints in tests/golden/models that have what the tiny models of transformers' own defaults leave out:
groups of experts and a bias for the choice, layers that do not rotate, experts of one tensor in both layouts, an attention
that is cut behind its norms, latents with a stretched rotation, states of which several heads of values share a key.

Needs: python3 -m pip install torch transformers==5.23.0 safetensors
Run:   python3 tests/golden/make_variants.py
"""

import json
import tempfile
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForCausalLM

MODELS = Path(__file__).resolve().parent / "models"
STEPS = 8
FIRST_ORDINARY_ID = 3

COMMON = {"hidden_size": 16, "intermediate_size": 12, "moe_intermediate_size": 12, "num_hidden_layers": 3,
          "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 4, "vocab_size": 40,
          "max_position_embeddings": 64, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0,
          "num_local_experts": 6, "num_experts": 6, "num_experts_per_tok": 3, "tie_word_embeddings": False}
LATENT = {"q_lora_rank": 6, "kv_lora_rank": 8, "qk_nope_head_dim": 6, "qk_rope_head_dim": 4, "v_head_dim": 5,
          "head_dim": 4}
DELTA = {"head_dim": 8, "linear_num_key_heads": 2, "linear_num_value_heads": 4, "linear_key_head_dim": 5,
         "linear_value_head_dim": 4, "linear_conv_kernel_dim": 4,
         "layer_types": ["linear_attention", "full_attention", "linear_attention"],
         "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 0.5}}
CASES = {
    "olmoe-clip": {"model_type": "olmoe", "architectures": ["OlmoeForCausalLM"], "clip_qkv": 0.5,
                   "norm_topk_prob": True},
    "glm4-moe-groups": {"model_type": "glm4_moe", "architectures": ["Glm4MoeForCausalLM"], "n_routed_experts": 8,
                        "num_local_experts": 8, "num_experts": 8, "n_group": 4, "topk_group": 2,
                        "routed_scaling_factor": 1.7, "n_shared_experts": 2, "first_k_dense_replace": 1,
                        "norm_topk_prob": False, "use_qk_norm": True,
                        "rope_parameters": {"rope_type": "default", "rope_theta": 1e4,
                                            "partial_rotary_factor": 0.5}},
    "llama4-unrotated": {"model_type": "llama4_text", "architectures": ["Llama4ForCausalLM"],
                         "intermediate_size_mlp": 20, "moe_layers": [1, 2], "no_rope_layers": [1, 0, 1],
                         "attention_chunk_size": 8, "floor_scale": 4, "attn_scale": 0.3,
                         "attn_temperature_tuning": True, "num_experts_per_tok": 2},
    "granitemoe": {"model_type": "granitemoe", "architectures": ["GraniteMoeForCausalLM"],
                   "embedding_multiplier": 3.0, "logits_scaling": 2.0, "residual_multiplier": 0.7,
                   "attention_multiplier": 0.4},
    "deepseek-v3-yarn": {"model_type": "deepseek_v3", "architectures": ["DeepseekV3ForCausalLM"], **LATENT,
                         "num_key_value_heads": 4, "n_routed_experts": 8, "num_local_experts": 8, "num_experts": 8,
                         "n_group": 4, "topk_group": 2, "routed_scaling_factor": 1.7, "n_shared_experts": 2,
                         "first_k_dense_replace": 1, "rope_interleave": False, "attention_bias": True,
                         "rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0, "mscale": 0.7,
                                             "mscale_all_dim": 1.3, "original_max_position_embeddings": 16}},
    "deepseek-v2-groups": {"model_type": "deepseek_v2", "architectures": ["DeepseekV2ForCausalLM"], **LATENT,
                           "q_lora_rank": None, "num_key_value_heads": 4, "n_routed_experts": 8,
                           "num_local_experts": 8, "num_experts": 8, "n_group": 4, "topk_group": 2,
                           "topk_method": "group_limited_greedy", "routed_scaling_factor": 1.7,
                           "n_shared_experts": 1, "first_k_dense_replace": 1, "norm_topk_prob": True},
    "minicpm3": {"model_type": "minicpm3", "architectures": ["MiniCPM3ForCausalLM"], **LATENT,
                 "num_key_value_heads": 4, "scale_emb": 2.5, "scale_depth": 0.9, "dim_model_base": 24,
                 "rope_parameters": {"rope_type": "longrope", "rope_theta": 1e4, "short_factor": [1.1, 1.3],
                                     "long_factor": [2.0, 3.5], "original_max_position_embeddings": 16}},
    "qwen3-next-dense-first": {"model_type": "qwen3_next", "architectures": ["Qwen3NextForCausalLM"], **DELTA,
                               "shared_expert_intermediate_size": 20, "mlp_only_layers": [0]},
    "qwen3-5-short-conv": {"model_type": "qwen3_5_text", "architectures": ["Qwen3_5ForCausalLM"], **DELTA,
                           "linear_conv_kernel_dim": 2, "linear_num_value_heads": 6, "linear_value_head_dim": 3},
    "qwen3-5-moe": {"model_type": "qwen3_5_moe_text", "architectures": ["Qwen3_5MoeForCausalLM"], **DELTA,
                    "shared_expert_intermediate_size": 20, "layer_types": None, "full_attention_interval": 2},
}


def randomize(model, seed):
    generator = torch.Generator().manual_seed(seed)
    buffers = [(name, b) for name, b in model.named_buffers() if "correction" in name]
    for name, tensor in list(model.named_parameters()) + buffers:
        noise = torch.randn(tensor.shape, generator=generator)
        if tensor.dim() == 1 and "norm" in name:
            tensor.copy_(1 + 0.2 * noise)
        else:
            tensor.copy_((0.3 if tensor.dim() > 1 else 0.2) * noise)


def answers(model, seed):
    ids = torch.randint(FIRST_ORDINARY_ID, COMMON["vocab_size"], (2, 21),
                        generator=torch.Generator().manual_seed(seed))
    text, steps = ids[:1], []
    for _ in range(STEPS):
        steps.append(model(text).logits[0, -1].clone())
        text = torch.cat([text, steps[-1].argmax()[None, None]], 1)
    return {"input_ids": ids.to(torch.int32), "logits": model(ids).logits.contiguous(),
            "greedy_ids": text[0, ids.shape[1]:].to(torch.int32).contiguous(),
            "greedy_logits": torch.stack(steps)}


def clear(expected):
    """Whether no step of the continuation ends a text or is a near tie."""
    top = expected["greedy_logits"].topk(2, dim=-1).values
    margin = float((top[:, 0] - top[:, 1]).min() / expected["logits"].abs().max())
    return int(expected["greedy_ids"].min()) >= FIRST_ORDINARY_ID and margin > 0.01


@torch.no_grad()
def main():
    for name, own in CASES.items():
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "config.json"
            path.write_text(json.dumps(COMMON | own))
            config = AutoConfig.from_pretrained(folder)
        model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").float().eval()
        for seed in range(1, 200):
            randomize(model, seed)
            expected = answers(model, seed)
            if clear(expected):
                break
        else:
            raise SystemExit(f"{name}: no continuation is clear")
        target = MODELS / name
        model.save_pretrained(target)
        for extra in target.glob("generation_config.json"):
            extra.unlink()
        save_file(expected, target / "expected.safetensors")
        print(name, "seed", seed, {p.name: p.stat().st_size for p in sorted(target.iterdir())})


if __name__ == "__main__":
    main()

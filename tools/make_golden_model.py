#!/usr/bin/env python3
"""Makes a tiny random checkpoint with golden values from Hugging Face transformers (float32).

Usage: make_golden_model.py FAMILY OUT_DIR     needs torch, transformers and safetensors; FAMILY is one of MODELS

OUT_DIR becomes a normal checkpoint (config.json, model.safetensors in bfloat16) plus golden.safetensors:
  input_ids        int32 [n]             prompt tokens
  chunk_ends       int32 [C]             index of each chunk's last token, the last one is n - 1
  hidden_1         f32 [n, d_model]      output of the first decoder layer
  logits           f32 [n, n_vocab]      of every position
  greedy_ids       int32 [g]             greedy continuation
  greedy_gap       f32 [g]               best logit minus the second best at each greedy step
  chunk_attention  f32 [n_layers, n, C]  head-averaged attention of each token, summed inside each chunk
  bf16_error       f32 [3]               relative error of transformers' own run in bfloat16: hidden_1, logits, chunk_attention
"""
import json
import os
import sys

import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, Gemma3TextConfig, LlamaConfig

from bf16_errors import NAMES, bf16_errors, outputs

N_TOKENS, N_GREEDY, SEED = 96, 16, 7


COMMON = dict(vocab_size=160, hidden_size=64, num_attention_heads=4, num_key_value_heads=2, head_dim=24,
              max_position_embeddings=512)
MODELS = {
    "llama": lambda: LlamaConfig(**COMMON, num_hidden_layers=3, intermediate_size=112, rms_norm_eps=1e-5,
                                 tie_word_embeddings=False),
    # A window shorter than the text, two rotary bases, and a query scale that is not head_dim's.
    "gemma3": lambda: Gemma3TextConfig(
        **COMMON, num_hidden_layers=6, intermediate_size=96, sliding_window=20, sliding_window_pattern=3,
        query_pre_attn_scalar=32, tie_word_embeddings=True,
        rope_parameters=dict(full_attention=dict(rope_type="linear", rope_theta=50000.0, factor=2.0),
                             sliding_attention=dict(rope_type="default", rope_theta=1000.0))),
}


def init(name, p, config):
    """Large enough that attention is far from uniform."""
    if "norm" in name:
        # Gemma stores norms less 1; those after blocks keep tokens from copying themselves through a tied head.
        low = 0.5 if "post_" in name and config.tie_word_embeddings else -0.5 if config.tie_word_embeddings else 0.5
        p.uniform_(low, low + 1)
    else:
        p.normal_(std=(0.12 if config.tie_word_embeddings else 1.0) if "embed" in name else 0.12)


def make_model(family):
    config = MODELS[family]()
    torch.manual_seed(SEED)
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").float().eval()
    with torch.no_grad():
        for name, p in model.named_parameters():
            init(name, p, config)
            p.copy_(p.to(torch.bfloat16).float())  # exactly what the checkpoint holds
    return model


def golden_values(model):
    generator = torch.Generator().manual_seed(SEED)
    ids = torch.randint(0, model.config.vocab_size, (1, N_TOKENS), generator=generator)
    ends = sorted({*torch.randint(2, N_TOKENS - 1, (7,), generator=generator).tolist(), N_TOKENS - 1})
    values = outputs(model, ids[0], ends)
    with torch.no_grad():
        tokens, greedy, gaps = ids, [], []
        for _ in range(N_GREEDY):
            best = model(tokens).logits[0, -1].topk(2)
            greedy.append(int(best.indices[0]))
            gaps.append(float(best.values[0] - best.values[1]))
            tokens = torch.cat([tokens, best.indices[:1][None]], 1)
    return dict(values, input_ids=ids[0].int(), chunk_ends=torch.tensor(ends).int(), greedy_ids=torch.tensor(greedy).int(),
                greedy_gap=torch.tensor(gaps))


def main():
    family, out_dir = sys.argv[1:]
    os.makedirs(out_dir, exist_ok=True)
    model = make_model(family)
    values = golden_values(model)
    tied = {"lm_head.weight"} if model.config.tie_word_embeddings else set()
    save_file({k: v.to(torch.bfloat16).contiguous() for k, v in model.state_dict().items() if k not in tied},
              os.path.join(out_dir, "model.safetensors"))
    config = {k: v for k, v in model.config.to_dict().items() if k != "transformers_version"}
    config["dtype"] = "bfloat16"
    if family == "llama":
        config["rope_parameters"] = {"rope_theta": 10000.0, "rope_type": "default"}
    with open(os.path.join(out_dir, "config.json"), "w") as f:
        json.dump(config, f, indent=2, sort_keys=True)
        f.write("\n")
    errors = bf16_errors(out_dir, values)
    values["bf16_error"] = torch.tensor([errors[name] for name in NAMES])
    save_file({k: v.contiguous() for k, v in values.items()}, os.path.join(out_dir, "golden.safetensors"))


if __name__ == "__main__":
    main()

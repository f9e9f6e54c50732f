#!/usr/bin/env python3
"""How far Hugging Face transformers' own bfloat16 run of golden models is from float32: what tests of bfloat16 may allow.

Usage: bf16_errors.py MODELS_DIR OUT.json     needs torch, transformers and safetensors

MODELS_DIR has a folder for each model, with a golden.safetensors as make_golden_model.py describes it. A config.json that
holds a path stands for the model at that path. OUT.json, for example tests/golden/bf16_errors.json, holds for each folder
  golden_sha256                       of golden.safetensors, so that another model of the same name is told apart
  hidden_1, logits, chunk_attention   ||bf16 - f32|| / ||f32|| of the tensor of that name
Models that golden.safetensors gives a `bf16_error` need no row; make_golden_model.py stores it.
"""
import hashlib
import json
import os
import sys

import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

NAMES = ("hidden_1", "logits", "chunk_attention")


def outputs(model, ids, ends):
    """hidden_1, logits and chunk_attention of the token ids [n] as the model computes them; `ends` closes the chunks."""
    with torch.no_grad():
        out = model(ids[None].long(), output_attentions=True, output_hidden_states=True)
    attention = torch.stack([a[0].float().mean(0) for a in out.attentions])
    begins = [0] + [e + 1 for e in ends[:-1]]
    masses = torch.stack([attention[:, :, b:e + 1].sum(-1) for b, e in zip(begins, ends)], -1)
    return dict(hidden_1=out.hidden_states[1][0], logits=out.logits[0], chunk_attention=masses)


def bf16_errors(folder, golden):
    """Relative errors of the checkpoint in `folder`, run in bfloat16, against golden values, by name."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16, attn_implementation="eager").eval()
    actual = outputs(model, golden["input_ids"], golden["chunk_ends"].tolist())
    return {name: float((actual[name].double() - golden[name].double()).norm() / golden[name].double().norm())
            for name in NAMES}


def model_folder(folder):
    with open(os.path.join(folder, "config.json")) as f:
        line = f.readline().strip()
    return folder if line.startswith("{") else os.path.dirname(os.path.join(folder, line))


def main():
    models_dir, out = sys.argv[1:]
    table = {}
    for name in sorted(os.listdir(models_dir)):
        path = os.path.join(models_dir, name, "golden.safetensors")
        if not os.path.exists(path):
            continue
        with open(path, "rb") as f:
            digest = hashlib.sha256(f.read()).hexdigest()
        errors = bf16_errors(model_folder(os.path.join(models_dir, name)), load_file(path))
        table[name] = dict(golden_sha256=digest, **{key: float(f"{value:.3g}") for key, value in errors.items()})
    with open(out, "w") as f:
        json.dump(table, f, indent=2)
        f.write("\n")


if __name__ == "__main__":
    main()

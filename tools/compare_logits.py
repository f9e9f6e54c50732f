#!/usr/bin/env python3
"""Compares logits over tests/golden/real/book.txt: chunkllm, transformers and llama.cpp, on one GGUF file.

Usage: compare_logits.py --logits build/release/logits --golden NAME.json --libllama libllama.so MODEL.gguf
Needs torch, transformers, gguf, safetensors; NAME.json gives the token ids (make_real_golden.py). transformers runs
in float32 on the dequantised weights, llama.cpp as it comes: inputs of quantised products rounded to 8 bits, KV
cache in f16. Prints a row a pair: largest and mean difference, and the share of positions with the same best token.
--f32-file FILE names the same weights in float32 (llama-quantize --allow-requantize MODEL.gguf FILE F32): llama.cpp
runs on them too, without the rounding of inputs; once more with a float32 cache and without its flash attention,
which computes in f16.
"""
import argparse
import ctypes
import json
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load_file

from make_real_golden import load


class Opaque(ctypes.Structure):
    """A parameter struct by value, at least as long as llama.cpp's; its begin is all that is set here."""
    _fields_ = [("words", ctypes.c_uint32 * 256)]


class Batch(ctypes.Structure):
    _fields_ = [("n_tokens", ctypes.c_int32), ("token", ctypes.POINTER(ctypes.c_int32)), ("embd", ctypes.c_void_p),
                ("pos", ctypes.POINTER(ctypes.c_int32)), ("n_seq_id", ctypes.POINTER(ctypes.c_int32)),
                ("seq_id", ctypes.POINTER(ctypes.POINTER(ctypes.c_int32))), ("logits", ctypes.POINTER(ctypes.c_int8))]


# Words of llama_context_params in build 11434, with what they hold by default.
FLASH_ATTENTION, TYPE_K, TYPE_V = 13, 26, 27
DEFAULTS = {FLASH_ATTENTION: 2**32 - 1, TYPE_K: 1, TYPE_V: 1}  # automatic; f16


def llama_cpp_logits(library, path, ids, n_vocab, float32=False):
    llama = ctypes.CDLL(library)
    for name, result in (("llama_model_default_params", Opaque), ("llama_context_default_params", Opaque),
                         ("llama_model_load_from_file", ctypes.c_void_p), ("llama_init_from_model", ctypes.c_void_p),
                         ("llama_batch_init", Batch), ("llama_get_logits", ctypes.POINTER(ctypes.c_float))):
        getattr(llama, name).restype = result
    llama.llama_backend_init()
    model = llama.llama_model_load_from_file(path.encode(), llama.llama_model_default_params())
    parameters = llama.llama_context_default_params()
    parameters.words[0] = parameters.words[1] = len(ids)  # n_ctx, n_batch
    if float32:
        for word, default in DEFAULTS.items():
            if parameters.words[word] != default:
                raise SystemExit("this build of llama.cpp has other context parameters")
            parameters.words[word] = 0  # off; f32
    context = ctypes.c_void_p(llama.llama_init_from_model(ctypes.c_void_p(model), parameters))
    batch = llama.llama_batch_init(len(ids), 0, 1)
    batch.n_tokens = len(ids)
    for i, token in enumerate(ids):
        batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.logits[i] = token, i, 1, 1
        batch.seq_id[i][0] = 0
    if llama.llama_decode(context, batch) != 0:
        raise SystemExit("llama.cpp could not run the batch")
    return np.ctypeslib.as_array(llama.llama_get_logits(context), (len(ids), n_vocab)).copy()


@torch.no_grad()
def transformers_logits(path, ids):
    return load(path)(torch.tensor([ids])).logits[0].numpy()


def chunkllm_logits(program, path, ids, dtype):
    with tempfile.TemporaryDirectory() as scratch:
        ids_path, out = Path(scratch) / "ids.json", Path(scratch) / "logits.safetensors"
        ids_path.write_text(json.dumps(ids), encoding="utf-8")
        subprocess.run([program, "--model", path, "--ids", ids_path, "--out", out, "--dtype", dtype], check=True)
        return load_file(out)["logits"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for option in ("--logits", "--golden", "--libllama"):
        parser.add_argument(option, required=True)
    parser.add_argument("--f32-file")
    parser.add_argument("model")
    args = parser.parse_args()
    ids = json.loads(Path(args.golden).read_text(encoding="utf-8"))["ids"]
    ours = {dtype: chunkllm_logits(args.logits, args.model, ids, dtype) for dtype in ("f32", "auto")}
    reference = transformers_logits(args.model, ids)
    llama_cpp = llama_cpp_logits(args.libllama, args.model, ids, reference.shape[1])
    pairs = [("chunkllm f32, transformers f32", ours["f32"], reference),
             ("chunkllm auto, transformers f32", ours["auto"], reference),
             ("llama.cpp, transformers f32", llama_cpp, reference),
             ("chunkllm f32, llama.cpp", ours["f32"], llama_cpp),
             ("chunkllm auto, llama.cpp", ours["auto"], llama_cpp)]
    if args.f32_file:
        llama_cpp_f32 = llama_cpp_logits(args.libllama, args.f32_file, ids, reference.shape[1])
        throughout = llama_cpp_logits(args.libllama, args.f32_file, ids, reference.shape[1], float32=True)
        pairs += [("llama.cpp on float32 weights, transformers f32", llama_cpp_f32, reference),
                  ("chunkllm f32, llama.cpp on float32 weights", ours["f32"], llama_cpp_f32),
                  ("chunkllm f32, llama.cpp in float32 throughout", ours["f32"], throughout)]
    print("| pair | largest difference | mean difference | same best token |\n|---|---|---|---|")
    for name, a, b in pairs:
        difference = np.abs(a - b)
        same = int((a.argmax(1) == b.argmax(1)).sum())
        print(f"| {name} | {difference.max():.3g} | {difference.mean():.3g} | {same} of {len(ids)} |")


if __name__ == "__main__":
    main()

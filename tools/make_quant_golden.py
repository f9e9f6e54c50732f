#!/usr/bin/env python3
"""Makes tests/golden/quant/blocks.json: random blocks of every quantised type that the `gguf` package
dequantises, their values, and values rounded by it. Needs: pip install gguf (made with 0.17 or later).

Usage: tools/make_quant_golden.py > tests/golden/quant/blocks.json
"""
import json
import sys

import gguf
import numpy as np

N_BLOCKS = 4
DECODED = ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL",
           "IQ4_XS", "MXFP4"]
ENCODED = ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"]
# Where a block has its binary16 numbers.
HALVES = {"Q4_1": [0, 2], "Q5_1": [0, 2], "Q2_K": [80, 82], "Q3_K": [108], "Q4_K": [0, 2],
          "Q5_K": [0, 2], "Q6_K": [208], "MXFP4": []}


def hexadecimal(array):
    return np.ascontiguousarray(array).tobytes().hex()


def random_blocks(rng, name, n_bytes):
    blocks = rng.integers(0, 256, (N_BLOCKS, n_bytes), dtype=np.uint8)
    for at in HALVES.get(name, [0]):
        scales = rng.normal(0, 0.02, N_BLOCKS).astype(np.float16)
        blocks[:, at:at + 2] = scales.view(np.uint8).reshape(N_BLOCKS, 2)
    if name == "MXFP4":
        blocks[:, 0] = [0, 1, 2, 121]  # subnormal scales, too
    return blocks


def main():
    rng = np.random.default_rng(1)
    decoded = {}
    for name in DECODED:
        kind = gguf.GGMLQuantizationType[name]
        blocks = random_blocks(rng, name, gguf.GGML_QUANT_SIZES[kind][1])
        values = gguf.quants.dequantize(blocks, kind)
        decoded[name] = {"bytes": hexadecimal(blocks), "values": hexadecimal(values.astype("<f4"))}
    values = rng.normal(0, 1, (N_BLOCKS, 32)).astype(np.float32)
    values[1] *= 1e-3
    values[2] = np.abs(values[2])
    values[3, 1:] = 0
    encoded = {"values": hexadecimal(values.reshape(-1)), "types": {}}
    for name in ENCODED:
        kind = gguf.GGMLQuantizationType[name]
        encoded["types"][name] = hexadecimal(gguf.quants.quantize(values, kind))
    json.dump({"decoded": decoded, "encoded": encoded}, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()

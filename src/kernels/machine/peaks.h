// What the machine can do at most, measured: what products and memory reads are compared with.
#pragma once

#include <cstdint>

#include "kernels/machine/isa.h"

namespace chunkllm {

// Bytes per second at which `n_threads` threads read memory together, each its own part of a buffer
// that no cache holds; the best of several passes. Takes some 0.3 s and 256 MiB. Throws Error
// (kMemory).
double memory_read_bandwidth(int n_threads);

// Floating-point operations per second (a multiply-add is two) of `n_threads` threads together on
// data in registers or the first-level cache: bfloat16 tiles for kAmx, bfloat16 dot products for
// kAvx512Bf16, float32 multiply-adds below; the best of several passes. Takes some 0.3 s. Throws
// Error (kUnsupported) for a level above active_isa().
double product_peak(Isa isa, int n_threads);

namespace avx512 {
// Runs `rounds` rounds of independent multiply-adds; returns a value that depends on them.
float multiply_add_rounds(int64_t rounds);
float bf16_dot_rounds(int64_t rounds);  // needs avx512_bf16
}  // namespace avx512
namespace avx2 {
float multiply_add_rounds(int64_t rounds);
}
namespace amx {
void tile_rounds(int64_t rounds);  // needs amx
}

}  // namespace chunkllm

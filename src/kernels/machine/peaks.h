// What the machine can do at most, measured: what products and memory reads are compared with.
#pragma once

#include <cstdint>

#include "kernels/linear/precision.h"

namespace chunkllm {

// Bytes per second at which `n_threads` threads read memory together, each its own part of a buffer
// that no cache holds; the best of several passes. Takes some 0.3 s and 256 MiB. Throws Error
// (kMemory).
double memory_read_bandwidth(int n_threads);

// Floating-point operations per second (a multiply-add is two) of `n_threads` threads together on
// data in registers or the first-level cache, by the best instructions for such products at the
// level in use; the best of several passes. Takes some 0.3 s. Throws Error (kUnsupported) for
// bfloat16 where bf16_products_available() says no.
double product_peak(ProductType type, int n_threads);

// The fastest run of products of one instruction set.
struct ProductPeak {
  float (*run)(int64_t rounds) = nullptr;  // independent products; gives what depends on them
  int64_t rounds = 0;                      // that take about 2 ms
  double flops = 0;                        // of one round
};

}  // namespace chunkllm

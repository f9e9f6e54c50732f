// What the machine can do at most, measured: what products and memory reads are compared with.
#pragma once

#include <cstdint>

#include "kernels/linear/precision.h"

namespace chunkllm {

// Bytes per second at which `n_threads` threads read `n_bytes` together again and again, each its
// own part; the best of several passes. Few bytes come from a cache; from 256 MiB on, which are
// what is read of more, they come from memory. Takes some 0.3 s. Throws Error (kMemory).
double memory_read_bandwidth(int n_threads, int64_t n_bytes = int64_t{256} << 20);

// Floating-point operations per second (a multiply-add is two) of `n_threads` threads together on
// data in registers or the first-level cache, by the best instructions for such products at the
// level in use; the best of several passes. Takes some 0.3 s. Throws Error (kUnsupported) for
// bfloat16 where bf16_products_available() says no.
double product_peak(ProductType type, int n_threads);

// The same of products of bytes, two operations a multiply-add; of float32 where the level in use
// has none.
double int8_peak(int n_threads);

// The fastest run of products of one instruction set.
struct ProductPeak {
  float (*run)(int64_t rounds) = nullptr;  // independent products; gives what depends on them
  int64_t rounds = 0;                      // that take about 2 ms
  double flops = 0;                        // of one round
};

}  // namespace chunkllm

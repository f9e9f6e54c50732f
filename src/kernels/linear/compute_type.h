// In which precision dense products are made.
#pragma once

namespace chunkllm {

// What meets the weights, floating ones and quantised ones (Q8_0, Q4_0, Q4_K, Q5_K, Q6_K). Sums are
// float32 in all cases, or exact integers that become float32.
enum class ComputeType {
  // Weights and inputs in float32; quantised weights have exactly the values that
  // base/quant_blocks.h defines.
  kF32,
  // Weights and inputs rounded to bfloat16. Quantised weights, which are kept as they are, meet
  // inputs rounded to int8 in blocks of 32 where tokens are few, as in decode, and are rounded to
  // bfloat16 where they are many, as in prefill: the two differ by rounding.
  kBf16,
  // For machines without bfloat16 products: as kF32, but quantised weights meet inputs rounded to
  // int8 where tokens are few.
  kInt8,
};

// Whether active_isa() multiplies bfloat16 natively (avx512_bf16 and above).
bool bf16_products_available();

}  // namespace chunkllm

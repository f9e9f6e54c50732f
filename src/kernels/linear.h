// y = x W^T: the dense products of the forward pass, through oneDNN with weights packed once.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/dtype.h"

namespace chunkllm {

enum class ComputeType {
  kF32,   // weights and inputs in float32
  kBf16,  // weights in bfloat16, inputs rounded to bfloat16, sums in float32
};

// Whether active_isa() multiplies bfloat16 natively (avx512_bf16 and above).
bool bf16_products_available();

// A weight matrix packed in the layout that the products want; no other copy is kept. Owns it.
// One thread at a time may call an object; the product itself uses all OpenMP threads.
class Linear {
 public:
  Linear();  // no matrix: may only be assigned to or destroyed
  // Packs the matrices `parts` (each [n_rows, n_cols], the same n_cols), stacked by rows, as one
  // [n_out, n_in] matrix, so that projections of one input run as one product. Converts element
  // types. The views are not used afterwards. `bias` [n_out] is added to every row of the result;
  // empty: none. Throws Error (kMemory, kUnsupported; kInvalidArgument for a bias of another
  // length).
  Linear(std::span<const MatrixView> parts, ComputeType compute_type, std::vector<float> bias = {});
  ~Linear();
  Linear(Linear&&) noexcept;
  Linear& operator=(Linear&&) noexcept;

  // y[t, o] = sum_i x[t, i] W[o, i] + bias[o] for x [n_tokens, n_in] and y [n_tokens, n_out], both
  // float32, row-major and contiguous. No n_tokens is refused; 0 does nothing.
  void operator()(const float* x, int64_t n_tokens, float* y) const;

  int64_t n_in() const;
  int64_t n_out() const;
  // Bytes the packed weights and the bias take.
  int64_t size_bytes() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// C = alpha op(A) op(B) + beta C in float32, row-major: op(A) is [m, k], op(B) [k, n], C [m, n];
// lda, ldb, ldc are the row strides of A, B, C as stored. Through oneDNN.
struct GemmShape {
  bool transpose_a = false;
  bool transpose_b = false;
  int64_t m = 0;
  int64_t n = 0;
  int64_t k = 0;
};
void sgemm(const GemmShape& shape, float alpha, const float* a, int64_t lda, const float* b,
           int64_t ldb, float beta, float* c, int64_t ldc);

}  // namespace chunkllm

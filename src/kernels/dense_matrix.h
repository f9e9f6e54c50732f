// A weight matrix in float32 or bfloat16 and its products, through oneDNN with weights packed once:
// what Linear keeps for weights that are not quantised.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "base/dtype.h"
#include "kernels/compute_type.h"

namespace chunkllm {

// Owns the packed matrix; no other copy is kept. One thread at a time may call an object; the
// product itself uses all OpenMP threads.
class DenseMatrix {
 public:
  // Packs `parts`, of floating types and the same number of columns, stacked by rows, in bfloat16
  // for kBf16 (which needs avx512_bf16), else in float32. The views are not used afterwards. Throws
  // Error (kMemory, kUnsupported).
  DenseMatrix(std::span<const MatrixView> parts, ComputeType compute_type);
  ~DenseMatrix();
  DenseMatrix(DenseMatrix&&) noexcept;
  DenseMatrix& operator=(DenseMatrix&&) noexcept;

  // y[t * y_stride + o] = sum_i x[t, i] W[o, i] for x [n_tokens, n_in], n_tokens at least 1.
  void multiply(const float* x, int64_t n_tokens, float* y, int64_t y_stride) const;

  int64_t n_out() const;
  int64_t size_bytes() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace chunkllm

// Products of float32 matrices that both change from call to call.
#pragma once

#include <cstdint>

namespace chunkllm {

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

#include "kernels/linear/sgemm.h"

#include <omp.h>
#include <oneapi/dnnl/dnnl_debug.h>

#include <algorithm>
#include <oneapi/dnnl/dnnl.hpp>

#include "base/error.h"
#include "base/thread_pool.h"
#include "kernels/machine/isa.h"

namespace chunkllm {
namespace {

// Rows or columns of C that one thread computes at a time. Fixed, so that results do not depend on
// the number of threads.
constexpr int64_t kPiece = 128;

// sgemm() on one thread.
void multiply(const GemmShape& shape, float alpha, const float* a, int64_t lda, const float* b,
              int64_t ldb, float beta, float* c, int64_t ldc) {
  const auto letter = [](bool transpose) { return transpose ? 'T' : 'N'; };
  omp_set_num_threads(1);
  const dnnl::status status =
      dnnl::sgemm(letter(shape.transpose_a), letter(shape.transpose_b), shape.m, shape.n, shape.k,
                  alpha, a, lda, b, ldb, beta, c, ldc);
  if (status != dnnl::status::success) {
    fail(ErrorCode::kInvalidArgument, "oneDNN refuses a [{}, {}] x [{}, {}] product: {}", shape.m,
         shape.k, shape.k, shape.n, dnnl_status2str(static_cast<dnnl_status_t>(status)));
  }
}

}  // namespace

void sgemm(const GemmShape& shape, float alpha, const float* a, int64_t lda, const float* b,
           int64_t ldb, float beta, float* c, int64_t ldc) {
  active_isa();
  if (shape.m <= 0 || shape.n <= 0) return;
  if (shape.k <= 0) {  // nothing to add; oneDNN refuses strides of empty matrices
    for (int64_t i = 0; i < shape.m; ++i) {
      float* row = c + i * ldc;
      for (int64_t j = 0; j < shape.n; ++j) row[j] = beta == 0 ? 0 : beta * row[j];
    }
    return;
  }
  if (shape.m >= shape.n) {
    parallel_for(shape.m, kPiece, [&](int64_t begin, int64_t end, int) {
      GemmShape rows = shape;
      rows.m = end - begin;
      multiply(rows, alpha, a + begin * (shape.transpose_a ? 1 : lda), lda, b, ldb, beta,
               c + begin * ldc, ldc);
    });
    return;
  }
  parallel_for(shape.n, kPiece, [&](int64_t begin, int64_t end, int) {
    GemmShape columns = shape;
    columns.n = end - begin;
    multiply(columns, alpha, a, lda, b + begin * (shape.transpose_b ? ldb : 1), ldb, beta,
             c + begin, ldc);
  });
}

}  // namespace chunkllm

#include "kernels/linear/sgemm.h"

#include <omp.h>
#include <oneapi/dnnl/dnnl_debug.h>

#include <oneapi/dnnl/dnnl.hpp>

#include "base/error.h"
#include "base/threads.h"
#include "kernels/machine/isa.h"

namespace chunkllm {

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
  const auto letter = [](bool transpose) { return transpose ? 'T' : 'N'; };
  omp_set_num_threads(current_threads());  // oneDNN's
  const dnnl::status status =
      dnnl::sgemm(letter(shape.transpose_a), letter(shape.transpose_b), shape.m, shape.n, shape.k,
                  alpha, a, lda, b, ldb, beta, c, ldc);
  if (status != dnnl::status::success) {
    fail(ErrorCode::kInvalidArgument, "oneDNN refuses a [{}, {}] x [{}, {}] product: {}", shape.m,
         shape.k, shape.k, shape.n, dnnl_status2str(static_cast<dnnl_status_t>(status)));
  }
}

}  // namespace chunkllm

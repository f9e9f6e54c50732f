// AVX2.
#include "kernels/quant/dot.h"

#include <immintrin.h>

#include <utility>

namespace chunkllm::avx2 {
namespace {

#include "kernels/quant/avx2/vectors-inl.h"
#include "kernels/quant/dot-inl.h"

}  // namespace

const QuantDot* quant_dot_kernels() { return dot_kernels<Avx2>(); }

}  // namespace chunkllm::avx2

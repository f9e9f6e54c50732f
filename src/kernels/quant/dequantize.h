// Quantised weights as float32, exactly as base/quant/blocks.h defines their values: products in
// float32 for few inputs, and slabs of weights for products of many.
#pragma once

#include <cstdint>

#include "kernels/quant/layout.h"

namespace chunkllm {

// y[0, 16) = the outputs of one panel for x [n_in]; n_in is the matrix's, whole blocks of 32. Sums
// are float32.
void quant_panel_f32(const QuantPanels& matrix, int64_t panel, const float* x, float* y);

// Writes one panel's weights, transposed: target[i * stride + o] for i in [0, n_in) and o in [0,
// 16).
void expand_panel_f32(const QuantPanels& matrix, int64_t panel, float* target, int64_t stride);

}  // namespace chunkllm

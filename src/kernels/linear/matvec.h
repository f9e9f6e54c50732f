// Matrix-vector products over weights in the packed layout that the matrix products want: what a
// decode step needs, at the speed of memory and without a second copy of the weights.
#pragma once

#include <cstdint>

#include "kernels/linear/panel_pack.h"

namespace chunkllm {

constexpr int64_t kPanelWidth = 64;  // of float32 panels

// y = W x for x [n_in] and y [n_out], pairing 1, width kPanelWidth. Sums are float32. Uses all
// threads if the matrix is large enough for that to pay.
void matvec_f32(const PanelLayout& layout, const float* panels, const float* x, float* y);

// The same for the words of bfloat16 weights and inputs, pairing 2, width 16, padded to a multiple
// of 32 inputs; widened exactly. x is padded with zeros like the weights.
void matvec_bf16(const PanelLayout& layout, const uint16_t* panels, const uint16_t* x, float* y);

}  // namespace chunkllm

// Matrix-vector products over weights in the packed layout that oneDNN's matrix products want: what
// a decode step needs, at the speed of memory and without a second copy of the weights.
#pragma once

#include <cstdint>

namespace chunkllm {

constexpr int64_t kPanelWidth = 64;  // outputs

// W [n_out, n_in] as panels of kPanelWidth outputs, `pairing` inputs lying side by side:
//   element (o, i) is [o / kPanelWidth][i / pairing][o % kPanelWidth][i % pairing].
// What pads the last panel and the inputs from n_in to padded_n_in is zero.
struct PanelLayout {
  int64_t n_out = 0;
  int64_t n_in = 0;
  int64_t padded_n_in = 0;  // a multiple of pairing
  int64_t pairing = 1;      // 1 for float32, 2 for bfloat16

  int64_t n_panels() const { return (n_out + kPanelWidth - 1) / kPanelWidth; }
  int64_t panel_elements() const { return padded_n_in * kPanelWidth; }
};

// y = W x for x [n_in] and y [n_out], pairing 1. Sums are float32. Uses all OpenMP threads if the
// matrix is large enough for that to pay.
void matvec_f32(const PanelLayout& layout, const float* panels, const float* x, float* y);

// The same for the words of bfloat16 weights and inputs, pairing 2, widened exactly. If n_in is
// odd, x[n_in] must be there and zero.
void matvec_bf16(const PanelLayout& layout, const uint16_t* panels, const uint16_t* x, float* y);

}  // namespace chunkllm

#include "kernels/linear/bf16_matrix.h"

#include <algorithm>
#include <cstddef>

#include "base/scratch.h"
#include "kernels/linear/matvec.h"
#include "kernels/ops/ops.h"

namespace chunkllm {

Bf16Matrix::Bf16Matrix(std::span<const MatrixView> parts) {
  layout_.n_in = parts.front().n_cols;
  for (const MatrixView& part : parts) layout_.n_out += part.n_rows;
  layout_.padded_n_in = (layout_.n_in + kTileInputs - 1) / kTileInputs * kTileInputs;
  layout_.pairing = 2;
  layout_.width = kTileOutputs;
  const auto n_elements = static_cast<size_t>(layout_.n_panels() * layout_.panel_elements());
  buffer_ = ReservedBuffer(n_elements * sizeof(uint16_t), Pages::kLarge);
  pack_panels(parts, layout_, reinterpret_cast<uint32_t*>(buffer_.data()));
}

void Bf16Matrix::multiply_vector(const float* x, float* y) const {
  thread_local Scratch<uint16_t> scratch;
  uint16_t* rounded = scratch.get(layout_.padded_n_in);
  round_to_bf16(x, layout_.n_in, rounded);
  std::fill(rounded + layout_.n_in, rounded + layout_.padded_n_in, uint16_t{0});
  matvec_bf16(layout_, reinterpret_cast<const uint16_t*>(buffer_.data()), rounded, y);
}

TileSource Bf16Matrix::tiles() const {
  return {.panels = reinterpret_cast<const uint8_t*>(buffer_.data()),
          .panel_bytes = layout_.panel_elements() * static_cast<int64_t>(sizeof(uint16_t)),
          .n_out = layout_.n_out,
          .n_in = layout_.n_in};
}

}  // namespace chunkllm

#include "kernels/linear/bf16_matrix.h"

#include <algorithm>
#include <cstddef>

#include "base/scratch.h"
#include "base/thread_pool.h"
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

void Bf16Matrix::multiply(const TiledRows& x, float* y, int64_t y_stride) const {
  const TileKernels& kernels = tile_kernels();
  const auto* words = reinterpret_cast<const uint16_t*>(buffer_.data());
  const int64_t n_panels = layout_.n_panels();
  const int64_t slab = slab_panels(n_panels);
  const bool parallel = pays_for_threads(x.n_tokens * layout_.n_out * layout_.n_in);
  parallel_for(n_panels, parallel ? slab : n_panels, [&](int64_t first, int64_t end, int) {
    kernels.begin();
    for (int64_t begin = first; begin < end; begin += slab) {
      for (int64_t k = 0; k < x.n_k_tiles; k += kernels.slab_k_tiles) {
        const int64_t end_output = (begin + slab) * kTileOutputs;
        const WeightTiles weights{
            .tiles = words + begin * layout_.panel_elements() + k * kTileWords,
            .panel_stride = layout_.panel_elements(),
            .first_output = begin * kTileOutputs,
            .end_output = std::min(end_output, layout_.n_out),
            .first_k_tile = k,
            .n_k_tiles = std::min(kernels.slab_k_tiles, x.n_k_tiles - k)};
        multiply_tiles(x, weights, y, y_stride);
      }
    }
    kernels.end();
  });
}

}  // namespace chunkllm

#include "kernels/linear/quant_matrix.h"

#include <algorithm>

#include "base/scratch.h"
#include "base/thread_pool.h"
#include "base/threads.h"
#include "kernels/linear/for_each_panel.h"
#include "kernels/linear/sgemm.h"
#include "kernels/machine/kernel_set.h"
#include "kernels/quant/dequantize.h"
#include "kernels/quant/dot.h"
#include "kernels/quant/pack.h"

namespace chunkllm {
namespace {

constexpr int64_t kOutputs = kQuantPanelOutputs;

// Fewer tokens than these unpack codes as they go.
constexpr int64_t kLeastToUnpack = 4 * kMaxDotTokens;

// Float32 slabs: about what a second-level cache holds.
constexpr int64_t kFloatSlabBytes = 2 << 20;

}  // namespace

QuantMatrix::QuantMatrix(std::span<const MatrixView> parts, PackedMatrices* kept) {
  const QuantUnit unit = quant_unit(parts.front().dtype);
  panels_.dtype = parts.front().dtype;
  panels_.n_in = parts.front().n_cols;
  for (const MatrixView& part : parts) panels_.n_out += part.n_rows;
  panels_.n_panels = (panels_.n_out + kOutputs - 1) / kOutputs;
  panels_.n_units = (panels_.n_in + unit.n_inputs - 1) / unit.n_inputs;
  panels_.panel_bytes = panels_.n_units * unit.bytes;
  if (kept != nullptr) panels_.data = kept->find(panels_);
  if (panels_.data != nullptr) return;
  buffer_ = ReservedBuffer(static_cast<size_t>(size_bytes()), Pages::kLarge);
  auto* data = reinterpret_cast<uint8_t*>(buffer_.data());
  panels_.data = data;
  pack_quantized(parts, panels_, data);
  if (kept != nullptr) kept->packed(panels_);
}

template <typename Compute>
void QuantMatrix::with_rows(const Int8Rows& x, int64_t t, int64_t n_tokens, int64_t p, float* y,
                            int64_t y_stride, const Compute& compute) const {
  const Int8Rows rows{x.values + t * x.n_blocks * kQuantBlock, x.scales + t * x.n_blocks,
                      x.sums + 2 * t * x.n_blocks, n_tokens, x.n_blocks};
  float* target = y + t * y_stride + p * kOutputs;
  const int64_t n_outputs = std::min(kOutputs, panels_.n_out - p * kOutputs);
  if (n_outputs == kOutputs) return compute(rows, target, y_stride);
  float last[kMaxDotTokens * kOutputs];
  compute(rows, last, kOutputs);
  for (int64_t r = 0; r < n_tokens; ++r) {
    std::copy_n(last + r * kOutputs, n_outputs, target + r * y_stride);
  }
}

void QuantMatrix::multiply_int8(const Int8Rows& x, float* y, int64_t y_stride) const {
  const QuantDot& dot = quant_dot(panels_.dtype);
  const auto few = [&](int64_t p, int64_t t, int64_t n_tokens) {
    const uint8_t* panel = panels_.data + p * panels_.panel_bytes;
    with_rows(x, t, n_tokens, p, y, y_stride, [&](const Int8Rows& rows, float* to, int64_t stride) {
      dot.few(panel, panels_.n_units, rows, n_tokens, to, stride);
    });
  };
  if (dot.unpack == nullptr || x.n_tokens < kLeastToUnpack) {
    for_each_panel(panels_.n_panels, panels_.panel_bytes, [&](int64_t p) {
      for (int64_t t = 0; t < x.n_tokens; t += kMaxDotTokens) {
        few(p, t, std::min(kMaxDotTokens, x.n_tokens - t));
      }
    });
    return;
  }
  thread_local Scratch<uint8_t> scratch;
  const int64_t codes_bytes = x.n_blocks * kUnpackedBlockBytes;
  // Here, where a failure can be told.
  uint8_t* rooms = scratch.get(current_threads() * codes_bytes);
  parallel_for(panels_.n_panels, 1, [&](int64_t begin, int64_t end, int thread) {
    uint8_t* codes = rooms + thread * codes_bytes;
    for (int64_t p = begin; p < end; ++p) {
      const uint8_t* panel = panels_.data + p * panels_.panel_bytes;
      dot.unpack(panel, panels_.n_units, codes);
      int64_t t = 0;
      for (; t + kMaxDotTokens <= x.n_tokens; t += kMaxDotTokens) {
        with_rows(x, t, kMaxDotTokens, p, y, y_stride,
                  [&](const Int8Rows& rows, float* to, int64_t stride) {
                    dot.unpacked(panel, codes, panels_.n_units, rows, to, stride);
                  });
      }
      if (t < x.n_tokens) few(p, t, x.n_tokens - t);
    }
  });
}

TileSource QuantMatrix::tiles() const {
  const TilePacking packing = active_kernels().tile_packing();
  return {.panels = panels_.data,
          .panel_bytes = panels_.panel_bytes,
          .n_out = panels_.n_out,
          .n_in = panels_.n_in,
          .dequantize = packing.dequantizers[quant_index(panels_.dtype)]};
}

void QuantMatrix::multiply_f32(const float* x, int64_t n_tokens, float* y, int64_t y_stride) const {
  if (n_tokens == 1) {
    for_each_panel(panels_.n_panels, panels_.panel_bytes, [&](int64_t p) {
      float outputs[kOutputs];
      quant_panel_f32(panels_, p, x, outputs);
      const int64_t n = std::min(kOutputs, panels_.n_out - p * kOutputs);
      std::copy_n(outputs, n, y + p * kOutputs);
    });
    return;
  }
  thread_local Scratch<float> scratch;
  const int64_t panel_bytes = panels_.n_in * kOutputs * static_cast<int64_t>(sizeof(float));
  const int64_t slab = std::clamp<int64_t>(kFloatSlabBytes / panel_bytes, 4, panels_.n_panels + 4);
  const int64_t stride = slab * kOutputs;
  float* expanded = scratch.get(panels_.n_in * stride);
  for (int64_t begin = 0; begin < panels_.n_panels; begin += slab) {
    const int64_t end = std::min(begin + slab, panels_.n_panels);
    parallel_for(end - begin, 1, [&](int64_t p, int64_t, int) {
      expand_panel_f32(panels_, begin + p, expanded + p * kOutputs, stride);
    });
    const int64_t n_outputs = std::min(stride, panels_.n_out - begin * kOutputs);
    const GemmShape shape{.m = n_tokens, .n = n_outputs, .k = panels_.n_in};
    sgemm(shape, 1.0f, x, panels_.n_in, expanded, stride, 0.0f, y + begin * kOutputs, y_stride);
  }
}

}  // namespace chunkllm

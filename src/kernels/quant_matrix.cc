#include "kernels/quant_matrix.h"

#include <omp.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "kernels/bf16_tiles.h"
#include "kernels/isa.h"
#include "kernels/quant_dot.h"
#include "kernels/quant_floats.h"
#include "kernels/quant_pack.h"
#include "kernels/sgemm.h"

namespace chunkllm {
namespace {

constexpr int64_t kOutputs = kQuantPanelOutputs;

// Smaller matrices are read sooner by one thread than a team is woken.
constexpr int64_t kMinParallelBytes = 160 * 1024;

// Weights are expanded in slabs of at most this many panels, 256 outputs.
constexpr int64_t kSlabPanels = 16;

constexpr int64_t kBlockRows = 2 * kTileRows;
constexpr int64_t kBlockOutputs = 2 * kOutputs;

// Float32 slabs: about what a second-level cache holds.
constexpr int64_t kFloatSlabBytes = 2 << 20;

int64_t round_up(int64_t n, int64_t multiple) { return (n + multiple - 1) / multiple * multiple; }

// Work space of a thread, aligned to a page. It grows to the largest size asked for.
template <typename Element>
class Scratch {
 public:
  Element* get(int64_t n) {
    constexpr int64_t kLargePage = 2 << 20;
    const auto n_bytes =
        static_cast<size_t>(round_up(n * static_cast<int64_t>(sizeof(Element)), kLargePage));
    if (buffer_.size_bytes() < n_bytes) buffer_ = ReservedBuffer(n_bytes, Pages::kLarge);
    return reinterpret_cast<Element*>(buffer_.data());
  }

 private:
  ReservedBuffer buffer_;
};

// Runs work(p) for every panel, in parallel where the matrix is large enough for that to pay.
template <typename Work>
void for_each_panel(const QuantPanels& panels, const Work& work) {
  const bool parallel = panels.n_panels * panels.panel_bytes >= kMinParallelBytes;
#pragma omp parallel for schedule(static) if (parallel)
  for (int64_t p = 0; p < panels.n_panels; ++p) work(p);
}

const TileKernels& tile_kernels() {
  static const TileKernels kernels =
      active_isa() >= Isa::kAmx ? amx::tile_kernels() : avx512::tile_kernels();
  return kernels;
}

// Multiplies a block of 32 outputs whose place in y is narrower or shorter than the kernel writes:
// [n_rows, n_outputs].
void multiply_edge(TileBlock block, int64_t n_rows, int64_t n_outputs) {
  alignas(64) float whole[kBlockRows * kBlockOutputs];
  float* y = std::exchange(block.c, whole);
  const int64_t y_stride = std::exchange(block.c_stride, kBlockOutputs);
  const size_t row_bytes = static_cast<size_t>(n_outputs) * sizeof(float);
  if (block.accumulate) {
    std::memset(whole, 0, sizeof(whole));
    for (int64_t r = 0; r < n_rows; ++r) {
      std::memcpy(whole + r * kBlockOutputs, y + r * y_stride, row_bytes);
    }
  }
  tile_kernels().multiply(block);
  for (int64_t r = 0; r < n_rows; ++r) {
    std::memcpy(y + r * y_stride, whole + r * kBlockOutputs, row_bytes);
  }
}

// The product of one slab of weights, panels [begin, end), by one thread. `tiles` holds kSlabPanels
// x slab_k_tiles tiles.
void multiply_slab(const QuantPanels& weights, int64_t begin, int64_t end, const TiledRows& x,
                   uint16_t* tiles, float* y, int64_t y_stride) {
  const int64_t slab_k_tiles = tile_kernels().slab_k_tiles;
  const int64_t panel_stride = slab_k_tiles * kTileWords;
  for (int64_t k = 0; k < x.n_k_tiles; k += slab_k_tiles) {
    const int64_t n_k = std::min(slab_k_tiles, x.n_k_tiles - k);
    for (int64_t p = begin; p < end; ++p) {
      avx512::expand_tiles(weights.dtype, weights.data + p * weights.panel_bytes, k, n_k,
                           tiles + (p - begin) * panel_stride);
    }
    for (int64_t row_tile = 0; row_tile < x.n_row_tiles; row_tile += 2) {
      const int64_t row = row_tile * kTileRows;
      for (int64_t p = begin; p < end; p += 2) {
        const int64_t output = p * kOutputs;
        const uint16_t* a = x.tiles + (row_tile * x.n_k_tiles + k) * kTileWords;
        // The next two row tiles, a share of them with each of a slab's eight blocks.
        const uint16_t* next = a + 2 * x.n_k_tiles * kTileWords + (p - begin) / 2 * n_k * 64;
        const TileBlock block{.a = a,
                              .a_stride = x.n_k_tiles * kTileWords,
                              .b = tiles + (p - begin) * panel_stride,
                              .b_stride = p + 1 < end ? panel_stride : 0,
                              .n_k_tiles = n_k,
                              .c = y + row * y_stride + output,
                              .c_stride = y_stride,
                              .n_row_tiles = row_tile + 1 < x.n_row_tiles ? 2 : 1,
                              .accumulate = k > 0,
                              .next = {next, next + x.n_k_tiles * kTileWords}};
        const int64_t n_rows = std::min(block.n_row_tiles * kTileRows, x.n_tokens - row);
        const int64_t n_outputs = std::min(kBlockOutputs, weights.n_out - output);
        if (n_rows == block.n_row_tiles * kTileRows && n_outputs == kBlockOutputs) {
          tile_kernels().multiply(block);
        } else {
          multiply_edge(block, n_rows, n_outputs);
        }
      }
    }
  }
}

}  // namespace

TiledRows round_to_tiles(const float* x, int64_t n_tokens, int64_t n_in) {
  thread_local Scratch<uint16_t> scratch;
  const TiledRows rows{.n_tokens = n_tokens,
                       .n_row_tiles = (n_tokens + kTileRows - 1) / kTileRows,
                       .n_k_tiles = n_in / kTileInputs};
  uint16_t* tiles = scratch.get(rows.n_row_tiles * rows.n_k_tiles * kTileWords);
#pragma omp parallel for schedule(static)
  for (int64_t row_tile = 0; row_tile < rows.n_row_tiles; ++row_tile) {
    for (int64_t k = 0; k < rows.n_k_tiles; ++k) {
      uint16_t* tile = tiles + (row_tile * rows.n_k_tiles + k) * kTileWords;
      for (int64_t r = 0; r < kTileRows; ++r) {
        const int64_t t = row_tile * kTileRows + r;
        uint16_t* row = tile + r * kTileInputs;
        if (t < n_tokens) {
          avx512::round_tile_row(x + t * n_in + k * kTileInputs, row);
        } else {
          std::memset(row, 0, kTileInputs * sizeof(uint16_t));
        }
      }
    }
  }
  TiledRows result = rows;
  result.tiles = tiles;
  return result;
}

QuantMatrix::QuantMatrix(std::span<const MatrixView> parts) {
  const QuantUnit unit = quant_unit(parts.front().dtype);
  panels_.dtype = parts.front().dtype;
  panels_.n_in = parts.front().n_cols;
  for (const MatrixView& part : parts) panels_.n_out += part.n_rows;
  panels_.n_panels = (panels_.n_out + kOutputs - 1) / kOutputs;
  panels_.n_units = (panels_.n_in + unit.n_inputs - 1) / unit.n_inputs;
  panels_.panel_bytes = panels_.n_units * unit.bytes;
  buffer_ =
      ReservedBuffer(static_cast<size_t>(panels_.n_panels * panels_.panel_bytes), Pages::kLarge);
  auto* data = reinterpret_cast<uint8_t*>(buffer_.data());
  panels_.data = data;
  pack_quantized(parts, panels_, data);
}

void QuantMatrix::multiply_int8(const Int8Rows& x, float* y, int64_t y_stride) const {
  const QuantDotKernel kernel = quant_dot_kernel(panels_.dtype);
  for_each_panel(panels_, [&](int64_t p) {
    const uint8_t* panel = panels_.data + p * panels_.panel_bytes;
    const int64_t n_outputs = std::min(kOutputs, panels_.n_out - p * kOutputs);
    for (int64_t t = 0; t < x.n_tokens; t += kMaxDotTokens) {
      const int64_t n_tokens = std::min(kMaxDotTokens, x.n_tokens - t);
      const Int8Rows rows{x.values + t * x.n_blocks * kQuantBlock, x.scales + t * x.n_blocks,
                          x.sums + 2 * t * x.n_blocks, n_tokens, x.n_blocks};
      float* target = y + t * y_stride + p * kOutputs;
      if (n_outputs == kOutputs) {
        kernel(panel, panels_.n_units, rows, n_tokens, target, y_stride);
        continue;
      }
      float last[kMaxDotTokens * kOutputs];
      kernel(panel, panels_.n_units, rows, n_tokens, last, kOutputs);
      for (int64_t r = 0; r < n_tokens; ++r) {
        std::copy_n(last + r * kOutputs, n_outputs, target + r * y_stride);
      }
    }
  });
}

void QuantMatrix::multiply_bf16(const TiledRows& x, float* y, int64_t y_stride) const {
  const int64_t n_threads = omp_get_max_threads();
  const int64_t n_rounds =
      (panels_.n_panels + kSlabPanels * n_threads - 1) / (kSlabPanels * n_threads);
  const int64_t n_slabs = n_rounds * n_threads;
  const int64_t slab = round_up((panels_.n_panels + n_slabs - 1) / n_slabs, 2);
  const int64_t slab_words = kSlabPanels * tile_kernels().slab_k_tiles * kTileWords;
  thread_local Scratch<uint16_t> scratch;
  uint16_t* all_tiles = scratch.get(n_threads * slab_words);  // here, where a failure can be told
#pragma omp parallel
  {
    uint16_t* tiles = all_tiles + omp_get_thread_num() * slab_words;
    tile_kernels().begin();
#pragma omp for schedule(dynamic)
    for (int64_t begin = 0; begin < panels_.n_panels; begin += slab) {
      const int64_t end = std::min(begin + slab, panels_.n_panels);
      multiply_slab(panels_, begin, end, x, tiles, y, y_stride);
    }
    tile_kernels().end();
  }
}

void QuantMatrix::multiply_f32(const float* x, int64_t n_tokens, float* y, int64_t y_stride) const {
  if (n_tokens == 1) {
    for_each_panel(panels_, [&](int64_t p) {
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
#pragma omp parallel for schedule(static)
    for (int64_t p = begin; p < end; ++p) {
      expand_panel_f32(panels_, p, expanded + (p - begin) * kOutputs, stride);
    }
    const int64_t n_outputs = std::min(stride, panels_.n_out - begin * kOutputs);
    const GemmShape shape{.m = n_tokens, .n = n_outputs, .k = panels_.n_in};
    sgemm(shape, 1.0f, x, panels_.n_in, expanded, stride, 0.0f, y + begin * kOutputs, y_stride);
  }
}

}  // namespace chunkllm

#include "kernels/linear/linear.h"

#include <algorithm>
#include <cstring>
#include <utility>
#include <variant>
#include <vector>

#include "base/error.h"
#include "base/range.h"
#include "base/scratch.h"
#include "base/thread_pool.h"
#include "base/threads.h"
#include "kernels/linear/bf16_tiles.h"
#include "kernels/linear/stacked_matrix.h"
#include "kernels/machine/kernel_set.h"
#include "kernels/ops/ops.h"
#include "kernels/quant/dot.h"
#include "kernels/quant/pack.h"
#include "kernels/quant/round.h"

namespace chunkllm {
namespace {

// Products of many tokens in bfloat16 tiles (bf16_tiles.h). Inputs are rounded to tiles once;
// threads take slabs of weights, which stay in the second-level cache while all inputs meet them.

// Tokens of one such product: bounds the work space that inputs take.
constexpr int64_t kMaxTiledTokens = 1024;

// Most panels of a slab, an even number.
constexpr int64_t kSlabPanels = 16;

constexpr int64_t kBlockRows = 2 * kTileRows;
constexpr int64_t kBlockOutputs = 2 * kTileOutputs;

const TileKernels& tile_kernels() {
  static const TileKernels kernels = active_kernels().tile_product();
  return kernels;
}

// Inputs rounded to bfloat16, in tiles; rows that only pad are zero.
struct TiledRows {
  const uint16_t* tiles = nullptr;  // [n_row_tiles, n_k_tiles, 16, 32], 64-byte aligned
  int64_t n_tokens = 0;
  int64_t n_row_tiles = 0;
  int64_t n_k_tiles = 0;
};

// Rounds x [n_tokens, n_in]; zeros fill the last tile of inputs. The result lies in the calling
// thread's work space until its next call.
TiledRows round_to_tiles(const float* x, int64_t n_tokens, int64_t n_in) {
  const TilePacking packing = active_kernels().tile_packing();
  thread_local Scratch<uint16_t> scratch;
  TiledRows rows{.n_tokens = n_tokens,
                 .n_row_tiles = (n_tokens + kTileRows - 1) / kTileRows,
                 .n_k_tiles = (n_in + kTileInputs - 1) / kTileInputs};
  const int64_t row_words = rows.n_k_tiles * kTileWords;
  uint16_t* tiles = scratch.get(rows.n_row_tiles * row_words);
  rows.tiles = tiles;
  constexpr int64_t kMinParallelInputs = 1 << 16;
  constexpr int64_t kInputsAtOnce = 512;  // 16 tiles: in the first-level cache until all rows are
  const bool parallel = n_tokens * n_in >= kMinParallelInputs;
  const auto round_row_tile = [&](int64_t row_tile) {
    const int64_t first = row_tile * kTileRows;
    const int64_t n_rows = std::min(kTileRows, n_tokens - first);
    uint16_t* tile = tiles + row_tile * row_words;
    if (n_rows < kTileRows) std::fill_n(tile, row_words, uint16_t{0});
    for (int64_t i = 0; i < n_in; i += kInputsAtOnce, tile += kInputsAtOnce * kTileRows) {
      const int64_t n_inputs = std::min(kInputsAtOnce, n_in - i);
      for (int64_t r = 0; r < n_rows; ++r) {
        packing.round_rows(x + (first + r) * n_in + i, n_inputs, tile + r * kTileInputs);
      }
    }
  };
  parallel_for(rows.n_row_tiles, parallel ? 1 : rows.n_row_tiles,
               [&](int64_t begin, int64_t end, int) {
                 for (int64_t t = begin; t < end; ++t) round_row_tile(t);
               });
  return rows;
}

// Weights of outputs [first_output, end_output) and n_k_tiles tiles of inputs from first_k_tile:
// panels of 16 outputs that lie panel_stride words apart. first_output is a multiple of 32; what
// pads the last panel is zero or is not looked at.
struct WeightTiles {
  const uint16_t* tiles = nullptr;  // 64-byte aligned
  int64_t panel_stride = 0;
  int64_t first_output = 0;
  int64_t end_output = 0;
  int64_t first_k_tile = 0;
  int64_t n_k_tiles = 0;
};

// The tiles of some panels and some tiles of inputs: where they lie, or dequantised into `room`,
// whose panels lie room_stride words apart.
WeightTiles weight_tiles(const TileSource& source, Range panels, Range k_tiles, uint16_t* room,
                         int64_t room_stride) {
  WeightTiles weights{.tiles = room,
                      .panel_stride = room_stride,
                      .first_output = panels.begin * kTileOutputs,
                      .end_output = std::min(panels.end * kTileOutputs, source.n_out),
                      .first_k_tile = k_tiles.begin,
                      .n_k_tiles = k_tiles.size()};
  const uint8_t* panel = source.panels + panels.begin * source.panel_bytes;
  if (source.dequantize == nullptr) {
    weights.tiles = reinterpret_cast<const uint16_t*>(panel) + k_tiles.begin * kTileWords;
    weights.panel_stride = source.panel_bytes / static_cast<int64_t>(sizeof(uint16_t));
    return weights;
  }
  for (int64_t p = 0; p < panels.size(); ++p) {
    source.dequantize(panel + p * source.panel_bytes, k_tiles.begin, k_tiles.size(),
                      room + p * room_stride);
  }
  return weights;
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

// y[t * y_stride + o] = the products of x with these weights, added to what is there unless
// first_k_tile is 0. Runs on the calling thread, between begin() and end() of the kernels.
void multiply_tiles(const TiledRows& x, const WeightTiles& weights, float* y, int64_t y_stride) {
  const TileKernels& kernels = tile_kernels();
  const int64_t n_k = weights.n_k_tiles;
  const int64_t row_words = x.n_k_tiles * kTileWords;
  for (int64_t row_tile = 0; row_tile < x.n_row_tiles; row_tile += 2) {
    const int64_t row = row_tile * kTileRows;
    const uint16_t* a = x.tiles + row_tile * row_words + weights.first_k_tile * kTileWords;
    const uint16_t* b = weights.tiles;
    const uint16_t* next = a + 2 * row_words;  // a share of it with each of a slab's eight blocks
    for (int64_t output = weights.first_output; output < weights.end_output;
         output += kBlockOutputs, b += 2 * weights.panel_stride, next += n_k * 64) {
      const int64_t n_outputs = std::min(kBlockOutputs, weights.end_output - output);
      const TileBlock block{.a = a,
                            .a_stride = row_words,
                            .b = b,
                            .b_stride = n_outputs > kTileOutputs ? weights.panel_stride : 0,
                            .n_k_tiles = n_k,
                            .c = y + row * y_stride + output,
                            .c_stride = y_stride,
                            .n_row_tiles = row_tile + 1 < x.n_row_tiles ? 2 : 1,
                            .accumulate = weights.first_k_tile > 0,
                            .next = {next, next + row_words}};
      const int64_t n_rows = std::min(block.n_row_tiles * kTileRows, x.n_tokens - row);
      if (n_rows == block.n_row_tiles * kTileRows && n_outputs == kBlockOutputs) {
        kernels.multiply(block);
      } else {
        multiply_edge(block, n_rows, n_outputs);
      }
    }
  }
}

// How many of n_panels a thread takes at a time: an even number, and such that all threads have the
// same number of slabs.
int64_t slab_panels(int64_t n_panels) {
  const int64_t n_threads = current_threads();
  const int64_t n_rounds = (n_panels + kSlabPanels * n_threads - 1) / (kSlabPanels * n_threads);
  const int64_t panels = (n_panels + n_rounds * n_threads - 1) / (n_rounds * n_threads);
  return panels + panels % 2;
}

// y[t * y_stride + o] = output o of token t; sums in float32.
void multiply_slabs(const TiledRows& x, const TileSource& source, float* y, int64_t y_stride) {
  constexpr int64_t kMinParallelProducts = 8'000'000;  // multiply-adds worth waking a team for
  const TileKernels& kernels = tile_kernels();
  const int64_t n_panels = source.n_panels();
  const int64_t slab = slab_panels(n_panels);
  const int64_t room_stride = kernels.slab_k_tiles * kTileWords;
  thread_local Scratch<uint16_t> scratch;
  // Here, where a failure can be told.
  uint16_t* rooms = source.dequantize == nullptr
                        ? nullptr
                        : scratch.get(current_threads() * kSlabPanels * room_stride);
  const bool parallel = x.n_tokens * source.n_out * source.n_in >= kMinParallelProducts;
  parallel_for(n_panels, parallel ? slab : n_panels, [&](int64_t first, int64_t last, int thread) {
    uint16_t* room = rooms == nullptr ? nullptr : rooms + thread * kSlabPanels * room_stride;
    kernels.begin();
    for (int64_t begin = first; begin < last; begin += slab) {
      const Range panels{begin, std::min(begin + slab, last)};
      for (int64_t k = 0; k < x.n_k_tiles; k += kernels.slab_k_tiles) {
        const Range k_tiles{k, std::min(k + kernels.slab_k_tiles, x.n_k_tiles)};
        multiply_tiles(x, weight_tiles(source, panels, k_tiles, room, room_stride), y, y_stride);
      }
    }
    kernels.end();
  });
}

}  // namespace

struct Linear::Impl {
  Precision precision;
  int64_t n_in = 0;
  int64_t n_out = 0;
  std::vector<StackedMatrix> matrices;
  std::vector<float> bias;  // [n_out], or empty

  // Calls use(matrix, its first output in y) for the matrices of one kind.
  template <class Matrix, class Use>
  void for_each(float* y, const Use& use) const {
    for (const StackedMatrix& stacked : matrices) {
      if (const auto* matrix = stacked.as<Matrix>()) use(*matrix, y + stacked.first_output);
    }
  }

  // Whether inputs of quantised weights are rounded to int8.
  bool meets_int8(int64_t n_tokens) const {
    switch (precision.int8_inputs) {
      case Int8Inputs::kNone:
        return false;
      case Int8Inputs::kFewTokens:
        return n_tokens <= kFewTokens;
      case Int8Inputs::kAlways:
        return true;
    }
    return false;
  }

  void multiply(const float* x, int64_t n_tokens, float* y) const {
    const bool vector = n_tokens == 1;
    const bool int8 = meets_int8(n_tokens);
    if (int8) multiply_int8(x, n_tokens, y);
    if (precision.products == ProductType::kBf16) {
      if (vector) {
        for_each<Bf16Matrix>(
            y, [&](const Bf16Matrix& matrix, float* to) { matrix.multiply_vector(x, to); });
      }
      multiply_tiled(x, n_tokens, y, [&](const StackedMatrix& stacked) {
        return stacked.as<QuantMatrix>() != nullptr ? !int8 : !vector;
      });
      return;
    }
    for_each<FloatMatrix>(
        y, [&](const FloatMatrix& matrix, float* to) { matrix.multiply(x, n_tokens, to, n_out); });
    if (int8) return;
    for_each<QuantMatrix>(y, [&](const QuantMatrix& matrix, float* to) {
      matrix.multiply_f32(x, n_tokens, to, n_out);
    });
  }

  // The quantised matrices, with inputs rounded to int8.
  void multiply_int8(const float* x, int64_t n_tokens, float* y) const {
    const auto is_quantised = [](const StackedMatrix& stacked) {
      return stacked.as<QuantMatrix>() != nullptr;
    };
    if (std::ranges::none_of(matrices, is_quantised)) return;
    const Int8Rows rows = round_to_int8(x, n_tokens, n_in);
    for_each<QuantMatrix>(
        y, [&](const QuantMatrix& matrix, float* to) { matrix.multiply_int8(rows, to, n_out); });
  }

  // The matrices that takes() says, in bfloat16 tiles.
  template <class Takes>
  void multiply_tiled(const float* x, int64_t n_tokens, float* y, const Takes& takes) const {
    if (std::ranges::none_of(matrices, takes)) return;
    for (int64_t t = 0; t < n_tokens; t += kMaxTiledTokens) {
      const TiledRows rows =
          round_to_tiles(x + t * n_in, std::min(kMaxTiledTokens, n_tokens - t), n_in);
      for (const StackedMatrix& stacked : matrices) {
        if (!takes(stacked)) continue;
        multiply_slabs(rows, stacked.tiles, y + t * n_out + stacked.first_output, n_out);
      }
    }
  }
};

Linear::Linear(std::span<const MatrixView> parts, Precision precision, std::vector<float> bias,
               PackedMatrices* kept)
    : impl_(std::make_unique<Impl>()) {
  impl_->precision = precision;
  impl_->matrices = pack_stacked(parts, precision, kept);
  impl_->n_in = parts.front().n_cols;
  for (const MatrixView& part : parts) impl_->n_out += part.n_rows;
  if (!bias.empty() && static_cast<int64_t>(bias.size()) != impl_->n_out) {
    fail(ErrorCode::kInvalidArgument, "a bias of {} values cannot be added to {} outputs",
         bias.size(), impl_->n_out);
  }
  impl_->bias = std::move(bias);
}

Linear::Linear() = default;
Linear::~Linear() = default;
Linear::Linear(Linear&&) noexcept = default;
Linear& Linear::operator=(Linear&&) noexcept = default;

void Linear::operator()(const float* x, int64_t n_tokens, float* y) const {
  if (n_tokens <= 0) return;
  if (!impl_) fail(ErrorCode::kInvalidArgument, "a product was asked of a Linear without weights");
  impl_->multiply(x, n_tokens, y);
  if (!impl_->bias.empty()) add_to_rows(impl_->bias.data(), n_tokens, impl_->n_out, y);
}

int64_t Linear::tokens_as_alone() const {
  const auto is_quantised = [](const StackedMatrix& stacked) {
    return stacked.as<QuantMatrix>() != nullptr;
  };
  return impl_ && std::ranges::all_of(impl_->matrices, is_quantised)
             ? chunkllm::tokens_as_alone(impl_->precision)
             : 1;
}

int64_t Linear::n_in() const { return impl_ ? impl_->n_in : 0; }
int64_t Linear::n_out() const { return impl_ ? impl_->n_out : 0; }
int64_t Linear::size_bytes() const {
  if (!impl_) return 0;
  auto n_bytes = static_cast<int64_t>(impl_->bias.size() * sizeof(float));
  for (const StackedMatrix& stacked : impl_->matrices) n_bytes += stacked.size_bytes();
  return n_bytes;
}

int64_t packed_matrix_bytes(DType dtype, int64_t n_rows, int64_t n_cols, Precision precision) {
  if (!is_quantized(dtype))
    return n_rows * n_cols * (precision.products == ProductType::kBf16 ? 2 : 4);
  const QuantUnit unit = quant_unit(dtype);
  const int64_t n_panels = (n_rows + kQuantPanelOutputs - 1) / kQuantPanelOutputs;
  const int64_t n_units = (n_cols + unit.n_inputs - 1) / unit.n_inputs;
  return n_panels * n_units * unit.bytes;
}

}  // namespace chunkllm

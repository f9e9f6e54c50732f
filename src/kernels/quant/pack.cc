#include "kernels/quant/pack.h"

#include <array>
#include <cstddef>
#include <cstring>
#include <utility>

#include "base/quant/blocks.h"
#include "base/thread_pool.h"

namespace chunkllm {
namespace {

uint32_t word(const uint8_t* bytes) {
  uint32_t value = 0;
  std::memcpy(&value, bytes, sizeof(value));
  return value;
}

// Writes row o's word of four inputs to vector v of a plane.
void put(uint8_t* plane, int64_t v, int64_t o, uint32_t value) {
  std::memcpy(plane + v * kQuantVectorBytes + 4 * o, &value, sizeof(value));
}

// Writes bits [kShift, kShift + kBits) of 32 codes to row o of a plane of kBits bits; four codes
// are handled as one word.
template <int kBits, int kShift>
void put_plane(const uint8_t* codes, int64_t o, uint8_t* plane) {
  constexpr uint32_t kMask = ((1u << kBits) - 1) * 0x01010101u;
  const auto bits = [codes](int64_t g) { return word(codes + 4 * g) >> kShift & kMask; };
  if constexpr (kBits == 8) {
    for (int64_t g = 0; g < 8; ++g) put(plane, g, o, bits(g));
  } else if constexpr (kBits == 4) {
    for (int64_t g = 0; g < 4; ++g) put(plane, g, o, bits(g) | bits(g + 4) << 4);
  } else if constexpr (kBits == 2) {
    for (int64_t v = 0; v < 2; ++v) {
      uint32_t pairs = 0;
      for (int64_t j = 0; j < 4; ++j) pairs |= bits(4 * v + j) << (2 * j);
      put(plane, v, o, pairs);
    }
  } else if constexpr (kBits == 1) {
    uint32_t single = 0;
    for (int64_t g = 0; g < 8; ++g) single |= bits(g) << g;
    put(plane, 0, o, single);
  }
}

void put_half(uint8_t* halves, int64_t o, uint16_t value) {
  std::memcpy(halves + 2 * o, &value, sizeof(value));
}

// Writes block b, of 32 codes, of row o of a unit.
template <int kIndex>
void put_codes(const uint8_t* codes, int64_t b, int64_t o, uint8_t* unit) {
  using Unit = UnitLayout<kIndex>;
  put_plane<Unit::kLowBits, 0>(codes, o, unit + b * Unit::kLowBlock);
  put_plane<Unit::kHighBits, Unit::kLowBits>(codes, o, unit + Unit::kHigh + b * Unit::kHighBlock);
}

// Writes block `b` of the file's blocks that row o has in a unit.
template <int kIndex>
void put_block(const QuantBlock& block, int64_t b, int64_t o, uint8_t* unit) {
  using Unit = UnitLayout<kIndex>;
  if constexpr (Unit::kSuper) {
    for (int64_t k = 0; k < Unit::kBlocks; ++k) {
      put_codes<kIndex>(block.codes + kQuantBlock * k, k, o, unit);
    }
    for (int64_t s = 0; s < Unit::kBlocks * Unit::kSubBlocks; ++s) {
      uint8_t scale = block.scales[s];
      if constexpr (Unit::kCodes.scale == ScaleKind::kNibble) {
        scale = static_cast<uint8_t>(scale | block.mins[s] << 4);
      }
      unit[Unit::kScales + 16 * s + o] = scale;
      if constexpr (Unit::kHasMinBytes) unit[Unit::kMins + 16 * s + o] = block.mins[s];
    }
    b = 0;
  } else {
    put_codes<kIndex>(block.codes, b, o, unit);
  }
  put_half(unit + Unit::kD + 32 * b, o, block.d);
  if constexpr (Unit::kHasMin) put_half(unit + Unit::kDmin + 32 * b, o, block.min);
}

// Writes output `o` of a panel from the `n_blocks` blocks at `source`.
template <int kIndex>
void pack_row(const std::byte* source, const QuantFormat& format, int64_t n_blocks, int64_t o,
              uint8_t* panel) {
  using Unit = UnitLayout<kIndex>;
  constexpr int64_t kPerUnit = Unit::kSuper ? 1 : Unit::kBlocks;
  const DecodeBlock decode = block_decoder(format.dtype);
  QuantBlock block;
  for (int64_t k = 0; k < n_blocks; ++k, source += format.block_bytes) {
    decode(source, block);
    put_block<kIndex>(block, k % kPerUnit, o, panel + k / kPerUnit * Unit::kUnitBytes);
  }
}

using PackRow = void (*)(const std::byte* source, const QuantFormat& format, int64_t n_blocks,
                         int64_t o, uint8_t* panel);

struct Packing {
  PackRow pack_row;
  QuantUnit unit;
};

template <int... kIndex>
constexpr std::array<Packing, kNumQuantFormats> packings(
    std::integer_sequence<int, kIndex...> /*rows*/) {
  return {Packing{pack_row<layout_index(kIndex)>,
                  {UnitLayout<kIndex>::kUnitBytes, UnitLayout<kIndex>::kUnitInputs}}...};
}

constexpr auto kPackings = packings(std::make_integer_sequence<int, kNumQuantFormats>());

const Packing& packing(const QuantFormat& format) {
  return kPackings[static_cast<size_t>(quant_index(format.dtype))];
}

}  // namespace

QuantUnit quant_unit(DType dtype) { return packing(quant_format(dtype)).unit; }

void pack_quantized(std::span<const MatrixView> parts, const QuantPanels& layout, uint8_t* target) {
  const QuantFormat& format = quant_format(layout.dtype);
  const PackRow pack = packing(format).pack_row;
  const int64_t row_bytes = dtype_row_bytes(layout.dtype, layout.n_in);
  const int64_t n_blocks = layout.n_in / format.block_elements;
  parallel_for(layout.n_panels, 1, [&](int64_t p, int64_t, int) {
    uint8_t* panel = target + p * layout.panel_bytes;
    for (int64_t o = 0; o < kQuantPanelOutputs; ++o) {
      int64_t row = p * kQuantPanelOutputs + o;
      for (const MatrixView& part : parts) {
        if (row < part.n_rows) {
          pack(static_cast<const std::byte*>(part.data) + row * row_bytes, format, n_blocks, o,
               panel);
          break;
        }
        row -= part.n_rows;
      }
    }
  });
}

}  // namespace chunkllm

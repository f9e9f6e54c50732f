#include "kernels/quant/pack.h"

#include <array>
#include <cstddef>
#include <cstring>

#include "base/error.h"
#include "base/quant_blocks.h"

namespace chunkllm {
namespace {

// One row's share of a unit: the integers with their offset added, and the scales.
struct UnitRow {
  alignas(64) std::array<uint8_t, kSuperBlock> q;
  std::array<uint8_t, 16> scales;
  std::array<uint8_t, 8> mins;
  std::array<uint16_t, 2> d;
  uint16_t dmin;
};

void read(const BlockQ8_0& block, int64_t b, UnitRow& row) {
  for (size_t i = 0; i < 32; ++i) {
    row.q[static_cast<size_t>(32 * b) + i] = static_cast<uint8_t>(block.q[i] ^ 0x80);
  }
  row.d[static_cast<size_t>(b)] = block.d;
}

void read(const BlockQ4_0& block, int64_t b, UnitRow& row) {
  uint8_t* q = row.q.data() + 32 * b;
  for (size_t i = 0; i < 16; ++i) {
    q[i] = block.q[i] & 15;
    q[i + 16] = block.q[i] >> 4;
  }
  row.d[static_cast<size_t>(b)] = block.d;
}

// BlockQ4K and BlockQ5K but for the fifth bit.
template <class Block>
void read_scaled(const Block& block, UnitRow& row) {
  for (size_t pair = 0; pair < 4; ++pair) {
    for (size_t i = 0; i < 32; ++i) {
      row.q[64 * pair + i] = block.q[32 * pair + i] & 15;
      row.q[64 * pair + 32 + i] = block.q[32 * pair + i] >> 4;
    }
  }
  for (size_t s = 0; s < 8; ++s) {
    const ScaleAndMin sub = scale_and_min(block.scales, static_cast<int>(s));
    row.scales[s] = sub.scale;
    row.mins[s] = sub.min;
  }
  row.d[0] = block.d;
  row.dmin = block.dmin;
}

void read(const BlockQ4K& block, int64_t, UnitRow& row) { read_scaled(block, row); }

void read(const BlockQ5K& block, int64_t, UnitRow& row) {
  read_scaled(block, row);
  for (size_t s = 0; s < 8; ++s) {
    for (size_t i = 0; i < 32; ++i) {
      row.q[32 * s + i] = static_cast<uint8_t>(row.q[32 * s + i] | ((block.high[i] >> s) & 1) << 4);
    }
  }
}

void read(const BlockQ6K& block, int64_t, UnitRow& row) {
  for (size_t h = 0; h < 2; ++h) {
    const uint8_t* low = block.low.data() + 64 * h;
    const uint8_t* high = block.high.data() + 32 * h;
    for (size_t r = 0; r < 4; ++r) {
      for (size_t i = 0; i < 32; ++i) {
        row.q[128 * h + 32 * r + i] = static_cast<uint8_t>(
            ((low[32 * (r % 2) + i] >> (4 * (r / 2))) & 15) | ((high[i] >> (2 * r)) & 3) << 4);
      }
    }
  }
  std::memcpy(row.scales.data(), block.scales.data(), block.scales.size());
  row.d[0] = block.d;
}

uint32_t word(const uint8_t* bytes) {
  uint32_t value = 0;
  std::memcpy(&value, bytes, sizeof(value));
  return value;
}

// Writes a word of four inputs to place `o` of a vector.
void put(uint8_t* vector, int64_t o, uint32_t value) {
  std::memcpy(vector + 4 * o, &value, sizeof(value));
}

// Writes row `o` of a unit; four integers are handled as one word.
template <DType kType>
void write(const UnitRow& row, int64_t o, uint8_t* unit) {
  using Format = QuantFormat<kType>;
  for (int64_t b = 0; b < Format::kBlocks; ++b) {
    const uint8_t* q = row.q.data() + kQuantBlock * b;
    if constexpr (Format::kBits == 8) {
      for (int64_t g = 0; g < 8; ++g)
        put(unit + (8 * b + g) * kQuantVectorBytes, o, word(q + 4 * g));
    } else {
      constexpr uint32_t kNibbles = 0x0f0f0f0fu;
      for (int64_t g = 0; g < 4; ++g) {
        const uint32_t low = word(q + 4 * g) & kNibbles;
        const uint32_t high = word(q + 4 * g + 16) & kNibbles;
        put(unit + (4 * b + g) * kQuantVectorBytes, o, low | high << 4);
      }
    }
    uint8_t* high = unit + Format::kHigh + b * Format::kHighBlock;
    if constexpr (Format::kBits == 5) {
      uint32_t bits = 0;
      for (int64_t g = 0; g < 8; ++g) bits |= ((word(q + 4 * g) >> 4) & 0x01010101u) << g;
      put(high, o, bits);
    }
    if constexpr (Format::kBits == 6) {
      for (int64_t v = 0; v < 2; ++v) {
        uint32_t bits = 0;
        for (int64_t j = 0; j < 4; ++j) {
          bits |= ((word(q + 16 * v + 4 * j) >> 4) & 0x03030303u) << (2 * j);
        }
        put(high + v * kQuantVectorBytes, o, bits);
      }
    }
  }
  const auto put_half = [o](uint8_t* halves, uint16_t value) {
    std::memcpy(halves + 2 * o, &value, sizeof(value));
  };
  if constexpr (Format::kSuper) {
    constexpr int64_t kScales = Format::kBlocks * Format::kScalesPerBlock;
    for (int64_t s = 0; s < kScales; ++s) {
      unit[Format::kScales + 16 * s + o] = row.scales[static_cast<size_t>(s)];
    }
    put_half(unit + Format::kD, row.d[0]);
  } else {
    for (int64_t b = 0; b < Format::kBlocks; ++b) {
      put_half(unit + Format::kD + 32 * b, row.d[static_cast<size_t>(b)]);
    }
  }
  if constexpr (Format::kHasMin) {
    for (int64_t s = 0; s < Format::kBlocks; ++s) {
      unit[Format::kMins + 16 * s + o] = row.mins[static_cast<size_t>(s)];
    }
    put_half(unit + Format::kDmin, row.dmin);
  }
}

// Writes output `o` of a panel from the `n_blocks` blocks at `source`.
template <DType kType, class Block>
void pack_row(const std::byte* source, int64_t n_blocks, int64_t o, uint8_t* panel) {
  using Format = QuantFormat<kType>;
  constexpr int64_t kPerUnit = Format::kUnitInputs / Block::kElements;
  for (int64_t begin = 0; begin < n_blocks; begin += kPerUnit, panel += Format::kUnitBytes) {
    UnitRow row{};
    for (int64_t b = 0; b < kPerUnit && begin + b < n_blocks; ++b, source += sizeof(Block)) {
      Block block;
      std::memcpy(&block, source, sizeof(block));
      read(block, b, row);
    }
    write<kType>(row, o, panel);
  }
}

using PackRow = void (*)(const std::byte* source, int64_t n_blocks, int64_t o, uint8_t* panel);

PackRow pack_row_of(DType dtype) {
  switch (dtype) {
    case DType::kQ8_0:
      return pack_row<DType::kQ8_0, BlockQ8_0>;
    case DType::kQ4_0:
      return pack_row<DType::kQ4_0, BlockQ4_0>;
    case DType::kQ4K:
      return pack_row<DType::kQ4K, BlockQ4K>;
    case DType::kQ5K:
      return pack_row<DType::kQ5K, BlockQ5K>;
    case DType::kQ6K:
      return pack_row<DType::kQ6K, BlockQ6K>;
    case DType::kF32:
    case DType::kF16:
    case DType::kBf16:
    case DType::kI32:
    case DType::kI64:
    case DType::kU8:
      break;
  }
  fail(ErrorCode::kUnsupported, "{} is not a quantised type", dtype_name(dtype));
}

template <DType kType>
QuantUnit unit_of() {
  return {QuantFormat<kType>::kUnitBytes, QuantFormat<kType>::kUnitInputs};
}

}  // namespace

QuantUnit quant_unit(DType dtype) {
  switch (dtype) {
    case DType::kQ8_0:
      return unit_of<DType::kQ8_0>();
    case DType::kQ4_0:
      return unit_of<DType::kQ4_0>();
    case DType::kQ4K:
      return unit_of<DType::kQ4K>();
    case DType::kQ5K:
      return unit_of<DType::kQ5K>();
    case DType::kQ6K:
      return unit_of<DType::kQ6K>();
    case DType::kF32:
    case DType::kF16:
    case DType::kBf16:
    case DType::kI32:
    case DType::kI64:
    case DType::kU8:
      break;
  }
  fail(ErrorCode::kUnsupported, "{} is not a quantised type", dtype_name(dtype));
}

void pack_quantized(std::span<const MatrixView> parts, const QuantPanels& layout, uint8_t* target) {
  const PackRow pack = pack_row_of(layout.dtype);
  const int64_t row_bytes = dtype_row_bytes(layout.dtype, layout.n_in);
  const int64_t n_blocks = layout.n_in / dtype_block_elements(layout.dtype);
#pragma omp parallel for schedule(static)
  for (int64_t p = 0; p < layout.n_panels; ++p) {
    uint8_t* panel = target + p * layout.panel_bytes;
    for (int64_t o = 0; o < kQuantPanelOutputs; ++o) {
      int64_t row = p * kQuantPanelOutputs + o;
      for (const MatrixView& part : parts) {
        if (row < part.n_rows) {
          pack(static_cast<const std::byte*>(part.data) + row * row_bytes, n_blocks, o, panel);
          break;
        }
        row -= part.n_rows;
      }
    }
  }
}

}  // namespace chunkllm

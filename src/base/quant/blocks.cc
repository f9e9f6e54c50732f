#include "base/quant/blocks.h"

#include <bit>
#include <cstring>
#include <utility>

#include "base/bf16.h"
#include "base/error.h"
#include "base/half.h"

namespace chunkllm {
namespace {

uint8_t byte_at(const std::byte* bytes, int64_t at) { return std::to_integer<uint8_t>(bytes[at]); }

uint16_t word_at(const std::byte* bytes, int64_t at) {
  return static_cast<uint16_t>(byte_at(bytes, at) | byte_at(bytes, at + 1) << 8);
}

// Runs of 2 n codes in n bytes: the first n in the low nibbles, the others in the high ones.
void read_nibbles(const std::byte* source, int64_t n, uint8_t* codes) {
  for (int64_t i = 0; i < n; ++i) {
    const uint8_t both = byte_at(source, i);
    codes[i] = both & 15;
    codes[i + n] = both >> 4;
  }
}

// Bit r of 32 bytes becomes bit kTo of codes 32 r to 32 r + 31, for r up to 7.
template <int kTo>
void add_bits(const std::byte* source, uint8_t* codes) {
  for (int64_t r = 0; r < 8; ++r, codes += 32) {
    for (int64_t i = 0; i < 32; ++i) {
      codes[i] = static_cast<uint8_t>(codes[i] | ((byte_at(source, i) >> r) & 1) << kTo);
    }
  }
}

// Bits of a word that are the fifth ones of 32 codes.
void add_fifth_bits(const std::byte* source, uint8_t* codes) {
  for (int64_t i = 0; i < 32; ++i) {
    codes[i] = static_cast<uint8_t>(codes[i] | ((byte_at(source, i / 8) >> (i % 8)) & 1) << 4);
  }
}

// 256 codes of 2 bits: byte i of half h has those of elements 128 h + 32 r + i at bits 2r.
void read_pairs(const std::byte* source, uint8_t* codes) {
  for (int64_t h = 0; h < 2; ++h) {
    for (int64_t r = 0; r < 4; ++r) {
      for (int64_t i = 0; i < 32; ++i) {
        codes[128 * h + 32 * r + i] = (byte_at(source, 32 * h + i) >> (2 * r)) & 3;
      }
    }
  }
}

// Eight scales and eight mins of 6 bits in 12 bytes: the low halves of the last four share bytes,
// their upper bits stand above the first four.
void read_scales_and_mins(const std::byte* bytes, QuantBlock& block) {
  for (int64_t s = 0; s < 4; ++s) {
    const uint8_t scale = byte_at(bytes, s);
    const uint8_t min = byte_at(bytes, s + 4);
    const uint8_t last = byte_at(bytes, s + 8);
    block.scales[s] = scale & 63;
    block.mins[s] = min & 63;
    block.scales[s + 4] = static_cast<uint8_t>((last & 15) | (scale >> 6) << 4);
    block.mins[s + 4] = static_cast<uint8_t>((last >> 4) | (min >> 6) << 4);
  }
}

// One for each row of kQuantFormats; offsets of fields are ggml's.
template <DType kType>
void decode_block(const std::byte* source, QuantBlock& block);

template <>
void decode_block<DType::kQ4_0>(const std::byte* source, QuantBlock& block) {
  block.d = word_at(source, 0);
  read_nibbles(source + 2, 16, block.codes);
}

template <>
void decode_block<DType::kQ4_1>(const std::byte* source, QuantBlock& block) {
  block.d = word_at(source, 0);
  block.min = word_at(source, 2);
  read_nibbles(source + 4, 16, block.codes);
}

template <>
void decode_block<DType::kQ5_0>(const std::byte* source, QuantBlock& block) {
  block.d = word_at(source, 0);
  read_nibbles(source + 6, 16, block.codes);
  add_fifth_bits(source + 2, block.codes);
}

template <>
void decode_block<DType::kQ5_1>(const std::byte* source, QuantBlock& block) {
  block.d = word_at(source, 0);
  block.min = word_at(source, 2);
  read_nibbles(source + 8, 16, block.codes);
  add_fifth_bits(source + 4, block.codes);
}

template <>
void decode_block<DType::kQ8_0>(const std::byte* source, QuantBlock& block) {
  block.d = word_at(source, 0);
  for (int64_t i = 0; i < 32; ++i) block.codes[i] = byte_at(source, 2 + i) ^ 0x80;
}

template <>
void decode_block<DType::kQ2K>(const std::byte* source, QuantBlock& block) {
  for (int64_t s = 0; s < 16; ++s) {
    block.scales[s] = byte_at(source, s) & 15;
    block.mins[s] = byte_at(source, s) >> 4;
  }
  read_pairs(source + 16, block.codes);
  block.d = word_at(source, 80);
  block.min = word_at(source, 82);
}

// Scale s has its low 4 bits in byte s % 8 and 2 more, of four scales each, in the last four bytes.
template <>
void decode_block<DType::kQ3K>(const std::byte* source, QuantBlock& block) {
  read_pairs(source + 32, block.codes);
  add_bits<2>(source, block.codes);
  for (int64_t s = 0; s < 16; ++s) {
    const int low = (byte_at(source, 96 + s % 8) >> (s / 8 * 4)) & 15;
    const int high = (byte_at(source, 104 + s % 4) >> (s / 4 * 2)) & 3;
    block.scales[s] = static_cast<uint8_t>((low | high << 4) - 32);
  }
  block.d = word_at(source, 108);
}

template <>
void decode_block<DType::kQ4K>(const std::byte* source, QuantBlock& block) {
  block.d = word_at(source, 0);
  block.min = word_at(source, 2);
  read_scales_and_mins(source + 4, block);
  for (int64_t pair = 0; pair < 4; ++pair) {
    read_nibbles(source + 16 + 32 * pair, 32, block.codes + 64 * pair);
  }
}

template <>
void decode_block<DType::kQ5K>(const std::byte* source, QuantBlock& block) {
  block.d = word_at(source, 0);
  block.min = word_at(source, 2);
  read_scales_and_mins(source + 4, block);
  for (int64_t pair = 0; pair < 4; ++pair) {
    read_nibbles(source + 48 + 32 * pair, 32, block.codes + 64 * pair);
  }
  add_bits<4>(source + 16, block.codes);
}

template <>
void decode_block<DType::kQ6K>(const std::byte* source, QuantBlock& block) {
  for (int64_t h = 0; h < 2; ++h) {
    uint8_t* codes = block.codes + 128 * h;
    read_nibbles(source + 64 * h, 64, codes);
    const std::byte* high = source + 128 + 32 * h;
    for (int64_t r = 0; r < 4; ++r, codes += 32) {
      for (int64_t i = 0; i < 32; ++i) {
        codes[i] = static_cast<uint8_t>(codes[i] | ((byte_at(high, i) >> (2 * r)) & 3) << 4);
      }
    }
  }
  for (int64_t s = 0; s < 16; ++s) block.scales[s] = byte_at(source, 192 + s);
  block.d = word_at(source, 208);
}

template <>
void decode_block<DType::kIq4Nl>(const std::byte* source, QuantBlock& block) {
  block.d = word_at(source, 0);
  read_nibbles(source + 2, 16, block.codes);
}

template <>
void decode_block<DType::kIq4Xs>(const std::byte* source, QuantBlock& block) {
  block.d = word_at(source, 0);
  const uint16_t high = word_at(source, 2);
  for (int64_t s = 0; s < 8; ++s) {
    const int low = (byte_at(source, 4 + s / 2) >> (s % 2 * 4)) & 15;
    block.scales[s] = static_cast<uint8_t>((low | ((high >> (2 * s)) & 3) << 4) - 32);
    read_nibbles(source + 8 + 16 * s, 16, block.codes + 32 * s);
  }
}

// The scale is 2^(e - 128), half of E8M0's since codes are twice E2M1's; below e = 2 it is
// subnormal.
template <>
void decode_block<DType::kMxfp4>(const std::byte* source, QuantBlock& block) {
  const int e = byte_at(source, 0);
  block.d = static_cast<uint16_t>(e < 2 ? 0x20 << e : (e - 1) << 7);
  read_nibbles(source + 1, 16, block.codes);
}

template <int... kIndex>
constexpr std::array<DecodeBlock, kNumQuantFormats> decoders(
    std::integer_sequence<int, kIndex...> /*rows*/) {
  static_assert(((quant_index(kQuantFormats[kIndex].dtype) == kIndex) && ...),
                "the rows stand in the order of DType");
  return {decode_block<kQuantFormats[kIndex].dtype>...};
}

constexpr auto kDecoders = decoders(std::make_integer_sequence<int, kNumQuantFormats>());

float scale_value(ScaleKind kind, uint16_t bits) {
  return kind == ScaleKind::kBf16 ? to_float(Bf16{bits}) : half_to_float(bits);
}

float byte_scale(const QuantLayout& layout, uint8_t byte) {
  return static_cast<float>(layout.scale == ScaleKind::kSigned ? static_cast<int8_t>(byte) : byte);
}

void block_values(const QuantFormat& format, const QuantBlock& block, float* values) {
  const QuantLayout& layout = format.layout;
  const bool bytes = layout.has_byte_scales();
  const float d = scale_value(layout.scale, block.d);
  const float min_unit = layout.has_min ? half_to_float(block.min) : 0.0f;
  for (int64_t i = 0; i < format.block_elements; i += layout.sub_block) {
    const int64_t s = i / layout.sub_block;
    const float scale = bytes ? d * byte_scale(layout, block.scales[s]) : d;
    const int64_t end = i + layout.sub_block;
    if (layout.has_codebook) {
      for (int64_t k = i; k < end; ++k) {
        values[k] = scale * static_cast<float>(layout.codebook.values[block.codes[k]]);
      }
    } else if (layout.has_min) {
      const float min = bytes ? min_unit * static_cast<float>(block.mins[s]) : -min_unit;
      for (int64_t k = i; k < end; ++k) {
        values[k] = scale * static_cast<float>(block.codes[k]) - min;
      }
    } else {
      for (int64_t k = i; k < end; ++k) {
        values[k] = scale * static_cast<float>(block.codes[k] - layout.offset);
      }
    }
  }
}

}  // namespace

const QuantFormat& quant_format(DType dtype) {
  const int index = quant_index(dtype);
  if (index < 0) {
    fail(ErrorCode::kUnsupported, "{} is not a quantised type", dtype_name(dtype));
  }
  return kQuantFormats[index];
}

DecodeBlock block_decoder(DType dtype) {
  return kDecoders[static_cast<size_t>(quant_index(quant_format(dtype).dtype))];
}

void dequantize(DType dtype, const std::byte* source, int64_t n, float* target) {
  const QuantFormat& format = quant_format(dtype);
  const DecodeBlock decode = block_decoder(dtype);
  QuantBlock block;
  for (int64_t i = 0; i < n; i += format.block_elements, source += format.block_bytes) {
    decode(source, block);
    block_values(format, block, target + i);
  }
}

}  // namespace chunkllm

// The element types of tensors, and the block formats of quantised weights, as GGUF files hold them
// (ggml's "gguf" specification and its quantisation types). A format is one name in DType, its row
// of kQuantFormats and one decode_block() in blocks.cc; dequantisation, packing, products, GGUF
// files and `inspect` follow from them.
//
// This header holds constants and plain structures alone: it is included where code is compiled
// for one instruction set.
#pragma once

#include <cstdint>
#include <string_view>

namespace chunkllm {

// The quantised types come last, in the order of kQuantFormats.
enum class DType {
  kF32,
  kF16,
  kBf16,
  kI32,
  kI64,
  kU8,
  kQ4_0,
  kQ4_1,
  kQ5_0,
  kQ5_1,
  kQ8_0,
  kQ2K,
  kQ3K,
  kQ4K,
  kQ5K,
  kQ6K,
  kIq4Nl,
  kIq4Xs,
  kMxfp4,
};

inline constexpr int64_t kSmallBlock = 32;
inline constexpr int64_t kSuperBlock = 256;

// How the scale of a sub-block is given.
enum class ScaleKind {
  kHalf,      // d, a binary16
  kBf16,      // d, a bfloat16
  kUnsigned,  // d, a binary16, times an unsigned byte of the sub-block
  kSigned,    // the same with a signed byte
  kNibble,    // the same with 4 bits, and 4 bits of min
};

struct Codebook {
  alignas(16) int8_t values[16] = {};
  friend bool operator==(const Codebook&, const Codebook&) = default;
};

// What the codes of a format mean:
//   value = scale * code - min, scale * (code - offset), or scale * codebook[code]
// With kHalf and kBf16 a block has one scale and at most one min, which is negated:
//   value = d * code + min
// Else each sub-block has its own: scale = d * its byte, min = dmin * its min. Products and
// differences are float32, in this order, which is ggml's.
struct QuantLayout {
  int bits = 0;  // of a code: 2, 3, 4, 5, 6 or 8
  ScaleKind scale = ScaleKind::kHalf;
  int sub_block = 32;  // 16 or 32: elements that share a scale
  bool has_min = false;
  int offset = 0;
  bool has_codebook = false;  // of codes of 4 bits
  Codebook codebook = {};

  constexpr bool has_byte_scales() const {
    return scale != ScaleKind::kHalf && scale != ScaleKind::kBf16;
  }
  friend bool operator==(const QuantLayout&, const QuantLayout&) = default;
};

// One block taken apart.
struct QuantBlock {
  alignas(64) uint8_t codes[kSuperBlock];  // in the order of the elements
  uint8_t scales[16];                      // of sub-blocks, where they are bytes
  uint8_t mins[16];                        // of sub-blocks, where scales are bytes
  uint16_t d;                              // bits of a binary16, or of a bfloat16
  uint16_t min;                            // bits of a binary16: dmin, or the block's min
};

struct QuantFormat {
  DType dtype;
  std::string_view name;
  uint32_t gguf_type;      // ggml's number of it
  int64_t block_elements;  // kSmallBlock or, with bytes as scales, kSuperBlock
  int64_t block_bytes;
  QuantLayout layout;
};

inline constexpr Codebook kIq4Values = {
    {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113}};
// Twice the values of E2M1 (OCP Microscaling Formats 1.0).
inline constexpr Codebook kE2m1Values = {{0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12}};

// In the order of DType.
inline constexpr QuantFormat kQuantFormats[] = {
    {DType::kQ4_0, "Q4_0", 2, 32, 18, {.bits = 4, .offset = 8}},
    {DType::kQ4_1, "Q4_1", 3, 32, 20, {.bits = 4, .has_min = true}},
    {DType::kQ5_0, "Q5_0", 6, 32, 22, {.bits = 5, .offset = 16}},
    {DType::kQ5_1, "Q5_1", 7, 32, 24, {.bits = 5, .has_min = true}},
    {DType::kQ8_0, "Q8_0", 8, 32, 34, {.bits = 8, .offset = 128}},
    {DType::kQ2K,
     "Q2_K",
     10,
     256,
     84,
     {.bits = 2, .scale = ScaleKind::kNibble, .sub_block = 16, .has_min = true}},
    {DType::kQ3K,
     "Q3_K",
     11,
     256,
     110,
     {.bits = 3, .scale = ScaleKind::kSigned, .sub_block = 16, .offset = 4}},
    {DType::kQ4K,
     "Q4_K",
     12,
     256,
     144,
     {.bits = 4, .scale = ScaleKind::kUnsigned, .has_min = true}},
    {DType::kQ5K,
     "Q5_K",
     13,
     256,
     176,
     {.bits = 5, .scale = ScaleKind::kUnsigned, .has_min = true}},
    {DType::kQ6K,
     "Q6_K",
     14,
     256,
     210,
     {.bits = 6, .scale = ScaleKind::kSigned, .sub_block = 16, .offset = 32}},
    {DType::kIq4Nl,
     "IQ4_NL",
     20,
     32,
     18,
     {.bits = 4, .has_codebook = true, .codebook = kIq4Values}},
    {DType::kIq4Xs,
     "IQ4_XS",
     23,
     256,
     136,
     {.bits = 4, .scale = ScaleKind::kSigned, .has_codebook = true, .codebook = kIq4Values}},
    {DType::kMxfp4,
     "MXFP4",
     39,
     32,
     17,
     {.bits = 4, .scale = ScaleKind::kBf16, .has_codebook = true, .codebook = kE2m1Values}},
};

inline constexpr int kNumQuantFormats = sizeof(kQuantFormats) / sizeof(kQuantFormats[0]);
inline constexpr int kFirstQuantType = static_cast<int>(kQuantFormats[0].dtype);

// The row of a quantised type, or a negative number for one that is not quantised.
inline constexpr int quant_index(DType dtype) { return static_cast<int>(dtype) - kFirstQuantType; }

}  // namespace chunkllm

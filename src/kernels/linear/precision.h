// In which precision dense products are made.
#pragma once

#include <cstdint>
#include <limits>
#include <string_view>

namespace chunkllm {

// What weights and inputs are rounded to before they are multiplied. Sums are float32.
enum class ProductType { kF32, kBf16 };

// "f32", "bf16".
std::string_view product_type_name(ProductType type);

// Where quantised weights meet inputs rounded to int8 in blocks of 32: exact integer sums within a
// block, float32 between blocks. All else is as the products' type says; the two differ by
// rounding.
enum class Int8Inputs {
  kNone,
  kFewTokens,  // as in decode
  kAlways,
};

// What meets the weights, floating ones and quantised ones.
struct Precision {
  // kF32: quantised weights have exactly the values that their format defines. kBf16: quantised
  // weights, which are kept as they are, are rounded as they are multiplied.
  ProductType products = ProductType::kF32;
  Int8Inputs int8_inputs = Int8Inputs::kNone;

  friend bool operator==(const Precision&, const Precision&) = default;
};

inline constexpr Precision kF32Precision{ProductType::kF32, Int8Inputs::kNone};
inline constexpr Precision kInt8Precision{ProductType::kF32, Int8Inputs::kAlways};
inline constexpr Precision kBf16Precision{ProductType::kBf16, Int8Inputs::kFewTokens};

// Up to so many tokens are few (Int8Inputs): dequantising the weights for more pays where products
// are bfloat16.
inline constexpr int64_t kFewTokens = 8;

// Tokens whose products with quantised weights are, for each, the same bits as those of a token of
// its own.
constexpr int64_t tokens_as_alone(const Precision& precision) {
  switch (precision.int8_inputs) {
    case Int8Inputs::kNone:
      return 1;
    case Int8Inputs::kFewTokens:
      return kFewTokens;
    case Int8Inputs::kAlways:
      return std::numeric_limits<int64_t>::max();
  }
  return 1;
}

// Whether active_isa() multiplies bfloat16 natively.
bool bf16_products_available();

}  // namespace chunkllm

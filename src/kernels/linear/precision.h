// In which precision dense products are made.
#pragma once

#include <string_view>

namespace chunkllm {

// What weights and inputs are rounded to before they are multiplied. Sums are float32.
enum class ProductType { kF32, kBf16 };

// "f32", "bf16".
std::string_view product_type_name(ProductType type);

// What meets the weights, floating ones and quantised ones.
struct Precision {
  // kF32: quantised weights have exactly the values that their format defines. kBf16: quantised
  // weights, which are kept as they are, are rounded as they are multiplied.
  ProductType products = ProductType::kF32;
  // Whether quantised weights meet inputs rounded to int8 in blocks of 32 where tokens are few, as
  // in decode: exact integer sums within a block, float32 between blocks. Floating weights, and
  // products of many tokens, as in prefill, are as `products` says: the two differ by rounding.
  bool int8_decode = false;

  friend bool operator==(const Precision&, const Precision&) = default;
};

inline constexpr Precision kF32Precision{ProductType::kF32, false};
inline constexpr Precision kF32Int8DecodePrecision{ProductType::kF32, true};
inline constexpr Precision kBf16Precision{ProductType::kBf16, true};

// Whether active_isa() multiplies bfloat16 natively.
bool bf16_products_available();

}  // namespace chunkllm

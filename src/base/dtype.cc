#include "base/dtype.h"

#include <array>
#include <cstring>

#include "base/bf16.h"
#include "base/error.h"
#include "base/half.h"
#include "base/quant_blocks.h"

namespace chunkllm {
namespace {

struct TypeInfo {
  std::string_view name;
  int64_t block_elements;
  int64_t block_bytes;
};

// In the order of DType.
constexpr std::array<TypeInfo, 11> kTypes{{
    {"F32", 1, 4},
    {"F16", 1, 2},
    {"BF16", 1, 2},
    {"I32", 1, 4},
    {"I64", 1, 8},
    {"U8", 1, 1},
    {"Q8_0", BlockQ8_0::kElements, sizeof(BlockQ8_0)},
    {"Q4_0", BlockQ4_0::kElements, sizeof(BlockQ4_0)},
    {"Q4_K", BlockQ4K::kElements, sizeof(BlockQ4K)},
    {"Q5_K", BlockQ5K::kElements, sizeof(BlockQ5K)},
    {"Q6_K", BlockQ6K::kElements, sizeof(BlockQ6K)},
}};

const TypeInfo& info(DType dtype) { return kTypes.at(static_cast<size_t>(dtype)); }

}  // namespace

int64_t dtype_block_elements(DType dtype) { return info(dtype).block_elements; }

int64_t dtype_block_bytes(DType dtype) { return info(dtype).block_bytes; }

int64_t dtype_bytes(DType dtype) {
  if (is_quantized(dtype)) {
    fail(ErrorCode::kUnsupported, "elements of type {} have no bytes of their own",
         dtype_name(dtype));
  }
  return info(dtype).block_bytes;
}

std::string_view dtype_name(DType dtype) { return info(dtype).name; }

bool is_floating(DType dtype) {
  return dtype == DType::kF32 || dtype == DType::kF16 || dtype == DType::kBf16;
}

void convert_to_float(DType dtype, const void* source, int64_t n, float* target) {
  if (n == 0) return;  // an empty tensor may have null pointers
  const auto* bytes = static_cast<const std::byte*>(source);
  if (is_quantized(dtype)) {
    dequantize(dtype, bytes, n, target);
    return;
  }
  if (dtype == DType::kF32) {
    std::memcpy(target, bytes, static_cast<size_t>(n) * sizeof(float));
    return;
  }
  if (!is_floating(dtype)) {
    fail(ErrorCode::kUnsupported, "cannot read {} as floating point", dtype_name(dtype));
  }
  for (int64_t i = 0; i < n; ++i) {
    uint16_t bits = 0;
    std::memcpy(&bits, bytes + 2 * i, sizeof(bits));
    target[i] = dtype == DType::kBf16 ? to_float(Bf16{bits}) : half_to_float(bits);
  }
}

}  // namespace chunkllm

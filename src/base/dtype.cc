#include "base/dtype.h"

#include <array>
#include <cstring>

#include "base/bf16.h"
#include "base/error.h"
#include "base/half.h"
#include "base/quant/blocks.h"

namespace chunkllm {
namespace {

struct PlainType {
  std::string_view name;
  int64_t n_bytes;
};

// In the order of DType, up to the quantised types.
constexpr std::array<PlainType, kFirstQuantType> kPlainTypes{
    {{"F32", 4}, {"F16", 2}, {"BF16", 2}, {"I32", 4}, {"I64", 8}, {"U8", 1}}};

const PlainType& plain_type(DType dtype) { return kPlainTypes.at(static_cast<size_t>(dtype)); }

}  // namespace

int64_t dtype_block_elements(DType dtype) {
  return quant_index(dtype) < 0 ? 1 : quant_format(dtype).block_elements;
}

int64_t dtype_block_bytes(DType dtype) {
  return quant_index(dtype) < 0 ? plain_type(dtype).n_bytes : quant_format(dtype).block_bytes;
}

int64_t dtype_bytes(DType dtype) {
  if (is_quantized(dtype)) {
    fail(ErrorCode::kUnsupported, "elements of type {} have no bytes of their own",
         dtype_name(dtype));
  }
  return plain_type(dtype).n_bytes;
}

std::string_view dtype_name(DType dtype) {
  return quant_index(dtype) < 0 ? plain_type(dtype).name : quant_format(dtype).name;
}

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

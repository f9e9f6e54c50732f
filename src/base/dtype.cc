#include "base/dtype.h"

#include <cstring>

#include "base/bf16.h"
#include "base/error.h"
#include "base/half.h"

namespace chunkllm {

int64_t dtype_bytes(DType dtype) {
  switch (dtype) {
    case DType::kF32:
    case DType::kI32:
      return 4;
    case DType::kF16:
    case DType::kBf16:
      return 2;
    case DType::kI64:
      return 8;
    case DType::kU8:
      return 1;
  }
  fail(ErrorCode::kUnsupported, "unknown element type {}", static_cast<int>(dtype));
}

std::string_view dtype_name(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return "F32";
    case DType::kF16:
      return "F16";
    case DType::kBf16:
      return "BF16";
    case DType::kI32:
      return "I32";
    case DType::kI64:
      return "I64";
    case DType::kU8:
      return "U8";
  }
  return "?";
}

void convert_to_float(DType dtype, const void* source, int64_t n, float* target) {
  if (n == 0) return;  // an empty tensor may have null pointers
  const auto* bytes = static_cast<const std::byte*>(source);
  if (dtype == DType::kF32) {
    std::memcpy(target, bytes, static_cast<size_t>(n) * sizeof(float));
    return;
  }
  if (dtype != DType::kF16 && dtype != DType::kBf16) {
    fail(ErrorCode::kUnsupported, "cannot read {} as floating point", dtype_name(dtype));
  }
  for (int64_t i = 0; i < n; ++i) {
    uint16_t bits = 0;
    std::memcpy(&bits, bytes + 2 * i, sizeof(bits));
    target[i] = dtype == DType::kBf16 ? to_float(Bf16{bits}) : half_to_float(bits);
  }
}

}  // namespace chunkllm

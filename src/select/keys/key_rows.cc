#include "select/keys/key_rows.h"

#include <cstddef>

#include "base/dtype.h"
#include "base/error.h"

namespace chunkllm {
namespace {

DType dtype_of(KvType type) {
  switch (type) {
    case KvType::kF32:
      return DType::kF32;
    case KvType::kBf16:
      return DType::kBf16;
    case KvType::kF16:
      return DType::kF16;
    case KvType::kQ8_0:
      return DType::kQ8_0;
  }
  fail(ErrorCode::kUnsupported, "keys of this --kv-type cannot be read; use bf16");
}

void read_row(const KvLayerView& kv, const void* rows, int64_t head, int64_t position, float* out) {
  const int64_t row = kv.row_of(head, position);
  convert_to_float(dtype_of(kv.type),
                   static_cast<const std::byte*>(rows) + row * kv_row_bytes(kv.type, kv.head_dim),
                   kv.head_dim, out);
}

}  // namespace

void read_key(const KvLayerView& kv, int64_t head, int64_t position, float* out) {
  read_row(kv, kv.keys, head, position, out);
}

void read_value(const KvLayerView& kv, int64_t head, int64_t position, float* out) {
  read_row(kv, kv.values, head, position, out);
}

}  // namespace chunkllm

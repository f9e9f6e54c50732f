// Rows of the KV cache as numbers, for policies that choose by the model's own keys.
#pragma once

#include <cstdint>

#include "kernels/attention/attention.h"

namespace chunkllm {

// Writes the key of one KV head at `position`, after rotary embedding and as exactly as it is
// cached, to out [head_dim].
void read_key(const KvLayerView& kv, int64_t head, int64_t position, float* out);
// The same of the value.
void read_value(const KvLayerView& kv, int64_t head, int64_t position, float* out);

}  // namespace chunkllm

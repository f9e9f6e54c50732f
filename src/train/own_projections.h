// A layer's own query and key projections as a QK Adapter: where its fit starts.
#pragma once

#include <cstdint>

#include "model/weights.h"
#include "select/chunk/adapter.h"

namespace chunkllm {

// q and k [selection_heads * adapter_dim, d_model]. The query heads are shared out among selection
// heads in order; a selection head's score is its query heads' own attention logit as far as it
// does not hang on positions: of each KV head the pairs of features that the rotary embedding turns
// most slowly, as many as fit, with the mean over its query heads. Biases are left out, norms of
// queries and keys taken as their weights. Rows beyond are zero. Read from the packed weights,
// whatever their type, on all threads.
QkAdapter own_projections(const ModelWeights& weights, int64_t layer, int64_t selection_heads,
                          int64_t adapter_dim);

}  // namespace chunkllm

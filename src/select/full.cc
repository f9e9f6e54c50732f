#include "select/full.h"

namespace chunkllm {

void FullPolicy::begin_block(Range positions, std::span<const int32_t> tokens) {
  n_tokens_ = positions.end;
  full_.begin_block(positions, tokens);
}

std::span<const AttentionSpan> FullPolicy::rows(const LayerInput& input) {
  return full_.rows(input);
}

void FullPolicy::restore(std::span<const int32_t> tokens, const PolicyState&) {
  n_tokens_ = static_cast<int64_t>(tokens.size());
}

}  // namespace chunkllm

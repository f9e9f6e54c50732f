#include "select/full.h"

#include <algorithm>

namespace chunkllm {

void FullPolicy::begin_block(Range positions, std::span<const int32_t> tokens) {
  n_tokens_ = positions.end;
  full_.begin_block(positions, tokens);
}

std::span<const AttentionSpan> FullPolicy::rows(const LayerInput& input) {
  return full_.rows(input);
}

Range FullPolicy::next_block(std::span<const int32_t> tokens, int64_t max_tokens) {
  return {n_tokens_, std::min(std::ssize(tokens), n_tokens_ + max_tokens)};
}

int64_t FullPolicy::truncate(int64_t n_tokens) {
  n_tokens_ = std::min(n_tokens_, n_tokens);
  return n_tokens_;
}

void FullPolicy::restore(std::span<const int32_t> tokens, const PolicyState&) {
  n_tokens_ = static_cast<int64_t>(tokens.size());
}

}  // namespace chunkllm

#include "select/text_policy.h"

#include <algorithm>

#include "base/error.h"

namespace chunkllm {

void TextPolicy::add_prompt(Range positions, std::span<const int64_t> prompt_ends) {
  prompts_.add(positions, prompt_ends);
}

Range TextPolicy::next_block(std::span<const int32_t> tokens, int64_t max_tokens) {
  return {n_done_, std::min(std::ssize(tokens), n_done_ + max_tokens)};
}

void TextPolicy::begin_block(Range positions, std::span<const int32_t> tokens) {
  read(positions, tokens);
  spans_.clear();
  block_prompt_rows_ = 0;
  for (int64_t t = positions.begin; t < positions.end; ++t) {
    add_rows(t, spans_);
    if (prompts_.find(t) != nullptr) block_prompt_rows_ += spans_.rows_of_last_query();
  }
  n_done_ = positions.end;
}

std::span<const AttentionSpan> TextPolicy::rows(const LayerInput&) {
  prompt_rows_attended_ += block_prompt_rows_;
  return spans_.spans();
}

int64_t TextPolicy::truncate(int64_t n_tokens) {
  n_done_ = std::min(n_done_, n_tokens);
  prompts_.truncate(n_tokens);
  forget(n_done_);
  return n_done_;
}

void TextPolicy::restore(std::span<const int32_t> tokens, const PolicyState& state) {
  if (!state.positions.empty() || !state.floats.empty()) {
    fail(ErrorCode::kData, "the saved state has arrays, and this policy keeps none; make it anew");
  }
  n_done_ = static_cast<int64_t>(tokens.size());
  read({0, n_done_}, tokens);
}

}  // namespace chunkllm

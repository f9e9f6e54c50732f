// What policies share whose rows follow from positions and tokens alone, alike in all layers.
#pragma once

#include <cstdint>
#include <span>

#include "select/policy.h"
#include "select/prompt_spans.h"
#include "select/spans.h"

namespace chunkllm {

// Computes nothing from the model, so that no token waits for others and nothing is saved. How a
// token came into its sequence makes no difference but to what is counted.
class TextPolicy : public SelectionPolicy {
 public:
  void begin_block(Range positions, std::span<const int32_t> tokens) override;
  std::span<const AttentionSpan> rows(const LayerInput& input) override;
  void add_prompt(Range positions, std::span<const int64_t> prompt_ends) override;
  Range next_block(std::span<const int32_t> tokens, int64_t max_tokens) override;
  int64_t n_done() const override { return n_done_; }
  int64_t truncate(int64_t n_tokens) override;
  PolicyState state() const override { return {}; }
  void restore(std::span<const int32_t> tokens, const PolicyState& state) override;
  int64_t rows_attended(int64_t) const override { return spans_.rows_of_last_query(); }
  int64_t prompt_rows_attended() const override { return prompt_rows_attended_; }

 protected:
  // Takes in tokens that follow those it knows. None by default.
  virtual void read(Range /*positions*/, std::span<const int32_t> /*tokens*/) {}
  // Forgets what it read from position `n` on.
  virtual void forget(int64_t /*n*/) {}
  // Appends the span of the token at `position`, which was read.
  virtual void add_rows(int64_t position, SpanList& spans) = 0;

 private:
  PromptSpans prompts_{PrefillKind::kChunk, 0};
  SpanList spans_;  // of the block, for every layer
  int64_t n_done_ = 0;
  int64_t block_prompt_rows_ = 0;  // that the block's prompt tokens attend to in a layer
  int64_t prompt_rows_attended_ = 0;
};

}  // namespace chunkllm

// The policy `full`: vanilla attention.
#pragma once

#include "select/policy.h"

namespace chunkllm {

class FullPolicy : public SelectionPolicy {
 public:
  void begin_block(Range positions, std::span<const int32_t> tokens) override;
  std::span<const AttentionSpan> rows(const LayerInput& input) override;
  Range next_block(std::span<const int32_t> tokens, int64_t max_tokens) override;
  int64_t n_done() const override { return n_tokens_; }
  int64_t truncate(int64_t n_tokens) override;
  PolicyState state() const override { return {}; }
  void restore(std::span<const int32_t> tokens, const PolicyState& state) override;
  int64_t rows_attended(int64_t) const override { return n_tokens_; }

 private:
  FullRows full_;
  int64_t n_tokens_ = 0;
};

}  // namespace chunkllm

// The policy `separator`: sink, sliding window and separators (SepLLM, arXiv 2412.12094, without
// training).
#pragma once

#include <vector>

#include "select/settings.h"
#include "select/text_policy.h"

namespace chunkllm {

// While the context is within the budget, every token attends to everything; then, in prompts and
// answers alike, to the sink, to the window that ends with itself, and of the separators between
// them to as many as the budget leaves, the newest first. A separator is a token that ends in
// punctuation or holds a line end (chunk/token_marks.h).
class SeparatorPolicy : public TextPolicy {
 public:
  // The token marks, by token id, must outlive it.
  SeparatorPolicy(const SelectionSettings& settings, std::span<const uint8_t> token_marks);

  int64_t size_bytes() const override {
    return static_cast<int64_t>(separators_.size() * sizeof(int64_t));
  }

 protected:
  void read(Range positions, std::span<const int32_t> tokens) override;
  void forget(int64_t n) override;
  void add_rows(int64_t position, SpanList& spans) override;

 private:
  std::span<const uint8_t> token_marks_;
  int64_t sink_;
  int64_t window_;
  KvBudget budget_;
  int64_t least_budget_;             // tokens, of a fraction
  std::vector<int64_t> separators_;  // positions, ascending
  std::vector<Range> rows_;          // scratch
};

}  // namespace chunkllm

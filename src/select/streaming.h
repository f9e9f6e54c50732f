// The policy `streaming`: sink and sliding window (StreamingLLM, arXiv 2309.17453).
#pragma once

#include "select/settings.h"
#include "select/text_policy.h"

namespace chunkllm {

// Every token, of prompts and answers alike, attends to the sink and to as many of the tokens up to
// itself as the budget leaves, at least to itself. Rows keep the positions that they were stored
// with; the paper counts positions anew inside the cache.
class StreamingPolicy : public TextPolicy {
 public:
  explicit StreamingPolicy(const SelectionSettings& settings);

 protected:
  void add_rows(int64_t position, SpanList& spans) override;

 private:
  int64_t sink_;
  KvBudget budget_;
  int64_t least_budget_;  // tokens, of a fraction
};

}  // namespace chunkllm

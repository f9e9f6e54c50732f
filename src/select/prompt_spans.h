// Where the prompts of a sequence lie, as policies need to know it.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/range.h"
#include "select/settings.h"

namespace chunkllm {

// Prompt ends, and the runs of prompt tokens that attend to everything because prompts are
// prefilled in full. Prompts are added in ascending order.
class PromptSpans {
 public:
  explicit PromptSpans(PrefillKind prefill) : prefill_(prefill) {}

  // The tokens at `positions` belong to a prompt; `ends` are the prompt ends among them.
  void add(Range positions, std::span<const int64_t> ends);
  bool is_end(int64_t position) const;
  // The end of the run from `position` on that attends to everything; `position` itself if its
  // token does not.
  int64_t full_end(int64_t position) const;
  // Where the next such run after `position` begins, at most `limit`.
  int64_t next_full(int64_t position, int64_t limit) const;
  // Forgets everything from position `n` on.
  void truncate(int64_t n);

 private:
  PrefillKind prefill_;
  std::vector<int64_t> ends_;  // ascending
  std::vector<Range> full_;    // ascending, disjoint
};

}  // namespace chunkllm

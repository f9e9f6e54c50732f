// Where the prompts of a sequence lie, as policies need to know it.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/range.h"
#include "select/settings.h"

namespace chunkllm {

// Consecutive tokens of one prompt. A plain value.
struct PromptSpan {
  Range positions;
  bool has_end = false;  // the last token is a prompt end
};

// The prompts of a sequence, and which of their tokens attend to everything: the tail before each
// prompt end, or all before it where prompts are prefilled in full. Prompts are added in ascending
// order; a token that lies in none is a generated one.
class PromptSpans {
 public:
  // `tail` tokens before each prompt end, not before its prompt begins.
  PromptSpans(PrefillKind prefill, int64_t tail) : prefill_(prefill), tail_(tail) {}

  // The tokens at `positions` belong to prompts; `ends` are the prompt ends among them. They go on
  // with a prompt that has no end yet.
  void add(Range positions, std::span<const int64_t> ends);
  // The prompt that holds the position; null for a generated token. Valid until the next change.
  const PromptSpan* find(int64_t position) const;
  bool is_end(int64_t position) const;
  // Where the next prompt after `position` begins, at most `limit`.
  int64_t next_begin(int64_t position, int64_t limit) const;
  // The tokens of a prompt that attend to everything, whatever is selected; empty at its end if
  // there are none.
  Range everything_in(const PromptSpan& prompt) const;
  bool attends_to_everything(int64_t position) const;
  // How many of the last tokens of a prompt without an end cannot run before more is known.
  int64_t n_undecided() const { return prefill_ == PrefillKind::kFull ? 0 : tail_; }
  // The position before which all tokens attend as they did if the sequence is cut at `n`.
  int64_t first_changed(int64_t n) const;
  // Forgets everything from position `n` on.
  void truncate(int64_t n);

 private:
  void append(Range positions, bool has_end);

  PrefillKind prefill_;
  int64_t tail_;
  std::vector<PromptSpan> spans_;  // ascending, disjoint
};

}  // namespace chunkllm

// Which refresh's selection each token attends by: the same for all layers that share a track.
#pragma once

#include <cstdint>
#include <vector>

#include "base/range.h"
#include "select/chunk/chunk_track.h"
#include "select/prompt_spans.h"
#include "select/settings.h"

namespace chunkllm {

// Consecutive tokens that attend by one selection.
struct PlannedSpan {
  Range queries = {};
  int64_t refresh = -1;         // its number in the track; -1: they attend to everything
  int64_t local_from = 0;       // the local range reaches `window` tokens back from here
  bool prefill_budget = false;  // the budget is that of prompts
  bool of_prompt = false;       // they are prompt tokens

  bool everything() const { return refresh < 0; }
  // Whether two spans attend by the same selection.
  bool shares_selection(const PlannedSpan& other) const {
    return refresh == other.refresh && local_from == other.local_from &&
           prefill_budget == other.prefill_budget;
  }
};

// The spans of a block at `positions`, whose refreshes are in `track`, with all later ones that its
// prompt tokens may attend by. Generated tokens and prompt ends attend by the last refresh; a
// prompt's tail to everything; the other tokens of a prompt by the next refresh that closes a run
// of tokens (ChunkTrack), if there is one in the prompt and `selection` is kOwn, else by the last.
std::vector<PlannedSpan> plan_spans(const ChunkTrack& track, const PromptSpans& prompts,
                                    Range positions, PrefillSelection selection);

}  // namespace chunkllm

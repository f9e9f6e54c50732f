// The choice itself: which cached rows the tokens after a refresh attend to.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/range.h"
#include "select/chunk/chunk_track.h"

namespace chunkllm {

// The limits of one selection, in tokens unless said otherwise.
struct SelectionLimits {
  int64_t sink = 4;
  int64_t window = 64;
  int64_t budget = 2048;     // rows attended at the refresh, sink and local range included
  int64_t top_k_chunks = 0;  // at least so many chunks, whatever the budget
  // The local range reaches `window` tokens back from here; by default from behind the refresh.
  std::optional<int64_t> local_from = {};
};

// What is attended from a refresh on: `rows`, and everything from `local_begin` to the current
// token.
struct Selection {
  std::vector<int64_t> chunks;  // chosen, ascending
  std::vector<Range> rows;      // sink and chosen chunks, united, all before local_begin
  int64_t local_begin = 0;
  // The best score that was not chosen; -infinity if every eligible chunk was.
  float first_refused_score = 0.0f;
};

// Chunks that may be chosen at a refresh at `position`: closed, at or before the left edge of the
// local range, not wholly inside the sink. A range of chunk indices.
Range eligible_chunks(const ChunkTrack& track, int64_t position, const SelectionLimits& limits);

// Left edge of the local range of a refresh at `position`.
int64_t local_range_begin(const ChunkTrack& track, int64_t position, const SelectionLimits& limits);

// Whether the limits let a refresh at `position` attend to everything, whatever the scores.
bool everything_fits(int64_t position, const SelectionLimits& limits);

// Chooses eligible chunks by descending score (ties to the lower index, NaN as -infinity) until the
// next would exceed the budget; rows that are attended anyway cost nothing. scores[j] belongs to
// chunk eligible.begin + j. Those of `preferred` (eligible) come before all others.
Selection select_chunks(const ChunkTrack& track, int64_t position, const SelectionLimits& limits,
                        std::span<const float> scores, std::span<const int64_t> preferred = {});

// The selection of chosen chunks given beforehand (ascending, eligible).
Selection selection_of(const ChunkTrack& track, int64_t position, const SelectionLimits& limits,
                       std::vector<int64_t> chunks);

}  // namespace chunkllm

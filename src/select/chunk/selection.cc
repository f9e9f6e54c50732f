#include "select/chunk/selection.h"

#include <algorithm>
#include <limits>
#include <numeric>

namespace chunkllm {

int64_t local_range_begin(const ChunkTrack& track, int64_t position,
                          const SelectionLimits& limits) {
  const int64_t from = limits.local_from.value_or(position + 1);
  return track.begin_of_chunk_at(std::max<int64_t>(0, from - limits.window));
}

Range eligible_chunks(const ChunkTrack& track, int64_t position, const SelectionLimits& limits) {
  const Range eligible{track.n_closed_at(limits.sink),
                       track.n_closed_at(local_range_begin(track, position, limits))};
  return {eligible.begin, std::max(eligible.begin, eligible.end)};
}

bool everything_fits(int64_t position, const SelectionLimits& limits) {
  return limits.budget >= position + 1;
}

Selection selection_of(const ChunkTrack& track, int64_t position, const SelectionLimits& limits,
                       std::vector<int64_t> chunks) {
  Selection selection;
  selection.local_begin = local_range_begin(track, position, limits);
  selection.first_refused_score = -std::numeric_limits<float>::infinity();
  append_merged(selection.rows, {0, std::min(limits.sink, selection.local_begin)});
  for (const int64_t j : chunks) append_merged(selection.rows, track.chunk(j));
  selection.chunks = std::move(chunks);
  return selection;
}

Selection select_chunks(const ChunkTrack& track, int64_t position, const SelectionLimits& limits,
                        std::span<const float> scores) {
  const Range eligible = eligible_chunks(track, position, limits);
  if (everything_fits(position, limits)) {
    std::vector<int64_t> all(static_cast<size_t>(eligible.size()));
    std::iota(all.begin(), all.end(), eligible.begin);
    return selection_of(track, position, limits, std::move(all));
  }
  const int64_t local_begin = local_range_begin(track, position, limits);
  const int64_t sink_rows = std::min(limits.sink, local_begin);
  int64_t rows_left = limits.budget - sink_rows - (position + 1 - local_begin);

  // A heap gives the best first without sorting the thousands that are not chosen.
  const auto worse = [&](int64_t a, int64_t b) {
    const float score_a = scores[static_cast<size_t>(a - eligible.begin)];
    const float score_b = scores[static_cast<size_t>(b - eligible.begin)];
    return score_a < score_b || (score_a == score_b && a > b);
  };
  std::vector<int64_t> heap(static_cast<size_t>(eligible.size()));
  std::iota(heap.begin(), heap.end(), eligible.begin);
  std::make_heap(heap.begin(), heap.end(), worse);
  std::vector<int64_t> chosen;
  float first_refused = -std::numeric_limits<float>::infinity();
  while (!heap.empty()) {
    const int64_t best = heap.front();
    const Range chunk = track.chunk(best);
    const int64_t cost = chunk.end - std::max(chunk.begin, sink_rows);
    const bool fits =
        static_cast<int64_t>(chosen.size()) < limits.top_k_chunks || cost <= rows_left;
    if (!fits) {
      first_refused = scores[static_cast<size_t>(best - eligible.begin)];
      break;
    }
    rows_left -= cost;
    chosen.push_back(best);
    std::pop_heap(heap.begin(), heap.end(), worse);
    heap.pop_back();
  }
  std::sort(chosen.begin(), chosen.end());
  Selection selection = selection_of(track, position, limits, std::move(chosen));
  selection.first_refused_score = first_refused;
  return selection;
}

}  // namespace chunkllm

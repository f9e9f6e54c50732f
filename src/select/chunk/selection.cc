#include "select/chunk/selection.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>

namespace chunkllm {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr int kGroups = 256;
constexpr int kScoreGroups = kGroups - 1;
constexpr uint8_t kPreferredGroup = kGroups - 1;

// Cuts the span from the least to the greatest score into kScoreGroups equal parts and says in
// which each score lies: a lower score is never in a higher group. All are in group 0 where the
// span is none or not finite; NaN is there, too.
std::vector<uint8_t> group_scores(std::span<const float> scores) {
  float least = kInfinity;
  float greatest = -kInfinity;
  for (const float score : scores) {  // std::min and std::max pass over a NaN on the right
    least = std::min(least, score);
    greatest = std::max(greatest, score);
  }
  std::vector<uint8_t> groups(scores.size(), 0);
  const float scale = (kScoreGroups - 1) / (greatest - least);
  if (!(scale > 0 && scale < kInfinity)) return groups;
  for (size_t j = 0; j < scores.size(); ++j) {
    const float group = (scores[j] - least) * scale;
    if (group >= 1) groups[j] = static_cast<uint8_t>(group);
  }
  return groups;
}

// What the limits leave to chunks.
struct Room {
  int64_t n_rows = 0;
  int64_t n_chunks = 0;  // so many are taken whatever their rows

  // Takes chunks that cost so many rows unless, the one after the other, some of them would not
  // fit.
  bool take(int64_t chunks, int64_t rows) {
    if (chunks > n_chunks && rows > n_rows) return false;
    n_chunks -= chunks;
    n_rows -= rows;
    return true;
  }
};

// Takes the groups that have room, the best first, and returns the first one of which a chunk has
// none; -1 if all have. cost(j) is what the chunk of groups[j] costs, at least one row.
template <typename Cost>
int take_groups(std::span<const uint8_t> groups, const Cost& cost, Room& room) {
  struct Total {
    int64_t n_chunks = 0;
    int64_t n_rows = 0;
  };
  std::array<Total, kGroups> totals{};
  for (size_t j = 0; j < groups.size(); ++j) {
    Total& total = totals[groups[j]];
    ++total.n_chunks;
    total.n_rows += cost(static_cast<int64_t>(j));
  }
  for (int group = kGroups - 1; group >= 0; --group) {
    const auto [n_chunks, n_rows] = totals[static_cast<size_t>(group)];
    if (!room.take(n_chunks, n_rows)) return group;
  }
  return -1;
}

// Takes the best of `chunks`, indices into `scores`, until one has no room, and appends them to
// `chosen`; returns the score of the one that has none, or -infinity.
template <typename Cost>
float take_best(std::vector<int64_t>& chunks, std::span<const float> scores, const Cost& cost,
                Room& room, std::vector<int64_t>& chosen) {
  const auto rank = [&](int64_t j) {
    const float score = scores[static_cast<size_t>(j)];
    return std::pair(std::isnan(score) ? -kInfinity : score, -j);
  };
  // A heap gives the best first without sorting those that are not chosen.
  const auto worse = [&](int64_t a, int64_t b) { return rank(a) < rank(b); };
  std::make_heap(chunks.begin(), chunks.end(), worse);
  while (!chunks.empty()) {
    const int64_t best = chunks.front();
    if (!room.take(1, cost(best))) return scores[static_cast<size_t>(best)];
    chosen.push_back(best);
    std::pop_heap(chunks.begin(), chunks.end(), worse);
    chunks.pop_back();
  }
  return -kInfinity;
}

}  // namespace

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
  selection.first_refused_score = -kInfinity;
  append_merged(selection.rows, {0, std::min(limits.sink, selection.local_begin)});
  for (const int64_t j : chunks) append_merged(selection.rows, track.chunk(j));
  selection.chunks = std::move(chunks);
  return selection;
}

Selection select_chunks(const ChunkTrack& track, int64_t position, const SelectionLimits& limits,
                        std::span<const float> scores, std::span<const int64_t> preferred) {
  const Range eligible = eligible_chunks(track, position, limits);
  if (everything_fits(position, limits)) {
    std::vector<int64_t> all(static_cast<size_t>(eligible.size()));
    std::iota(all.begin(), all.end(), eligible.begin);
    return selection_of(track, position, limits, std::move(all));
  }
  const int64_t local_begin = local_range_begin(track, position, limits);
  const int64_t sink_rows = std::min(limits.sink, local_begin);
  Room room{.n_rows = limits.budget - sink_rows - (position + 1 - local_begin),
            .n_chunks = limits.top_k_chunks};
  const auto cost = [&](int64_t j) {
    const Range chunk = track.chunk(eligible.begin + j);
    return chunk.end - std::max(chunk.begin, sink_rows);
  };

  // Most chunks score far from where the room ends: only the group in which it does needs an order.
  scores = scores.first(static_cast<size_t>(eligible.size()));
  std::vector<uint8_t> groups = group_scores(scores);
  for (const int64_t j : preferred) {
    groups[static_cast<size_t>(j - eligible.begin)] = kPreferredGroup;
  }
  const int last = take_groups(groups, cost, room);
  std::vector<int64_t> chosen;
  std::vector<int64_t> of_last;
  for (size_t j = 0; j < groups.size(); ++j) {
    if (groups[j] > last) chosen.push_back(static_cast<int64_t>(j));
    if (groups[j] == last) of_last.push_back(static_cast<int64_t>(j));
  }
  const float first_refused = take_best(of_last, scores, cost, room, chosen);
  std::sort(chosen.begin(), chosen.end());
  for (int64_t& j : chosen) j += eligible.begin;
  Selection selection = selection_of(track, position, limits, std::move(chosen));
  selection.first_refused_score = first_refused;
  return selection;
}

}  // namespace chunkllm

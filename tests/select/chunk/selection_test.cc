#include "select/chunk/selection.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>
#include <set>

#include "base/random.h"

namespace chunkllm {
namespace {

ChunkTrack random_track(Rng& rng, int64_t n_tokens) {
  ChunkTrack track;
  for (int64_t t = 0; t < n_tokens; ++t) {
    if (rng.uniform() < 0.08) track.ends.push_back(t + 1);
  }
  return track;
}

// The definition, row by row, as slowly as it reads.
std::set<int64_t> attended_by_definition(const ChunkTrack& track, int64_t position,
                                         const SelectionLimits& limits,
                                         const std::vector<float>& score_of,
                                         const std::vector<int64_t>& preferred) {
  const int64_t from = limits.local_from.value_or(position + 1);
  const int64_t anchor = std::max<int64_t>(0, from - limits.window);
  int64_t left = 0;
  for (const int64_t end : track.ends) {
    if (end <= anchor) left = end;
  }
  std::set<int64_t> rows;
  for (int64_t r = 0; r < std::min(limits.sink, position + 1); ++r) rows.insert(r);
  for (int64_t r = left; r <= position; ++r) rows.insert(r);
  std::vector<int64_t> order;
  for (int64_t j = 0; j < track.n_chunks(); ++j) {
    const Range chunk = track.chunk(j);
    if (chunk.end <= left && chunk.end > limits.sink) order.push_back(j);
  }
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
    const bool first_a = std::ranges::count(preferred, a) > 0;
    const bool first_b = std::ranges::count(preferred, b) > 0;
    if (first_a != first_b) return first_a;
    return score_of[static_cast<size_t>(a)] > score_of[static_cast<size_t>(b)];
  });
  int64_t n_chosen = 0;
  for (const int64_t j : order) {
    std::set<int64_t> with = rows;
    for (int64_t r = track.chunk(j).begin; r < track.chunk(j).end; ++r) with.insert(r);
    const bool fits = n_chosen < limits.top_k_chunks || std::ssize(with) <= limits.budget;
    if (!fits) break;
    rows = with;
    ++n_chosen;
  }
  return rows;
}

TEST(Selection, EqualsTheDefinition) {
  Rng rng(3);
  for (int trial = 0; trial < 400; ++trial) {
    const int64_t n_tokens = 1 + rng.below(300);
    const ChunkTrack track = random_track(rng, n_tokens);
    SelectionLimits limits{
        .sink = rng.below(30), .window = 1 + rng.below(80), .budget = 1 + rng.below(350)};
    if (trial % 4 == 0) limits.top_k_chunks = 1 + rng.below(6);
    std::vector<float> score_of(static_cast<size_t>(track.n_chunks()));
    for (float& score : score_of) score = static_cast<float>(rng.below(6));  // many ties
    const int64_t position = rng.below(n_tokens);
    if (trial % 3 == 0) limits.local_from = rng.below(position + 2);
    ChunkTrack known = track;
    known.truncate(position + 1);

    const Range eligible = eligible_chunks(known, position, limits);
    std::vector<int64_t> preferred;
    for (int64_t j = eligible.begin; j < eligible.end; ++j) {
      if (trial % 2 == 0 && rng.uniform() < 0.2) preferred.push_back(j);
    }
    const Selection selection =
        select_chunks(known, position, limits,
                      std::span(score_of).subspan(static_cast<size_t>(eligible.begin),
                                                  static_cast<size_t>(eligible.size())),
                      preferred);
    std::vector<Range> ranges = selection.rows;
    append_merged(ranges, {selection.local_begin, position + 1});
    std::set<int64_t> rows;
    for (const Range& range : ranges) {
      for (int64_t r = range.begin; r < range.end; ++r) EXPECT_TRUE(rows.insert(r).second);
    }
    EXPECT_EQ(rows, attended_by_definition(known, position, limits, score_of, preferred))
        << "trial " << trial;
  }
}

// The chunks that are chosen and the first score that is not, by sorting them all.
struct SortedChoice {
  std::vector<int64_t> chunks;
  float first_refused_score = -std::numeric_limits<float>::infinity();
};

SortedChoice choice_by_sorting(const ChunkTrack& track, int64_t position,
                               const SelectionLimits& limits, const std::vector<float>& scores) {
  const Range eligible = eligible_chunks(track, position, limits);
  const int64_t local_begin = local_range_begin(track, position, limits);
  const int64_t sink = std::min(limits.sink, local_begin);
  const auto score = [&](int64_t j) { return scores[static_cast<size_t>(j - eligible.begin)]; };
  const auto ordered = [&](int64_t j) {
    return std::isnan(score(j)) ? -std::numeric_limits<float>::infinity() : score(j);
  };
  std::vector<int64_t> order(static_cast<size_t>(eligible.size()));
  std::iota(order.begin(), order.end(), eligible.begin);
  std::ranges::stable_sort(order, std::greater(), ordered);
  SortedChoice choice;
  int64_t rows_left = limits.budget - sink - (position + 1 - local_begin);
  for (const int64_t j : order) {
    const int64_t cost = track.chunk(j).end - std::max(track.chunk(j).begin, sink);
    if (std::ssize(choice.chunks) >= limits.top_k_chunks && cost > rows_left) {
      choice.first_refused_score = score(j);
      break;
    }
    rows_left -= cost;
    choice.chunks.push_back(j);
  }
  std::ranges::sort(choice.chunks);
  return choice;
}

TEST(Selection, IsWhatSortingGivesWhateverTheScores) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  const auto pick = [](Rng& rng, auto values) {
    return values[static_cast<size_t>(rng.below(std::ssize(values)))];
  };
  // Each makes one score.
  const std::vector<std::function<float(Rng&)>> kinds = {
      [](Rng& rng) { return static_cast<float>(rng.normal()); },
      [](Rng& rng) { return std::round(static_cast<float>(rng.normal() * 3)); },
      [](Rng&) { return 2.5f; },
      [](Rng& rng) { return static_cast<float>(std::exp(20 * rng.normal())); },
      // One far above or below the others, which then share a group.
      [](Rng& rng) { return static_cast<float>(rng.uniform()) + (rng.below(300) == 0 ? 1e6f : 0); },
      [](Rng& rng) { return static_cast<float>(rng.uniform()) - (rng.below(300) == 0 ? 1e6f : 0); },
      [](Rng& rng) { return 1 + static_cast<float>(rng.below(40)) * 0x1p-23f; },
      [](Rng& rng) { return static_cast<float>(rng.below(9)) * 0x1p-149f; },
      [&](Rng& rng) {
        return pick(rng, std::array{0.0f, -0.0f});
      },
      [&](Rng& rng) {
        return pick(rng, std::array{3e38f, -3e38f, 1.0f});
      },
      [&](Rng& rng) {
        return pick(rng, std::array{kInfinity, -kInfinity, 1.0f, 2.0f});
      },
      [&](Rng& rng) {
        return pick(rng, std::array{-kInfinity, 1.0f, 2.0f});
      },
      [&](Rng& rng) {
        return pick(rng, std::array{kNan, 1.0f, 2.0f, 3.0f});
      },
      [&](Rng& rng) {
        return pick(rng, std::array{kNan, -kInfinity, kInfinity, -1.0f});
      },
      [&](Rng&) { return kNan; },
  };
  Rng rng(17);
  for (size_t kind = 0; kind < kinds.size(); ++kind) {
    for (int trial = 0; trial < 60; ++trial) {
      const int64_t n_tokens = 1 + rng.below(trial % 2 == 0 ? 200 : 9000);
      const ChunkTrack track = random_track(rng, n_tokens);
      const int64_t position = n_tokens - 1;
      SelectionLimits limits{
          .sink = rng.below(30), .window = 1 + rng.below(80), .budget = 1 + rng.below(n_tokens)};
      if (trial % 3 == 0) limits.top_k_chunks = 1 + rng.below(track.n_chunks() + 1);
      if (trial % 5 == 0) limits.budget = 1;  // less than what is attended anyway
      if (everything_fits(position, limits)) continue;
      const Range eligible = eligible_chunks(track, position, limits);
      std::vector<float> scores(static_cast<size_t>(eligible.size()));
      for (float& score : scores) score = kinds[kind](rng);
      const Selection selection = select_chunks(track, position, limits, scores);
      const SortedChoice expected = choice_by_sorting(track, position, limits, scores);
      ASSERT_EQ(selection.chunks, expected.chunks) << "kind " << kind << ", trial " << trial;
      if (std::isnan(expected.first_refused_score)) {
        EXPECT_TRUE(std::isnan(selection.first_refused_score));
      } else {
        EXPECT_EQ(selection.first_refused_score, expected.first_refused_score);
      }
    }
  }
}

TEST(Selection, KnowsNothingOfLaterBoundaries) {
  Rng rng(5);
  for (int trial = 0; trial < 100; ++trial) {
    const ChunkTrack all = random_track(rng, 400);
    const int64_t position = rng.below(400);
    ChunkTrack known = all;
    known.truncate(position + 1);
    const SelectionLimits limits{.sink = 4, .window = 1 + rng.below(64), .budget = 100};
    EXPECT_EQ(eligible_chunks(all, position, limits), eligible_chunks(known, position, limits));
    EXPECT_EQ(local_range_begin(all, position, limits), local_range_begin(known, position, limits));
  }
}

TEST(Selection, BudgetOfTheContextIsEverything) {
  Rng rng(9);
  const ChunkTrack track = random_track(rng, 200);
  for (int64_t position = 0; position < 200; ++position) {
    const SelectionLimits limits{.sink = 4, .window = 16, .budget = position + 1};
    const Selection selection = select_chunks(track, position, limits, {});
    EXPECT_EQ(count_below(selection.rows, selection.local_begin), selection.local_begin);
  }
}

TEST(Selection, SinkAndLocalRangeStandAboveTheBudget) {
  ChunkTrack track;
  for (int64_t end = 10; end <= 100; end += 10) track.ends.push_back(end);
  const SelectionLimits limits{.sink = 4, .window = 20, .budget = 1};
  const std::vector<float> scores(10, 1.0f);
  const Selection selection = select_chunks(track, 99, limits, scores);
  EXPECT_TRUE(selection.chunks.empty());
  EXPECT_EQ(selection.rows, (std::vector<Range>{{0, 4}}));
  EXPECT_EQ(selection.local_begin, 80);
}

TEST(ChunkTrack, TruncateForgetsWhatComesAfter) {
  ChunkTrack track{.ends = {5, 9, 14}, .refreshes = {4, 8, 10, 13}};
  track.truncate(11);
  EXPECT_EQ(track.ends, (std::vector<int64_t>{5, 9}));
  EXPECT_EQ(track.refreshes, (std::vector<int64_t>{4, 8, 10}));
  EXPECT_EQ(track.begin_of_chunk_at(8), 5);
  EXPECT_EQ(track.begin_of_chunk_at(10), 9) << "in the open chunk";
  EXPECT_EQ(track.begin_of_chunk_at(0), 0);
}

}  // namespace
}  // namespace chunkllm

#include "base/range.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <vector>

#include "base/random.h"

namespace chunkllm {
namespace {

TEST(Range, IsHalfOpen) {
  const Range range{2, 5};
  EXPECT_EQ(range.size(), 3);
  EXPECT_FALSE(range.contains(1));
  EXPECT_TRUE(range.contains(2));
  EXPECT_TRUE(range.contains(4));
  EXPECT_FALSE(range.contains(5));
  EXPECT_FALSE(range.empty());
  EXPECT_TRUE((Range{3, 3}.empty()));
  EXPECT_TRUE((Range{4, 3}.empty()));
}

TEST(Range, TouchingRangesBecomeOne) {
  std::vector<Range> list;
  append_merged(list, {0, 0});
  EXPECT_TRUE(list.empty());
  append_merged(list, {0, 4});
  append_merged(list, {4, 6});
  append_merged(list, {5, 6});
  append_merged(list, {8, 9});
  append_merged(list, {8, 8});
  EXPECT_EQ(list, (std::vector<Range>{{0, 6}, {8, 9}}));
}

TEST(Range, MergingKeepsTheSetOfPositions) {
  Rng rng(3);
  for (int round = 0; round < 500; ++round) {
    std::vector<Range> ranges;
    for (int i = 0; i < 6; ++i) {
      const int64_t begin = rng.below(40);
      ranges.push_back({begin, begin + rng.below(8)});
    }
    std::ranges::sort(ranges, {}, &Range::begin);
    std::vector<Range> list;
    std::set<int64_t> positions;
    for (const Range& range : ranges) {
      append_merged(list, range);
      for (int64_t i = range.begin; i < range.end; ++i) positions.insert(i);
    }
    std::set<int64_t> merged;
    for (size_t i = 0; i < list.size(); ++i) {
      ASSERT_FALSE(list[i].empty());
      if (i > 0) {
        ASSERT_GT(list[i].begin, list[i - 1].end);
      }
      for (int64_t p = list[i].begin; p < list[i].end; ++p) merged.insert(p);
    }
    ASSERT_EQ(merged, positions);
    for (int64_t end = 0; end < 50; ++end) {
      ASSERT_EQ(count_below(list, end),
                std::ranges::count_if(positions, [end](int64_t p) { return p < end; }));
    }
  }
}

}  // namespace
}  // namespace chunkllm

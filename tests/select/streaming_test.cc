#include "select/streaming.h"

#include <gtest/gtest.h>

#include "select/rows_of.h"
#include "testing/expect_error.h"

namespace chunkllm {
namespace {

using Rows = std::vector<std::vector<int64_t>>;

SelectionSettings settings_of(int64_t budget, int64_t sink) {
  SelectionSettings settings;
  settings.budget.n_tokens = budget;
  settings.sink = sink;
  return settings;
}

TEST(Streaming, AttendsToSinkAndWindow) {
  StreamingPolicy policy(settings_of(5, 2));
  const std::vector<int32_t> tokens(8, 1);
  EXPECT_EQ(test::run_block(policy, 0, tokens), (Rows{{0},
                                                      {0, 1},
                                                      {0, 1, 2},
                                                      {0, 1, 2, 3},
                                                      {0, 1, 2, 3, 4},
                                                      {0, 1, 3, 4, 5},
                                                      {0, 1, 4, 5, 6},
                                                      {0, 1, 5, 6, 7}}));
  EXPECT_EQ(policy.rows_attended(0), 5);
}

TEST(Streaming, EachTokenAttendsToItselfWhateverTheBudget) {
  StreamingPolicy policy(settings_of(1, 2));
  EXPECT_EQ(test::run_block(policy, 0, std::vector<int32_t>(4, 1)),
            (Rows{{0}, {0, 1}, {0, 1, 2}, {0, 1, 3}}));
  StreamingPolicy without_sink(settings_of(1, 0));
  EXPECT_EQ(test::run_block(without_sink, 0, std::vector<int32_t>(3, 1)), (Rows{{0}, {1}, {2}}));
}

TEST(Streaming, AFractionGrowsWithTheText) {
  SelectionSettings settings = settings_of(0, 1);
  settings.budget.fraction = 0.5;
  settings.budget.min_tokens = 2;
  StreamingPolicy policy(settings);
  const Rows rows = test::run_block(policy, 0, std::vector<int32_t>(100, 1));
  for (int64_t t = 2; t < 100; ++t) {
    EXPECT_EQ(std::ssize(rows[static_cast<size_t>(t)]), std::max<int64_t>(2, (t + 1) / 2)) << t;
  }
}

TEST(Streaming, AnyBlocksGiveTheSameAndGoingBackDoes) {
  const std::vector<int32_t> tokens(90, 1);
  StreamingPolicy whole(settings_of(20, 4));
  const Rows expected = test::run_block(whole, 0, tokens);
  StreamingPolicy split(settings_of(20, 4));
  for (int64_t t = 0; t < 90; t += 7) {
    const Range block = split.next_block(tokens, 7);
    EXPECT_EQ(block, (Range{t, std::min<int64_t>(90, t + 7)}));
    const Rows rows =
        test::run_block(split, t, std::span(tokens).first(static_cast<size_t>(block.size())));
    for (size_t i = 0; i < rows.size(); ++i) {
      EXPECT_EQ(rows[i], expected[static_cast<size_t>(t) + i]);
    }
  }
  EXPECT_EQ(split.truncate(40), 40);
  EXPECT_EQ(split.next_block(tokens, 512), (Range{40, 90}));
  EXPECT_EQ(test::run_block(split, 40, std::span(tokens).first(50)),
            Rows(expected.begin() + 40, expected.end()));
}

TEST(Streaming, CountsWhatPromptsAttendTo) {
  StreamingPolicy policy(settings_of(5, 2));
  const int64_t end = 5;
  policy.add_prompt({0, 6}, {&end, 1});
  const std::vector<int32_t> tokens(8, 1);
  policy.begin_block({0, 8}, tokens);
  for (int layer = 0; layer < 3; ++layer) policy.rows(LayerInput{});
  EXPECT_EQ(policy.prompt_rows_attended(), 3 * (1 + 2 + 3 + 4 + 5 + 5));
}

TEST(Streaming, TakesNoStateOfOthers) {
  StreamingPolicy policy(settings_of(5, 2));
  PolicyState state;
  state.positions["chunk_ends"] = {3};
  expect_error(ErrorCode::kData, "make it anew",
               [&] { policy.restore(std::vector<int32_t>(5, 1), state); });
}

}  // namespace
}  // namespace chunkllm

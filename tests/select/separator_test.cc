#include "select/separator.h"

#include <gtest/gtest.h>

#include "select/chunk/token_marks.h"
#include "select/rows_of.h"

namespace chunkllm {
namespace {

using Rows = std::vector<std::vector<int64_t>>;

const std::vector<uint8_t> kMarks{marks_of_token(" word"), marks_of_token(","),
                                  marks_of_token("\n")};

SelectionSettings settings_of(int64_t budget, int64_t sink, int64_t window) {
  SelectionSettings settings;
  settings.budget.n_tokens = budget;
  settings.sink = sink;
  settings.window = window;
  return settings;
}

// Separators at 1, 3, 4, 6 and 9.
const std::vector<int32_t> kTokens{0, 1, 0, 1, 2, 0, 2, 0, 0, 1, 0, 0};

TEST(Separator, AttendsToSinkWindowAndTheNewestSeparators) {
  SeparatorPolicy policy(settings_of(6, 1, 3), kMarks);
  const Rows rows = test::run_block(policy, 0, kTokens);
  EXPECT_EQ(rows[5], (std::vector<int64_t>{0, 1, 2, 3, 4, 5})) << "within the budget";
  EXPECT_EQ(rows[6], (std::vector<int64_t>{0, 1, 3, 4, 5, 6}));
  EXPECT_EQ(rows[7], (std::vector<int64_t>{0, 3, 4, 5, 6, 7})) << "the oldest has no room";
  EXPECT_EQ(rows[8], (std::vector<int64_t>{0, 3, 4, 6, 7, 8}));
  EXPECT_EQ(rows[11], (std::vector<int64_t>{0, 4, 6, 9, 10, 11}));
  EXPECT_EQ(policy.rows_attended(0), 6);
}

TEST(Separator, WindowAndSinkStandAboveTheBudget) {
  SeparatorPolicy policy(settings_of(2, 1, 3), kMarks);
  EXPECT_EQ(test::run_block(policy, 0, kTokens)[11], (std::vector<int64_t>{0, 9, 10, 11}));
}

TEST(Separator, AnyBlocksGiveTheSameAndGoingBackDoes) {
  std::vector<int32_t> tokens;
  for (int64_t t = 0; t < 120; ++t) tokens.push_back(kTokens[static_cast<size_t>(t * t % 12)]);
  const SelectionSettings settings = settings_of(20, 2, 8);
  SeparatorPolicy whole(settings, kMarks);
  const Rows expected = test::run_block(whole, 0, tokens);
  SeparatorPolicy split(settings, kMarks);
  const auto run = [&](int64_t begin, int64_t piece) {
    for (int64_t t = begin; t < 120; t += piece) {
      const auto n = static_cast<size_t>(std::min<int64_t>(piece, 120 - t));
      const Rows rows =
          test::run_block(split, t, std::span(tokens).subspan(static_cast<size_t>(t), n));
      for (size_t i = 0; i < n; ++i) EXPECT_EQ(rows[i], expected[static_cast<size_t>(t) + i]);
    }
  };
  run(0, 11);
  EXPECT_EQ(split.truncate(50), 50);
  run(50, 9);
  SeparatorPolicy restored(settings, kMarks);
  restored.restore(tokens, whole.state());
  EXPECT_EQ(restored.truncate(70), 70);
  EXPECT_EQ(test::run_block(restored, 70, std::span(tokens).subspan(70)),
            Rows(expected.begin() + 70, expected.end()));
}

TEST(Separator, TokensWithoutMarksAreNone) {
  SeparatorPolicy policy(settings_of(6, 1, 3), {});
  EXPECT_EQ(test::run_block(policy, 0, kTokens)[11], (std::vector<int64_t>{0, 9, 10, 11}));
}

}  // namespace
}  // namespace chunkllm

// Prompts, their tails, and what a cut changes.
#include "select/prompt_spans.h"

#include <gtest/gtest.h>

#include "base/random.h"

namespace chunkllm {
namespace {

TEST(PromptSpans, APromptGoesOnUntilItsEnd) {
  PromptSpans prompts(PrefillKind::kChunk, 10);
  prompts.add({0, 30}, {});
  EXPECT_EQ(prompts.find(29)->positions, (Range{0, 30}));
  EXPECT_FALSE(prompts.find(0)->has_end);
  EXPECT_FALSE(prompts.attends_to_everything(29)) << "nobody knows where it ends";
  const int64_t end = 44;
  prompts.add({30, 45}, {&end, 1});
  EXPECT_EQ(prompts.find(3)->positions, (Range{0, 45}));
  EXPECT_TRUE(prompts.is_end(44));
  EXPECT_EQ(prompts.find(45), nullptr);
  EXPECT_EQ(prompts.everything_in(*prompts.find(0)), (Range{34, 44}));
  EXPECT_TRUE(prompts.attends_to_everything(34));
  EXPECT_FALSE(prompts.attends_to_everything(33));
  EXPECT_FALSE(prompts.attends_to_everything(44)) << "the prompt end selects";
  prompts.add({60, 63}, {});
  EXPECT_EQ(prompts.next_begin(45, 100), 60);
  EXPECT_EQ(prompts.next_begin(45, 50), 50);
  EXPECT_EQ(prompts.next_begin(60, 100), 100);
}

TEST(PromptSpans, ATailDoesNotReachBeforeItsPrompt) {
  PromptSpans prompts(PrefillKind::kChunk, 10);
  const std::vector<int64_t> ends{3, 20};
  prompts.add({0, 21}, ends);
  EXPECT_EQ(prompts.everything_in(*prompts.find(0)), (Range{0, 3}));
  EXPECT_EQ(prompts.everything_in(*prompts.find(4)), (Range{10, 20}));
  prompts.add({30, 36}, std::vector<int64_t>{35});
  EXPECT_EQ(prompts.everything_in(*prompts.find(30)), (Range{30, 35}));
}

TEST(PromptSpans, InFullAllBeforeThePromptEndAttendsToEverything) {
  PromptSpans prompts(PrefillKind::kFull, 10);
  prompts.add({0, 21}, std::vector<int64_t>{20});
  EXPECT_EQ(prompts.everything_in(*prompts.find(0)), (Range{0, 20}));
  EXPECT_EQ(prompts.n_undecided(), 0);
}

// What first_changed() leaves alone attends as before the cut.
TEST(PromptSpans, ACutChangesNothingBeforeItsFirstChange) {
  Rng rng(4);
  for (int trial = 0; trial < 200; ++trial) {
    const PrefillKind kind = trial % 2 == 0 ? PrefillKind::kChunk : PrefillKind::kFull;
    PromptSpans prompts(kind, rng.below(12));
    for (int64_t begin = 0; begin < 80;) {
      const int64_t end = begin + 1 + rng.below(30);
      const int64_t last = end - 1;
      prompts.add({begin, end}, {&last, rng.below(5) > 0 ? size_t{1} : size_t{0}});
      begin = end + rng.below(6);
    }
    const int64_t n = rng.below(90);
    const int64_t same = prompts.first_changed(n);
    ASSERT_LE(same, n);
    PromptSpans cut = prompts;
    cut.truncate(n);
    for (int64_t t = 0; t < same; ++t) {
      EXPECT_EQ(cut.attends_to_everything(t), prompts.attends_to_everything(t));
      EXPECT_EQ(cut.is_end(t), prompts.is_end(t));
    }
    if (same < n) {
      EXPECT_NE(cut.attends_to_everything(same), prompts.attends_to_everything(same));
    }
    EXPECT_EQ(cut.find(n), nullptr);
  }
}

}  // namespace
}  // namespace chunkllm

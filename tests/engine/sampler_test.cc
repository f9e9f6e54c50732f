#include "engine/sampler.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "testing/expect_error.h"

namespace chunkllm {
namespace {

TEST(Sampler, ZeroTemperatureTakesTheLargestAndTheLowerOfTies) {
  Sampler sampler({});
  EXPECT_EQ(sampler.sample(std::vector{0.0f, 3.0f, -1.0f, 3.0f}), 1);
}

TEST(Sampler, FollowsTheDistribution) {
  Sampler sampler({.temperature = 0.7, .seed = 5});
  const std::vector<float> logits{0.0f, 1.0f, 2.0f};
  std::map<int32_t, int> counts;
  constexpr int kDraws = 20000;
  for (int i = 0; i < kDraws; ++i) ++counts[sampler.sample(logits)];
  double sum = 0;
  for (const float logit : logits) sum += std::exp(double{logit} / 0.7);
  for (int32_t id = 0; id < 3; ++id) {
    const double expected = std::exp(double{logits[static_cast<size_t>(id)]} / 0.7) / sum;
    EXPECT_NEAR(static_cast<double>(counts[id]) / kDraws, expected, 0.015);
  }
}

TEST(Sampler, TopKAndTopPCutTheTail) {
  const std::vector<float> logits{1.0f, 5.0f, 4.0f, -2.0f};
  Sampler top_k({.temperature = 2.0, .top_k = 2, .seed = 1});
  Sampler top_p({.temperature = 1.0, .top_p = 0.5, .seed = 1});
  for (int i = 0; i < 500; ++i) {
    const int32_t id = top_k.sample(logits);
    EXPECT_TRUE(id == 1 || id == 2);
    EXPECT_EQ(top_p.sample(logits), 1) << "alone it has more than half";
  }
}

TEST(Sampler, MinPKeepsWhatIsNearlyAsLikelyAsTheLikeliest) {
  // Probabilities relate as 1 : 0.5 : 0.1.
  const std::vector<float> logits{0.0f, std::log(0.5f), std::log(0.1f)};
  const auto drawn = [&](double min_p) {
    Sampler sampler({.temperature = 1.0, .min_p = min_p, .seed = 3});
    std::map<int32_t, int> counts;
    for (int i = 0; i < 2000; ++i) ++counts[sampler.sample(logits)];
    return counts;
  };
  EXPECT_EQ(drawn(0.0).size(), 3u);
  EXPECT_EQ(drawn(0.2).size(), 2u);
  EXPECT_EQ(drawn(0.6).size(), 1u);
  const auto two = drawn(0.2);
  EXPECT_NEAR(static_cast<double>(two.at(1)) / 2000, 1.0 / 3, 0.04) << "the rest is renormalised";
}

TEST(Sampler, RepeatPenaltyLowersWhatWasSeenLately) {
  const std::vector<float> logits{2.0f, 1.5f, -1.0f, -1.1f};
  const auto greedy = [&](const std::vector<int32_t>& history, double penalty, int64_t last_n) {
    return Sampler({.repeat_penalty = penalty, .repeat_last_n = last_n}).sample(logits, history);
  };
  EXPECT_EQ(greedy({0}, 1.0, 64), 0) << "off";
  EXPECT_EQ(greedy({0}, 1.2, 64), 0) << "2 / 1.2 is above 1.5";
  EXPECT_EQ(greedy({0}, 1.5, 64), 1);
  EXPECT_EQ(greedy({0, 0, 0}, 1.2, 64), 0) << "once, however often it was seen";
  EXPECT_EQ(greedy({0, 3, 3}, 1.5, 2), 0) << "too long ago";
  EXPECT_EQ(greedy({0, 3, 3}, 1.5, 3), 1);
  EXPECT_EQ(greedy({0, 3, 3}, 1.5, -1), 1);
  EXPECT_EQ(greedy({0}, 1.5, 0), 0);
  // Negative logits go down, too.
  const std::vector<float> negative{-1.0f, -1.1f};
  EXPECT_EQ(Sampler({.repeat_penalty = 1.5}).sample(negative, std::vector<int32_t>{0}), 1);
}

TEST(Sampler, BannedTokensAreNeverChosen) {
  const std::vector<float> logits{5.0f, 1.0f, 0.0f};
  EXPECT_EQ(Sampler({.banned_ids = {0, 99}}).sample(logits), 1);
  Sampler sampler({.temperature = 5.0, .banned_ids = {0}, .seed = 2});
  for (int i = 0; i < 500; ++i) EXPECT_NE(sampler.sample(logits), 0);
}

TEST(Sampler, BansOfOneChoiceEndWithIt) {
  Sampler sampler({});
  const std::vector<float> logits{5.0f, 1.0f, 0.0f};
  EXPECT_EQ(sampler.sample(logits, {}, 0, std::vector<int32_t>{0, -1, 7}), 1);
  EXPECT_EQ(sampler.sample(logits), 0);
}

TEST(Sampler, BiasIsAddedToLogits) {
  const std::vector<float> logits{5.0f, 1.0f, 0.0f};
  EXPECT_EQ(Sampler({.logit_bias = {{2, 6.0f}, {99, 5.0f}}}).sample(logits), 2);
  EXPECT_EQ(Sampler({.logit_bias = {{0, -4.5f}}}).sample(logits), 1);
}

TEST(Sampler, PenaltiesOfAnAnswerLeaveItsPromptAlone) {
  const std::vector<float> logits{1.0f, 0.8f, 0.6f};
  const std::vector<int32_t> history{0, 0, 1, 1};  // the last two are the answer's
  EXPECT_EQ(Sampler({.presence_penalty = 0.5}).sample(logits, history, 2), 0);
  EXPECT_EQ(Sampler({.presence_penalty = 0.5}).sample(logits, history, 4), 2);
  EXPECT_EQ(Sampler({.presence_penalty = 0.1}).sample(logits, history, 4), 0);
  // By how often: three times 0.2 and once.
  EXPECT_EQ(Sampler({.frequency_penalty = 0.2}).sample(logits, std::vector<int32_t>{0, 0, 0, 1}, 4),
            1);
}

TEST(Sampler, TheSameSeedGivesTheSameTokens) {
  Sampler a({.temperature = 1.0, .seed = 9});
  Sampler b({.temperature = 1.0, .seed = 9});
  const std::vector<float> logits(50, 0.0f);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(a.sample(logits), b.sample(logits));
}

TEST(Sampler, RefusesWhatCannotBe) {
  expect_error(ErrorCode::kInvalidArgument, "--temperature",
               [] { Sampler({.temperature = -1.0}); });
  expect_error(ErrorCode::kInvalidArgument, "--temperature", [] { Sampler({.temperature = NAN}); });
  expect_error(ErrorCode::kInvalidArgument, "--top-p", [] { Sampler({.top_p = 0.0}); });
  expect_error(ErrorCode::kInvalidArgument, "--top-p", [] { Sampler({.top_p = 1.1}); });
  expect_error(ErrorCode::kInvalidArgument, "--top-k", [] { Sampler({.top_k = -1}); });
  expect_error(ErrorCode::kInvalidArgument, "--min-p", [] { Sampler({.min_p = 1.5}); });
  expect_error(ErrorCode::kInvalidArgument, "--min-p", [] { Sampler({.min_p = NAN}); });
  expect_error(ErrorCode::kInvalidArgument, "--repeat-penalty",
               [] { Sampler({.repeat_penalty = 0.0}); });
  expect_error(ErrorCode::kInvalidArgument, "--repeat-last-n",
               [] { Sampler({.repeat_last_n = -2}); });
  expect_error(ErrorCode::kInvalidArgument, "presence_penalty",
               [] { Sampler({.presence_penalty = 2.5}); });
  expect_error(ErrorCode::kInvalidArgument, "frequency_penalty",
               [] { Sampler({.frequency_penalty = NAN}); });
  Sampler sampler({});
  expect_error(ErrorCode::kData, "NaN", [&] { sampler.sample(std::vector{1.0f, NAN}); });
}

}  // namespace
}  // namespace chunkllm

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
  Sampler sampler({});
  expect_error(ErrorCode::kData, "NaN", [&] { sampler.sample(std::vector{1.0f, NAN}); });
}

}  // namespace
}  // namespace chunkllm

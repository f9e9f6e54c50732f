#include "train/row_demand.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <numeric>
#include <vector>

namespace chunkllm {
namespace {

constexpr int64_t kChunks = 100;
const std::vector<int64_t> kTokens(kChunks, 20);  // 2000 tokens

// One query whose mass lies evenly on the first `n_chunks` chunks, beside little on all others.
RowDemand demand_of(int64_t n_chunks, double mass = 0.9) {
  std::vector<float> teacher(kChunks, 1e-5f);
  for (int64_t j = 0; j < n_chunks; ++j) {
    teacher[static_cast<size_t>(j)] = static_cast<float>(mass / static_cast<double>(n_chunks));
  }
  RowDemand demand;
  const Range eligible{0, kChunks};
  demand.add(teacher.data(), kTokens, {&eligible, 1});
  return demand;
}

TEST(RowDemand, LayersThatAttendWidelyGetMore) {
  const std::vector<RowDemand> layers = {demand_of(2), demand_of(18), RowDemand()};
  const std::vector<double> shares = shares_by_demand(layers);
  ASSERT_EQ(shares.size(), 3u);
  EXPECT_NEAR(shares[0], 0.2, 1e-9);
  EXPECT_NEAR(shares[1], 1.8, 1e-9);
  EXPECT_EQ(shares[2], 0.0) << "a layer that does not select";
}

TEST(RowDemand, OfTwoLayersAlikeTheOneWithMoreAttentionIsServedFirst) {
  const std::vector<RowDemand> layers = {demand_of(10, 0.01), demand_of(20, 0.9)};
  const std::vector<double> shares = shares_by_demand(layers);
  EXPECT_LT(shares[0], 0.4);
  EXPECT_NEAR(shares[0] + shares[1], 2.0, 1e-9);
}

TEST(RowDemand, NoLayerGoesWithout) {
  const std::vector<RowDemand> layers = {demand_of(1, 1e-3), demand_of(50)};
  EXPECT_GT(shares_by_demand(layers)[0], 0.15);
}

TEST(RowDemand, AlikeLayersShareAlikeAndAShortTextSaysNothing) {
  EXPECT_EQ(shares_by_demand(std::vector<RowDemand>{demand_of(10), demand_of(10)}),
            (std::vector<double>{1.0, 1.0}));
  RowDemand demand;
  const std::vector<float> teacher(kChunks, 0.01f);
  const Range eligible{0, 40};  // 800 tokens
  demand.add(teacher.data(), kTokens, {&eligible, 1});
  EXPECT_TRUE(demand.empty());
  EXPECT_TRUE(shares_by_demand(std::vector<RowDemand>(2)).empty());
}

TEST(RowDemand, SurvivesItsJson) {
  const std::vector<RowDemand> layers = {demand_of(2), demand_of(18)};
  nlohmann::ordered_json json;
  EXPECT_TRUE(shares_by_demand(json, 3).empty());
  json["2"] = layers[1].to_json();
  json["1"] = layers[0].to_json();
  const std::vector<double> shares = shares_by_demand(layers);
  EXPECT_EQ(shares_by_demand(json, 3), (std::vector<double>{0, shares[0], shares[1]}));
}

}  // namespace
}  // namespace chunkllm

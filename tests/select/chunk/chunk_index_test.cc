#include "select/chunk/chunk_index.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "base/random.h"
#include "select/chunk/distance.h"

namespace chunkllm {
namespace {

constexpr int64_t kDim = 16;
constexpr int64_t kTokens = 120;

std::vector<float> random_values(Rng& rng, int64_t n) {
  std::vector<float> values(static_cast<size_t>(n));
  for (float& value : values) value = static_cast<float>(rng.normal());
  return values;
}

// What a token decoded alone leaves in the index is, bit for bit, what it leaves in a prompt.
TEST(ChunkIndex, HasTheSameKeysAndQueriesInAnyBlocks) {
  Rng rng(1);
  for (const int64_t d_model : {int64_t{100}, int64_t{896}}) {
    AdapterConfig config;
    config.d_model = d_model;
    config.adapter_dim = kDim;
    const QkAdapter adapter{.q = random_values(rng, kDim * d_model),
                            .k = random_values(rng, kDim * d_model)};
    const std::vector<float> x = random_values(rng, kTokens * d_model);
    ChunkTrack track;
    for (int64_t t = 0; t < kTokens; ++t) {
      if (rng.uniform() < 0.2) track.ends.push_back(t + 1);
      if (rng.uniform() < 0.4) track.refreshes.push_back(t);
    }
    for (const ChunkKey key : {ChunkKey::kBoundary, ChunkKey::kMean}) {
      const auto index_by_blocks_of = [&](int64_t block) {
        ChunkIndex index(adapter, config, key);
        for (int64_t begin = 0; begin < kTokens; begin += block) {
          index.extend(track, {begin, std::min(begin + block, kTokens)},
                       x.data() + begin * d_model);
        }
        return index;
      };
      const ChunkIndex whole = index_by_blocks_of(kTokens);
      ASSERT_EQ(std::ssize(whole.keys()), track.n_chunks() * kDim);
      ASSERT_EQ(whole.queries().size(), track.refreshes.size() * kDim);
      for (size_t i = 0; i < track.refreshes.size(); ++i) {
        const float* row = x.data() + track.refreshes[i] * d_model;
        for (size_t c = 0; c < kDim; ++c) {
          double expected = 0;
          for (int64_t k = 0; k < d_model; ++k) {
            expected += double{row[k]} *
                        adapter.q[c * static_cast<size_t>(d_model) + static_cast<size_t>(k)];
          }
          ASSERT_NEAR(whole.queries()[i * kDim + c], expected, 1e-3);
        }
      }
      for (const int64_t block : {int64_t{1}, int64_t{7}, int64_t{64}}) {
        const ChunkIndex parts = index_by_blocks_of(block);
        EXPECT_EQ(parts.keys(), whole.keys()) << "blocks of " << block;
        EXPECT_EQ(parts.queries(), whole.queries()) << "blocks of " << block;
      }
    }
  }
}

TEST(ChunkIndex, ADistanceTermAddsTheFeatureOfTheDistance) {
  Rng rng(2);
  AdapterConfig config;
  config.d_model = 32;
  config.adapter_dim = kDim;
  config.distance_term = true;
  QkAdapter adapter{.q = random_values(rng, kDim * 32), .k = random_values(rng, kDim * 32)};
  std::fill(adapter.k.end() - 32, adapter.k.end(), 0.0f);
  const std::vector<float> x = random_values(rng, kTokens * 32);
  ChunkTrack track;
  for (int64_t t = 9; t < kTokens; t += 10) track.ends.push_back(t + 1);
  track.refreshes = {70, 71, 119};
  ChunkIndex index(adapter, config, ChunkKey::kMean);
  index.extend(track, {0, kTokens}, x.data());
  constexpr Range kRefreshes{1, 3};
  constexpr Range kChunks{2, 6};
  std::vector<float> distances(2 * 4);
  std::vector<float> work;
  std::vector<float> scores(2 * 4);
  distance_features(track, kRefreshes, kChunks, distances.data());
  index.scores(kRefreshes, kChunks, distances.data(), work, scores.data());
  for (int64_t i = 0; i < 2; ++i) {
    const float* q = index.queries().data() + (i + 1) * kDim;
    for (int64_t j = 0; j < 4; ++j) {
      const float* k = index.keys().data() + (j + 2) * kDim;
      double expected = 0;
      for (int64_t d = 0; d + 1 < kDim; ++d) expected += double{q[d]} * double{k[d]};
      // The chunk's last token is 10 (j + 3) - 1.
      const auto distance =
          static_cast<double>(track.refreshes[static_cast<size_t>(i + 1)] + 1 - 10 * (j + 3));
      expected -= double{q[kDim - 1]} * std::log(distance / 64);
      EXPECT_NEAR(scores[static_cast<size_t>(4 * i + j)], expected / 4, 1e-3);  // sqrt(kDim)
    }
  }
  EXPECT_EQ(distance_feature(64), 0.0f);
  EXPECT_GT(distance_feature(1), distance_feature(2));
  EXPECT_EQ(distance_feature(0), distance_feature(1));
}

// Two heads score as two indices would, each with its half of the rows.
TEST(ChunkIndex, HeadsScoreByThemselves) {
  Rng rng(3);
  AdapterConfig config;
  config.d_model = 32;
  config.adapter_dim = kDim;
  config.distance_term = true;
  const QkAdapter halves[] = {
      {.q = random_values(rng, kDim * 32), .k = random_values(rng, kDim * 32)},
      {.q = random_values(rng, kDim * 32), .k = random_values(rng, kDim * 32)}};
  QkAdapter both = halves[0];
  both.q.insert(both.q.end(), halves[1].q.begin(), halves[1].q.end());
  both.k.insert(both.k.end(), halves[1].k.begin(), halves[1].k.end());
  const std::vector<float> x = random_values(rng, kTokens * 32);
  ChunkTrack track;
  for (int64_t t = 9; t < kTokens; t += 10) track.ends.push_back(t + 1);
  track.refreshes = {70, 71, 119};
  constexpr Range kRefreshes{1, 3};
  constexpr Range kChunks{2, 6};
  std::vector<float> distances(2 * 4);
  distance_features(track, kRefreshes, kChunks, distances.data());
  const auto scores_of = [&](const QkAdapter& adapter, int64_t n_heads) {
    config.selection_heads = n_heads;
    ChunkIndex index(adapter, config, ChunkKey::kMean);
    index.extend(track, {0, kTokens}, x.data());
    std::vector<float> work(1, NAN);
    std::vector<float> scores(static_cast<size_t>(2 * n_heads * 4));
    index.scores(kRefreshes, kChunks, distances.data(), work, scores.data());
    return scores;
  };
  const std::vector<float> mixed = scores_of(both, 2);
  for (int64_t head = 0; head < 2; ++head) {
    const std::vector<float> alone = scores_of(halves[head], 1);
    for (int64_t i = 0; i < 2; ++i) {
      for (int64_t j = 0; j < 4; ++j) {
        const float expected = alone[static_cast<size_t>(i * 4 + j)];
        EXPECT_NEAR(mixed[static_cast<size_t>((2 * i + head) * 4 + j)], expected,
                    1e-5 * (1 + std::abs(expected)));
      }
    }
  }
}

}  // namespace
}  // namespace chunkllm

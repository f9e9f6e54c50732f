#include "select/chunk/chunk_index.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/random.h"

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

}  // namespace
}  // namespace chunkllm

#include "select/chunk/key_inputs.h"

#include <gtest/gtest.h>

#include "base/random.h"

namespace chunkllm {
namespace {

constexpr int64_t kDim = 5;
constexpr int64_t kSink = 4;  // inside the second chunk

TEST(KeyInputs, AreTheBoundarysRowOrTheMeanAfterTheSinkInAnyBlocks) {
  Rng rng(1);
  const ChunkTrack track{.ends = {1, 8, 9, 30, 41}, .refreshes = {}};
  constexpr int64_t kTokens = 50;
  std::vector<float> x(static_cast<size_t>(kTokens * kDim));
  for (float& value : x) value = static_cast<float>(rng.normal());
  for (const ChunkKey key : {ChunkKey::kBoundary, ChunkKey::kMean}) {
    for (const int64_t block : {int64_t{1}, int64_t{7}, kTokens}) {
      KeyInputs inputs(kDim, key, kSink);
      std::vector<float> rows;
      for (int64_t begin = 0; begin < kTokens; begin += block) {
        inputs.extend(track, {begin, std::min(begin + block, kTokens)}, x.data() + begin * kDim,
                      rows);
      }
      ASSERT_EQ(std::ssize(rows), track.n_chunks() * kDim);
      for (int64_t j = 0; j < track.n_chunks(); ++j) {
        const Range chunk = track.chunk(j);
        for (int64_t i = 0; i < kDim; ++i) {
          double mean = 0;
          const int64_t begin = std::max(chunk.begin, kSink);
          for (int64_t t = begin; t < chunk.end; ++t) {
            mean += double{x[static_cast<size_t>(t * kDim + i)]} /
                    static_cast<double>(chunk.end - begin);
          }
          const float row = rows[static_cast<size_t>(j * kDim + i)];
          if (key == ChunkKey::kMean) {
            EXPECT_NEAR(row, mean, 1e-6);
          } else {
            EXPECT_EQ(row, x[static_cast<size_t>((chunk.end - 1) * kDim + i)]);
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace chunkllm

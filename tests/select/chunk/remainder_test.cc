#include "select/chunk/remainder.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>
#include <vector>

#include "select/keys/key_rows.h"
#include "select/keys/toy_model.h"

namespace chunkllm {
namespace {

constexpr int64_t kSink = 4;
constexpr int64_t kLayer = 1;

// Chunks of unequal lengths, the last one open.
ChunkTrack make_track() {
  ChunkTrack track;
  for (int64_t end = 9, j = 0; end <= 190; end += 5 + j++ % 7) track.ends.push_back(end);
  return track;
}

class RemainderTest : public testing::Test {
 protected:
  RemainderTest() {
    sums_.extend(track_, 200, kSink, kv());
    selection_.chunks = {2, 3, 11};
  }
  KvLayerView kv() const { return toy_.cache.layer(kLayer); }
  Range eligible() const { return {0, track_.n_chunks() - 2}; }
  std::vector<int64_t> left_out() const {
    std::vector<int64_t> chunks;
    for (int64_t j = 0; j < eligible().end; ++j) {
      if (std::ranges::find(selection_.chunks, j) == selection_.chunks.end()) chunks.push_back(j);
    }
    return chunks;
  }

  const test::ToyModel toy_{200, KvType::kBf16};
  const ChunkTrack track_ = make_track();
  ChunkSums sums_;
  Selection selection_;
  RemainderRows rows_;
};

// By the definition: the mean over a chunk's tokens behind the sink, as they are cached.
TEST_F(RemainderTest, ARowIsTheMeanOfItsChunk) {
  rows_.begin(100, kv());
  const std::vector<int64_t> chunks = left_out();
  const Range added = rows_.add(track_, sums_, eligible(), selection_, kSink, 100);
  ASSERT_EQ(added, (Range{0, std::ssize(chunks)}));
  const WeightedRows view = rows_.view();
  for (int64_t i = 0; i < added.end; ++i) {
    const Range chunk = track_.chunk(chunks[static_cast<size_t>(i)]);
    const Range tokens{std::max(chunk.begin, kSink), chunk.end};
    EXPECT_FLOAT_EQ(view.log_weights[i], std::log(static_cast<float>(tokens.size())));
    for (int64_t head = 0; head < toy_.config.n_kv_heads; ++head) {
      std::vector<double> mean(static_cast<size_t>(toy_.config.head_dim), 0.0);
      for (int64_t t = tokens.begin; t < tokens.end; ++t) {
        std::vector<float> key(mean.size());
        read_key(kv(), head, t, key.data());
        for (size_t d = 0; d < mean.size(); ++d) mean[d] += key[d] / double(tokens.size());
      }
      const int64_t row = (head * view.n_rows + i) * toy_.config.head_dim;
      for (size_t d = 0; d < mean.size(); ++d) {
        // The toy's keys are its values, too.
        ASSERT_NEAR(view.keys[row + static_cast<int64_t>(d)], mean[d], 1e-5);
        ASSERT_NEAR(view.values[row + static_cast<int64_t>(d)], mean[d], 1e-5);
      }
    }
  }
}

TEST_F(RemainderTest, MergedRowsWeighAsMuchAsTheirTokens) {
  for (const int64_t most : {int64_t{1}, int64_t{3}, int64_t{10}}) {
    rows_.begin(most + 1, kv());
    rows_.add(track_, sums_, {0, 1}, Selection{}, kSink, 1);
    const Range added = rows_.add(track_, sums_, eligible(), selection_, kSink, most);
    ASSERT_EQ(added, (Range{1, 1 + most})) << "behind those of the span before";
    double n_tokens = 0;
    double sum = 0;  // of one component of all tokens' keys
    const WeightedRows view = rows_.view();
    for (int64_t i = added.begin; i < added.end; ++i) {
      const double weight = std::exp(view.log_weights[i]);
      n_tokens += weight;
      sum += weight * view.keys[(view.n_rows + i) * toy_.config.head_dim + 5];
    }
    double expected_tokens = 0;
    double expected_sum = 0;
    for (const int64_t j : left_out()) {
      const Range chunk = track_.chunk(j);
      expected_tokens += static_cast<double>(chunk.end - std::max(chunk.begin, kSink));
      expected_sum += sums_.of(j, 1)[5];
    }
    EXPECT_NEAR(n_tokens, expected_tokens, 1e-4);
    EXPECT_NEAR(sum, expected_sum, 1e-4);
  }
}

TEST_F(RemainderTest, SumsGrowWithTheCacheAndAreCut) {
  ChunkSums grown;
  for (int64_t n = 0; n <= 200; n += 13) grown.extend(track_, n, kSink, kv());
  grown.extend(track_, 200, kSink, kv());
  ASSERT_EQ(grown.size_bytes(), sums_.size_bytes());
  const auto expect_equal = [&] {
    for (int64_t j = 0; j < track_.n_chunks(); ++j) {
      for (int64_t d = 0; d < 2 * toy_.config.head_dim; ++d) {
        ASSERT_EQ(grown.of(j, 0)[d], sums_.of(j, 0)[d]);
      }
    }
  };
  expect_equal();
  grown.truncate(7);
  EXPECT_LT(grown.size_bytes(), sums_.size_bytes());
  grown.extend(track_, 200, kSink, kv());
  expect_equal();
}

}  // namespace
}  // namespace chunkllm

#include "train/teacher.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "engine/backbone.h"
#include "model/kv_cache.h"
#include "testing/models.h"
#include "testing/random_sequence.h"

namespace chunkllm {
namespace {

// Attention written out row by row, and the inputs.
class MassRecorder : public FullRows {
 public:
  explicit MassRecorder(const ModelConfig& config) : config_(config) {}
  bool wants_log_sum_exp() const override { return true; }
  void attention_done(const LayerInput& input, const float* lse) override {
    const KvLayerView& kv = input.kv;
    const auto* keys = static_cast<const float*>(kv.keys);
    const int64_t n = input.positions.end;
    std::vector<double> masses(static_cast<size_t>(n * n), 0.0);
    const double scale = 1.0 / std::sqrt(static_cast<double>(kv.head_dim));
    for (int64_t t = 0; t < n; ++t) {
      for (int64_t h = 0; h < config_.n_heads; ++h) {
        const int64_t kv_head = h / (config_.n_heads / config_.n_kv_heads);
        for (int64_t r = 0; r <= t; ++r) {
          double score = 0;
          for (int64_t i = 0; i < kv.head_dim; ++i) {
            score += double{input.q[t * input.q_stride + h * kv.head_dim + i]} *
                     double{keys[(kv_head * kv.capacity + r) * kv.head_dim + i]};
          }
          masses[static_cast<size_t>(t * n + r)] +=
              std::exp(score * scale - double{lse[t * config_.n_heads + h]}) /
              static_cast<double>(config_.n_heads);
        }
      }
    }
    attention.push_back(std::move(masses));
    inputs.emplace_back(input.x, input.x + n * config_.d_model);
  }
  std::vector<std::vector<double>> attention;  // [n_layers][t, r]
  std::vector<std::vector<float>> inputs;      // [n_layers][t, d_model]

 private:
  const ModelConfig& config_;
};

class TeacherTest : public testing::Test {
 protected:
  TeacherTest() {
    config_.window = 8;
    config_.max_chunk = 20;
  }
  Lesson lesson(int64_t block_tokens) {
    Backbone backbone(weights_, kTokens, block_tokens);
    TeacherPass teacher(weights_.config, config_, sequence_,
                        {.first_layer = &grid_, .others = &track_});
    backbone.run(sequence_.ids, weights_.config.n_layers, teacher, nullptr);
    return teacher.finish();
  }

  static constexpr int64_t kTokens = 120;
  ModelWeights weights_ = load_weights(tiny_llama(), kF32Precision);
  AdapterConfig config_ = AdapterConfig::for_model(weights_);
  TrainingSequence sequence_ = random_sequence(weights_.config.n_vocab, kTokens);
  ChunkTrack track_ = sentence_track(sequence_, config_, {});
  ChunkTrack grid_ = grid_track(sequence_, config_, {});
};

TEST_F(TeacherTest, MassesAreMeansOfAttentionOverTheTokensThatUseTheSelection) {
  KvCache cache(weights_.config, kTokens, KvType::kF32);
  Transformer transformer(weights_, kTokens);
  MassRecorder recorder(weights_.config);
  transformer.forward(sequence_.ids, 0, cache, recorder);
  const Lesson taught = lesson(512);
  const int64_t d_model = weights_.config.d_model;
  int64_t n_in_chunks = 0;
  for (size_t layer = 0; layer < 3; ++layer) {
    const ChunkTrack& chunks = layer == 0 ? grid_ : track_;
    const LayerLessonView view = taught.layers[layer];
    ASSERT_GT(view.n_queries(), 3);
    const auto mass_of = [&](int64_t query, int64_t j) {
      double sum = 0;
      for (int64_t r = std::max(chunks.chunk(j).begin, config_.sink); r < chunks.chunk(j).end;
           ++r) {
        sum += recorder.attention[layer][static_cast<size_t>(query * kTokens + r)];
      }
      return sum;
    };
    size_t offset = 0;
    for (size_t i = 0; i < view.positions.size(); ++i) {
      const int64_t t = view.positions[i];
      const QueryKind kind_of_query = t == kTokens - 3  ? QueryKind::kPromptEnd
                                      : t > kTokens - 3 ? QueryKind::kAnswer
                                      : std::ranges::binary_search(chunks.refreshes, t)
                                          ? QueryKind::kBoundary
                                          : QueryKind::kRandom;
      EXPECT_EQ(view.kinds[i], kind_of_query) << t;
      for (int64_t feature = 0; feature < d_model; ++feature) {
        const auto at = static_cast<size_t>(feature);
        const float x = recorder.inputs[layer][static_cast<size_t>(t * d_model) + at];
        ASSERT_NEAR(to_float(view.query_inputs[i * static_cast<size_t>(d_model) + at]), x,
                    0.01f * std::abs(x) + 1e-6f);
      }
      const auto next = std::ranges::upper_bound(chunks.refreshes, t);
      const int64_t next_refresh = next == chunks.refreshes.end() ? kTokens : *next;
      const auto end = std::ranges::find(chunks.ends, t + 1);
      const int64_t chunk_begin =
          end == chunks.ends.end() ? t : chunks.chunk(end - chunks.ends.begin()).begin;
      const Range spans[kMassKinds] = {{t, t + 1}, {t, next_refresh}, {chunk_begin, t + 1}};
      for (int64_t j = view.eligible[i].begin; j < view.eligible[i].end; ++j, ++offset) {
        for (size_t kind = 0; kind < kMassKinds; ++kind) {
          double mean = 0;
          for (int64_t query = spans[kind].begin; query < spans[kind].end; ++query) {
            mean += mass_of(query, j) / static_cast<double>(spans[kind].size());
          }
          EXPECT_NEAR(to_float(view.masses[kind][offset]), mean, 0.005 * mean + 1e-6);
        }
        n_in_chunks += chunk_begin < t ? 1 : 0;
      }
    }
  }
  EXPECT_GT(n_in_chunks, 20);
}

TEST_F(TeacherTest, MeanInputsAndSquaresAreThoseOfTheInputs) {
  KvCache cache(weights_.config, kTokens, KvType::kF32);
  Transformer transformer(weights_, kTokens);
  MassRecorder recorder(weights_.config);
  transformer.forward(sequence_.ids, 0, cache, recorder);
  const Lesson taught = lesson(50);
  const auto d_model = static_cast<size_t>(weights_.config.d_model);
  for (size_t layer = 0; layer < 3; ++layer) {
    const LayerLessonView view = taught.layers[layer];
    const std::vector<float>& x = recorder.inputs[layer];
    for (size_t feature = 0; feature < d_model; ++feature) {
      double squares = 0;
      for (auto t = static_cast<size_t>(config_.sink); t < size_t{kTokens}; ++t) {
        squares += double{x[t * d_model + feature]} * double{x[t * d_model + feature]};
      }
      const double mean = squares / static_cast<double>(kTokens - config_.sink);
      EXPECT_NEAR(view.mean_squares[feature], mean, 1e-4 * mean + 1e-7);
    }
    // The second chunk: the first holds the sink.
    const auto begin = static_cast<size_t>(view.chunk_ends[0]);
    const auto end = static_cast<size_t>(view.chunk_ends[1]);
    for (size_t feature = 0; feature < d_model; ++feature) {
      double sum = 0;
      for (size_t t = begin; t < end; ++t) sum += double{x[t * d_model + feature]};
      const double mean = sum / static_cast<double>(end - begin);
      EXPECT_NEAR(to_float(view.mean_inputs[d_model + feature]), mean,
                  0.01 * std::abs(mean) + 1e-3);
    }
  }
}

TEST_F(TeacherTest, BlocksDoNotMatter) {
  const Lesson whole = lesson(512);
  for (const int64_t block : {int64_t{64}, int64_t{7}}) {
    const Lesson in_blocks = lesson(block);
    for (size_t layer = 0; layer < 3; ++layer) {
      for (size_t kind = 0; kind < kMassKinds; ++kind) {
        const auto& a = whole.layers[layer].masses[kind];
        const auto& b = in_blocks.layers[layer].masses[kind];
        ASSERT_EQ(a.size(), b.size());
        for (size_t i = 0; i < a.size(); ++i) {
          ASSERT_NEAR(to_float(a[i]), to_float(b[i]), 0.005 * to_float(a[i]) + 1e-6);
        }
      }
    }
  }
}

// Layers that slide have nothing to learn.
TEST(TeacherOfSlidingLayers, TeachesTheOthers) {
  const ModelWeights weights = load_weights(tiny_gemma3(), kF32Precision);
  AdapterConfig config = AdapterConfig::for_model(weights);
  config.window = 8;
  config.max_chunk = 24;
  const TrainingSequence sequence = random_sequence(weights.config.n_vocab, 200);
  const ChunkTrack track = sentence_track(sequence, config, {});
  TeacherPass teacher(weights.config, config, sequence, {.first_layer = nullptr, .others = &track});
  Backbone backbone(weights, 200);
  backbone.run(sequence.ids, weights.config.n_layers, teacher, nullptr);
  const Lesson lesson = teacher.finish();
  for (const size_t layer : {0, 1, 3, 4}) EXPECT_TRUE(lesson.layers[layer].positions.empty());
  for (const size_t layer : {2, 5}) EXPECT_FALSE(lesson.layers[layer].masses[0].empty());
}

}  // namespace
}  // namespace chunkllm

#include "train/learner.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "testing/models.h"

namespace chunkllm {
namespace {

TrainingSequence random_sequence(int64_t n_vocab, int64_t n_tokens) {
  Rng rng(4);
  TrainingSequence sequence;
  for (int64_t t = 0; t < n_tokens; ++t) {
    sequence.ids.push_back(static_cast<int32_t>(rng.below(n_vocab)));
    sequence.labels.push_back(rng.uniform() < 0.12 ? 1 : 0);
  }
  sequence.prompt_ends = {n_tokens - 3};
  sequence.random_queries = {n_tokens / 2};
  return sequence;
}

class LearnerTest : public testing::TestWithParam<std::pair<TeacherTarget, ChunkKey>> {
 protected:
  LearnerTest() {
    adapter_.config = AdapterConfig::for_model(weights_);
    adapter_.config.adapter_dim = 8;
    adapter_.config.window = 8;
    adapter_.config.max_chunk = 24;
    adapter_.config.chunk_key = GetParam().second;
    Rng rng(2);
    const auto fill = [&](std::vector<float>& values, int64_t n) {
      values.resize(static_cast<size_t>(n));
      for (float& value : values) value = static_cast<float>(0.2 * rng.normal());
    };
    fill(adapter_.boundary_weight, adapter_.config.d_model);
    adapter_.layers.resize(3);
    for (QkAdapter& layer : adapter_.layers) {
      fill(layer.q, 8 * adapter_.config.d_model);
      fill(layer.k, 8 * adapter_.config.d_model);
    }
  }

  // The loss whose gradient the learner has: BCE plus the sum over layers of KL.
  double loss(const TrainingSequence& sequence) {
    learner().reset();
    learner().add(sequence, 1.0, false);
    double sum = learner().report().bce();
    for (int64_t layer = 0; layer < 3; ++layer) sum += learner().report().kl(layer);
    return sum;
  }
  Learner& learner() {
    if (!learner_) {
      learner_ = std::make_unique<Learner>(
          weights_, adapter_, std::vector<int32_t>{},
          Learner::Options{.seq_len = 256,
                           .teacher = {.target = GetParam().first, .prompt_end_weight = 3.0f}});
    }
    return *learner_;
  }

  ModelWeights weights_ = load_weights(tiny_llama(), kF32Precision);
  Adapter adapter_;
  std::unique_ptr<Learner> learner_;
};

TEST_P(LearnerTest, GradientsEqualFiniteDifferences) {
  const TrainingSequence sequence = random_sequence(weights_.config.n_vocab, 150);
  learner().reset();
  learner().add(sequence, 1.0, true);
  learner().finish_gradients();
  std::vector<std::vector<float>> gradients;
  for (const TrainedParameter& parameter : learner().parameters()) {
    gradients.emplace_back(parameter.gradient.begin(), parameter.gradient.end());
  }
  Rng rng(8);
  size_t index = 0;
  for (const TrainedParameter& parameter : learner().parameters()) {
    const std::vector<float>& gradient = gradients[index++];
    float largest = 0;
    for (const float g : gradient) largest = std::max(largest, std::abs(g));
    ASSERT_GT(largest, 0) << parameter.name;
    for (int draw = 0; draw < 6; ++draw) {
      const auto at = static_cast<size_t>(rng.below(std::ssize(gradient)));
      constexpr float kStep = 2e-2f;
      const float value = parameter.values[at];
      parameter.values[at] = value + kStep;
      const double above = loss(sequence);
      parameter.values[at] = value - kStep;
      const double below = loss(sequence);
      parameter.values[at] = value;
      const double numeric = (above - below) / (2.0 * kStep);
      EXPECT_NEAR(gradient[at], numeric, 0.02 * largest + 2e-5)
          << parameter.name << "[" << at << "]";
    }
  }
}

TEST_P(LearnerTest, BlocksDoNotMatter) {
  const TrainingSequence sequence = random_sequence(weights_.config.n_vocab, 200);
  std::vector<double> losses;
  for (const int64_t block : {int64_t{512}, int64_t{64}, int64_t{7}}) {
    Learner in_blocks(
        weights_, adapter_, {},
        {.seq_len = 256, .teacher = {.target = GetParam().first}, .block_tokens = block});
    in_blocks.add(sequence, 0.5, false);
    losses.push_back(in_blocks.report().mean_kl() + in_blocks.report().bce());
  }
  EXPECT_NEAR(losses[1], losses[0], 1e-5);
  EXPECT_NEAR(losses[2], losses[0], 1e-5);
}

// Layers that slide have nothing to learn, and the first one stays as it is.
TEST(LearnerOfSlidingLayers, LearnsTheOthersInBlocksOfAnySize) {
  const ModelWeights weights = load_weights(tiny_gemma3(), kF32Precision);
  Adapter adapter;
  adapter.config = AdapterConfig::for_model(weights);
  adapter.config.adapter_dim = 8;
  adapter.config.window = 8;
  adapter.config.max_chunk = 24;
  Rng rng(2);
  const auto fill = [&](std::vector<float>& values, int64_t n) {
    values.resize(static_cast<size_t>(n));
    for (float& value : values) value = static_cast<float>(0.2 * rng.normal());
  };
  fill(adapter.boundary_weight, adapter.config.d_model);
  adapter.layers.resize(6);
  for (const size_t layer : {size_t{2}, size_t{5}}) {
    fill(adapter.layers[layer].q, 8 * adapter.config.d_model);
    fill(adapter.layers[layer].k, 8 * adapter.config.d_model);
  }
  const TrainingSequence sequence = random_sequence(weights.config.n_vocab, 200);
  std::vector<double> losses;
  for (const int64_t block : {int64_t{512}, int64_t{7}}) {
    Learner learner(weights, adapter, {}, {.seq_len = 256, .teacher = {}, .block_tokens = block});
    EXPECT_EQ(learner.parameters().size(), 2u + 2 * 2);
    learner.add(sequence, 0.5, true);
    for (const int64_t layer : {0, 1, 3, 4}) {
      EXPECT_EQ(learner.report().n_lessons[static_cast<size_t>(layer)], 0);
    }
    EXPECT_GT(learner.report().kl(2), 0);
    EXPECT_GT(learner.report().kl(5), 0);
    losses.push_back(learner.report().mean_kl() + learner.report().bce());
  }
  EXPECT_NEAR(losses[0], losses[1], 1e-5 * losses[0]);
}

INSTANTIATE_TEST_SUITE_P(Targets, LearnerTest,
                         testing::Values(std::pair{TeacherTarget::kOwn, ChunkKey::kBoundary},
                                         std::pair{TeacherTarget::kNext, ChunkKey::kBoundary},
                                         std::pair{TeacherTarget::kBoth, ChunkKey::kMean}));

// The teacher against attention written out row by row.
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
  }
  std::vector<std::vector<double>> attention;  // [n_layers][t, r]

 private:
  const ModelConfig& config_;
};

TEST(TeacherPass, IsTheMeanAttentionOfTheTokensThatUseTheSelection) {
  const ModelWeights weights = load_weights(tiny_llama(), kF32Precision);
  AdapterConfig config = AdapterConfig::for_model(weights);
  config.window = 8;
  config.max_chunk = 20;
  const int64_t n = 120;
  const TrainingSequence sequence = random_sequence(weights.config.n_vocab, n);
  const ChunkTrack track = sentence_track(sequence, config, {});
  const ChunkTrack grid = grid_track(sequence, config, {});
  KvCache cache(weights.config, n, KvType::kF32);
  Transformer transformer(weights, n);
  MassRecorder recorder(weights.config);
  transformer.forward(sequence.ids, 0, cache, recorder);
  for (const TeacherTarget target :
       {TeacherTarget::kOwn, TeacherTarget::kNext, TeacherTarget::kBoth}) {
    TeacherPass teacher(weights.config, config, sequence, {.first_layer = &grid, .others = &track},
                        {.target = target});
    transformer.forward(sequence.ids, 0, cache, teacher);
    for (size_t layer = 0; layer < 3; ++layer) {
      const ChunkTrack& chunks = layer == 0 ? grid : track;
      const LayerLesson& lesson = teacher.lessons()[layer];
      ASSERT_GT(lesson.n_queries(), 3);
      for (int64_t i = 0; i < lesson.n_queries(); ++i) {
        const int64_t t = lesson.positions[static_cast<size_t>(i)];
        const auto next = std::ranges::upper_bound(chunks.refreshes, t);
        const int64_t span_end = next == chunks.refreshes.end() ? n : *next;
        const Range eligible = lesson.eligible[static_cast<size_t>(i)];
        for (int64_t j = eligible.begin; j < eligible.end; ++j) {
          const auto mass_of = [&](int64_t query) {
            double sum = 0;
            for (int64_t r = std::max(chunks.chunk(j).begin, config.sink); r < chunks.chunk(j).end;
                 ++r) {
              sum += recorder.attention[layer][static_cast<size_t>(query * n + r)];
            }
            return sum;
          };
          double mean = 0;
          for (int64_t query = t; query < span_end; ++query) {
            mean += mass_of(query) / static_cast<double>(span_end - t);
          }
          const double expected = target == TeacherTarget::kOwn    ? mass_of(t)
                                  : target == TeacherTarget::kNext ? mean
                                                                   : 0.5 * (mass_of(t) + mean);
          EXPECT_NEAR(lesson.teacher[static_cast<size_t>(i * lesson.n_chunks + j)], expected, 1e-5);
        }
      }
    }
  }
}

}  // namespace
}  // namespace chunkllm

#include "train/boundary_fit.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "select/chunk/token_marks.h"
#include "testing/models.h"
#include "testing/random_sequence.h"
#include "testing/temp_folder.h"
#include "train/lessons.h"

namespace chunkllm {
namespace {

// Boundaries that the first layer's output tells: four of 32 tokens.
class BoundaryFitTest : public testing::Test {
 protected:
  BoundaryFitTest() : backbone_(weights_, 400) {
    adapter_.config = AdapterConfig::for_model(weights_);
    adapter_.config.selection_heads = 1;
    adapter_.config.adapter_dim = 8;
    adapter_.config.window = 8;
    adapter_.boundary_weight.assign(static_cast<size_t>(adapter_.config.d_model), 0.0f);
    const auto n = static_cast<size_t>(8 * adapter_.config.d_model);
    Rng rng(2);
    for (int layer = 0; layer < 3; ++layer) {
      QkAdapter qk{std::vector<float>(n), std::vector<float>(n)};
      for (float& value : qk.q) value = static_cast<float>(0.2 * rng.normal());
      for (float& value : qk.k) value = static_cast<float>(0.2 * rng.normal());
      adapter_.layers.push_back(std::move(qk));
    }
    for (uint64_t i = 0; i < 3; ++i) lessons_.push_back(lesson(i));
  }
  LessonFile lesson(uint64_t seed) {
    TrainingSequence sequence = random_sequence(weights_.config.n_vocab, 400, seed);
    for (size_t t = 0; t < sequence.ids.size(); ++t) {
      sequence.ids[t] %= 32;
      sequence.labels[t] = sequence.ids[t] < 4 ? 1 : 0;
    }
    const std::filesystem::path path = folder_ / (std::to_string(seed) + ".lesson");
    write_lesson(path, make_lesson(backbone_, adapter_.config, {}, {}, sequence, nullptr), "{}");
    return LessonFile(path, "{}", 3, adapter_.config.d_model);
  }
  BoundaryFitResult fit(int64_t epochs) {
    FirstLayer first_layer(backbone_, adapter_, {});
    std::vector<TrainingSequence> sequences;
    for (const LessonFile& lesson : lessons_) sequences.push_back(lesson.sequence());
    return fit_boundaries(std::vector(static_cast<size_t>(epochs), sequences),
                          mean_boundary_squares(lessons_), first_layer,
                          {.learning_rate = 3e-2, .seed = 1}, nullptr,
                          [](int64_t, const BoundaryReport&) {});
  }

  TempFolder folder_;
  ModelWeights weights_ = load_weights(tiny_llama(), kF32Precision);
  Adapter adapter_;
  Backbone backbone_;
  std::vector<LessonFile> lessons_;
};

TEST_F(BoundaryFitTest, LearnsBoundariesThatHoldForOtherTexts) {
  const BoundaryFitResult result = fit(40);
  EXPECT_EQ(result.n_steps, 3 * 4 * 40);
  EXPECT_GT(result.last_epoch.counts.f1(), 0.9);
  adapter_.boundary_weight = result.weight;
  adapter_.boundary_bias = result.bias;
  const std::vector<TrainingSequence> unseen{lesson(77).sequence()};
  FirstLayer first_layer(backbone_, adapter_, {});
  // Tokens 2 and 9 hold line ends; of these 2 alone is a boundary.
  std::vector<uint8_t> marks(32, 0);
  marks[2] = marks[9] = kHoldsLineEnd;
  const BoundaryReport report = measure_boundaries(unseen, first_layer, marks, 3, nullptr);
  EXPECT_GT(report.counts.f1(), 0.8);
  EXPECT_EQ(report.n_tokens, 400 - adapter_.config.sink);
  const std::span<const int32_t> ids(unseen[0].ids.begin() + adapter_.config.sink,
                                     unseen[0].ids.end());
  const BoundaryCounts& ends = report.line_ends;
  EXPECT_EQ(ends.n_true_positive + ends.n_false_negative, std::ranges::count(ids, 2));
  EXPECT_EQ(ends.n_false_positive + ends.n_true_negative, std::ranges::count(ids, 9));
}

TEST_F(BoundaryFitTest, TheSameSeedGivesTheSameBits) {
  const BoundaryFitResult a = fit(3);
  const BoundaryFitResult b = fit(3);
  EXPECT_EQ(a.weight, b.weight);
  EXPECT_EQ(a.bias, b.bias);
}

TEST_F(BoundaryFitTest, AnswersAttendByTheirOwnRuleInTheFirstLayer) {
  TrainingSequence sequence = lesson(5).sequence();
  sequence.prompt_ends = {299};
  FirstLayer first_layer(backbone_, adapter_, {});
  const std::vector<float> as_prompt = first_layer.output(sequence, 0.5, nullptr);
  sequence.answers.resize(60);
  std::iota(sequence.answers.begin(), sequence.answers.end(), 300);
  const std::vector<float> as_answer = first_layer.output(sequence, 0.5, nullptr);
  const auto d_model = adapter_.config.d_model;
  // Up to the prompt end nothing changes; the next prompt begins behind the answer.
  EXPECT_TRUE(std::equal(as_prompt.begin(), as_prompt.begin() + 300 * d_model, as_answer.begin()));
  EXPECT_FALSE(std::equal(as_prompt.begin() + 300 * d_model, as_prompt.begin() + 360 * d_model,
                          as_answer.begin() + 300 * d_model));
}

TEST_F(BoundaryFitTest, TheFirstLayersOutputDependsOnItsBudget) {
  FirstLayer first_layer(backbone_, adapter_, {});
  const TrainingSequence& sequence = lessons_[0].sequence();
  const std::vector<float> all = first_layer.output(sequence, 1.0, nullptr);
  const std::vector<float> few = first_layer.output(sequence, 0.05, nullptr);
  ASSERT_EQ(all.size(), few.size());
  EXPECT_NE(all, few);
  // The first tokens see everything at any budget.
  EXPECT_EQ(std::vector(all.begin(), all.begin() + 64), std::vector(few.begin(), few.begin() + 64));
}

}  // namespace
}  // namespace chunkllm

#include "train/adamw.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/random.h"
#include "base/threads.h"

namespace chunkllm {
namespace {

constexpr double kLearningRate = 1e-2;

// Two parameters, one of them a bias and one longer than a thread's share of work, with gradients
// drawn anew each step.
struct Model {
  explicit Model(uint64_t seed, size_t n_weights = 40000)
      : weight(n_weights), weight_gradient(n_weights), bias(3), bias_gradient(3), rng(seed) {
    for (float& value : weight) value = static_cast<float>(rng.normal());
    for (float& value : bias) value = static_cast<float>(rng.normal());
  }
  std::vector<TrainedParameter> parameters() {
    return {{"layers.0.q_adapter.weight", weight, weight_gradient},
            {"chunk_adapter.bias", bias, bias_gradient}};
  }
  void draw_gradients() {
    for (float& value : weight_gradient) value = static_cast<float>(0.1 * rng.normal());
    for (float& value : bias_gradient) value = static_cast<float>(rng.normal());
  }

  std::vector<float> weight;
  std::vector<float> weight_gradient;
  std::vector<float> bias;
  std::vector<float> bias_gradient;
  Rng rng;
};

// The algorithm as printed in the paper, in double, for one array.
class PlainAdamW {
 public:
  PlainAdamW(const std::vector<float>& values, double decay)
      : values_(values.begin(), values.end()),
        m_(values.size()),
        v_(values.size()),
        decay_(decay) {}
  void step(const std::vector<float>& gradient, double scale) {
    ++t_;
    for (size_t i = 0; i < values_.size(); ++i) {
      const double g = scale * double{gradient[i]};
      m_[i] = 0.9 * m_[i] + 0.1 * g;
      v_[i] = 0.99 * v_[i] + 0.01 * g * g;
      const double m_hat = m_[i] / (1.0 - std::pow(0.9, t_));
      const double v_hat = v_[i] / (1.0 - std::pow(0.99, t_));
      values_[i] -= kLearningRate * (m_hat / (std::sqrt(v_hat) + 1e-8) + decay_ * values_[i]);
    }
  }
  const std::vector<double>& values() const { return values_; }

 private:
  std::vector<double> values_;
  std::vector<double> m_;
  std::vector<double> v_;
  double decay_;
  int t_ = 0;
};

double norm_of(const Model& model) {
  double sum = 0.0;
  for (const float g : model.weight_gradient) sum += double{g} * double{g};
  for (const float g : model.bias_gradient) sum += double{g} * double{g};
  return std::sqrt(sum);
}

void expect_near(const std::vector<float>& values, const std::vector<double>& expected) {
  ASSERT_EQ(values.size(), expected.size());
  double largest = 0.0;
  for (size_t i = 0; i < values.size(); ++i) {
    const double difference = std::abs(double{values[i]} - expected[i]);
    ASSERT_TRUE(std::isfinite(difference)) << i;
    largest = std::max(largest, difference);
  }
  // 20 steps, each of at most about 1e-2 and rounded to float.
  EXPECT_LT(largest, 5e-6);
}

TEST(AdamW, MatchesTheAlgorithmInDouble) {
  for (const double max_norm : {0.0, 1.0, 1e6}) {
    Model model(1);
    AdamW optimizer(model.parameters(),
                    {.beta2 = 0.99, .weight_decay = 0.1, .max_gradient_norm = max_norm});
    PlainAdamW weight(model.weight, 0.1);
    PlainAdamW bias(model.bias, 0.0);
    for (int step = 0; step < 20; ++step) {
      model.draw_gradients();
      const double norm = norm_of(model);
      const double scale = max_norm > 0.0 ? std::min(1.0, max_norm / norm) : 1.0;
      EXPECT_NEAR(optimizer.step(kLearningRate), norm, 1e-9 * norm);
      weight.step(model.weight_gradient, scale);
      bias.step(model.bias_gradient, scale);
    }
    EXPECT_EQ(optimizer.n_steps(), 20);
    expect_near(model.weight, weight.values());
    expect_near(model.bias, bias.values());
  }
}

TEST(AdamW, DecayPullsWeightsButNotBiases) {
  Model model(2);
  const std::vector<float> weight = model.weight;
  const std::vector<float> bias = model.bias;
  AdamW optimizer(model.parameters(), {.weight_decay = 0.5});
  optimizer.step(0.1);  // all gradients are 0
  for (size_t i = 0; i < weight.size(); ++i) {
    ASSERT_NEAR(model.weight[i], 0.95f * weight[i], 1e-6f);
  }
  EXPECT_EQ(model.bias, bias);
}

TEST(AdamW, ClippingActsOnTheNormOfAllParameters) {
  // With beta1 = 0 and an epsilon far above every gradient, values move by the gradient as it was
  // used, times the rate and over epsilon. From 0 no rounding hides that.
  constexpr double kEpsilon = 1e7;
  Model model(3);
  std::ranges::fill(model.weight, 0.0f);
  std::ranges::fill(model.bias, 0.0f);
  AdamW optimizer(model.parameters(),
                  {.beta1 = 0.0, .epsilon = kEpsilon, .max_gradient_norm = 0.5});
  model.draw_gradients();
  const double norm = optimizer.step(kLearningRate);
  ASSERT_GT(norm, 0.5);
  double used = 0.0;
  for (const std::vector<float>* values : {&model.weight, &model.bias}) {
    for (const float value : *values) used += double{value} * double{value};
  }
  EXPECT_NEAR(std::sqrt(used) * kEpsilon / kLearningRate, 0.5, 1e-6);
}

TEST(AdamW, TheNumberOfThreadsChangesNothing) {
  const int n_threads = current_threads();
  std::vector<std::vector<float>> weights;
  for (const int n : {1, 2, 5}) {
    set_threads(n);
    Model model(5);
    AdamW optimizer(model.parameters(), {});
    for (int step = 0; step < 3; ++step) {
      model.draw_gradients();
      optimizer.step(kLearningRate);
    }
    weights.push_back(model.weight);
  }
  set_threads(n_threads);
  EXPECT_EQ(weights[1], weights[0]);
  EXPECT_EQ(weights[2], weights[0]);
}

TEST(AdamW, AGradientThatIsNotFiniteIsNamedAndChangesNothing) {
  for (const float poison : {std::nanf(""), INFINITY, -INFINITY}) {
    Model model(6);
    AdamW optimizer(model.parameters(), {});
    model.draw_gradients();
    model.bias_gradient[1] = poison;
    const std::vector<float> before = model.weight;
    try {
      optimizer.step(kLearningRate);
      ADD_FAILURE() << "no Error was thrown";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kData);
      EXPECT_THAT(error.what(), testing::HasSubstr("chunk_adapter.bias"));
    }
    EXPECT_EQ(model.weight, before);
    EXPECT_EQ(optimizer.n_steps(), 0);
    // The next step is that of an optimiser which never met it.
    Model sound(6);
    AdamW first_step(sound.parameters(), {});
    sound.draw_gradients();
    model.bias_gradient[1] = sound.bias_gradient[1];
    optimizer.step(kLearningRate);
    first_step.step(kLearningRate);
    EXPECT_EQ(model.weight, sound.weight);
    EXPECT_EQ(model.bias, sound.bias);
  }
}

TEST(AdamW, HugeGradientsAreClippedNotRefused) {
  Model model(7, 10);
  AdamW optimizer(model.parameters(), {});
  model.weight_gradient[0] = std::numeric_limits<float>::max();
  EXPECT_GT(optimizer.step(kLearningRate), 1e38);
  for (const float value : model.weight) EXPECT_TRUE(std::isfinite(value));
}

TEST(AdamW, RefusesWhatDoesNotFit) {
  std::vector<float> values(3);
  std::vector<float> gradient(2);
  EXPECT_THROW(AdamW({{"w", values, gradient}}, {}), Error);
  EXPECT_THROW(AdamW({{"w", values, values}, {"w", values, values}}, {}), Error);
  EXPECT_THROW(AdamW({}, {.beta1 = 1.0}), Error);
  EXPECT_THROW(AdamW({}, {.beta2 = std::nan("")}), Error);
  EXPECT_THROW(AdamW({}, {.epsilon = 0.0}), Error);
  EXPECT_THROW(AdamW({}, {.weight_decay = -1.0}), Error);
}

TEST(LearningRate, WarmsUpLinearlyAndDecaysAsACosine) {
  const LearningRateSchedule schedule{
      .peak = 2.0, .warmup_steps = 4, .total_steps = 105, .final_fraction = 0.1};
  EXPECT_DOUBLE_EQ(learning_rate_at(schedule, 0), 0.5);
  EXPECT_DOUBLE_EQ(learning_rate_at(schedule, 1), 1.0);
  EXPECT_DOUBLE_EQ(learning_rate_at(schedule, 3), 2.0);
  EXPECT_DOUBLE_EQ(learning_rate_at(schedule, 4), 2.0);
  EXPECT_NEAR(learning_rate_at(schedule, 54), 1.1, 1e-12);  // half way: the mean of peak and end
  EXPECT_NEAR(learning_rate_at(schedule, 29), 0.2 + 1.8 * (0.5 + std::sqrt(0.125)), 1e-12);
  EXPECT_NEAR(learning_rate_at(schedule, 104), 0.2, 1e-12);
  EXPECT_NEAR(learning_rate_at(schedule, 100000), 0.2, 1e-12);
  for (int64_t step = 5; step < 105; ++step) {
    EXPECT_LT(learning_rate_at(schedule, step), learning_rate_at(schedule, step - 1));
  }
}

TEST(LearningRate, DegenerateSchedulesStayFinite) {
  EXPECT_DOUBLE_EQ(learning_rate_at({.peak = 1.0, .total_steps = 1}, 0), 1.0);
  EXPECT_DOUBLE_EQ(learning_rate_at({.peak = 1.0, .warmup_steps = 10, .total_steps = 5}, 4), 0.5);
  EXPECT_DOUBLE_EQ(learning_rate_at({.peak = 1.0, .total_steps = 0}, 3), 0.1);
}

}  // namespace
}  // namespace chunkllm

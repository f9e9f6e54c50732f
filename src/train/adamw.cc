#include "train/adamw.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <set>
#include <utility>

#include "base/error.h"
#include "base/thread_pool.h"

namespace chunkllm {
namespace {

// Values a partial sum covers. Fixed, so that sums do not depend on the number of threads.
constexpr int64_t kBlock = 16384;

double sum_of_squares(std::span<const float> values) {
  const int64_t n = std::ssize(values);
  const int64_t n_blocks = (n + kBlock - 1) / kBlock;
  std::vector<double> partial(n_blocks, 0.0);
  parallel_for(n, kBlock, [&](int64_t begin, int64_t end, int) {
    double sum = 0.0;
    for (int64_t i = begin; i < end; ++i) sum += double{values[i]} * double{values[i]};
    partial[begin / kBlock] = sum;
  });
  double total = 0.0;
  for (const double sum : partial) total += sum;
  return total;
}

void check_options(const AdamWOptions& options) {
  const auto require = [](bool usable, const char* name, double value) {
    if (!usable) fail(ErrorCode::kInvalidArgument, "AdamW: {} = {} is out of range", name, value);
  };
  require(options.beta1 >= 0.0 && options.beta1 < 1.0, "beta1", options.beta1);
  require(options.beta2 >= 0.0 && options.beta2 < 1.0, "beta2", options.beta2);
  require(options.epsilon > 0.0, "epsilon", options.epsilon);
  require(options.weight_decay >= 0.0, "weight_decay", options.weight_decay);
  require(options.max_gradient_norm >= 0.0, "max_gradient_norm", options.max_gradient_norm);
}

}  // namespace

double learning_rate_at(const LearningRateSchedule& schedule, int64_t step) {
  if (step < schedule.warmup_steps) {
    return schedule.peak * static_cast<double>(step + 1) /
           static_cast<double>(schedule.warmup_steps);
  }
  const int64_t n_decay = std::max<int64_t>(1, schedule.total_steps - 1 - schedule.warmup_steps);
  const double progress = std::min(
      1.0, static_cast<double>(step - schedule.warmup_steps) / static_cast<double>(n_decay));
  const double cosine = 0.5 * (1.0 + std::cos(std::numbers::pi * progress));
  return schedule.peak * (schedule.final_fraction + (1.0 - schedule.final_fraction) * cosine);
}

AdamW::AdamW(std::vector<TrainedParameter> parameters, const AdamWOptions& options)
    : options_(options) {
  check_options(options);
  std::set<std::string> names;
  for (TrainedParameter& parameter : parameters) {
    if (parameter.values.size() != parameter.gradient.size()) {
      fail(ErrorCode::kInvalidArgument, "AdamW: {} has {} values but {} gradients", parameter.name,
           parameter.values.size(), parameter.gradient.size());
    }
    if (!names.insert(parameter.name).second) {
      fail(ErrorCode::kInvalidArgument, "AdamW: two parameters are called {}", parameter.name);
    }
    const size_t n = parameter.values.size();
    const bool decays = !parameter.name.ends_with("bias");
    slots_.push_back(
        {std::move(parameter), decays, std::vector<float>(n, 0.0f), std::vector<float>(n, 0.0f)});
  }
}

double AdamW::gradient_norm() const {
  double total = 0.0;
  for (const Slot& slot : slots_) {
    // Squares of floats cannot overflow a double: the sum is finite just if every gradient is.
    const double sum = sum_of_squares(slot.parameter.gradient);
    if (!std::isfinite(sum)) {
      fail(ErrorCode::kData,
           "the gradient of {} is not finite at step {}; try a lower learning rate",
           slot.parameter.name, n_steps_ + 1);
    }
    total += sum;
  }
  return std::sqrt(total);
}

double AdamW::step(double learning_rate) {
  const double norm = gradient_norm();
  const bool clips = options_.max_gradient_norm > 0.0 && norm > options_.max_gradient_norm;
  const float scale = clips ? static_cast<float>(options_.max_gradient_norm / norm) : 1.0f;
  ++n_steps_;
  const double t = static_cast<double>(n_steps_);
  const double v_correction = std::sqrt(1.0 - std::pow(options_.beta2, t));
  // lr m^ / (sqrt(v^) + eps), both sides multiplied by the correction of v.
  const float step_size =
      static_cast<float>(learning_rate * v_correction / (1.0 - std::pow(options_.beta1, t)));
  const float epsilon = static_cast<float>(options_.epsilon * v_correction);
  const float beta1 = static_cast<float>(options_.beta1);
  const float beta2 = static_cast<float>(options_.beta2);
  const float rest1 = static_cast<float>(1.0 - options_.beta1);
  const float rest2 = static_cast<float>(1.0 - options_.beta2);

  for (Slot& slot : slots_) {
    const float decay =
        slot.decays ? static_cast<float>(learning_rate * options_.weight_decay) : 0.0f;
    const float* gradient = slot.parameter.gradient.data();
    float* values = slot.parameter.values.data();
    float* m = slot.m.data();
    float* v = slot.v.data();
    const int64_t n = std::ssize(slot.parameter.values);
    // Blocks of a fixed length, so that every value is computed the same way at any number of
    // threads.
    parallel_for(n, kBlock, [&](int64_t begin, int64_t end, int) {
      for (int64_t i = begin; i < end; ++i) {
        const float g = gradient[i] * scale;
        m[i] = beta1 * m[i] + rest1 * g;
        v[i] = beta2 * v[i] + rest2 * g * g;
        values[i] -= decay * values[i] + step_size * m[i] / (std::sqrt(v[i]) + epsilon);
      }
    });
  }
  return norm;
}

}  // namespace chunkllm

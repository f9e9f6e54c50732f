// AdamW (Loshchilov and Hutter, arXiv 1711.05101) over a list of float arrays.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace chunkllm {

// Linear warm-up from 0 to the peak, then a half cosine down to a fraction of it.
struct LearningRateSchedule {
  double peak = 1e-3;
  int64_t warmup_steps = 0;
  int64_t total_steps = 1;      // the rate stays at its last value afterwards
  double final_fraction = 0.1;  // of the peak
};

// The rate of step 0, 1, ...: peak * (step + 1) / warmup_steps while step < warmup_steps; the peak
// at step = warmup_steps; peak * final_fraction from step = total_steps - 1 on.
double learning_rate_at(const LearningRateSchedule& schedule, int64_t step);

struct AdamWOptions {
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  double weight_decay = 0.01;      // not applied to parameters whose name ends in "bias"
  double max_gradient_norm = 1.0;  // over all parameters together; 0 does not clip
};

// A float array to be trained and its gradient, both owned by the caller and of the same length.
struct TrainedParameter {
  std::string name;
  std::span<float> values;
  std::span<const float> gradient;
};

// One step with the rate lr: g the gradient, scaled so that the norm over all parameters is at most
// max_gradient_norm;
//   m = beta1 m + (1 - beta1) g,  v = beta2 v + (1 - beta2) g^2,
//   w = w - lr weight_decay w - lr (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + epsilon),
// t = 1, 2, ... Deterministic bit for bit, at any number of threads.
// Keeps views of the parameters, which must outlive it; owns its state. One thread at a time.
class AdamW {
 public:
  // Throws Error (kInvalidArgument) on unequal lengths, repeated names and options out of range.
  AdamW(std::vector<TrainedParameter> parameters, const AdamWOptions& options);

  // Takes one step and returns the norm of the gradient before clipping. Throws Error (kData)
  // naming the parameter if a gradient is not finite; nothing has changed then.
  double step(double learning_rate);

  // Steps taken so far.
  int64_t n_steps() const { return n_steps_; }

 private:
  struct Slot {
    TrainedParameter parameter;
    bool decays = true;
    std::vector<float> m;
    std::vector<float> v;
  };

  double gradient_norm() const;

  std::vector<Slot> slots_;
  AdamWOptions options_;
  int64_t n_steps_ = 0;
};

}  // namespace chunkllm

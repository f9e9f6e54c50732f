// The fit of one layer's QK Adapter to its lessons, and what it then does.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "select/chunk/adapter.h"
#include "train/layer_problem.h"
#include "train/metrics.h"
#include "train/row_demand.h"

namespace chunkllm {

struct LayerFitOptions {
  int64_t selection_heads = 2;
  int64_t adapter_dim = 32;  // of each head
  LessonReading reading = {};
  int64_t epochs = 24;
  double learning_rate = 3e-3;  // peak of the one cycle: 10% of the steps up, a cosine down to 0
  QkAdapter start = {};  // for inputs as the layer has them; where it is empty the start is random
  uint64_t seed = 0;
};

struct LayerFitResult {
  QkAdapter adapter;  // for inputs as the layer has them: scales and temperature are folded in
  int64_t n_steps = 0;
  // Weighted KL over all lessons before the first step and after the last.
  double loss_before = 0;
  double loss_after = 0;
};

// After each epoch: its number from 1, the mean loss of its steps, the learning rate and the
// gradient's norm of the last. May throw, which ends the fit.
using EpochCallback =
    std::function<void(int64_t epoch, double loss, double learning_rate, double gradient_norm)>;

// Fits one layer's adapter: one sequence a step, in an order drawn anew each epoch. Inputs are
// divided, feature by feature, by their root mean square over the lessons; a temperature is learned
// with the weights. Deterministic bit for bit at any number of threads. Throws Error (kData) if the
// loss or a gradient is not finite; what the callback throws.
LayerFitResult fit_layer(std::span<const LayerLessonView> lessons, const LayerFitOptions& options,
                         const EpochCallback& after_epoch);

// Seconds that one step over one lesson takes here and now.
double time_one_step(const LayerLessonView& lesson, const LayerFitOptions& options);

// What one layer's adapter does with lessons; sums over their queries.
struct LayerReport {
  double kl_sum = 0;  // weighted
  double weight_sum = 0;
  CapturedMass prompt_ends;
  CapturedMass answers;
  CapturedMass boundaries;
  RecallAtK recall = RecallAtK(8);  // over all queries but random ones
  // Of the own attention of prompt ends and tokens of answers; of random tokens.
  RowDemand answer_demand;
  RowDemand random_demand;

  // Where text has no answers the random tokens speak.
  const RowDemand& demand() const { return answer_demand.empty() ? random_demand : answer_demand; }
  double kl() const { return weight_sum > 0 ? kl_sum / weight_sum : 0.0; }
};
LayerReport measure_layer(std::span<const LayerLessonView> lessons, const QkAdapter& adapter,
                          int64_t selection_heads, const LessonReading& reading);

}  // namespace chunkllm

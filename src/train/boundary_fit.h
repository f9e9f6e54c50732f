// The fit of the Chunk Adapter: a logistic regression on the output of the first layer, which runs
// as it will at inference, prompts and answers each by their rules.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "base/cancel.h"
#include "base/random.h"
#include "engine/backbone.h"
#include "select/chunk/adapter.h"
#include "train/lesson_file.h"
#include "train/metrics.h"

namespace chunkllm {

// A random budget of the first layer: a share of the context from 5 to 100%.
double draw_first_layer_budget(Rng& rng);

// The first layer alone, with an adapter's first selection. Refers to what it is given.
class FirstLayer {
 public:
  FirstLayer(Backbone& backbone, const Adapter& adapter, std::vector<int32_t> special_ids)
      : backbone_(backbone), adapter_(adapter), special_ids_(std::move(special_ids)) {}

  // Its output [n_tokens, d_model] where it attends to this share of the context. Throws Error
  // (kInterrupted) as Backbone does.
  std::vector<float> output(const TrainingSequence& sequence, double budget,
                            const CancelToken* cancel);

  const Adapter& adapter() const { return adapter_; }

 private:
  Backbone& backbone_;
  const Adapter& adapter_;
  std::vector<int32_t> special_ids_;
};

struct BoundaryFitOptions {
  double learning_rate = 5e-3;  // peak of the one cycle
  uint64_t seed = 0;
};

// What the Chunk Adapter finds; sums over tokens.
struct BoundaryReport {
  double loss_sum = 0;
  int64_t n_tokens = 0;
  BoundaryCounts counts;
  BoundaryCounts line_ends;  // of the tokens that hold a line end alone

  double loss() const { return n_tokens > 0 ? loss_sum / static_cast<double>(n_tokens) : 0.0; }
};

struct BoundaryFitResult {
  std::vector<float> weight;  // [d_model]
  float bias = 0;
  int64_t n_steps = 0;
  BoundaryReport last_epoch;  // counted as the steps went
};

// After each epoch: its number from 1 and its report. May throw, which ends the fit.
using BoundaryCallback = std::function<void(int64_t epoch, const BoundaryReport& report)>;

// The mean square of each feature of the first layer's output over some lessons.
std::vector<float> mean_boundary_squares(std::span<const LessonFile> lessons);

// Runs the first layer over each sequence of each epoch, every time at a random budget, and takes a
// step every 128 tokens. Epochs of other texts find more than the same ones again. Features are
// divided by the roots of `mean_squares` [d_model]; the sink is left out. Deterministic. Throws
// Error: kData if a loss or gradient is not finite, kInterrupted, and what the callback throws.
BoundaryFitResult fit_boundaries(std::span<const std::vector<TrainingSequence>> epochs,
                                 std::span<const float> mean_squares, FirstLayer& first_layer,
                                 const BoundaryFitOptions& options, const CancelToken* cancel,
                                 const BoundaryCallback& after_epoch);

// What first_layer's adapter finds in sequences, each at one random budget. token_marks by token id
// (select/chunk/token_marks.h).
BoundaryReport measure_boundaries(std::span<const TrainingSequence> sequences,
                                  FirstLayer& first_layer, std::span<const uint8_t> token_marks,
                                  uint64_t seed, const CancelToken* cancel);

}  // namespace chunkllm

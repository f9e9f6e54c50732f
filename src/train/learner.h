// Losses, gradients and metrics of the adapters over sequences.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <vector>

#include "model/transformer.h"
#include "select/chunk/adapter.h"
#include "train/adamw.h"
#include "train/data/sequences.h"
#include "train/losses.h"
#include "train/metrics.h"
#include "train/teacher.h"

namespace chunkllm {

// Sums over the sequences added since reset(), one entry a layer where there are several.
struct LearnerReport {
  int64_t n_sequences = 0;
  int64_t n_tokens = 0;
  double bce_sum = 0;
  std::vector<double> kl_sum;      // [n_layers], of the sequences' weighted means
  std::vector<int64_t> n_lessons;  // [n_layers], sequences that had something to teach the layer
  std::vector<RecallAtK> recall;   // [n_layers], over boundaries and prompt ends
  BoundaryCounts boundaries;

  double bce() const;
  double kl(int64_t layer) const;
  double mean_kl() const;  // over the selecting layers
  // Fields as train.jsonl has them.
  nlohmann::ordered_json to_json(const AdapterConfig& config) const;
};

// Runs the frozen backbone over sequences and works out what the adapters should learn. Refers to
// the weights and the adapter, which must outlive it. One thread at a time.
class Learner {
 public:
  struct Options {
    int64_t seq_len = 4096;  // most tokens of a sequence
    TeacherOptions teacher = {};
    int64_t block_tokens = 512;
  };
  // Throws Error (kMemory).
  Learner(const ModelWeights& weights, Adapter& adapter, std::vector<int32_t> special_ids,
          const Options& options);

  // Sets the units in which the Chunk Adapter's weights are trained: each feature of the first
  // layer's output divided by its root mean square over `sequence`, since models differ by orders
  // of magnitude.
  void measure_features(const TrainingSequence& sequence);

  // Writes the parameters that are trained in other units than the adapter's into the adapter.
  void update_adapter();

  // Adds one sequence to the report and, with `with_gradients`, to the gradients.
  // `first_layer_budget` in (0, 1] is the share of the context that the first layer attends to
  // while the Chunk Adapter looks at its output.
  void add(const TrainingSequence& sequence, double first_layer_budget, bool with_gradients);

  const LearnerReport& report() const { return report_; }
  // Forgets report and gradients.
  void reset();
  // Divides the gradients by the number of sequences; call once before a step.
  void finish_gradients();
  // The adapter's arrays with their gradients; valid while the object lives.
  std::vector<TrainedParameter> parameters();

  static int64_t memory_bytes(const ModelConfig& config, const AdapterConfig& adapter,
                              const Options& options);

 private:
  struct LayerGradient {
    std::vector<float> q, k;  // [adapter_dim, d_model]
  };
  // The first layer's output [n_tokens, d_model] as inference will have it at this budget.
  std::vector<float> first_layer_output(const TrainingSequence& sequence, double budget);
  void learn_boundaries(const TrainingSequence& sequence, double budget, bool with_gradients);
  void learn_selection(const TrainingSequence& sequence, bool with_gradients);
  void learn_layer(int64_t layer, const LayerLesson& lesson, bool with_gradients);
  void run_blocks(const TrainingSequence& sequence, int64_t n_layers, RowSelector& selector);

  const ModelWeights& weights_;
  Adapter& adapter_;
  std::vector<int32_t> special_ids_;
  Options options_;
  KvCache cache_;
  Transformer transformer_;
  LearnerReport report_;
  std::vector<float> boundary_scale_;            // [d_model], the adapter's weight per unit trained
  std::vector<float> boundary_parameter_;        // [d_model], the weight in the units trained
  std::vector<float> boundary_weight_gradient_;  // [d_model], by boundary_parameter_
  float boundary_bias_gradient_ = 0;
  std::vector<LayerGradient> gradients_;  // [n_layers]
};

}  // namespace chunkllm

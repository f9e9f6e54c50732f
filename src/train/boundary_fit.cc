#include "train/boundary_fit.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.h"
#include "engine/forwarding_rows.h"
#include "kernels/linear/sgemm.h"
#include "select/chunk/chunk_policy.h"
#include "select/chunk/token_marks.h"
#include "train/adamw.h"
#include "train/feature_scales.h"
#include "train/losses.h"

namespace chunkllm {
namespace {

constexpr double kSmallestBudget = 0.05;
constexpr double kWarmupFraction = 0.1;
constexpr int64_t kTokensPerStep = 128;

// The policy `chunk` with an ear on the first layer's output.
class FirstLayerListener : public ForwardingRows {
 public:
  // hidden [n_tokens, d_model]; both must outlive the object.
  FirstLayerListener(ChunkPolicy& policy, int64_t d_model, std::vector<float>& hidden)
      : ForwardingRows(policy), d_model_(d_model), hidden_(hidden) {}
  void layer_done(int64_t layer, Range positions, const float* hidden) override {
    ForwardingRows::layer_done(layer, positions, hidden);
    std::copy_n(hidden, positions.size() * d_model_, hidden_.begin() + positions.begin * d_model_);
  }

 private:
  int64_t d_model_;
  std::vector<float>& hidden_;
};

// The logistic regression on scaled features.
class BoundaryFit {
 public:
  explicit BoundaryFit(std::vector<float> scales)
      : scales_(std::move(scales)),
        weight_(scales_.size(), 0.0f),
        folded_(scales_.size(), 0.0f),
        gradient_(scales_.size(), 0.0f),
        optimizer_({{"chunk_adapter.weight", weight_, gradient_},
                    {"chunk_adapter.bias", {&bias_, 1}, {&bias_gradient_, 1}}},
                   {.beta1 = 0.9, .beta2 = 0.95, .weight_decay = 0.01}) {}

  // hidden [n_tokens, d_model]. Adds what the weights found before the step to the report.
  void step(const float* hidden, std::span<const uint8_t> labels, double alpha,
            double learning_rate, BoundaryReport& report) {
    const auto n = static_cast<int64_t>(labels.size());
    const auto d_model = static_cast<int64_t>(scales_.size());
    logits_.assign(labels.size(), bias_);
    d_logits_.resize(labels.size());
    sgemm({.m = n, .n = 1, .k = d_model}, 1.0f, hidden, d_model, folded_.data(), 1, 1.0f,
          logits_.data(), 1);
    const double loss = bce_with_logits(logits_, labels, d_logits_).loss;
    if (!std::isfinite(loss)) {
      fail(ErrorCode::kData, "the loss of the Chunk Adapter is not finite");
    }
    report.loss_sum += loss * static_cast<double>(n);
    report.n_tokens += n;
    report.counts.add(logits_, labels, alpha);
    sgemm({.m = 1, .n = d_model, .k = n}, 1.0f, d_logits_.data(), n, hidden, d_model, 0.0f,
          gradient_.data(), d_model);
    for (size_t j = 0; j < scales_.size(); ++j) gradient_[j] *= scales_[j];
    bias_gradient_ = std::accumulate(d_logits_.begin(), d_logits_.end(), 0.0f);
    optimizer_.step(learning_rate);
    for (size_t j = 0; j < scales_.size(); ++j) folded_[j] = weight_[j] * scales_[j];
  }

  const std::vector<float>& weight() const { return folded_; }  // of features as they are
  float bias() const { return bias_; }

 private:
  std::vector<float> scales_;
  std::vector<float> weight_, folded_, gradient_;  // [d_model]
  float bias_ = 0;
  float bias_gradient_ = 0;
  AdamW optimizer_;
  std::vector<float> logits_, d_logits_;
};

// Tokens that teach: those after the sink, whose outliers say nothing about sentences.
Range taught_tokens(const TrainingSequence& sequence, const Adapter& adapter) {
  return {std::min(adapter.config.sink, sequence.n_tokens()), sequence.n_tokens()};
}

// Announces what lies between answers.
void add_prompts(const TrainingSequence& sequence, ChunkPolicy& policy) {
  auto end = sequence.prompt_ends.begin();
  const auto add = [&](Range prompt) {
    if (prompt.empty()) return;
    const auto first = end;
    while (end != sequence.prompt_ends.end() && *end < prompt.end) ++end;
    policy.add_prompt(prompt, {first, end});
  };
  int64_t begin = 0;
  for (const int64_t answer : sequence.answers) {
    add({begin, answer});
    begin = answer + 1;
  }
  add({begin, sequence.n_tokens()});
}

int64_t steps_of(const TrainingSequence& sequence, const Adapter& adapter) {
  return (taught_tokens(sequence, adapter).size() + kTokensPerStep - 1) / kTokensPerStep;
}

}  // namespace

double draw_first_layer_budget(Rng& rng) {
  return kSmallestBudget + (1.0 - kSmallestBudget) * rng.uniform();
}

std::vector<float> FirstLayer::output(const TrainingSequence& sequence, double budget,
                                      const CancelToken* cancel) {
  SelectionSettings settings;
  settings.budget.fraction = budget;
  settings.budget.min_tokens = 1;
  settings.prefill_floor = 1;
  ChunkPolicy policy(adapter_, settings, special_ids_);
  add_prompts(sequence, policy);
  std::vector<float> hidden(static_cast<size_t>(sequence.n_tokens() * adapter_.config.d_model));
  FirstLayerListener listener(policy, adapter_.config.d_model, hidden);
  backbone_.run(sequence.ids, 1, listener, cancel);
  return hidden;
}

std::vector<float> mean_boundary_squares(std::span<const LessonFile> lessons) {
  std::vector<double> sums(lessons.front().boundary_mean_squares().size(), 0.0);
  for (const LessonFile& lesson : lessons) {
    for (size_t j = 0; j < sums.size(); ++j) sums[j] += double{lesson.boundary_mean_squares()[j]};
  }
  std::vector<float> means;
  for (const double sum : sums) {
    means.push_back(static_cast<float>(sum / static_cast<double>(lessons.size())));
  }
  return means;
}

BoundaryFitResult fit_boundaries(std::span<const std::vector<TrainingSequence>> epochs,
                                 std::span<const float> mean_squares, FirstLayer& first_layer,
                                 const BoundaryFitOptions& options, const CancelToken* cancel,
                                 const BoundaryCallback& after_epoch) {
  const Adapter& adapter = first_layer.adapter();
  const int64_t d_model = adapter.config.d_model;
  BoundaryFit fit(feature_scales(mean_squares));
  LearningRateSchedule schedule;
  schedule.peak = options.learning_rate;
  schedule.total_steps = 0;
  for (const std::vector<TrainingSequence>& epoch : epochs) {
    for (const TrainingSequence& sequence : epoch) {
      schedule.total_steps += steps_of(sequence, adapter);
    }
  }
  schedule.warmup_steps =
      static_cast<int64_t>(kWarmupFraction * static_cast<double>(schedule.total_steps));
  schedule.final_fraction = 0.0;

  Rng rng(options.seed);
  BoundaryFitResult result;
  for (size_t epoch = 0; epoch < epochs.size(); ++epoch) {
    result.last_epoch = {};
    for (const TrainingSequence& sequence : epochs[epoch]) {
      const std::vector<float> hidden =
          first_layer.output(sequence, draw_first_layer_budget(rng), cancel);
      const Range taught = taught_tokens(sequence, adapter);
      for (int64_t begin = taught.begin; begin < taught.end; begin += kTokensPerStep) {
        const int64_t n = std::min(kTokensPerStep, taught.end - begin);
        fit.step(hidden.data() + begin * d_model,
                 {sequence.labels.data() + begin, static_cast<size_t>(n)},
                 double{adapter.config.alpha}, learning_rate_at(schedule, result.n_steps++),
                 result.last_epoch);
      }
    }
    after_epoch(static_cast<int64_t>(epoch) + 1, result.last_epoch);
  }
  result.weight = fit.weight();
  result.bias = fit.bias();
  return result;
}

BoundaryReport measure_boundaries(std::span<const TrainingSequence> sequences,
                                  FirstLayer& first_layer, std::span<const uint8_t> token_marks,
                                  uint64_t seed, const CancelToken* cancel) {
  const Adapter& adapter = first_layer.adapter();
  const auto alpha = double{adapter.config.alpha};
  const int64_t d_model = adapter.config.d_model;
  Rng rng(seed);
  BoundaryReport report;
  for (const TrainingSequence& sequence : sequences) {
    const std::vector<float> hidden =
        first_layer.output(sequence, draw_first_layer_budget(rng), cancel);
    const Range taught = taught_tokens(sequence, adapter);
    std::vector<float> logits(static_cast<size_t>(taught.size()), adapter.boundary_bias);
    sgemm({.m = taught.size(), .n = 1, .k = d_model}, 1.0f, hidden.data() + taught.begin * d_model,
          d_model, adapter.boundary_weight.data(), 1, 1.0f, logits.data(), 1);
    const std::span<const uint8_t> labels{sequence.labels.data() + taught.begin, logits.size()};
    report.loss_sum +=
        bce_with_logits(logits, labels, {}).loss * static_cast<double>(taught.size());
    report.n_tokens += taught.size();
    report.counts.add(logits, labels, alpha);
    for (size_t i = 0; i < logits.size(); ++i) {
      const auto id = static_cast<size_t>(sequence.ids[static_cast<size_t>(taught.begin) + i]);
      if (id < token_marks.size() && (token_marks[id] & kHoldsLineEnd) != 0) {
        report.line_ends.add({&logits[i], 1}, labels.subspan(i, 1), alpha);
      }
    }
  }
  return report;
}

}  // namespace chunkllm

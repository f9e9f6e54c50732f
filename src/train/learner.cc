#include "train/learner.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "kernels/linear/linear.h"
#include "kernels/linear/sgemm.h"
#include "kernels/ops/ops.h"
#include "select/chunk/chunk_policy.h"

namespace chunkllm {
namespace {

// The policy `chunk` with an ear on the first layer's output.
class FirstLayerListener : public RowSelector {
 public:
  // hidden [n_tokens, d_model]; both must outlive the object.
  FirstLayerListener(ChunkPolicy& policy, int64_t d_model, std::vector<float>& hidden)
      : policy_(policy), d_model_(d_model), hidden_(hidden) {}
  void begin_block(Range positions, std::span<const int32_t> tokens) override {
    policy_.begin_block(positions, tokens);
  }
  std::span<const AttentionSpan> rows(const LayerInput& input) override {
    return policy_.rows(input);
  }
  void layer_done(int64_t layer, Range positions, const float* hidden) override {
    policy_.layer_done(layer, positions, hidden);
    std::copy_n(hidden, positions.size() * d_model_, hidden_.begin() + positions.begin * d_model_);
  }

 private:
  ChunkPolicy& policy_;
  int64_t d_model_;
  std::vector<float>& hidden_;
};

KvType teacher_kv_type(Precision precision) {
  return precision.products == ProductType::kBf16 ? KvType::kBf16 : KvType::kF32;
}

}  // namespace

double LearnerReport::bce() const {
  return n_sequences > 0 ? bce_sum / static_cast<double>(n_sequences) : 0.0;
}

double LearnerReport::kl(int64_t layer) const {
  const auto i = static_cast<size_t>(layer);
  return n_lessons[i] > 0 ? kl_sum[i] / static_cast<double>(n_lessons[i]) : 0.0;
}

double LearnerReport::mean_kl() const {
  double sum = 0;
  int64_t n_layers = 0;
  for (size_t i = 0; i < kl_sum.size(); ++i) {
    if (n_lessons[i] == 0) continue;
    sum += kl(static_cast<int64_t>(i));
    ++n_layers;
  }
  return n_layers > 0 ? sum / static_cast<double>(n_layers) : 0.0;
}

nlohmann::ordered_json LearnerReport::to_json(const AdapterConfig& config) const {
  nlohmann::ordered_json json;
  json["loss_bce"] = bce();
  json["loss_kl"] = mean_kl();
  json["boundary_precision"] = boundaries.precision();
  json["boundary_recall"] = boundaries.recall();
  json["boundary_f1"] = boundaries.f1();
  for (int64_t i = 0; i < config.n_layers; ++i) {
    if (!config.selects(i)) continue;
    const RecallAtK& layer = recall[static_cast<size_t>(i)];
    const std::string name = std::to_string(i);
    json["kl"][name] = kl(i);
    json["recall_at_8"][name] = layer.by_score();
    json["recall_at_8_recent"][name] = layer.by_recency();
    json["recall_at_8_random"][name] = layer.by_chance();
  }
  return json;
}

Learner::Learner(const ModelWeights& weights, Adapter& adapter, std::vector<int32_t> special_ids,
                 const Options& options)
    : weights_(weights),
      adapter_(adapter),
      special_ids_(std::move(special_ids)),
      options_(options),
      cache_(weights.config, options.seq_len, teacher_kv_type(weights.precision)),
      transformer_(weights, options.block_tokens) {
  gradients_.resize(adapter.layers.size());
  boundary_scale_.assign(adapter.boundary_weight.size(), 1.0f);
  boundary_parameter_ = adapter.boundary_weight;
  reset();
}

int64_t Learner::memory_bytes(const ModelConfig& config, const AdapterConfig& adapter,
                              const Options& options) {
  constexpr double kTokensPerChunk = 16;
  const auto n = static_cast<double>(options.seq_len);  // its square may pass 64 bits
  const double n_chunks = n / kTokensPerChunk;
  const auto d_model = static_cast<double>(config.d_model);
  const auto n_layers = static_cast<double>(config.n_layers);
  const double lessons = n_layers * n_chunks * (2 * d_model + n_chunks) * 4;
  const double kv = n * n_layers * 2 * static_cast<double>(config.kv_dim()) * 4;
  const int64_t fixed = config.n_layers * 2 * adapter.adapter_dim * config.d_model * 4 * 4 +
                        Transformer::workspace_bytes(config, options.block_tokens) +
                        kSelectionScratchBytes;
  constexpr double kMost = 9e18;
  return static_cast<int64_t>(
      std::min(kv + n * d_model * 4 + lessons + static_cast<double>(fixed), kMost));
}

void Learner::reset() {
  const auto n_layers = static_cast<size_t>(adapter_.config.n_layers);
  report_ = {};
  report_.kl_sum.assign(n_layers, 0.0);
  report_.n_lessons.assign(n_layers, 0);
  report_.recall.assign(n_layers, RecallAtK(8));
  boundary_weight_gradient_.assign(adapter_.boundary_weight.size(), 0.0f);
  boundary_bias_gradient_ = 0;
  for (size_t i = 0; i < n_layers; ++i) {
    gradients_[i].q.assign(adapter_.layers[i].q.size(), 0.0f);
    gradients_[i].k.assign(adapter_.layers[i].k.size(), 0.0f);
  }
}

void Learner::finish_gradients() {
  if (report_.n_sequences == 0) return;
  const float scale = 1.0f / static_cast<float>(report_.n_sequences);
  const auto divide = [scale](std::vector<float>& values) {
    for (float& value : values) value *= scale;
  };
  divide(boundary_weight_gradient_);
  boundary_bias_gradient_ *= scale;
  for (LayerGradient& gradient : gradients_) {
    divide(gradient.q);
    divide(gradient.k);
  }
}

std::vector<TrainedParameter> Learner::parameters() {
  std::vector<TrainedParameter> list;
  list.push_back({"chunk_adapter.weight", boundary_parameter_, boundary_weight_gradient_});
  list.push_back(
      {"chunk_adapter.bias", {&adapter_.boundary_bias, 1}, {&boundary_bias_gradient_, 1}});
  for (size_t i = 0; i < gradients_.size(); ++i) {
    if (gradients_[i].q.empty()) continue;
    const std::string at = "layers." + std::to_string(i);
    list.push_back({at + ".q_adapter.weight", adapter_.layers[i].q, gradients_[i].q});
    list.push_back({at + ".k_adapter.weight", adapter_.layers[i].k, gradients_[i].k});
  }
  return list;
}

void Learner::add(const TrainingSequence& sequence, double first_layer_budget,
                  bool with_gradients) {
  update_adapter();
  ++report_.n_sequences;
  report_.n_tokens += sequence.n_tokens();
  learn_boundaries(sequence, first_layer_budget, with_gradients);
  learn_selection(sequence, with_gradients);
}

void Learner::run_blocks(const TrainingSequence& sequence, int64_t n_layers,
                         RowSelector& selector) {
  const std::span<const int32_t> ids = sequence.ids;
  for (int64_t begin = 0; begin < sequence.n_tokens(); begin += options_.block_tokens) {
    const int64_t n = std::min(options_.block_tokens, sequence.n_tokens() - begin);
    transformer_.forward_layers(ids.subspan(static_cast<size_t>(begin), static_cast<size_t>(n)),
                                begin, n_layers, cache_, selector);
  }
}

// Boundaries must hold at any budget: the first layer runs as it will at inference.
std::vector<float> Learner::first_layer_output(const TrainingSequence& sequence, double budget) {
  SelectionSettings settings;
  settings.budget.fraction = budget;
  settings.budget.min_tokens = 1;
  ChunkPolicy policy(adapter_, settings, special_ids_);
  policy.add_prompt({0, sequence.n_tokens()}, sequence.prompt_ends);
  std::vector<float> hidden(static_cast<size_t>(sequence.n_tokens() * adapter_.config.d_model));
  FirstLayerListener listener(policy, adapter_.config.d_model, hidden);
  run_blocks(sequence, 1, listener);
  return hidden;
}

void Learner::measure_features(const TrainingSequence& sequence) {
  const std::vector<float> hidden = first_layer_output(sequence, 1.0);
  const size_t d_model = boundary_scale_.size();
  std::vector<double> squares(d_model, 0.0);
  for (size_t i = 0; i < hidden.size(); ++i)
    squares[i % d_model] += double{hidden[i]} * double{hidden[i]};
  for (size_t j = 0; j < d_model; ++j) {
    constexpr double kSmallest = 1e-6;  // a feature that is always zero teaches nothing
    const double rms = std::sqrt(squares[j] / static_cast<double>(sequence.n_tokens()));
    boundary_scale_[j] = static_cast<float>(1.0 / std::max(rms, kSmallest));
    boundary_parameter_[j] = adapter_.boundary_weight[j] / boundary_scale_[j];
  }
}

void Learner::update_adapter() {
  for (size_t j = 0; j < boundary_scale_.size(); ++j) {
    adapter_.boundary_weight[j] = boundary_parameter_[j] * boundary_scale_[j];
  }
}

void Learner::learn_boundaries(const TrainingSequence& sequence, double budget,
                               bool with_gradients) {
  if (adapter_.config.fixed_chunk > 0) return;
  const int64_t n = sequence.n_tokens();
  const int64_t d_model = adapter_.config.d_model;
  const std::vector<float> hidden = first_layer_output(sequence, budget);
  std::vector<float> logits(static_cast<size_t>(n), adapter_.boundary_bias);
  sgemm({.m = n, .n = 1, .k = d_model}, 1.0f, hidden.data(), d_model,
        adapter_.boundary_weight.data(), 1, 1.0f, logits.data(), 1);
  std::vector<float> d_logits(with_gradients ? logits.size() : 0);
  report_.bce_sum += bce_with_logits(logits, sequence.labels, d_logits).loss;
  report_.boundaries.add(logits, sequence.labels, adapter_.config.alpha);
  if (!with_gradients) return;
  std::vector<float> gradient(static_cast<size_t>(d_model));
  sgemm({.m = 1, .n = d_model, .k = n}, 1.0f, d_logits.data(), n, hidden.data(), d_model, 0.0f,
        gradient.data(), d_model);
  for (size_t j = 0; j < gradient.size(); ++j) {
    boundary_weight_gradient_[j] += gradient[j] * boundary_scale_[j];
  }
  for (const float d : d_logits) boundary_bias_gradient_ += d;
}

void Learner::learn_selection(const TrainingSequence& sequence, bool with_gradients) {
  const AdapterConfig& config = adapter_.config;
  const ChunkTrack sentences = sentence_track(sequence, config, special_ids_);
  const ChunkTrack grid = grid_track(sequence, config, special_ids_);
  TeacherPass teacher(weights_.config, config, sequence,
                      {.first_layer = config.selects(0) ? &grid : nullptr, .others = &sentences},
                      options_.teacher);
  run_blocks(sequence, config.n_layers, teacher);
  for (int64_t layer = 0; layer < config.n_layers; ++layer) {
    if (!config.selects(layer)) continue;
    learn_layer(layer, teacher.lessons()[static_cast<size_t>(layer)], with_gradients);
  }
}

void Learner::learn_layer(int64_t layer, const LayerLesson& lesson, bool with_gradients) {
  const int64_t n_queries = lesson.n_queries();
  const int64_t n_chunks = lesson.n_chunks;
  if (n_queries == 0 || n_chunks == 0) return;
  const int64_t d_model = adapter_.config.d_model;
  const int64_t dim = adapter_.config.adapter_dim;
  const QkAdapter& weights = adapter_.layers[static_cast<size_t>(layer)];
  std::vector<float> q_hat(static_cast<size_t>(n_queries * dim));
  std::vector<float> keys(static_cast<size_t>(n_chunks * dim));
  sgemm({.transpose_b = true, .m = n_queries, .n = dim, .k = d_model}, 1.0f,
        lesson.query_inputs.data(), d_model, weights.q.data(), d_model, 0.0f, q_hat.data(), dim);
  sgemm({.transpose_b = true, .m = n_chunks, .n = dim, .k = d_model}, 1.0f,
        lesson.key_inputs.data(), d_model, weights.k.data(), d_model, 0.0f, keys.data(), dim);

  std::vector<float> d_q_hat(with_gradients ? q_hat.size() : 0);
  std::vector<float> d_keys(with_gradients ? keys.size() : 0);
  std::vector<float> scores(static_cast<size_t>(n_queries * n_chunks));
  const SelectionResult result =
      selection_loss({.n_queries = n_queries,
                      .n_chunks = n_chunks,
                      .adapter_dim = dim,
                      .q_hat = q_hat.data(),
                      .chunk_keys = keys.data(),
                      .teacher = lesson.teacher.data(),
                      .eligible = lesson.eligible,
                      .weights = lesson.weights},
                     {.d_q_hat = with_gradients ? d_q_hat.data() : nullptr,
                      .d_chunk_keys = with_gradients ? d_keys.data() : nullptr,
                      .scores = scores.data()});
  if (result.n_used > 0) {
    report_.kl_sum[static_cast<size_t>(layer)] += result.loss;
    ++report_.n_lessons[static_cast<size_t>(layer)];
  }

  // Recall is that of the queries that select at inference: random ones are left out.
  std::vector<Range> counted = lesson.eligible;
  for (size_t i = 0; i < counted.size(); ++i) {
    if (lesson.refreshes[i] == 0) counted[i] = {0, 0};
  }
  report_.recall[static_cast<size_t>(layer)].add(lesson.teacher.data(), scores.data(), n_chunks,
                                                 counted);

  if (!with_gradients) return;
  LayerGradient& gradient = gradients_[static_cast<size_t>(layer)];
  sgemm({.transpose_a = true, .m = dim, .n = d_model, .k = n_queries}, 1.0f, d_q_hat.data(), dim,
        lesson.query_inputs.data(), d_model, 1.0f, gradient.q.data(), d_model);
  sgemm({.transpose_a = true, .m = dim, .n = d_model, .k = n_chunks}, 1.0f, d_keys.data(), dim,
        lesson.key_inputs.data(), d_model, 1.0f, gradient.k.data(), d_model);
}

}  // namespace chunkllm

#include "train/layer_fit.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.h"
#include "base/random.h"
#include "base/timer.h"
#include "kernels/linear/sgemm.h"
#include "train/adamw.h"
#include "train/feature_scales.h"

namespace chunkllm {
namespace {

constexpr double kWarmupFraction = 0.1;
// Of the weights that are drawn, over sqrt(d_model): without a start, and beside one.
constexpr double kInitialDeviation = 0.3;
constexpr double kDeviationFromStart = 0.03;
constexpr AdamWOptions kOptimizer{.beta1 = 0.9, .beta2 = 0.95, .weight_decay = 0.01};

// Of each feature over the lessons.
std::vector<double> mean_squares(std::span<const LayerLessonView> lessons) {
  std::vector<double> squares(static_cast<size_t>(lessons.front().d_model()), 0.0);
  for (const LayerLessonView& lesson : lessons) {
    for (size_t j = 0; j < squares.size(); ++j) squares[j] += double{lesson.mean_squares[j]};
  }
  for (double& square : squares) square /= static_cast<double>(lessons.size());
  return squares;
}

// q^ and k^ of a problem with some weights, the loss, and its gradients by the weights.
class LayerModel {
 public:
  LayerModel(int64_t d_model, int64_t n_heads, int64_t adapter_dim)
      : d_model_(d_model), n_heads_(n_heads), dim_(n_heads * adapter_dim) {}

  // q and k are [n_heads * adapter_dim, d_model]. With `scores` they are kept for scores().
  SelectionResult forward(const LayerProblem& problem, const QkAdapter& weights, float temperature,
                          bool with_gradients, bool with_scores) {
    const int64_t n_queries = problem.n_queries();
    const int64_t n_chunks = problem.n_chunks();
    q_hat_.resize(static_cast<size_t>(n_queries * dim_));
    keys_.resize(static_cast<size_t>(n_chunks * dim_));
    if (with_gradients) {
      d_q_hat_.resize(q_hat_.size());
      d_keys_.resize(keys_.size());
    }
    if (with_scores) scores_.resize(static_cast<size_t>(n_queries * n_chunks));
    sgemm({.transpose_b = true, .m = n_queries, .n = dim_, .k = d_model_}, temperature,
          problem.query_inputs(), d_model_, weights.q.data(), d_model_, 0.0f, q_hat_.data(), dim_);
    sgemm({.transpose_b = true, .m = n_chunks, .n = dim_, .k = d_model_}, 1.0f,
          problem.key_inputs(), d_model_, weights.k.data(), d_model_, 0.0f, keys_.data(), dim_);
    return selection_loss({.n_queries = n_queries,
                           .n_chunks = n_chunks,
                           .n_heads = n_heads_,
                           .adapter_dim = dim_ / n_heads_,
                           .q_hat = q_hat_.data(),
                           .chunk_keys = keys_.data(),
                           .teacher = problem.teacher(),
                           .eligible = problem.eligible(),
                           .weights = problem.weights(),
                           .log_tokens = problem.log_tokens(),
                           .distance_features = problem.distance_features(),
                           .positions = problem.positions(),
                           .chunk_ends = problem.chunk_ends()},
                          {.d_q_hat = with_gradients ? d_q_hat_.data() : nullptr,
                           .d_chunk_keys = with_gradients ? d_keys_.data() : nullptr,
                           .scores = with_scores ? scores_.data() : nullptr});
  }

  // The gradients of the last forward(): by the weights, and by the logarithm of the temperature.
  void backward(const LayerProblem& problem, float temperature, QkAdapter& gradient,
                float& temperature_gradient) {
    sgemm({.transpose_a = true, .m = dim_, .n = d_model_, .k = problem.n_queries()}, temperature,
          d_q_hat_.data(), dim_, problem.query_inputs(), d_model_, 0.0f, gradient.q.data(),
          d_model_);
    sgemm({.transpose_a = true, .m = dim_, .n = d_model_, .k = problem.n_chunks()}, 1.0f,
          d_keys_.data(), dim_, problem.key_inputs(), d_model_, 0.0f, gradient.k.data(), d_model_);
    double sum = 0;
    for (size_t i = 0; i < q_hat_.size(); ++i) sum += double{d_q_hat_[i]} * double{q_hat_[i]};
    temperature_gradient = static_cast<float>(sum);
  }

  const float* scores() const { return scores_.data(); }

 private:
  int64_t d_model_;
  int64_t n_heads_;
  int64_t dim_;  // of all heads together
  std::vector<float> q_hat_, keys_, d_q_hat_, d_keys_, scores_;
};

// The parameters of a fit with their gradients and the work space of its steps.
class LayerFit {
 public:
  LayerFit(std::span<const LayerLessonView> lessons, const LayerFitOptions& options)
      : lessons_(lessons),
        options_(options),
        scales_(feature_scales<double>(mean_squares(lessons))),
        rng_(options.seed),
        model_(lessons.front().d_model(), options.selection_heads, options.adapter_dim),
        weights_(initial_weights()),
        gradient_(weights_),
        optimizer_({{"q_adapter.weight", weights_.q, gradient_.q},
                    {"k_adapter.weight", weights_.k, gradient_.k},
                    {"log_temperature", {&log_temperature_, 1}, {&temperature_gradient_, 1}}},
                   kOptimizer) {}

  // Returns the loss before the step, and the gradient's norm.
  std::pair<double, double> step(const LayerLessonView& lesson, double learning_rate) {
    problem_.unpack(lesson, options_.reading, scales_);
    const SelectionResult result = model_.forward(problem_, weights_, temperature(), true, false);
    check_finite(result.loss);
    if (result.n_used == 0) return {0.0, 0.0};
    model_.backward(problem_, temperature(), gradient_, temperature_gradient_);
    return {result.loss, optimizer_.step(learning_rate)};
  }

  // The weighted KL over all lessons.
  double loss() {
    double sum = 0;
    double weight_sum = 0;
    for (const LayerLessonView& lesson : lessons_) {
      problem_.unpack(lesson, options_.reading, scales_);
      const SelectionResult result =
          model_.forward(problem_, weights_, temperature(), false, false);
      sum += result.loss * result.weight_sum;
      weight_sum += result.weight_sum;
    }
    check_finite(sum);
    return weight_sum > 0 ? sum / weight_sum : 0.0;
  }

  // An order of the lessons.
  std::vector<size_t> shuffled() {
    std::vector<size_t> order(lessons_.size());
    std::iota(order.begin(), order.end(), size_t{0});
    for (size_t i = order.size(); i > 1; --i) {
      std::swap(order[i - 1], order[static_cast<size_t>(rng_.below(static_cast<int64_t>(i)))]);
    }
    return order;
  }

  // The weights for inputs as they are.
  QkAdapter folded() const {
    QkAdapter adapter = weights_;
    for (size_t i = 0; i < adapter.q.size(); ++i) {
      const float scale = scales_[i % scales_.size()];
      adapter.q[i] *= scale * temperature();
      adapter.k[i] *= scale;
    }
    return adapter;
  }

 private:
  float temperature() const { return std::exp(log_temperature_); }

  QkAdapter initial_weights() {
    const size_t d_model = scales_.size();
    const size_t of_head = static_cast<size_t>(options_.adapter_dim) * d_model;
    const size_t n = static_cast<size_t>(options_.selection_heads) * of_head;
    const double deviation = (options_.start.q.empty() ? kInitialDeviation : kDeviationFromStart) /
                             std::sqrt(static_cast<double>(d_model));
    QkAdapter weights{std::vector<float>(n), std::vector<float>(n)};
    for (const auto& [values, start] :
         {std::pair(&weights.q, &options_.start.q), std::pair(&weights.k, &options_.start.k)}) {
      for (float& value : *values) value = static_cast<float>(deviation * rng_.normal());
      for (size_t i = 0; i < start->size(); ++i) (*values)[i] += (*start)[i] / scales_[i % d_model];
      // No weights of distance yet, and no components of keys in their place.
      if (!options_.reading.distance_term) continue;
      for (size_t end = of_head; end <= n; end += of_head) {
        std::fill_n(values->begin() + static_cast<std::ptrdiff_t>(end - d_model), d_model, 0.0f);
      }
    }
    return weights;
  }

  static void check_finite(double loss) {
    if (!std::isfinite(loss)) {
      fail(ErrorCode::kData, "the loss is not finite; try a lower learning rate");
    }
  }

  std::span<const LayerLessonView> lessons_;
  const LayerFitOptions& options_;
  std::vector<float> scales_;  // [d_model]
  Rng rng_;
  LayerModel model_;
  QkAdapter weights_;
  QkAdapter gradient_;
  float log_temperature_ = 0.0f;
  float temperature_gradient_ = 0.0f;
  AdamW optimizer_;
  LayerProblem problem_;
};

}  // namespace

LayerFitResult fit_layer(std::span<const LayerLessonView> lessons, const LayerFitOptions& options,
                         const EpochCallback& after_epoch) {
  LayerFit fit(lessons, options);
  LearningRateSchedule schedule;
  schedule.peak = options.learning_rate;
  schedule.total_steps = options.epochs * std::ssize(lessons);
  schedule.warmup_steps =
      static_cast<int64_t>(kWarmupFraction * static_cast<double>(schedule.total_steps));
  schedule.final_fraction = 0.0;

  LayerFitResult result;
  result.loss_before = fit.loss();
  for (int64_t epoch = 1; epoch <= options.epochs; ++epoch) {
    double loss_sum = 0;
    double rate = 0;
    double norm = 0;
    for (const size_t i : fit.shuffled()) {
      rate = learning_rate_at(schedule, result.n_steps++);
      double loss = 0;
      std::tie(loss, norm) = fit.step(lessons[i], rate);
      loss_sum += loss;
    }
    after_epoch(epoch, loss_sum / static_cast<double>(lessons.size()), rate, norm);
  }
  result.loss_after = fit.loss();
  result.adapter = fit.folded();
  return result;
}

double time_one_step(const LayerLessonView& lesson, const LayerFitOptions& options) {
  LayerFit fit({&lesson, 1}, options);
  fit.step(lesson, options.learning_rate);  // warms up
  const Timer timer;
  fit.step(lesson, options.learning_rate);
  return timer.seconds();
}

LayerReport measure_layer(std::span<const LayerLessonView> lessons, const QkAdapter& adapter,
                          int64_t selection_heads, const LessonReading& reading) {
  LayerReport report;
  LayerProblem problem;
  const int64_t d_model = lessons.front().d_model();
  const std::vector<float> ones(static_cast<size_t>(d_model), 1.0f);
  LayerModel model(d_model, selection_heads, std::ssize(adapter.q) / d_model / selection_heads);
  for (const LayerLessonView& lesson : lessons) {
    problem.unpack(lesson, reading, ones);
    const SelectionResult result = model.forward(problem, adapter, 1.0f, false, true);
    report.kl_sum += result.loss * result.weight_sum;
    report.weight_sum += result.weight_sum;
    const int64_t n_chunks = lesson.n_chunks();
    const int64_t n_scores = lesson.n_queries() * n_chunks;
    std::vector<int64_t> chunk_tokens;
    for (int64_t j = 0; j < lesson.n_chunks(); ++j) {
      chunk_tokens.push_back(lesson.chunk_tokens(j));
    }
    // Random tokens select at inference never.
    const auto eligible_of = [&](auto&& wanted) {
      std::vector<Range> eligible(lesson.eligible.begin(), lesson.eligible.end());
      for (size_t i = 0; i < eligible.size(); ++i) {
        if (!wanted(lesson.kinds[i])) eligible[i] = {};
      }
      return eligible;
    };
    std::vector<float> log_masses(model.scores(), model.scores() + n_scores);
    for (int64_t i = 0; i < n_scores; ++i) {
      log_masses[static_cast<size_t>(i)] += problem.log_tokens()[static_cast<size_t>(i % n_chunks)];
    }
    report.recall.add(problem.teacher(), log_masses.data(), n_chunks,
                      eligible_of([](QueryKind kind) { return kind != QueryKind::kRandom; }));
    report.random_demand.add(problem.teacher(), chunk_tokens, eligible_of([](QueryKind kind) {
                               return kind == QueryKind::kRandom;
                             }));
    report.answer_demand.add(problem.teacher(), chunk_tokens, eligible_of([](QueryKind kind) {
                               return kind == QueryKind::kAnswer || kind == QueryKind::kPromptEnd;
                             }));
    for (const auto& [kind, to] : {std::pair(QueryKind::kPromptEnd, &report.prompt_ends),
                                   std::pair(QueryKind::kAnswer, &report.answers),
                                   std::pair(QueryKind::kBoundary, &report.boundaries)}) {
      CapturedMass& captured = *to;
      captured.add(problem.teacher(), model.scores(), chunk_tokens,
                   eligible_of([kind = kind](QueryKind other) { return other == kind; }));
    }
  }
  return report;
}

}  // namespace chunkllm

#include "train/metrics.h"

#include <cmath>
#include <numeric>
#include <optional>

#include "base/error.h"
#include "base/thread_pool.h"
#include "select/teacher/ranking.h"

namespace chunkllm {
namespace {

double ratio(int64_t part, int64_t whole) {
  return whole == 0 ? 0.0 : static_cast<double>(part) / static_cast<double>(whole);
}

// One query's chunks, the latest with the greatest score.
std::vector<float> scores_by_recency(int64_t n) {
  std::vector<float> scores(static_cast<size_t>(n));
  std::iota(scores.begin(), scores.end(), 0.0f);
  return scores;
}

struct QueryRecall {
  bool counted = false;
  double by_score = 0.0;
  double by_recency = 0.0;
};

// One query over its eligible chunks.
QueryRecall query_recall(std::span<const float> teacher, std::span<const float> scores, int64_t k) {
  const std::optional<double> by_score = recall_at_k(teacher, scores, k);
  if (!by_score) return {};
  return {true, *by_score, *recall_at_k(teacher, scores_by_recency(std::ssize(teacher)), k)};
}

// The masses of one query's eligible chunks that each way of choosing captures.
struct QueryCapture {
  double all = 0.0;
  double by_score = 0.0;
  double by_oracle = 0.0;
  double by_recency = 0.0;
};

QueryCapture query_capture(std::span<const float> teacher, std::span<const float> scores,
                           std::span<const int64_t> tokens) {
  const int64_t budget = std::accumulate(tokens.begin(), tokens.end(), int64_t{0}) / 10;
  const auto captured_by = [&](std::span<const float> order) {
    return mass_of(teacher, best_within(order, tokens, budget));
  };
  return {.all = std::accumulate(teacher.begin(), teacher.end(), 0.0),
          .by_score = captured_by(scores),
          .by_oracle = captured_by(teacher),
          .by_recency = captured_by(scores_by_recency(std::ssize(teacher)))};
}

void check_eligible(std::span<const Range> eligible, int64_t n_chunks, const char* who) {
  for (const Range range : eligible) {
    if (!range.empty() && (range.begin < 0 || range.end > n_chunks)) {
      fail(ErrorCode::kInvalidArgument, "{}: chunks [{}, {}) are eligible, but there are only {}",
           who, range.begin, range.end, n_chunks);
    }
  }
}

}  // namespace

void BoundaryCounts::add(std::span<const float> logits, std::span<const uint8_t> labels,
                         double alpha) {
  if (logits.size() != labels.size()) {
    fail(ErrorCode::kInvalidArgument, "boundary counts: {} logits come with {} labels",
         logits.size(), labels.size());
  }
  if (!(alpha > 0.0 && alpha < 1.0)) {
    fail(ErrorCode::kInvalidArgument, "boundary counts: alpha {} is not between 0 and 1", alpha);
  }
  const double threshold = std::log(alpha / (1.0 - alpha));
  for (size_t t = 0; t < logits.size(); ++t) {
    const bool predicted = double{logits[t]} > threshold;
    const bool labelled = labels[t] != 0;
    n_true_positive += predicted && labelled ? 1 : 0;
    n_false_positive += predicted && !labelled ? 1 : 0;
    n_false_negative += !predicted && labelled ? 1 : 0;
    n_true_negative += !predicted && !labelled ? 1 : 0;
  }
}

double BoundaryCounts::precision() const {
  return ratio(n_true_positive, n_true_positive + n_false_positive);
}

double BoundaryCounts::recall() const {
  return ratio(n_true_positive, n_true_positive + n_false_negative);
}

double BoundaryCounts::f1() const {
  return ratio(2 * n_true_positive, 2 * n_true_positive + n_false_positive + n_false_negative);
}

RecallAtK::RecallAtK(int64_t k) : k_(k) {
  if (k < 1) fail(ErrorCode::kInvalidArgument, "recall at k: k is {}; it must be positive", k);
}

void RecallAtK::add(const float* teacher, const float* scores, int64_t n_chunks,
                    std::span<const Range> eligible) {
  check_eligible(eligible, n_chunks, "recall at k");
  std::vector<QueryRecall> recalls(eligible.size());
  parallel_for(std::ssize(eligible), 4, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      const Range range = eligible[i];
      if (range.size() <= k_) continue;
      const int64_t offset = i * n_chunks + range.begin;
      const auto n = static_cast<size_t>(range.size());
      recalls[i] = query_recall({teacher + offset, n}, {scores + offset, n}, k_);
    }
  });
  for (size_t i = 0; i < recalls.size(); ++i) {
    if (!recalls[i].counted) continue;
    ++n_queries_;
    score_sum_ += recalls[i].by_score;
    recency_sum_ += recalls[i].by_recency;
    chance_sum_ += ratio(k_, eligible[i].size());
  }
}

double RecallAtK::mean(double sum) const {
  return n_queries_ == 0 ? 0.0 : sum / static_cast<double>(n_queries_);
}

void CapturedMass::add(const float* teacher, const float* scores,
                       std::span<const int64_t> chunk_tokens, std::span<const Range> eligible) {
  const int64_t n_chunks = std::ssize(chunk_tokens);
  check_eligible(eligible, n_chunks, "captured mass");
  std::vector<QueryCapture> captures(eligible.size());
  parallel_for(std::ssize(eligible), 4, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      const Range range = eligible[i];
      if (range.empty()) continue;
      const int64_t offset = i * n_chunks + range.begin;
      const auto n = static_cast<size_t>(range.size());
      captures[i] = query_capture({teacher + offset, n}, {scores + offset, n},
                                  chunk_tokens.subspan(static_cast<size_t>(range.begin), n));
    }
  });
  for (const QueryCapture& capture : captures) {
    mass_sum_ += capture.all;
    score_sum_ += capture.by_score;
    oracle_sum_ += capture.by_oracle;
    recency_sum_ += capture.by_recency;
  }
}

}  // namespace chunkllm

#include "train/metrics.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "base/error.h"
#include "base/thread_pool.h"

namespace chunkllm {
namespace {

double ratio(int64_t part, int64_t whole) {
  return whole == 0 ? 0.0 : static_cast<double>(part) / static_cast<double>(whole);
}

struct QueryRecall {
  bool counted = false;
  double by_score = 0.0;
  double by_recency = 0.0;
};

// One query over its n eligible chunks, n > k.
QueryRecall query_recall(const float* teacher, const float* scores, int64_t n, int64_t k) {
  std::vector<int64_t> wanted = top_k_indices({teacher, static_cast<size_t>(n)}, k);
  std::erase_if(wanted, [&](int64_t j) { return !(teacher[j] > 0.0f); });
  if (wanted.empty()) return {};
  std::vector<int64_t> chosen = top_k_indices({scores, static_cast<size_t>(n)}, k);
  std::sort(chosen.begin(), chosen.end());
  int64_t n_by_score = 0;
  int64_t n_by_recency = 0;
  for (const int64_t j : wanted) {
    n_by_score += std::binary_search(chosen.begin(), chosen.end(), j) ? 1 : 0;
    n_by_recency += j >= n - k ? 1 : 0;
  }
  return {true, ratio(n_by_score, std::ssize(wanted)), ratio(n_by_recency, std::ssize(wanted))};
}

// The masses of one query's eligible chunks that each way of choosing captures.
struct QueryCapture {
  double all = 0.0;
  double by_score = 0.0;
  double by_oracle = 0.0;
  double by_recency = 0.0;
};

// The mass of the first chunks in `order` that fit into a tenth of all tokens.
double captured(std::span<const int64_t> order, const float* teacher, const int64_t* tokens) {
  int64_t budget = std::accumulate(tokens, tokens + order.size(), int64_t{0}) / 10;
  double mass = 0.0;
  for (const int64_t j : order) {
    budget -= tokens[j];
    if (budget < 0) break;
    mass += double{teacher[j]};
  }
  return mass;
}

QueryCapture query_capture(const float* teacher, const float* scores, const int64_t* tokens,
                           int64_t n) {
  QueryCapture capture;
  capture.all = std::accumulate(teacher, teacher + n, 0.0);
  const auto size = static_cast<size_t>(n);
  capture.by_score = captured(top_k_indices({scores, size}, n), teacher, tokens);
  capture.by_oracle = captured(top_k_indices({teacher, size}, n), teacher, tokens);
  std::vector<int64_t> latest(size);
  std::iota(latest.rbegin(), latest.rend(), int64_t{0});
  capture.by_recency = captured(latest, teacher, tokens);
  return capture;
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
      recalls[i] = query_recall(teacher + offset, scores + offset, range.size(), k_);
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
      captures[i] = query_capture(teacher + offset, scores + offset,
                                  chunk_tokens.data() + range.begin, range.size());
    }
  });
  for (const QueryCapture& capture : captures) {
    mass_sum_ += capture.all;
    score_sum_ += capture.by_score;
    oracle_sum_ += capture.by_oracle;
    recency_sum_ += capture.by_recency;
  }
}

std::vector<int64_t> top_k_indices(std::span<const float> values, int64_t k) {
  // A NaN compares as unordered, which would make the order below no order at all.
  const auto key = [&](int64_t i) {
    return std::isnan(values[i]) ? -std::numeric_limits<float>::infinity() : values[i];
  };
  std::vector<int64_t> indices(values.size());
  std::iota(indices.begin(), indices.end(), int64_t{0});
  const int64_t n_kept = std::clamp<int64_t>(k, 0, std::ssize(values));
  std::partial_sort(indices.begin(), indices.begin() + n_kept, indices.end(),
                    [&](int64_t a, int64_t b) {
                      if (key(a) != key(b)) return key(a) > key(b);
                      if (std::isnan(values[a]) != std::isnan(values[b])) {
                        return std::isnan(values[b]);
                      }
                      return a < b;
                    });
  indices.resize(n_kept);
  return indices;
}

}  // namespace chunkllm

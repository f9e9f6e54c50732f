// What training reports besides the losses: how well boundaries and chunks are found. Plain sums,
// so that batches, texts and checkpoints can be merged.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/range.h"

namespace chunkllm {

// Counts of boundary decisions against the labels.
struct BoundaryCounts {
  int64_t n_true_positive = 0;
  int64_t n_false_positive = 0;
  int64_t n_false_negative = 0;
  int64_t n_true_negative = 0;

  // Counts tokens with sigmoid(logit) > alpha as boundaries; alpha in (0, 1). labels [n_tokens] are
  // zero or not. Throws Error (kInvalidArgument) on unequal sizes and on an alpha outside.
  void add(std::span<const float> logits, std::span<const uint8_t> labels, double alpha);

  // Whether no token is a boundary or was taken for one: then precision, recall and F1 say nothing.
  bool has_no_boundary() const {
    return n_true_positive + n_false_positive + n_false_negative == 0;
  }
  // Each is 0 where its denominator is.
  double precision() const;
  double recall() const;
  double f1() const;

  friend bool operator==(const BoundaryCounts&, const BoundaryCounts&) = default;
};

// How many of the teacher's top-k chunks a choice of k chunks holds, for one layer: by the
// adapter's score, by recency (the last k eligible chunks) and by chance (the expected value, k /
// n_eligible).
//
// Counted are only queries with more than k eligible chunks, since with fewer every choice is
// right, and with a positive teacher mass on them. The teacher's top-k are its k greatest positive
// masses (all of them, if fewer are positive). Ties go to the lower index; a NaN comes last.
class RecallAtK {
 public:
  // Throws Error (kInvalidArgument) unless k is positive.
  explicit RecallAtK(int64_t k = 8);

  // teacher and scores are [eligible.size(), n_chunks], row-major: one row a query. Scores of
  // chunks that are not eligible are not looked at. Uses all threads; the result does not
  // depend on their number. Throws Error (kInvalidArgument) on a range outside [0, n_chunks).
  void add(const float* teacher, const float* scores, int64_t n_chunks,
           std::span<const Range> eligible);

  int64_t k() const { return k_; }
  // The number of queries counted. The means over them are 0 if there are none.
  int64_t n_queries() const { return n_queries_; }
  double by_score() const { return mean(score_sum_); }
  double by_recency() const { return mean(recency_sum_); }
  double by_chance() const { return mean(chance_sum_); }

 private:
  double mean(double sum) const;

  int64_t k_;
  int64_t n_queries_ = 0;
  double score_sum_ = 0.0;
  double recency_sum_ = 0.0;
  double chance_sum_ = 0.0;
};

// How much of the teacher's mass a tenth of the eligible tokens holds, for one layer: chosen by the
// adapter's score, by the mass itself (the oracle) and by recency. Chunks are taken in that order
// until the next one would exceed the tenth, as a selection takes them. Sums over queries, so that
// those whose mass lies elsewhere count little.
class CapturedMass {
 public:
  // teacher and scores are [eligible.size(), n_chunks], row-major: one row a query; chunk_tokens
  // [n_chunks]. Chunks that are not eligible are not looked at. Uses all threads; the result does
  // not depend on their number. Throws Error (kInvalidArgument) on a range outside [0, n_chunks).
  void add(const float* teacher, const float* scores, std::span<const int64_t> chunk_tokens,
           std::span<const Range> eligible);

  // Shares of what the oracle captures; 0 where it captures nothing.
  double by_score() const { return oracle_sum_ > 0 ? score_sum_ / oracle_sum_ : 0.0; }
  double by_recency() const { return oracle_sum_ > 0 ? recency_sum_ / oracle_sum_ : 0.0; }
  // What the oracle captures, as a share of the mass on eligible chunks.
  double of_oracle() const { return mass_sum_ > 0 ? oracle_sum_ / mass_sum_ : 0.0; }
  bool empty() const { return !(oracle_sum_ > 0); }

 private:
  double mass_sum_ = 0.0;
  double score_sum_ = 0.0;
  double oracle_sum_ = 0.0;
  double recency_sum_ = 0.0;
};

}  // namespace chunkllm

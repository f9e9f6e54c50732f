#include "train/metrics.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <vector>

#include "base/error.h"
#include "base/random.h"

namespace chunkllm {
namespace {

TEST(BoundaryCounts, HandWorkedCase) {
  BoundaryCounts counts;
  const std::vector<float> logits = {2.0f, 1.0f, 0.5f, -1.0f, -2.0f, 0.0f, -3.0f};
  const std::vector<uint8_t> labels = {1, 1, 0, 1, 0, 1, 0};
  counts.add(logits, labels, 0.5);  // a logit of 0 is not above 0.5
  EXPECT_EQ(counts, (BoundaryCounts{2, 1, 2, 2}));
  EXPECT_DOUBLE_EQ(counts.precision(), 2.0 / 3.0);
  EXPECT_DOUBLE_EQ(counts.recall(), 0.5);
  EXPECT_DOUBLE_EQ(counts.f1(), 4.0 / 7.0);
}

TEST(BoundaryCounts, AlphaMovesTheThreshold) {
  const std::vector<float> logits = {1.0f, 3.0f};  // sigmoid: 0.73, 0.95
  const std::vector<uint8_t> labels = {1, 1};
  BoundaryCounts counts;
  counts.add(logits, labels, 0.9);
  EXPECT_EQ(counts.n_true_positive, 1);
  counts.add(logits, labels, 0.2);
  EXPECT_EQ(counts.n_true_positive, 3);
}

TEST(BoundaryCounts, AddingInPartsEqualsCountingTogether) {
  Rng rng(1);
  std::vector<float> logits;
  std::vector<uint8_t> labels;
  for (int t = 0; t < 100; ++t) {
    logits.push_back(static_cast<float>(rng.normal()));
    labels.push_back(static_cast<uint8_t>(rng.below(2)));
  }
  BoundaryCounts whole;
  whole.add(logits, labels, 0.5);
  BoundaryCounts parts;
  parts.add(std::span(logits).first(33), std::span(labels).first(33), 0.5);
  parts.add(std::span(logits).subspan(33), std::span(labels).subspan(33), 0.5);
  EXPECT_EQ(parts, whole);
}

TEST(BoundaryCounts, EmptyCountsAreZeroAndUnfitInputIsRefused) {
  BoundaryCounts counts;
  EXPECT_EQ(counts.precision(), 0.0);
  EXPECT_EQ(counts.recall(), 0.0);
  EXPECT_EQ(counts.f1(), 0.0);
  const std::vector<float> logits = {1.0f};
  const std::vector<uint8_t> labels = {1};
  EXPECT_THROW(counts.add(logits, {}, 0.5), Error);
  EXPECT_THROW(counts.add(logits, labels, 1.0), Error);
  EXPECT_THROW(counts.add(logits, labels, std::nan("")), Error);
}

TEST(RecallAtK, HandWorkedCase) {
  // Eligible are chunks 1 to 5; the teacher wants 2 and 5, the scores choose 2 and 3, recency 4
  // and 5.
  const std::vector<float> teacher = {9.0f, 0.1f, 0.5f, 0.1f, 0.1f, 0.2f, 9.0f};
  const std::vector<float> scores = {9.0f, -1.0f, 4.0f, 3.0f, 1.0f, 2.0f, 9.0f};
  const std::vector<Range> eligible = {{1, 6}};
  RecallAtK recall(2);
  recall.add(teacher.data(), scores.data(), 7, eligible);
  EXPECT_EQ(recall.n_queries(), 1);
  EXPECT_DOUBLE_EQ(recall.by_score(), 0.5);
  EXPECT_DOUBLE_EQ(recall.by_recency(), 0.5);
  EXPECT_DOUBLE_EQ(recall.by_chance(), 0.4);
}

TEST(RecallAtK, SkipsQueriesThatEveryChoiceSatisfies) {
  const std::vector<float> teacher = {1.0f, 2.0f, 3.0f, 1.0f, 2.0f, 3.0f, 0.0f, 0.0f, 0.0f};
  const std::vector<float> scores(9, 0.0f);
  const std::vector<Range> eligible = {{0, 2}, {5, 5}, {0, 3}};  // k chunks, none, no mass
  RecallAtK recall(2);
  recall.add(teacher.data(), scores.data(), 3, eligible);
  EXPECT_EQ(recall.n_queries(), 0);
  EXPECT_EQ(recall.by_score(), 0.0);
}

TEST(RecallAtK, OnlyPositiveMassesAreWanted) {
  const std::vector<float> teacher = {0.0f, 0.0f, 1.0f, 0.0f};
  const std::vector<float> scores = {1.0f, 0.0f, 2.0f, 0.0f};
  const std::vector<Range> eligible = {{0, 4}};
  RecallAtK recall(3);
  recall.add(teacher.data(), scores.data(), 4, eligible);
  EXPECT_DOUBLE_EQ(recall.by_score(), 1.0);
  EXPECT_DOUBLE_EQ(recall.by_recency(), 1.0);
  EXPECT_DOUBLE_EQ(recall.by_chance(), 0.75);
}

// Random rows with many ties.
struct Rows {
  explicit Rows(uint64_t seed) {
    Rng rng(seed);
    for (int64_t i = 0; i < kRows; ++i) {
      for (int64_t j = 0; j < kChunks; ++j) {
        teacher.push_back(static_cast<float>(rng.below(6)));
        scores.push_back(static_cast<float>(rng.below(6)) - 3.0f);
      }
      const int64_t begin = rng.below(kChunks);
      eligible.push_back({begin, begin + rng.below(kChunks - begin + 1)});
    }
  }
  static constexpr int64_t kRows = 200;
  static constexpr int64_t kChunks = 30;
  std::vector<float> teacher;
  std::vector<float> scores;
  std::vector<Range> eligible;
};

// The k best by repeatedly looking for the best one left.
std::set<int64_t> best_by_search(const float* values, Range range, int64_t k, bool positive_only) {
  std::set<int64_t> chosen;
  for (int64_t n = 0; n < k; ++n) {
    int64_t best = -1;
    for (int64_t j = range.begin; j < range.end; ++j) {
      if (chosen.contains(j) || (positive_only && values[j] <= 0.0f)) continue;
      if (best < 0 || values[j] > values[best]) best = j;
    }
    if (best >= 0) chosen.insert(best);
  }
  return chosen;
}

TEST(RecallAtK, MatchesBruteForce) {
  const Rows rows(2);
  for (const int64_t k : {1, 3, 8}) {
    RecallAtK recall(k);
    recall.add(rows.teacher.data(), rows.scores.data(), Rows::kChunks, rows.eligible);
    double score_sum = 0.0;
    double recency_sum = 0.0;
    double chance_sum = 0.0;
    int64_t n = 0;
    for (int64_t i = 0; i < Rows::kRows; ++i) {
      const Range range = rows.eligible[i];
      const float* teacher = rows.teacher.data() + i * Rows::kChunks;
      const std::set<int64_t> wanted = best_by_search(teacher, range, k, true);
      if (range.size() <= k || wanted.empty()) continue;
      const std::set<int64_t> chosen =
          best_by_search(rows.scores.data() + i * Rows::kChunks, range, k, false);
      const double size = static_cast<double>(wanted.size());
      score_sum +=
          static_cast<double>(std::count_if(wanted.begin(), wanted.end(),
                                            [&](int64_t j) { return chosen.contains(j); })) /
          size;
      recency_sum +=
          static_cast<double>(std::count_if(wanted.begin(), wanted.end(),
                                            [&](int64_t j) { return j >= range.end - k; })) /
          size;
      chance_sum += static_cast<double>(k) / static_cast<double>(range.size());
      ++n;
    }
    ASSERT_GT(n, 50);
    EXPECT_EQ(recall.n_queries(), n);
    EXPECT_NEAR(recall.by_score(), score_sum / static_cast<double>(n), 1e-12);
    EXPECT_NEAR(recall.by_recency(), recency_sum / static_cast<double>(n), 1e-12);
    EXPECT_NEAR(recall.by_chance(), chance_sum / static_cast<double>(n), 1e-12);
  }
}

TEST(RecallAtK, ChanceIsWhatRandomScoresReach) {
  constexpr size_t kDraws = 5000;
  constexpr size_t kChunks = 30;
  Rng rng(3);
  std::vector<float> teacher(kDraws * kChunks);
  std::vector<float> scores(kDraws * kChunks);
  for (float& value : teacher) value = static_cast<float>(rng.uniform());
  for (float& value : scores) value = static_cast<float>(rng.uniform());
  const std::vector<Range> eligible(kDraws, Range{2, 25});
  RecallAtK recall(4);
  recall.add(teacher.data(), scores.data(), kChunks, eligible);
  EXPECT_NEAR(recall.by_score(), recall.by_chance(), 0.01);
  EXPECT_NEAR(recall.by_recency(), recall.by_chance(), 0.01);
}

TEST(RecallAtK, PerfectScoresAndPartsAndNan) {
  const Rows rows(4);
  RecallAtK whole;
  whole.add(rows.teacher.data(), rows.teacher.data(), Rows::kChunks, rows.eligible);
  EXPECT_DOUBLE_EQ(whole.by_score(), 1.0);

  RecallAtK parts;
  const std::span<const Range> eligible = rows.eligible;
  parts.add(rows.teacher.data(), rows.teacher.data(), Rows::kChunks, eligible.first(80));
  const float* rest = rows.teacher.data() + 80 * Rows::kChunks;
  parts.add(rest, rest, Rows::kChunks, eligible.subspan(80));
  EXPECT_EQ(parts.n_queries(), whole.n_queries());
  EXPECT_NEAR(parts.by_recency(), whole.by_recency(), 1e-12);
  EXPECT_NEAR(parts.by_chance(), whole.by_chance(), 1e-12);

  const std::vector<float> nans(rows.scores.size(), std::nanf(""));
  RecallAtK lost;
  lost.add(rows.teacher.data(), nans.data(), Rows::kChunks, rows.eligible);
  EXPECT_EQ(lost.n_queries(), whole.n_queries());
  EXPECT_LT(lost.by_score(), 1.0);
}

TEST(RecallAtK, RefusesWhatDoesNotFit) {
  EXPECT_THROW(RecallAtK(0), Error);
  const std::vector<float> row(4);
  const std::vector<Range> outside = {{1, 5}};
  RecallAtK recall;
  EXPECT_THROW(recall.add(row.data(), row.data(), 4, outside), Error);
}

// Ten chunks of 10 tokens: a tenth is one chunk.
TEST(CapturedMass, HandWorkedCase) {
  const std::vector<float> teacher = {0.1f, 0, 0, 0.4f, 0, 0, 0.05f, 0, 0, 0.2f};
  std::vector<float> scores(10, 0.0f);
  scores[0] = 1;
  const std::vector<int64_t> tokens(10, 10);
  const std::vector<Range> eligible = {{0, 10}};
  CapturedMass captured;
  EXPECT_TRUE(captured.empty());
  captured.add(teacher.data(), scores.data(), tokens, eligible);
  EXPECT_NEAR(captured.by_score(), 0.1 / 0.4, 1e-6);
  EXPECT_NEAR(captured.by_recency(), 0.2 / 0.4, 1e-6);
  EXPECT_NEAR(captured.of_oracle(), 0.4 / 0.75, 1e-6);
  // Sums over queries, not a mean of shares: one with hardly any mass counts for little.
  const std::vector<float> faint = {0, 0, 1e-6f, 0, 0, 0, 0, 0, 0, 0};
  captured.add(faint.data(), scores.data(), tokens, eligible);
  EXPECT_NEAR(captured.by_score(), 0.1 / 0.4, 1e-4);
}

TEST(CapturedMass, ChunksAreTakenUntilTheNextWouldExceedTheTenth) {
  const std::vector<float> teacher = {0.5f, 0.3f, 0.2f, 0};
  const std::vector<int64_t> tokens = {6, 5, 4, 85};  // of 100: 10 may be taken
  const std::vector<Range> eligible = {{0, 4}, {}};
  const std::vector<float> scores = {0, 2, 3, 1};
  std::vector<float> two_teachers = teacher;
  two_teachers.insert(two_teachers.end(), 4, 0.0f);
  std::vector<float> two_scores = scores;
  two_scores.insert(two_scores.end(), 4, 0.0f);
  CapturedMass captured;
  captured.add(two_teachers.data(), two_scores.data(), tokens, eligible);
  EXPECT_NEAR(captured.of_oracle(), 0.5, 1e-6);               // the first; the second would exceed
  EXPECT_NEAR(captured.by_score(), (0.2 + 0.3) / 0.5, 1e-6);  // 4 and 5 tokens
  EXPECT_NEAR(captured.by_recency(), 0, 1e-6);                // the last is too long
}

TEST(CapturedMass, UnfitRangesAreRefused) {
  const std::vector<float> values(4, 0.0f);
  const std::vector<int64_t> tokens(4, 1);
  const std::vector<Range> eligible = {{0, 5}};
  CapturedMass captured;
  EXPECT_THROW(captured.add(values.data(), values.data(), tokens, eligible), Error);
}

}  // namespace
}  // namespace chunkllm

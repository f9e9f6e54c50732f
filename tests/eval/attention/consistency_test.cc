#include "eval/attention/consistency.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "base/random.h"
#include "select/teacher/ranking.h"

namespace chunkllm {
namespace {

using Row = std::vector<float>;

constexpr int64_t kChunks = 30;
constexpr int64_t kTop = 8;

std::vector<Row> random_rows(uint64_t seed, int64_t n) {
  Rng rng(seed);
  std::vector<Row> rows;
  for (int64_t t = 0; t < n; ++t) {
    Row& row = rows.emplace_back();
    for (int64_t j = 0; j < kChunks; ++j) row.push_back(static_cast<float>(rng.uniform()));
  }
  return rows;
}

RunProfile profile_of(const std::vector<Row>& rows) {
  RunProfile profile(kChunks, kTop);
  for (const Row& row : rows) profile.add(row);
  return profile;
}

// Pearson's, from its definition.
double pearson(const Row& a, const Row& b) {
  const auto n = static_cast<double>(a.size());
  double mean_a = 0;
  double mean_b = 0;
  for (size_t j = 0; j < a.size(); ++j) {
    mean_a += double{a[j]} / n;
    mean_b += double{b[j]} / n;
  }
  double ab = 0;
  double aa = 0;
  double bb = 0;
  for (size_t j = 0; j < a.size(); ++j) {
    ab += (double{a[j]} - mean_a) * (double{b[j]} - mean_b);
    aa += (double{a[j]} - mean_a) * (double{a[j]} - mean_a);
    bb += (double{b[j]} - mean_b) * (double{b[j]} - mean_b);
  }
  return ab / std::sqrt(aa * bb);
}

double shared_top(const Row& a, const Row& b) {
  const std::vector<int64_t> of_a = top_k_indices(a, kTop);
  const std::vector<int64_t> of_b = top_k_indices(b, kTop);
  double n = 0;
  for (const int64_t j : of_a) n += std::ranges::count(of_b, j) > 0 ? 1 : 0;
  return n / static_cast<double>(kTop);
}

TEST(RunProfile, IsTheMeanOverAllPairs) {
  const std::vector<Row> rows = random_rows(1, 7);
  const std::vector<Row> others = random_rows(2, 4);
  double correlation = 0;
  double overlap = 0;
  for (size_t a = 0; a < rows.size(); ++a) {
    for (size_t b = 0; b < a; ++b) {
      correlation += pearson(rows[a], rows[b]) / 21;
      overlap += shared_top(rows[a], rows[b]) / 21;
    }
  }
  double across = 0;
  double shared = 0;
  for (const Row& a : rows) {
    for (const Row& b : others) {
      across += pearson(a, b) / 28;
      shared += shared_top(a, b) / 28;
    }
  }
  const RunProfile profile = profile_of(rows);
  EXPECT_NEAR(*profile.correlation(), correlation, 1e-12);
  EXPECT_NEAR(*profile.overlap(), overlap, 1e-12);
  EXPECT_NEAR(*profile.correlation_with(profile_of(others)), across, 1e-12);
  EXPECT_NEAR(*profile.overlap_with(profile_of(others)), shared, 1e-12);
  EXPECT_GT(std::abs(across - correlation), 1e-4);
}

TEST(RunProfile, AlikeIsOneAndOppositeIsMinusOne) {
  const Row row = random_rows(3, 1)[0];
  Row scaled = row;
  Row opposite = row;
  for (float& mass : scaled) mass = 0.25f * mass + 1.0f;
  for (float& mass : opposite) mass = -mass;
  const RunProfile alike = profile_of({row, scaled, row});
  EXPECT_NEAR(*alike.correlation(), 1, 1e-6);
  EXPECT_NEAR(*alike.overlap(), 1, 1e-12);
  EXPECT_NEAR(*alike.correlation_with(profile_of({opposite})), -1, 1e-6);
  EXPECT_LT(*alike.overlap_with(profile_of({opposite})), 1e-12);
}

TEST(RunProfile, WhatHasNoCorrelationIsLeftOut) {
  const std::vector<Row> rows = random_rows(4, 2);
  Row with_nan = rows[0];
  with_nan[3] = std::nanf("");
  const RunProfile profile = profile_of({rows[0], Row(kChunks, 0.5f), with_nan, rows[1]});
  EXPECT_EQ(profile.n_tokens(), 2);
  EXPECT_NEAR(*profile.correlation(), pearson(rows[0], rows[1]), 1e-12);
  const RunProfile none = profile_of({Row(kChunks, 0.0f)});
  EXPECT_EQ(none.correlation(), std::nullopt);
  EXPECT_EQ(none.overlap(), std::nullopt);
  EXPECT_EQ(profile.correlation_with(none), std::nullopt);
  EXPECT_EQ(none.overlap_with(profile), std::nullopt);
  EXPECT_EQ(profile_of({rows[0]}).correlation(), std::nullopt);
}

}  // namespace
}  // namespace chunkllm

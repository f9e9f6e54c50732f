#include "train/layer_problem.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.h"
#include "base/thread_pool.h"
#include "select/chunk/distance.h"

namespace chunkllm {
namespace {

// The shares of own, next and chunk in a query's teacher.
std::array<float, kMassKinds> shares_of(TeacherTarget target, QueryKind kind) {
  constexpr float kThird = 1.0f / 3.0f;
  if (kind == QueryKind::kRandom || kind == QueryKind::kAnswer) return {1, 0, 0};
  switch (target) {
    case TeacherTarget::kOwn:
      return {1, 0, 0};
    case TeacherTarget::kNext:
      return {0, 1, 0};
    case TeacherTarget::kChunk:
      return {0, 0, 1};
    case TeacherTarget::kBoth:
      return {0.5f, 0.5f, 0};
    case TeacherTarget::kAll:
      if (kind == QueryKind::kPromptEnd) return {0.5f, 0.5f, 0};
      return {kThird, kThird, kThird};
  }
  return {1, 0, 0};
}

// rows [n, d_model] of `source` at `indices` (all in order, where it is empty), scaled.
void widen_rows(std::span<const Bf16> source, std::span<const int64_t> indices,
                std::span<const float> scale, std::vector<float>& target) {
  const auto d_model = static_cast<int64_t>(scale.size());
  const int64_t n =
      indices.empty() ? static_cast<int64_t>(source.size()) / d_model : std::ssize(indices);
  target.resize(static_cast<size_t>(n * d_model));
  parallel_for(n, 16, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t row = indices.empty() ? i : indices[static_cast<size_t>(i)];
      const Bf16* from = source.data() + row * d_model;
      float* to = target.data() + i * d_model;
      for (int64_t j = 0; j < d_model; ++j)
        to[j] = to_float(from[j]) * scale[static_cast<size_t>(j)];
    }
  });
}

// The query at each chunk's last token.
std::vector<int64_t> queries_at_ends(const LayerLessonView& lesson) {
  std::vector<int64_t> queries;
  for (const int64_t end : lesson.chunk_ends) {
    const auto at = std::ranges::lower_bound(lesson.positions, end - 1);
    if (at == lesson.positions.end() || *at != end - 1) {
      fail(ErrorCode::kData, "a lesson has no query at position {}, where a chunk ends", end - 1);
    }
    queries.push_back(at - lesson.positions.begin());
  }
  return queries;
}

}  // namespace

void LayerProblem::unpack(const LayerLessonView& lesson, const LessonReading& reading,
                          std::span<const float> scale) {
  const int64_t n_queries = lesson.n_queries();
  n_chunks_ = lesson.n_chunks();
  eligible_ = lesson.eligible;
  positions_ = lesson.positions;
  chunk_ends_ = lesson.chunk_ends;
  log_tokens_.clear();
  for (int64_t j = 0; j < n_chunks_; ++j) {
    log_tokens_.push_back(std::log(static_cast<float>(lesson.chunk_tokens(j))));
  }
  if (reading.distance_term) {
    const int64_t greatest = positions_.empty() ? 0 : positions_.back();
    for (int64_t d = std::ssize(distance_features_); d <= greatest + 1; ++d) {
      distance_features_.push_back(distance_feature(d));
    }
  }
  widen_rows(lesson.query_inputs, {}, scale, query_inputs_);
  if (reading.key == ChunkKey::kMean) {
    widen_rows(lesson.mean_inputs, {}, scale, key_inputs_);
  } else {
    widen_rows(lesson.query_inputs, queries_at_ends(lesson), scale, key_inputs_);
  }

  std::vector<int64_t> offsets(static_cast<size_t>(n_queries), 0);
  for (size_t i = 1; i < offsets.size(); ++i) {
    offsets[i] = offsets[i - 1] + eligible_[i - 1].size();
  }
  teacher_.resize(static_cast<size_t>(n_queries * n_chunks_));
  weights_.resize(static_cast<size_t>(n_queries));
  parallel_for(n_queries, 16, [&](int64_t begin, int64_t end, int) {
    for (int64_t query = begin; query < end; ++query) {
      const auto i = static_cast<size_t>(query);
      const std::array<float, kMassKinds> shares = shares_of(reading.target, lesson.kinds[i]);
      const int64_t n = eligible_[i].size();
      float* row = teacher_.data() + query * n_chunks_ + eligible_[i].begin;
      std::fill_n(row, n, 0.0f);
      for (size_t kind = 0; kind < kMassKinds; ++kind) {
        if (shares[kind] == 0.0f) continue;
        const Bf16* from = lesson.masses[kind].data() + offsets[i];
        for (int64_t j = 0; j < n; ++j) row[j] += shares[kind] * to_float(from[j]);
      }
      const double mass = std::accumulate(row, row + n, 0.0);
      const float factor = lesson.kinds[i] == QueryKind::kPromptEnd ? reading.prompt_end_weight
                           : lesson.kinds[i] == QueryKind::kAnswer  ? reading.answer_weight
                                                                    : 1.0f;
      weights_[i] = static_cast<float>(mass) * factor;
    }
  });
}

}  // namespace chunkllm

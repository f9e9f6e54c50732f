// Lessons with an answer: the teacher is the softmax of a hidden pair of maps.
#pragma once

#include <cmath>
#include <vector>

#include "base/random.h"
#include "train/lesson.h"

namespace chunkllm {

struct PlantedOptions {
  int64_t d_model = 32;
  int64_t n_chunks = 60;
  double largest_feature = 1.0;  // of the first feature; the others are of size 1
};

// One lesson whose query at chunk i's end attends to the chunks before it by the likeness of a few
// features.
inline LayerLesson planted_lesson(const PlantedOptions& options, uint64_t seed) {
  Rng rng(seed);
  LayerLesson lesson;
  const int64_t d_model = options.d_model;
  std::vector<std::vector<float>> queries;
  std::vector<std::vector<float>> keys;
  std::vector<double> squares(static_cast<size_t>(d_model), 0.0);
  const auto draw = [&](std::vector<Bf16>& rows) {
    std::vector<float> row;
    for (int64_t i = 0; i < d_model; ++i) {
      const double size = i == 0 ? options.largest_feature : 1.0;
      rows.push_back(to_bf16(static_cast<float>(size * rng.normal())));
      row.push_back(to_float(rows.back()));
      squares[static_cast<size_t>(i)] +=
          double{row.back()} * double{row.back()} / static_cast<double>(2 * options.n_chunks);
    }
    return row;
  };
  for (int64_t j = 0; j < options.n_chunks; ++j) {
    lesson.chunk_ends.push_back(10 * (j + 1));
    lesson.positions.push_back(10 * (j + 1) - 1);
    lesson.kinds.push_back(j % 10 == 9 ? QueryKind::kPromptEnd : QueryKind::kBoundary);
    lesson.eligible.push_back({0, std::max<int64_t>(0, j - 1)});
    keys.push_back(draw(lesson.mean_inputs));
    queries.push_back(draw(lesson.query_inputs));
  }
  for (const double square : squares) lesson.mean_squares.push_back(static_cast<float>(square));
  for (size_t i = 0; i < queries.size(); ++i) {
    std::vector<double> weights;
    double sum = 0;
    for (int64_t j = 0; j < lesson.eligible[i].end; ++j) {
      double score = 0;
      for (size_t f = 1; f < 5; ++f) {
        score += double{queries[i][f]} * double{keys[static_cast<size_t>(j)][f + 4]};
      }
      weights.push_back(std::exp(1.5 * score));
      sum += weights.back();
    }
    for (const double weight : weights) {
      for (std::vector<Bf16>& masses : lesson.masses) {
        masses.push_back(to_bf16(static_cast<float>(0.5 * weight / sum)));
      }
    }
  }
  return lesson;
}

inline std::vector<LayerLesson> planted_lessons(const PlantedOptions& options, int64_t n) {
  std::vector<LayerLesson> lessons;
  for (int64_t i = 0; i < n; ++i) {
    lessons.push_back(planted_lesson(options, static_cast<uint64_t>(100 + i)));
  }
  return lessons;
}

inline std::vector<LayerLessonView> views_of(const std::vector<LayerLesson>& lessons) {
  return {lessons.begin(), lessons.end()};
}

}  // namespace chunkllm

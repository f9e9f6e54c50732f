#include "train/layer_fit.h"

#include <gtest/gtest.h>

#include <limits>

#include "base/threads.h"
#include "testing/expect_error.h"
#include "testing/planted_lessons.h"

namespace chunkllm {
namespace {

LayerFitOptions options(int64_t epochs = 60) {
  LayerFitOptions options;
  options.adapter_dim = 8;
  options.epochs = epochs;
  options.learning_rate = 1e-2;
  options.seed = 5;
  return options;
}

const EpochCallback kIgnore = [](int64_t, double, double, double) {};

TEST(LayerFit, LearnsAPlantedSelectionThatHoldsForOtherTexts) {
  const std::vector<LayerLesson> lessons = planted_lessons({}, 12);
  const std::vector<LayerLessonView> views = views_of(lessons);
  const LayerFitResult result = fit_layer(views, options(), kIgnore);
  EXPECT_EQ(result.n_steps, 12 * 60);
  EXPECT_GT(result.loss_before, 1.0);
  EXPECT_LT(result.loss_after, 0.2);
  const LayerLesson unseen = planted_lesson({}, 999);
  const LayerLessonView view = unseen;
  const LayerReport report =
      measure_layer({&view, 1}, result.adapter, options().selection_heads, options().reading);
  EXPECT_LT(report.kl(), 0.4);
  EXPECT_GT(report.boundaries.by_score(), 0.9);
  EXPECT_GT(report.prompt_ends.by_score(), 0.9);
  EXPECT_LT(report.boundaries.by_recency(), 0.5);
  EXPECT_GT(report.recall.by_score(), report.recall.by_recency());
}

// Scales and temperature are folded into the weights.
TEST(LayerFit, TheAdapterDoesOnInputsAsTheyAreWhatTheFitSaw) {
  const std::vector<LayerLesson> lessons = planted_lessons({.largest_feature = 80}, 4);
  const std::vector<LayerLessonView> views = views_of(lessons);
  const LayerFitResult result = fit_layer(views, options(10), kIgnore);
  const LayerReport report =
      measure_layer(views, result.adapter, options().selection_heads, options().reading);
  EXPECT_NEAR(report.kl(), result.loss_after, 1e-3 * result.loss_after);
}

// A feature a hundred times larger than the rest is what real models have.
TEST(LayerFit, OutlyingFeaturesDoNoHarm) {
  for (const double size : {1.0, 100.0, 0.0}) {
    const std::vector<LayerLesson> lessons = planted_lessons({.largest_feature = size}, 12);
    const LayerFitResult result = fit_layer(views_of(lessons), options(), kIgnore);
    EXPECT_LT(result.loss_after, 0.25) << size;
  }
}

TEST(LayerFit, AnyNumberOfThreadsGivesTheSameBits) {
  const std::vector<LayerLesson> lessons = planted_lessons({.d_model = 160, .n_chunks = 300}, 3);
  const std::vector<LayerLessonView> views = views_of(lessons);
  std::vector<LayerFitResult> results;
  const int before = current_threads();
  for (const int n_threads : {1, 2, 5}) {
    set_threads(n_threads);
    results.push_back(fit_layer(views, options(3), kIgnore));
  }
  set_threads(before);
  for (const LayerFitResult& result : results) {
    EXPECT_EQ(result.adapter.q, results.front().adapter.q);
    EXPECT_EQ(result.adapter.k, results.front().adapter.k);
    EXPECT_EQ(result.loss_after, results.front().loss_after);
  }
}

TEST(LayerFit, BeginsWhereItIsTold) {
  const std::vector<LayerLesson> lessons = planted_lessons({.largest_feature = 80}, 4);
  const std::vector<LayerLessonView> views = views_of(lessons);
  const LayerFitResult first = fit_layer(views, options(), kIgnore);
  LayerFitOptions again = options(1);
  again.learning_rate = 1e-9;
  EXPECT_GT(fit_layer(views, again, kIgnore).loss_before, 1.0);
  again.start = first.adapter;
  EXPECT_NEAR(fit_layer(views, again, kIgnore).loss_before, first.loss_after, 0.1);
}

TEST(LayerFit, SeedsDiffer) {
  const std::vector<LayerLesson> lessons = planted_lessons({}, 2);
  const std::vector<LayerLessonView> views = views_of(lessons);
  LayerFitOptions other = options(1);
  other.seed = 6;
  EXPECT_NE(fit_layer(views, options(1), kIgnore).adapter.q,
            fit_layer(views, other, kIgnore).adapter.q);
}

TEST(LayerFit, EpochsAreReportedAndMayEndIt) {
  const std::vector<LayerLesson> lessons = planted_lessons({}, 2);
  std::vector<double> losses;
  EXPECT_THROW(fit_layer(views_of(lessons), options(40),
                         [&](int64_t epoch, double loss, double, double) {
                           EXPECT_EQ(epoch, std::ssize(losses) + 1);
                           losses.push_back(loss);
                           if (epoch == 30) throw std::runtime_error("enough");
                         }),
               std::runtime_error);
  EXPECT_LT(losses.back(), losses.front());
}

TEST(LayerFit, WhatIsNotFiniteIsAnError) {
  std::vector<LayerLesson> lessons = planted_lessons({}, 2);
  lessons[1].query_inputs[70] = to_bf16(std::numeric_limits<float>::quiet_NaN());
  expect_error(ErrorCode::kData, "not finite",
               [&] { fit_layer(views_of(lessons), options(1), kIgnore); });
}

// Each target takes the masses it names.
TEST(LayerProblem, TargetsMixTheMassesByTheKindOfQuery) {
  LayerLesson lesson = planted_lesson({.n_chunks = 20}, 1);
  lesson.kinds[5] = QueryKind::kRandom;
  for (size_t kind = 0; kind < kMassKinds; ++kind) {
    std::ranges::fill(lesson.masses[kind], to_bf16(static_cast<float>(1 << kind)));  // 1, 2, 4
  }
  const std::vector<float> ones(32, 1.0f);
  const auto teacher = [&](TeacherTarget target, size_t query) {
    LayerProblem problem;
    problem.unpack(lesson, {.target = target}, ones);
    return problem.teacher()[query * 20];
  };
  const size_t boundary = 8;
  const size_t prompt_end = 9;
  const size_t random = 5;
  EXPECT_EQ(teacher(TeacherTarget::kOwn, boundary), 1);
  EXPECT_EQ(teacher(TeacherTarget::kNext, boundary), 2);
  EXPECT_EQ(teacher(TeacherTarget::kChunk, boundary), 4);
  EXPECT_EQ(teacher(TeacherTarget::kBoth, boundary), 1.5f);
  EXPECT_FLOAT_EQ(teacher(TeacherTarget::kAll, boundary), 7.0f / 3);
  EXPECT_EQ(teacher(TeacherTarget::kAll, prompt_end), 1.5f);
  EXPECT_EQ(teacher(TeacherTarget::kNext, prompt_end), 2);
  for (const TeacherTarget target : {TeacherTarget::kNext, TeacherTarget::kAll}) {
    EXPECT_EQ(teacher(target, random), 1);
  }
  LayerProblem problem;
  problem.unpack(lesson, {.target = TeacherTarget::kOwn, .prompt_end_weight = 10}, ones);
  EXPECT_EQ(problem.weights()[boundary], 7);  // chunks that are eligible, of mass 1 each
  EXPECT_EQ(problem.weights()[prompt_end], 80);
}

TEST(LayerProblem, BoundaryKeysAreTheInputsOfTheLastTokens) {
  LayerLesson lesson = planted_lesson({.n_chunks = 4}, 1);
  const std::vector<float> twos(32, 2.0f);
  LayerProblem problem;
  problem.unpack(lesson, {.key = ChunkKey::kBoundary}, twos);
  EXPECT_EQ(problem.key_inputs()[33], 2 * to_float(lesson.query_inputs[33]));
  problem.unpack(lesson, {.key = ChunkKey::kMean}, twos);
  EXPECT_EQ(problem.key_inputs()[33], 2 * to_float(lesson.mean_inputs[33]));
  lesson.chunk_ends[2] -= 1;
  expect_error(ErrorCode::kData, "no query",
               [&] { problem.unpack(lesson, {.key = ChunkKey::kBoundary}, twos); });
}

}  // namespace
}  // namespace chunkllm

#include "train/losses.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <vector>

#include "base/error.h"
#include "base/random.h"
#include "testing/expect_error.h"

namespace chunkllm {
namespace {

// d f / d values[i] by central differences; `values` is as it was afterwards.
double finite_difference(std::vector<double>& values, size_t i, const std::function<double()>& f) {
  constexpr double kStep = 1e-5;
  const double kept = values[i];
  values[i] = kept + kStep;
  const double above = f();
  values[i] = kept - kStep;
  const double below = f();
  values[i] = kept;
  return (above - below) / (2.0 * kStep);
}

std::vector<double> as_double(const std::vector<float>& values) {
  return {values.begin(), values.end()};
}

template <typename Call>
ErrorCode code_of(const Call& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.code();
  }
  ADD_FAILURE() << "no Error was thrown";
  return ErrorCode::kInterrupted;
}

// BCE written down as its definition, in double.
double plain_bce(const std::vector<double>& logits, const std::vector<uint8_t>& labels) {
  double sum = 0.0;
  for (size_t t = 0; t < logits.size(); ++t) {
    const double p = 1.0 / (1.0 + std::exp(-logits[t]));
    sum -= labels[t] ? std::log(p) : std::log(1.0 - p);
  }
  return sum / static_cast<double>(logits.size());
}

TEST(BceWithLogits, LossAndGradientMatchTheDefinition) {
  Rng rng(1);
  std::vector<float> logits;
  std::vector<uint8_t> labels;
  for (int t = 0; t < 50; ++t) {
    logits.push_back(static_cast<float>(3.0 * rng.normal()));
    labels.push_back(static_cast<uint8_t>(rng.below(2)));
  }
  std::vector<float> d_logits(logits.size(), 9.0f);
  const double loss = bce_with_logits(logits, labels, d_logits).loss;

  std::vector<double> exact = as_double(logits);
  EXPECT_NEAR(loss, plain_bce(exact, labels), 1e-12);
  for (size_t t = 0; t < exact.size(); ++t) {
    EXPECT_NEAR(d_logits[t], finite_difference(exact, t, [&] { return plain_bce(exact, labels); }),
                1e-8);
  }
  EXPECT_EQ(bce_with_logits(logits, labels, {}).loss, loss);
}

TEST(BceWithLogits, HugeLogitsStayFinite) {
  const std::vector<float> logits = {1e30f, -1e30f, 200.0f, -200.0f};
  const std::vector<uint8_t> labels = {1, 0, 0, 1};
  std::vector<float> d_logits(4);
  EXPECT_DOUBLE_EQ(bce_with_logits(logits, labels, d_logits).loss, 100.0);
  EXPECT_EQ(d_logits, (std::vector<float>{0.0f, 0.0f, 0.25f, -0.25f}));
}

TEST(BceWithLogits, EmptyAndUnfitInput) {
  EXPECT_EQ(bce_with_logits({}, {}, {}).loss, 0.0);
  const std::vector<float> logits = {0.0f, 1.0f};
  const std::vector<uint8_t> short_labels = {1};
  const std::vector<uint8_t> odd_labels = {1, 2};
  EXPECT_EQ(code_of([&] { bce_with_logits(logits, short_labels, {}); }),
            ErrorCode::kInvalidArgument);
  EXPECT_EQ(code_of([&] { bce_with_logits(logits, odd_labels, {}); }), ErrorCode::kInvalidArgument);
}

// A text's worth of inputs that owns its arrays.
struct Problem {
  int64_t n_queries = 0;
  int64_t n_chunks = 0;
  int64_t n_heads = 1;
  int64_t adapter_dim = 0;
  std::vector<float> q_hat = {};
  std::vector<float> chunk_keys = {};
  std::vector<float> teacher = {};
  std::vector<Range> eligible = {};
  std::vector<float> weights = {};
  std::vector<float> log_tokens = {};
  std::vector<float> distance_features = {};
  std::vector<int64_t> positions = {};
  std::vector<int64_t> chunk_ends = {};

  SelectionInputs inputs() const {
    return {.n_queries = n_queries,
            .n_chunks = n_chunks,
            .n_heads = n_heads,
            .adapter_dim = adapter_dim,
            .q_hat = q_hat.data(),
            .chunk_keys = chunk_keys.data(),
            .teacher = teacher.data(),
            .eligible = eligible,
            .weights = weights,
            .log_tokens = log_tokens,
            .distance_features = distance_features,
            .positions = positions,
            .chunk_ends = chunk_ends};
  }
};

// Random sizes of range and weights; queries 1, 4, 7, ... are left out, each third of them for
// another reason: no eligible chunk, no mass on the eligible ones, no weight.
Problem random_problem(uint64_t seed, int64_t n_queries, int64_t n_chunks, int64_t adapter_dim,
                       int64_t n_heads = 1) {
  Rng rng(seed);
  Problem problem{
      .n_queries = n_queries, .n_chunks = n_chunks, .n_heads = n_heads, .adapter_dim = adapter_dim};
  for (int64_t i = 0; i < n_queries * n_heads * adapter_dim; ++i) {
    problem.q_hat.push_back(static_cast<float>(rng.normal()));
  }
  for (int64_t i = 0; i < n_chunks * n_heads * adapter_dim; ++i) {
    problem.chunk_keys.push_back(static_cast<float>(rng.normal()));
  }
  for (int64_t i = 0; i < n_queries; ++i) {
    const int64_t begin = rng.below(n_chunks);
    Range range{begin, begin + 1 + rng.below(n_chunks - begin)};
    float weight = static_cast<float>(0.1 + rng.uniform());
    if (i % 9 == 1) range = {3, 3};
    if (i % 9 == 7) weight = 0.0f;
    for (int64_t j = 0; j < n_chunks; ++j) {
      const bool empty = (i % 9 == 4 && range.contains(j)) || rng.below(4) == 0;
      problem.teacher.push_back(empty ? 0.0f : static_cast<float>(rng.uniform()));
    }
    // Every other query has at least one mass.
    if (i % 9 != 4 && !range.empty()) problem.teacher[i * n_chunks + range.begin] = 0.5f;
    problem.eligible.push_back(range);
    problem.weights.push_back(weight);
  }
  return problem;
}

// The same with a distance term: chunks of 3 tokens, queries behind all of them.
Problem with_distances(Problem problem) {
  for (int64_t i = 0; i < problem.n_queries; ++i) {
    problem.positions.push_back(3 * problem.n_chunks + 2 * i);
  }
  for (int64_t j = 0; j < problem.n_chunks; ++j) {
    problem.chunk_ends.push_back(3 * (j + 1));
  }
  for (int64_t j = 0; j < problem.n_chunks * problem.n_heads; ++j) {
    problem.chunk_keys[static_cast<size_t>((j + 1) * problem.adapter_dim - 1)] = 0.0f;
  }
  for (int64_t d = 0; d <= problem.positions.back() + 1; ++d) {
    problem.distance_features.push_back(static_cast<float>(std::sin(static_cast<double>(d))));
  }
  return problem;
}

// The same with chunks of several lengths.
Problem with_lengths(Problem problem) {
  for (int64_t j = 0; j < problem.n_chunks; ++j) {
    problem.log_tokens.push_back(std::log(static_cast<float>(1 + 5 * j % 7)));
  }
  return problem;
}

// What the adapter makes of a query's eligible chunks: the mean over heads of their softmaxes.
std::vector<double> plain_mixture(const Problem& problem, int64_t i,
                                  const std::vector<double>& q_hat,
                                  const std::vector<double>& keys) {
  const int64_t dim = problem.adapter_dim;
  const int64_t stride = problem.n_heads * dim;
  const Range range = problem.eligible[i];
  std::vector<double> mixture(problem.n_chunks, 0.0);
  for (int64_t h = 0; h < problem.n_heads; ++h) {
    double exp_sum = 0.0;
    std::vector<double> scores(problem.n_chunks);
    for (int64_t j = range.begin; j < range.end; ++j) {
      for (int64_t d = h * dim; d < (h + 1) * dim; ++d) {
        scores[j] += q_hat[i * stride + d] * keys[j * stride + d];
      }
      if (!problem.distance_features.empty()) {
        const int64_t distance = problem.positions[i] + 1 - problem.chunk_ends[j];
        scores[j] +=
            q_hat[i * stride + (h + 1) * dim - 1] * double{problem.distance_features[distance]};
      }
      scores[j] /= std::sqrt(static_cast<double>(dim));
      if (!problem.log_tokens.empty()) scores[j] += double{problem.log_tokens[j]};
      exp_sum += std::exp(scores[j]);
    }
    for (int64_t j = range.begin; j < range.end; ++j) {
      mixture[j] += std::exp(scores[j]) / exp_sum / static_cast<double>(problem.n_heads);
    }
  }
  return mixture;
}

// The loss by its definition, in double, one query after the other.
double plain_selection_loss(const Problem& problem, const std::vector<double>& q_hat,
                            const std::vector<double>& keys) {
  double loss_sum = 0.0;
  double weight_sum = 0.0;
  for (int64_t i = 0; i < problem.n_queries; ++i) {
    const Range range = problem.eligible[i];
    double mass = 0.0;
    for (int64_t j = range.begin; j < range.end; ++j) {
      mass += double{problem.teacher[i * problem.n_chunks + j]};
    }
    if (mass == 0.0) continue;
    const std::vector<double> mixture = plain_mixture(problem, i, q_hat, keys);
    double kl = 0.0;
    for (int64_t j = range.begin; j < range.end; ++j) {
      const double target = double{problem.teacher[i * problem.n_chunks + j]} / mass;
      if (target > 0.0) kl += target * std::log(target / mixture[j]);
    }
    loss_sum += double{problem.weights[i]} * kl;
    weight_sum += double{problem.weights[i]};
  }
  return loss_sum / weight_sum;
}

struct Gradients {
  explicit Gradients(const Problem& problem)
      : q_hat(problem.q_hat.size(), 9.0f), keys(problem.chunk_keys.size(), 9.0f) {}
  SelectionOutputs outputs() { return {.d_q_hat = q_hat.data(), .d_chunk_keys = keys.data()}; }

  // Filled with 9, so that a value that is not written shows.
  std::vector<float> q_hat;
  std::vector<float> keys;
};

TEST(SelectionLoss, LossAndGradientsMatchFiniteDifferences) {
  for (const uint64_t seed : {1u, 2u, 3u}) {
    const Problem problem = random_problem(seed, 23, 11, 5);
    Gradients gradients(problem);
    const SelectionResult result = selection_loss(problem.inputs(), gradients.outputs());

    std::vector<double> q_hat = as_double(problem.q_hat);
    std::vector<double> keys = as_double(problem.chunk_keys);
    const auto loss = [&] { return plain_selection_loss(problem, q_hat, keys); };
    EXPECT_NEAR(result.loss, loss(), 1e-6);
    EXPECT_EQ(result.n_used, 23 - 8);
    for (size_t i = 0; i < q_hat.size(); ++i) {
      EXPECT_NEAR(gradients.q_hat[i], finite_difference(q_hat, i, loss), 1e-6) << "q_hat " << i;
    }
    for (size_t i = 0; i < keys.size(); ++i) {
      EXPECT_NEAR(gradients.keys[i], finite_difference(keys, i, loss), 1e-6) << "key " << i;
    }
  }
}

TEST(SelectionLoss, HeadsAndLengthsHaveTheirGradients) {
  for (const bool distances : {false, true}) {
    Problem problem = with_lengths(random_problem(12, 23, 11, 4, 3));
    if (distances) problem = with_distances(problem);
    Gradients gradients(problem);
    std::vector<float> scores(23 * 11, 9.0f);
    SelectionOutputs outputs = gradients.outputs();
    outputs.scores = scores.data();
    const SelectionResult result = selection_loss(problem.inputs(), outputs, 5 * 3 * 11 * 4);
    std::vector<double> q_hat = as_double(problem.q_hat);
    std::vector<double> keys = as_double(problem.chunk_keys);
    const auto loss = [&] { return plain_selection_loss(problem, q_hat, keys); };
    EXPECT_NEAR(result.loss, loss(), 1e-6);
    for (size_t i = 0; i < q_hat.size(); ++i) {
      EXPECT_NEAR(gradients.q_hat[i], finite_difference(q_hat, i, loss), 1e-6) << "q_hat " << i;
    }
    for (size_t i = 0; i < keys.size(); ++i) {
      const bool is_distance = distances && i % 4 == 3;
      const double expected = is_distance ? 0.0 : finite_difference(keys, i, loss);
      EXPECT_NEAR(gradients.keys[i], expected, 1e-6) << "key " << i;
    }
    for (int64_t i = 0; i < 23; ++i) {
      const std::vector<double> mixture = plain_mixture(problem, i, q_hat, keys);
      for (int64_t j = 0; j < 11; ++j) {
        const float score = scores[static_cast<size_t>(i * 11 + j)];
        if (problem.eligible[i].contains(j)) {
          EXPECT_NEAR(score + problem.log_tokens[j], std::log(mixture[j]), 1e-5);
        } else {
          EXPECT_EQ(score, -std::numeric_limits<float>::infinity());
        }
      }
    }
  }
}

// Where no head's share can be represented beside its greatest, logarithms still can.
TEST(SelectionLoss, TeachersOfWhatScoresLeastAreFinite) {
  Problem problem{.n_queries = 1, .n_chunks = 2, .n_heads = 2, .adapter_dim = 1};
  problem.q_hat = {400.0f, 300.0f};
  problem.chunk_keys = {1.0f, 1.0f, 0.0f, 0.0f};
  problem.teacher = {0.0f, 1.0f};
  problem.eligible = {{0, 2}};
  problem.weights = {1.0f};
  Gradients gradients(problem);
  const SelectionResult result = selection_loss(problem.inputs(), gradients.outputs());
  EXPECT_NEAR(result.loss, 300.0 + std::log(2.0), 1e-4);
  EXPECT_NEAR(gradients.q_hat[0], 0.0f, 1e-6f) << "the other head is nearer";
  EXPECT_NEAR(gradients.q_hat[1], 1.0f, 1e-6f);
}

TEST(SelectionLoss, ADistanceTermHasItsGradient) {
  const Problem problem = with_distances(random_problem(8, 23, 11, 5));
  Gradients gradients(problem);
  const SelectionResult result = selection_loss(problem.inputs(), gradients.outputs(), 2 * 11 * 4);
  std::vector<double> q_hat = as_double(problem.q_hat);
  std::vector<double> keys = as_double(problem.chunk_keys);
  const auto loss = [&] { return plain_selection_loss(problem, q_hat, keys); };
  EXPECT_NEAR(result.loss, loss(), 1e-6);
  for (size_t i = 0; i < q_hat.size(); ++i) {
    EXPECT_NEAR(gradients.q_hat[i], finite_difference(q_hat, i, loss), 1e-6) << "q_hat " << i;
  }
  for (size_t i = 0; i < keys.size(); ++i) {
    const double expected = i % 5 == 4 ? 0.0 : finite_difference(keys, i, loss);
    EXPECT_NEAR(gradients.keys[i], expected, 1e-6) << "key " << i;
  }
  Problem short_of_one = problem;
  short_of_one.positions.pop_back();
  expect_error(ErrorCode::kInvalidArgument, "22 positions",
               [&] { selection_loss(short_of_one.inputs(), {}); });
}

TEST(SelectionLoss, QueriesLeftOutHaveNoSay) {
  Problem problem = random_problem(4, 23, 11, 5);
  Gradients before(problem);
  const SelectionResult result = selection_loss(problem.inputs(), before.outputs());
  for (const int64_t i : {1, 4, 7, 10, 13, 16, 19, 22}) {
    for (int64_t d = 0; d < problem.adapter_dim; ++d) {
      EXPECT_EQ(before.q_hat[i * problem.adapter_dim + d], 0.0f) << "query " << i;
      problem.q_hat[i * problem.adapter_dim + d] = 50.0f;
    }
  }
  Gradients after(problem);
  EXPECT_EQ(selection_loss(problem.inputs(), after.outputs()).loss, result.loss);
  EXPECT_EQ(after.q_hat, before.q_hat);
  EXPECT_EQ(after.keys, before.keys);
}

TEST(SelectionLoss, IsZeroWhereTheScoresAreTheTeachersLogarithms) {
  // With the identity as keys, a query's entries are its scores.
  constexpr int64_t kChunks = 16;
  Rng rng(5);
  Problem problem{.n_queries = 4, .n_chunks = kChunks, .adapter_dim = kChunks};
  for (int64_t j = 0; j < kChunks * kChunks; ++j) {
    problem.chunk_keys.push_back(j % (kChunks + 1) == 0 ? 1.0f : 0.0f);
  }
  for (int64_t i = 0; i < problem.n_queries; ++i) {
    for (int64_t j = 0; j < kChunks; ++j) {
      const float mass = static_cast<float>(0.01 + rng.uniform());
      problem.teacher.push_back(mass);
      // 4 = sqrt(adapter_dim); a constant does not change a softmax.
      problem.q_hat.push_back(4.0f * (std::log(mass) + static_cast<float>(i)));
    }
    problem.eligible.push_back({i, kChunks - i});
    problem.weights.push_back(1.0f);
  }
  Gradients gradients(problem);
  const SelectionResult result = selection_loss(problem.inputs(), gradients.outputs());
  EXPECT_NEAR(result.loss, 0.0, 1e-6);
  EXPECT_NEAR(result.mean_kl, 0.0, 1e-6);
  for (const float d : gradients.q_hat) EXPECT_NEAR(d, 0.0f, 1e-6f);
  for (const float d : gradients.keys) EXPECT_NEAR(d, 0.0f, 1e-6f);

  problem.q_hat[3] += 8.0f;
  EXPECT_GT(selection_loss(problem.inputs(), {}).loss, 0.01);
}

TEST(SelectionLoss, HandWorkedMeans) {
  // All scores 0: the softmax is uniform, KL = log n - entropy.
  Problem problem{.n_queries = 2, .n_chunks = 4, .adapter_dim = 1};
  problem.q_hat = {0.0f, 0.0f};
  problem.chunk_keys = {1.0f, 2.0f, 3.0f, 4.0f};
  problem.teacher = {5.0f, 0.0f, 0.0f, 0.0f, 1.0f, 1.0f, 100.0f, 100.0f};
  problem.eligible = {{0, 4}, {0, 2}};
  problem.weights = {1.0f, 3.0f};
  const SelectionResult result = selection_loss(problem.inputs(), {});
  EXPECT_NEAR(result.loss, std::log(4.0) / 4.0, 1e-12);
  EXPECT_NEAR(result.mean_kl, std::log(4.0) / 2.0, 1e-12);
  EXPECT_NEAR(result.teacher_entropy, std::log(2.0) / 2.0, 1e-12);
  EXPECT_EQ(result.weight_sum, 4.0);
  EXPECT_EQ(result.n_used, 2);
}

TEST(SelectionLoss, TilesAndRepetitionDoNotChangeTheResult) {
  const Problem problem = random_problem(6, 61, 37, 8);
  Gradients whole(problem);
  const SelectionResult expected = selection_loss(problem.inputs(), whole.outputs());
  for (const int64_t rows : {0, 1, 2, 7, 60, 61}) {
    Gradients tiled(problem);
    const SelectionResult result = selection_loss(problem.inputs(), tiled.outputs(), rows * 37 * 4);
    EXPECT_NEAR(result.loss, expected.loss, 1e-6);
    EXPECT_EQ(result.n_used, expected.n_used);
    for (size_t i = 0; i < whole.q_hat.size(); ++i) {
      EXPECT_NEAR(tiled.q_hat[i], whole.q_hat[i], 1e-6f) << rows << " rows a tile, " << i;
    }
    for (size_t i = 0; i < whole.keys.size(); ++i) {
      EXPECT_NEAR(tiled.keys[i], whole.keys[i], 1e-6f) << rows << " rows a tile, " << i;
    }
  }
  for (int repetition = 0; repetition < 5; ++repetition) {
    Gradients again(problem);
    EXPECT_EQ(selection_loss(problem.inputs(), again.outputs()).loss, expected.loss);
    EXPECT_EQ(again.q_hat, whole.q_hat);
    EXPECT_EQ(again.keys, whole.keys);
  }
}

TEST(SelectionLoss, ScoresAreGivenForEligibleChunksAlone) {
  const Problem problem = random_problem(7, 23, 11, 5);
  std::vector<float> scores(23 * 11, 9.0f);
  selection_loss(problem.inputs(), {.scores = scores.data()}, 3 * 11 * 4);
  for (int64_t i = 0; i < 23; ++i) {
    for (int64_t j = 0; j < 11; ++j) {
      if (!problem.eligible[i].contains(j)) {
        EXPECT_EQ(scores[i * 11 + j], -std::numeric_limits<float>::infinity());
        continue;
      }
      double score = 0.0;
      for (int64_t d = 0; d < 5; ++d) {
        score += double{problem.q_hat[i * 5 + d]} * double{problem.chunk_keys[j * 5 + d]};
      }
      EXPECT_NEAR(scores[i * 11 + j], score / std::sqrt(5.0), 1e-5);
    }
  }
}

TEST(SelectionLoss, NothingToLearnFromGivesZeros) {
  Problem problem = random_problem(8, 6, 4, 3);
  problem.eligible.assign(6, Range{});
  Gradients gradients(problem);
  const SelectionResult result = selection_loss(problem.inputs(), gradients.outputs());
  EXPECT_EQ(result.loss, 0.0);
  EXPECT_EQ(result.n_used, 0);
  for (const float d : gradients.q_hat) EXPECT_EQ(d, 0.0f);
  for (const float d : gradients.keys) EXPECT_EQ(d, 0.0f);

  EXPECT_EQ(selection_loss({.adapter_dim = 3}, {}).n_used, 0);
  problem.n_chunks = 0;
  EXPECT_EQ(selection_loss(problem.inputs(), gradients.outputs()).loss, 0.0);
}

TEST(SelectionLoss, RefusesWhatDoesNotFit) {
  const Problem good = random_problem(9, 6, 4, 3);
  const auto code = [](const Problem& problem) {
    return code_of([&] { selection_loss(problem.inputs(), {}); });
  };
  Problem bad = good;
  bad.eligible[2] = {2, 5};
  EXPECT_EQ(code(bad), ErrorCode::kInvalidArgument);
  bad = good;
  bad.eligible.pop_back();
  EXPECT_EQ(code(bad), ErrorCode::kInvalidArgument);
  bad = with_lengths(good);
  bad.log_tokens.pop_back();
  EXPECT_EQ(code(bad), ErrorCode::kInvalidArgument);
  bad = good;
  bad.n_heads = 0;
  EXPECT_EQ(code(bad), ErrorCode::kInvalidArgument);
  for (const float weight : {-1.0f, std::nanf(""), INFINITY}) {
    bad = good;
    bad.weights[0] = weight;
    EXPECT_EQ(code(bad), ErrorCode::kInvalidArgument);
  }
  for (const float mass : {-1.0f, std::nanf(""), INFINITY}) {
    bad = good;
    bad.teacher[bad.eligible[0].begin] = mass;
    EXPECT_EQ(code(bad), ErrorCode::kData);
  }
}

TEST(SelectionLoss, ScoresThatAreNotFiniteShow) {
  Problem problem = random_problem(10, 6, 4, 3);
  problem.q_hat[0] = std::nanf("");
  EXPECT_FALSE(std::isfinite(selection_loss(problem.inputs(), {}).loss));
}

}  // namespace
}  // namespace chunkllm

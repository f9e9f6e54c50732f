// Made-up contexts serve as real ones do, and the crossover is where two costs meet.
#include "measure/crossover.h"

#include <gtest/gtest.h>

#include <cmath>

#include "engine/needle_engine.h"
#include "engine/session_cases.h"
#include "measure/random_adapter.h"
#include "measure/synthetic_context.h"
#include "testing/expect_error.h"

namespace chunkllm {
namespace {

using test::needle_engine;
using test::small_budget;

TEST(CrossoverLength, IsWhereWholePromptsTakeLessByTheLeastGain) {
  const TokenCost full{.fixed = 1e-3, .per_row = 1e-6};
  const TokenCost chunk{.fixed = 4e-3, .per_row = 1e-7};
  const int64_t n_same = 2048;
  const int64_t n = crossover_length(full, chunk, n_same);
  // Up to n_same both take what full does.
  const auto total = [&](const TokenCost& cost, int64_t end) {
    double seconds = 0;
    for (int64_t i = 0; i < end; ++i) {
      const TokenCost& at = i < n_same ? full : cost;
      seconds += at.fixed + at.per_row * static_cast<double>(i);
    }
    return seconds;
  };
  const double share = 1 - kLeastGain;
  EXPECT_LT(share * total(full, n - 10), total(chunk, n - 10));
  EXPECT_GT(share * total(full, n + 10), total(chunk, n + 10));
}

TEST(CrossoverLength, LiesAboveWhatIsTheSameAndMayBeNowhere) {
  const TokenCost full{.fixed = 1e-3, .per_row = 1e-6};
  EXPECT_GT(crossover_length(full, {.fixed = 1e-3, .per_row = 0}, 2048), 2049);
  EXPECT_EQ(crossover_length(full, {.fixed = 1e-4, .per_row = 0}, 0), 1);
  EXPECT_EQ(crossover_length(full, full, 2048), kNeverFaster);
  EXPECT_EQ(crossover_length(full, {.fixed = 0, .per_row = 2e-6}, 0), kNeverFaster);
  EXPECT_EQ(crossover_length(full, {.fixed = NAN, .per_row = 0}, 0), kNeverFaster);
}

TEST(CrossoverLength, WhatANoisyClockWouldGiveIsNoGain) {
  const TokenCost full{.fixed = 1e-3, .per_row = 1e-7};
  EXPECT_EQ(crossover_length(full, {.fixed = 0.98e-3, .per_row = 0.98e-7}, 2048), kNeverFaster);
  // A fifth of the time goes into rows at 5000 tokens: half of them saved is not yet 5% of a prompt
  // whose first 2048 tokens are the same.
  EXPECT_GT(crossover_length(full, {.fixed = 1e-3, .per_row = 0.5e-7}, 2048), 3000);
}

TEST(TokenCost, GoesThroughBothPoints) {
  const TokenCost cost = TokenCost::through(1000, 3.0, 3000, 4.0);
  EXPECT_DOUBLE_EQ(cost.fixed, 2.5);
  EXPECT_DOUBLE_EQ(cost.per_row, 0.0005);
}

TEST(Crossover, IsNotMeasuredWhereNothingIsLeftOut) {
  SessionOptions options = small_budget();
  options.selection.budget.n_tokens = options.ctx;
  EXPECT_EQ(measure_crossover(needle_engine(), options).n_tokens, kNeverFaster);
}

TEST(Crossover, LiesAboveTheBudget) {
  const SessionOptions options = small_budget();
  EXPECT_GT(measure_crossover(needle_engine(), options).n_tokens,
            options.selection.budget.n_tokens);
}

TEST(Crossover, EndsWhenCancelled) {
  CancelToken cancel;
  cancel.request();
  expect_error(ErrorCode::kInterrupted, "interrupted",
               [&] { measure_crossover(needle_engine(), small_budget(), &cancel); });
}

TEST(SyntheticContext, AttendsAsARealOneDoes) {
  const SessionOptions options = small_budget();
  const int64_t depth = 1500;
  Session real(needle_engine(), options);
  const auto tokens = test::make_tokens(needle_engine().tokenizer(), depth);
  const int64_t end = depth - 1;
  real.prefill(tokens, {&end, 1});
  Session made_up(needle_engine(), options);
  fill_with_noise(made_up, depth, 1);
  EXPECT_EQ(made_up.n_tokens(), depth);
  EXPECT_EQ(made_up.n_done(), depth);
  for (Session* session : {&real, &made_up}) {
    RetentionCount count;
    for (int i = 0; i < 8; ++i) {
      session->decode(tokens[5]);
      session->count_pass(count);
    }
    EXPECT_NEAR(count.kv_retention(),
                static_cast<double>(options.selection.budget.n_tokens) / depth, 0.08);
    for (const float logit : session->logits()) ASSERT_TRUE(std::isfinite(logit));
  }
  const auto n_chunks = static_cast<double>(made_up.policy().n_chunks());
  // The last chunk's tokens run again, and end chunks as the adapter sees them.
  EXPECT_NEAR(n_chunks, static_cast<double>(depth) / kMeanSentenceTokens, 3 + kMeanSentenceTokens);
}

TEST(SyntheticContext, FullNeedsNoState) {
  SessionOptions options = small_budget();
  options.policy = &full_policy();
  Session session(needle_engine(), options);
  fill_with_noise(session, 700, 1);
  EXPECT_EQ(session.n_done(), 700);
  session.decode(1);
  EXPECT_EQ(session.policy().rows_attended(0), 701);
  expect_error(ErrorCode::kInvalidArgument, "empty", [&] { fill_with_noise(session, 10, 1); });
}

TEST(RandomAdapter, SelectsOnAnyModel) {
  EngineOptions engine_options;
  engine_options.model = needle_model();
  Engine engine(engine_options);
  engine.load_weights();
  Rng rng(1);
  engine.use_adapter(make_random_adapter(engine.weights(), kMeanSentenceTokens, rng),
                     AdapterKind::kSentence);
  SessionOptions options = small_budget();
  options.kv_type = KvType::kF32;
  Session session(engine, options);
  const auto tokens = test::make_tokens(engine.tokenizer(), 1500);
  const int64_t end = 1499;
  session.prefill(tokens, {&end, 1});
  RetentionCount count;
  session.count_pass(count);
  EXPECT_LT(count.kv_retention(), 0.5);
  EXPECT_GT(count.kv_retention(), 0.05);
}

}  // namespace
}  // namespace chunkllm

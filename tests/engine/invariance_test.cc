// The result depends on the tokens and the prompt ends, and on nothing else.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "engine/generate.h"
#include "engine/needle_engine.h"
#include "engine/session.h"
#include "engine/session_cases.h"
#include "testing/models.h"
#include "testing/relative_error.h"
#include "testing/traced_chunk_policy.h"

namespace chunkllm {
namespace {

using test::kLogitsError;
using test::kPromptEnds;
using test::kScoreGap;
using test::kTokens;

class InvarianceTest : public testing::TestWithParam<PrefillKind> {
 protected:
  static void SetUpTestSuite() {
    EngineOptions options;
    options.model = needle_model();
    options.adapter = needle_adapter();
    options.dtype = DtypeChoice::kF32;
    engine_ = new Engine(options);
    engine_->load_weights();
  }
  static void TearDownTestSuite() {
    delete engine_;
    engine_ = nullptr;
  }

  static std::vector<int32_t> make_tokens(int64_t n) {
    return test::make_tokens(engine_->tokenizer(), n);
  }
  static SessionOptions chunk_options(int64_t budget, PrefillKind prefill) {
    return test::small_budget(prefill, budget);
  }

  static Engine* engine_;
};

Engine* InvarianceTest::engine_ = nullptr;

TEST_P(InvarianceTest, AnySplitOfAPrefillGivesTheSame) {
  const std::vector<int32_t> tokens = make_tokens(kTokens);
  test::SelectionTrace trace;
  Session whole(*engine_, test::traced(chunk_options(256, GetParam())));
  test::trace_of(whole).record(&trace);
  whole.prefill(tokens, kPromptEnds);
  const std::vector<float> expected(whole.logits().begin(), whole.logits().end());
  ASSERT_GT(trace.boundaries.size(), 20u);
  // The selection must be one: else everything below is equal for the wrong reason.
  ASSERT_LT(whole.policy().rows_attended(3), 600);

  for (const int64_t block : {int64_t{1}, int64_t{7}, int64_t{64}, int64_t{512}}) {
    Session split(*engine_, test::traced(chunk_options(256, GetParam())));
    test::TraceDifferences differences;
    test::trace_of(split).replay(&trace, &differences);
    const std::vector<float> logits = test::run_in_blocks(split, tokens, kPromptEnds, block);
    EXPECT_LE(relative_error(logits, expected), kLogitsError) << "blocks of " << block;
    EXPECT_LE(differences.largest_boundary_gap, kScoreGap) << "blocks of " << block;
    EXPECT_LE(differences.largest_score_gap, kScoreGap) << "blocks of " << block;
    EXPECT_EQ(split.policy().n_chunks(), whole.policy().n_chunks());
    EXPECT_EQ(split.policy().n_refreshes(), whole.policy().n_refreshes());
    for (int64_t layer = 0; layer < 6; ++layer) {
      EXPECT_EQ(split.policy().rows_attended(layer), whole.policy().rows_attended(layer));
    }
  }
}

TEST_P(InvarianceTest, GoingBackAndRunningAgainGivesTheSame) {
  const std::vector<int32_t> tokens = make_tokens(kTokens);
  test::SelectionTrace trace;
  Session straight(*engine_, test::traced(chunk_options(256, GetParam())));
  test::trace_of(straight).record(&trace);
  straight.prefill(tokens, kPromptEnds);
  const std::vector<float> expected(straight.logits().begin(), straight.logits().end());

  Session session(*engine_, test::traced(chunk_options(256, GetParam())));
  test::TraceDifferences differences;
  test::trace_of(session).replay(&trace, &differences);
  session.prefill(tokens, kPromptEnds);
  for (const int64_t n : {int64_t{1300}, int64_t{1002}, int64_t{850}, int64_t{301}, int64_t{33}}) {
    session.truncate(n);
    ASSERT_EQ(session.n_tokens(), n);
    std::vector<int64_t> ends;
    for (const int64_t e : kPromptEnds) {
      if (e >= n) ends.push_back(e - n);
    }
    session.prefill(std::span(tokens).subspan(static_cast<size_t>(n)), ends);
    EXPECT_LE(relative_error(session.logits(), expected), kLogitsError) << "back to " << n;
    EXPECT_EQ(session.policy().n_chunks(), straight.policy().n_chunks());
  }
  EXPECT_LE(differences.largest_score_gap, kScoreGap);
}

TEST_P(InvarianceTest, ABudgetOfTheContextEqualsFull) {
  const std::vector<int32_t> tokens = make_tokens(kTokens);
  SessionOptions full = chunk_options(256, GetParam());
  full.policy = &full_policy();
  Session dense(*engine_, full);
  dense.prefill(tokens, kPromptEnds);
  const std::vector<float> expected(dense.logits().begin(), dense.logits().end());
  for (const int64_t block : {int64_t{7}, int64_t{512}}) {
    Session session(*engine_, chunk_options(kTokens, GetParam()));
    const std::vector<float> logits = test::run_in_blocks(session, tokens, kPromptEnds, block);
    EXPECT_LE(relative_error(logits, expected), 1e-5) << "blocks of " << block;
    RetentionCount count;
    session.count_pass(count);
    EXPECT_EQ(count.kv_retention(), 1.0);
  }
}

INSTANTIATE_TEST_SUITE_P(Prefill, InvarianceTest,
                         testing::Values(PrefillKind::kChunk, PrefillKind::kFull),
                         [](const auto& kind) {
                           return kind.param == PrefillKind::kChunk ? "Chunk" : "Full";
                         });

TEST_F(InvarianceTest, PromptTokensOfAFullPrefillAreTheBackbonesOwn) {
  const std::vector<int32_t> tokens = make_tokens(600);
  const std::vector<int64_t> end{599};
  Session chunk(*engine_, chunk_options(128, PrefillKind::kFull));
  chunk.prefill(tokens, end);
  SessionOptions full = chunk_options(128, PrefillKind::kFull);
  full.policy = &full_policy();
  Session dense(*engine_, full);
  dense.prefill(tokens, end);
  // Keys of the last layer depend on all layers before; the prompt end's own row is selected.
  const KvLayerView a = chunk.cache().layer(5);
  const KvLayerView b = dense.cache().layer(5);
  const int64_t n = 599 * a.head_dim;
  EXPECT_LE(relative_error({static_cast<const float*>(a.keys), static_cast<size_t>(n)},
                           {static_cast<const float*>(b.keys), static_cast<size_t>(n)}),
            1e-5);
  EXPECT_LT(chunk.policy().rows_attended(3), 300);
}

TEST_F(InvarianceTest, PromptEndsRefreshAndTheAblationDoesNot) {
  std::vector<int32_t> tokens = make_tokens(500);
  const std::vector<int64_t> end{static_cast<int64_t>(tokens.size()) - 1};
  const auto refreshes = [&](RefreshKind kind, int64_t every) {
    SessionOptions options = chunk_options(128, PrefillKind::kChunk);
    options.selection.refresh = kind;
    options.selection.refresh_every = every;
    Session session(*engine_, options);
    session.prefill(tokens, end);
    return std::pair(session.policy().n_refreshes(), session.policy().n_chunks());
  };
  const auto [with_end, chunks] = refreshes(RefreshKind::kPromptEnd, 0);
  const auto [boundaries_only, chunks_again] = refreshes(RefreshKind::kBoundary, 0);
  EXPECT_EQ(boundaries_only, chunks_again);
  EXPECT_EQ(chunks, chunks_again);
  EXPECT_GE(with_end, boundaries_only);
  EXPECT_LE(with_end, boundaries_only + 1);
  EXPECT_EQ(refreshes(RefreshKind::kEvery, 1).first, 500);
  EXPECT_EQ(refreshes(RefreshKind::kEvery, 50).first, 10);
}

TEST_F(InvarianceTest, GenerationCountsWhatItAttends) {
  const std::vector<int32_t> tokens = make_tokens(900);
  const std::vector<int64_t> end{899};
  Session session(*engine_, chunk_options(200, PrefillKind::kChunk));
  const GenerateResult result =
      generate(session, engine_->tokenizer(), tokens, end, {.max_tokens = 5});
  EXPECT_EQ(result.prompt_tokens, 900);
  EXPECT_EQ(result.generated_tokens, 5);
  EXPECT_EQ(result.finish_reason, "length");
  EXPECT_EQ(result.retention.n_passes, 5);
  EXPECT_GT(result.retention.kv_retention(), 0.1);
  EXPECT_LT(result.retention.kv_retention(), 0.4);
  EXPECT_EQ(session.n_tokens(), 904) << "the last token is not run";
}

TEST_F(InvarianceTest, RefusedTokensLeaveTheSequenceAsItWas) {
  Session session(*engine_, chunk_options(200, PrefillKind::kChunk));
  session.prefill(make_tokens(50), {});
  EXPECT_THROW(session.decode(-1), Error);
  EXPECT_THROW(session.decode(4096), Error);
  EXPECT_THROW(session.prefill({}, {}), Error);
  EXPECT_THROW(session.prefill(std::vector<int32_t>(3000, 5), {}), Error) << "beyond the context";
  EXPECT_EQ(session.n_tokens(), 50);
  EXPECT_NO_THROW(session.decode(7));
}

}  // namespace
}  // namespace chunkllm

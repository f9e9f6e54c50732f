// The result depends on the tokens and the prompt ends, and on nothing else.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>

#include "engine/generate.h"
#include "engine/needle_engine.h"
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
    options.adapters = {needle_adapter()};
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
    EXPECT_EQ(split.prefill_count().rows_attended, whole.prefill_count().rows_attended);
    EXPECT_EQ(split.prefill_count().rows_visible, whole.prefill_count().rows_visible);
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
    SessionOptions everything = chunk_options(kTokens, GetParam());
    everything.selection.remainder = block == 512;  // of nothing
    Session session(*engine_, everything);
    const std::vector<float> logits = test::run_in_blocks(session, tokens, kPromptEnds, block);
    EXPECT_LE(relative_error(logits, expected), 1e-5) << "blocks of " << block;
    RetentionCount count;
    session.count_pass(count);
    EXPECT_EQ(count.kv_retention(), 1.0);
    EXPECT_EQ(session.prefill_count().retention(), 1.0);
  }
}

INSTANTIATE_TEST_SUITE_P(Prefill, InvarianceTest,
                         testing::Values(PrefillKind::kChunk, PrefillKind::kFull),
                         [](const auto& kind) {
                           return kind.param == PrefillKind::kChunk ? "Chunk" : "Full";
                         });

// The keys of the last layer, which depend on all before it, up to `n` tokens.
std::vector<float> last_keys(const Session& session, int64_t n) {
  const KvLayerView kv = session.cache().layer(session.engine().config().n_layers - 1);
  const auto* keys = static_cast<const float*>(kv.keys);
  return {keys, keys + n * kv.head_dim};
}

// Text that is one answer from its first token on is read as it would be written.
TEST_F(InvarianceTest, ScoredTextKnowsNothingOfLaterTokens) {
  const std::vector<int32_t> tokens = make_tokens(900);
  std::vector<int32_t> changed = tokens;
  double largest = 0;
  for (const int64_t n : {int64_t{333}, int64_t{640}, int64_t{897}}) {
    changed = tokens;
    for (size_t i = static_cast<size_t>(n); i < changed.size(); ++i) changed[i] = changed[i - 300];
    const auto keys_of = [&](const std::vector<int32_t>& ids, bool scored) {
      Session session(*engine_, chunk_options(128, PrefillKind::kChunk));
      const Range all{0, std::ssize(ids)};
      const int64_t end = std::ssize(ids) - 1;
      session.prefill(ids, {&end, scored ? size_t{0} : size_t{1}}, {}, nullptr,
                      {&all, scored ? size_t{1} : size_t{0}});
      EXPECT_EQ(session.n_done(), 900);
      return last_keys(session, n);
    };
    EXPECT_LE(relative_error(keys_of(changed, true), keys_of(tokens, true)), 1e-6) << n;
    largest = std::max(largest, relative_error(keys_of(changed, false), keys_of(tokens, false)));
  }
  EXPECT_GT(largest, 1e-3) << "prompts know their own end";
}

TEST_F(InvarianceTest, ScoredTextIsWhatDecodingGives) {
  const std::vector<int32_t> tokens = make_tokens(700);
  Session one_by_one(*engine_, chunk_options(128, PrefillKind::kChunk));
  for (const int32_t token : tokens) one_by_one.decode(token);
  Session at_once(*engine_, chunk_options(128, PrefillKind::kChunk));
  const Range all{0, 700};
  at_once.prefill(tokens, {}, {}, nullptr, {&all, 1});
  EXPECT_LE(relative_error(at_once.logits(), one_by_one.logits()), kLogitsError);
  EXPECT_EQ(at_once.policy().n_chunks(), one_by_one.policy().n_chunks());
  EXPECT_EQ(at_once.prefill_count().rows_visible, 0);
}

TEST_F(InvarianceTest, APromptShorterThanItsTailIsReadInFull) {
  const std::vector<int32_t> tokens = make_tokens(60);
  const std::vector<int64_t> end{59};
  SessionOptions options = chunk_options(16, PrefillKind::kChunk);
  options.selection.window = 8;
  Session chunk(*engine_, options);
  chunk.prefill(tokens, end);
  SessionOptions full = chunk_options(16, PrefillKind::kChunk);
  full.policy = &full_policy();
  Session dense(*engine_, full);
  dense.prefill(tokens, end);
  EXPECT_LE(relative_error(last_keys(chunk, 59), last_keys(dense, 59)), 1e-5);
  EXPECT_LT(chunk.policy().rows_attended(3), 60) << "the prompt end selects";
  EXPECT_GT(chunk.prefill_count().retention(), 0.95);
  EXPECT_LT(chunk.prefill_count().retention(), 1.0);
}

TEST_F(InvarianceTest, PrefillRetentionIsBoundedByTheBudgetAndTheTail) {
  const std::vector<int32_t> tokens = make_tokens(kTokens);
  const std::vector<int64_t> end{kTokens - 1};
  const auto count_of = [&](const std::function<void(SelectionSettings&)>& change) {
    SessionOptions options = chunk_options(128, PrefillKind::kChunk);
    change(options.selection);
    Session session(*engine_, options);
    session.prefill(tokens, end);
    return session.prefill_count();
  };
  const PrefillCount count = count_of([](SelectionSettings&) {});
  const auto n_layers = static_cast<double>(engine_->config().n_layers);
  const auto n = static_cast<double>(kTokens);
  EXPECT_EQ(count.rows_visible, n_layers * n * (n + 1) / 2);
  EXPECT_LE(count.rows_attended, n_layers * ((n - test::kTail) * 260 + test::kTail * n))
      << "sink, window and an open chunk may stand above the budget";
  EXPECT_GT(count.rows_attended, n_layers * (n - test::kTail) * 60);
  const auto more = [&](const std::function<void(SelectionSettings&)>& change) {
    EXPECT_GT(count_of(change).rows_attended, 1.1 * count.rows_attended);
  };
  more([](SelectionSettings& s) { s.prefill_budget = KvBudget::parse("400"); });
  more([](SelectionSettings& s) { s.prefill_floor = 400; });
  more([](SelectionSettings& s) { s.prompt_tail = 300; });
  EXPECT_EQ(count_of([](SelectionSettings& s) {
              s.prefill_budget = KvBudget::parse("64");
            }).rows_attended,
            count.rows_attended)
      << "never fewer than --kv-budget";
}

// Prompt by prompt: an unfinished one waits, and logits come with its end.
TEST_F(InvarianceTest, AnUnfinishedPromptWaits) {
  const std::vector<int32_t> tokens = make_tokens(500);
  Session session(*engine_, chunk_options(128, PrefillKind::kChunk));
  session.prefill(std::span(tokens).first(300), {});
  EXPECT_EQ(session.n_tokens(), 300);
  EXPECT_LE(session.n_done(), 300 - test::kTail);
  EXPECT_GT(session.n_done(), 300 - test::kTail - 128 - 32);
  EXPECT_THROW(session.logits(), Error);
  session.decode(tokens[300]);
  EXPECT_EQ(session.n_done(), 301) << "what comes after it ends it";
  EXPECT_NO_THROW(session.logits());
}

TEST_F(InvarianceTest, ACancelledPrefillGoesOn) {
  const std::vector<int32_t> tokens = make_tokens(kTokens);
  Prompt prompt;
  prompt.ids = tokens;
  prompt.ends = {kTokens - 1};
  SessionOptions options = chunk_options(128, PrefillKind::kChunk);
  options.block_tokens = 128;
  Session straight(*engine_, options);
  generate(straight, engine_->tokenizer(), prompt, {.max_tokens = 1});
  Session session(*engine_, options);
  CancelToken cancel;
  const auto stop = [&](int64_t n, int64_t) {
    if (n > 700) cancel.request();
  };
  EXPECT_THROW(
      generate(session, engine_->tokenizer(), prompt, {.max_tokens = 1}, {}, stop, &cancel), Error);
  EXPECT_LT(session.n_done(), kTokens);
  const GenerateResult result = generate(session, engine_->tokenizer(), prompt, {.max_tokens = 1});
  EXPECT_GT(result.cached_tokens, 500);
  EXPECT_LE(relative_error(session.logits(), straight.logits()), kLogitsError);
}

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
  // The last token of this prompt is no boundary.
  EXPECT_EQ(with_end, boundaries_only + 1);
  EXPECT_EQ(refreshes(RefreshKind::kEvery, 1).first, 500);
  EXPECT_EQ(refreshes(RefreshKind::kEvery, 50).first, 10);
}

TEST_F(InvarianceTest, EachTokenOfAnAnswerRefreshes) {
  const std::vector<int32_t> tokens = make_tokens(330);
  const std::vector<int64_t> end{299};
  for (const RefreshKind kind : {RefreshKind::kAnswer, RefreshKind::kPromptEnd}) {
    SessionOptions options = chunk_options(128, PrefillKind::kChunk);
    options.selection.refresh = kind;
    Session session(*engine_, options);
    session.prefill(std::span(tokens).first(300), end);
    const int64_t before = session.policy().n_refreshes();
    const int64_t chunks_before = session.policy().n_chunks();
    for (size_t t = 300; t < 330; ++t) session.decode(tokens[t]);
    const int64_t n_new = session.policy().n_refreshes() - before;
    const int64_t n_chunks = session.policy().n_chunks() - chunks_before;
    EXPECT_EQ(n_new, kind == RefreshKind::kAnswer ? 30 : n_chunks);
    EXPECT_LT(n_chunks, 30);
  }
}

// Of so few rows it loses less than the adapters do; of all rows, nothing.
TEST_F(InvarianceTest, TheOracleIsNearerToFullAttention) {
  const std::vector<int32_t> tokens = make_tokens(900);
  const std::vector<int64_t> end{899};
  const auto logits_of = [&](const PolicyEntry& policy, int64_t budget) {
    SessionOptions options = chunk_options(budget, PrefillKind::kFull);
    options.policy = &policy;
    Session session(*engine_, options);
    session.prefill(tokens, end);
    session.decode(tokens[5]);
    if (policy.needs_adapter() && budget < 900) {
      EXPECT_LE(session.policy().rows_attended(3), budget);
      session.truncate(700);  // and again, from a begin that was kept
      session.prefill(std::span(tokens).subspan(700), std::vector<int64_t>{199});
      session.decode(tokens[5]);
    }
    const std::span<const float> logits = session.logits();
    return std::vector<float>(logits.begin(), logits.end());
  };
  const std::vector<float> full = logits_of(full_policy(), 1000);
  EXPECT_LE(relative_error(logits_of(policy_named("oracle"), 1000), full), 1e-5);
  const double oracle = relative_error(logits_of(policy_named("oracle"), 128), full);
  EXPECT_LT(oracle, relative_error(logits_of(policy_named("chunk"), 128), full));
  EXPECT_GT(oracle, 1e-4);
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

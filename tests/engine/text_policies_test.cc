// Policies whose rows follow from positions and tokens alone, run by the demonstration model.
#include <gtest/gtest.h>

#include "engine/generate.h"
#include "engine/needle_engine.h"
#include "engine/prompt_cache.h"
#include "engine/session_cases.h"
#include "testing/relative_error.h"
#include "testing/temp_folder.h"

namespace chunkllm {
namespace {

using test::kLogitsError;
using test::kPromptEnds;
using test::kTokens;
using test::logits_of;
using test::needle_engine;

class TextPoliciesTest : public testing::TestWithParam<const char*> {
 protected:
  static std::vector<int32_t> make_tokens(int64_t n) {
    return test::make_tokens(needle_engine().tokenizer(), n);
  }
  static SessionOptions options_of(int64_t budget) {
    SessionOptions options = test::small_budget(PrefillKind::kChunk, budget);
    options.policy = &policy_named(GetParam());
    return options;
  }
};

TEST_P(TextPoliciesTest, AnySplitOfAPrefillGivesTheSameAndSoDoesDecoding) {
  const std::vector<int32_t> tokens = make_tokens(kTokens);
  Session whole(needle_engine(), options_of(200));
  whole.prefill(tokens, kPromptEnds);
  const std::vector<float> expected = logits_of(whole);
  EXPECT_LE(whole.policy().rows_attended(3), 200);
  EXPECT_GT(whole.policy().rows_attended(3), 100);
  EXPECT_LT(whole.prefill_count().retention(), 0.4);
  for (const int64_t block : {int64_t{1}, int64_t{7}, int64_t{512}}) {
    Session split(needle_engine(), options_of(200));
    EXPECT_LE(relative_error(test::run_in_blocks(split, tokens, kPromptEnds, block), expected),
              kLogitsError);
    EXPECT_EQ(split.prefill_count().rows_attended, whole.prefill_count().rows_attended);
  }
  Session decoded(needle_engine(), options_of(200));
  for (const int32_t token : tokens) decoded.decode(token);
  EXPECT_LE(relative_error(logits_of(decoded), expected), kLogitsError);
  EXPECT_EQ(decoded.prefill_count().rows_visible, 0);
}

TEST_P(TextPoliciesTest, ABudgetOfTheContextEqualsFull) {
  test::expect_full(needle_engine(), options_of(700), make_tokens(700));
}

TEST_P(TextPoliciesTest, GoingBackAndRunningAgainGivesTheSame) {
  const std::vector<int32_t> tokens = make_tokens(800);
  const std::vector<int64_t> end{799};
  Session session(needle_engine(), options_of(150));
  session.prefill(tokens, end);
  const std::vector<float> expected = logits_of(session);
  for (const int64_t n : {int64_t{799}, int64_t{613}, int64_t{1}}) {
    session.truncate(n);
    EXPECT_EQ(session.n_done(), n);
    session.prefill(std::span(tokens).subspan(static_cast<size_t>(n)),
                    std::vector<int64_t>{799 - n});
    EXPECT_LE(relative_error(logits_of(session), expected), kLogitsError) << n;
  }
}

TEST_P(TextPoliciesTest, ASavedCacheAnswersAsAnUncachedRun) {
  TempFolder folder;
  Prompt prompt;
  prompt.ids = make_tokens(600);
  prompt.ends = {599};
  const SessionOptions options = options_of(150);
  Session first(needle_engine(), options);
  const auto answer = [&](Session& session) {
    return generate(session, needle_engine().tokenizer(), prompt, {.max_tokens = 8});
  };
  answer(first);
  save_prompt_cache(folder / "saved.cache", first);

  prompt.ids = make_tokens(900);
  prompt.ends = {899};
  Session uncached(needle_engine(), options);
  const GenerateResult expected = answer(uncached);
  Session cached(needle_engine(), options);
  EXPECT_EQ(load_prompt_cache(folder / "saved.cache", prompt, cached), 600);
  const GenerateResult result = answer(cached);
  EXPECT_EQ(result.cached_tokens, 600);
  EXPECT_EQ(result.ids, expected.ids);
  EXPECT_LE(relative_error(logits_of(cached), logits_of(uncached)), kLogitsError);
  EXPECT_EQ(result.retention.retention_sum, expected.retention.retention_sum);
}

INSTANTIATE_TEST_SUITE_P(Policies, TextPoliciesTest, testing::Values("streaming", "separator"),
                         [](const auto& policy) { return std::string(policy.param); });

}  // namespace
}  // namespace chunkllm

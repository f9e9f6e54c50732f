// Policies that choose by the model's own keys, run by the demonstration model.
#include <gtest/gtest.h>

#include "engine/generate.h"
#include "engine/needle_engine.h"
#include "engine/prompt_cache.h"
#include "engine/session_cases.h"
#include "select/keys/mean_key_policy.h"
#include "select/keys/quest_policy.h"
#include "testing/relative_error.h"
#include "testing/temp_folder.h"
#include "testing/traced_chunk_policy.h"

namespace chunkllm {
namespace {

using test::kLogitsError;
using test::kPromptEnds;
using test::kTokens;
using test::logits_of;
using test::needle_engine;

template <typename Policy>
std::unique_ptr<SelectionPolicy> make_traced(const PolicyInputs& inputs);
template <>
std::unique_ptr<SelectionPolicy> make_traced<MeanKeyPolicy>(const PolicyInputs& inputs) {
  return std::make_unique<test::Traced<MeanKeyPolicy>>(*inputs.model, inputs.settings,
                                                       inputs.special_ids, inputs.token_marks);
}
template <>
std::unique_ptr<SelectionPolicy> make_traced<QuestPolicy>(const PolicyInputs& inputs) {
  return std::make_unique<test::Traced<QuestPolicy>>(*inputs.model, inputs.settings);
}

struct MeanKey {
  using Policy = MeanKeyPolicy;
  static constexpr const char* kName = "meankey";
};
struct Quest {
  using Policy = QuestPolicy;
  static constexpr const char* kName = "quest";
};

template <typename Of>
class OwnKeysRun : public testing::Test {
 protected:
  using Policy = typename Of::Policy;

  static std::vector<int32_t> make_tokens(int64_t n) {
    return test::make_tokens(needle_engine().tokenizer(), n);
  }
  static SessionOptions options_of(int64_t budget) {
    static const PolicyEntry entry = [] {
      PolicyEntry traced = policy_named(Of::kName);
      traced.make = make_traced<Policy>;
      return traced;
    }();
    SessionOptions options = test::small_budget(PrefillKind::kChunk, budget);
    options.policy = &entry;
    return options;
  }
  static test::Traced<Policy>& trace_of(Session& session) {
    return dynamic_cast<test::Traced<Policy>&>(session.policy());
  }
};

using Kinds = testing::Types<MeanKey, Quest>;
struct NameOf {
  template <typename Of>
  static std::string GetName(int) {
    return Of::kName;
  }
};
TYPED_TEST_SUITE(OwnKeysRun, Kinds, NameOf);

TYPED_TEST(OwnKeysRun, AnySplitOfAPrefillGivesTheSame) {
  const std::vector<int32_t> tokens = this->make_tokens(kTokens);
  test::SelectionTrace trace;
  Session whole(needle_engine(), this->options_of(256));
  this->trace_of(whole).record(&trace);
  whole.prefill(tokens, kPromptEnds);
  const std::vector<float> expected = logits_of(whole);
  ASSERT_LE(whole.policy().rows_attended(3), 256) << "the selection must be one";
  for (const int64_t block : {int64_t{1}, int64_t{64}, int64_t{512}}) {
    Session split(needle_engine(), this->options_of(256));
    test::TraceDifferences differences;
    this->trace_of(split).replay(&trace, &differences);
    EXPECT_LE(relative_error(test::run_in_blocks(split, tokens, kPromptEnds, block), expected),
              kLogitsError);
    EXPECT_LE(differences.largest_score_gap, test::kScoreGap) << "blocks of " << block;
    EXPECT_EQ(split.prefill_count().rows_attended, whole.prefill_count().rows_attended);
    EXPECT_EQ(split.policy().n_chunks(), whole.policy().n_chunks());
    EXPECT_EQ(split.policy().n_refreshes(), whole.policy().n_refreshes());
  }
}

TYPED_TEST(OwnKeysRun, ScoredTextIsWhatDecodingGives) {
  const std::vector<int32_t> tokens = this->make_tokens(600);
  test::SelectionTrace trace;
  Session at_once(needle_engine(), this->options_of(128));
  this->trace_of(at_once).record(&trace);
  const Range all{0, 600};
  at_once.prefill(tokens, {}, {}, nullptr, {&all, 1});
  Session one_by_one(needle_engine(), this->options_of(128));
  test::TraceDifferences differences;
  this->trace_of(one_by_one).replay(&trace, &differences);
  for (const int32_t token : tokens) one_by_one.decode(token);
  EXPECT_LE(relative_error(logits_of(at_once), logits_of(one_by_one)), kLogitsError);
  EXPECT_LE(differences.largest_score_gap, test::kScoreGap);
  EXPECT_EQ(at_once.prefill_count().rows_visible, 0);
}

TYPED_TEST(OwnKeysRun, ABudgetOfTheContextEqualsFull) {
  const std::vector<int32_t> tokens = this->make_tokens(700);
  const std::vector<int64_t> end{699};
  const std::vector<float> full = test::expect_full(needle_engine(), this->options_of(700), tokens);

  Session selecting(needle_engine(), this->options_of(128));
  selecting.prefill(tokens, end);
  EXPECT_GT(relative_error(logits_of(selecting), full), 1e-4);
  EXPECT_LT(selecting.prefill_count().retention(), 0.8);
}

TYPED_TEST(OwnKeysRun, GoingBackAndSavedCachesGiveTheSame) {
  const std::vector<int32_t> tokens = this->make_tokens(900);
  const std::vector<int64_t> end{899};
  test::SelectionTrace trace;
  Session straight(needle_engine(), this->options_of(128));
  this->trace_of(straight).record(&trace);
  straight.prefill(tokens, end);
  const std::vector<float> expected = logits_of(straight);
  TempFolder folder;
  save_prompt_cache(folder / "saved.cache", straight);

  Session back(needle_engine(), this->options_of(128));
  test::TraceDifferences differences;
  this->trace_of(back).replay(&trace, &differences);
  back.prefill(tokens, end);
  for (const int64_t n : {int64_t{899}, int64_t{850}, int64_t{333}}) {
    back.truncate(n);
    back.prefill(std::span(tokens).subspan(static_cast<size_t>(n)), std::vector<int64_t>{899 - n});
    EXPECT_LE(relative_error(logits_of(back), expected), kLogitsError) << "back to " << n;
  }
  Session cached(needle_engine(), this->options_of(128));
  this->trace_of(cached).replay(&trace, &differences);
  Prompt prompt;
  prompt.ids = tokens;
  prompt.ends = end;
  EXPECT_GT(load_prompt_cache(folder / "saved.cache", prompt, cached), 600);
  const GenerateResult result =
      generate(cached, needle_engine().tokenizer(), prompt, {.max_tokens = 1});
  EXPECT_GT(result.cached_tokens, 600);
  EXPECT_LE(relative_error(logits_of(cached), expected), kLogitsError);
  EXPECT_LE(differences.largest_score_gap, test::kScoreGap);
}

}  // namespace
}  // namespace chunkllm

#include "engine/drafts.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <vector>

#include "convert/quantize.h"
#include "data/synthetic.h"
#include "engine/needle_engine.h"
#include "engine/session.h"
#include "testing/expect_error.h"
#include "testing/temp_folder.h"

namespace chunkllm {
namespace {

using test::needle_engine;
using Tokens = std::vector<int32_t>;

// `tokens` are new: of those before the last, drafts may know some.
Tokens draft_of(LookupDrafts& drafts, Tokens tokens, int64_t most = 100) {
  const int32_t last = tokens.back();
  tokens.pop_back();
  const auto draft = drafts.next(tokens, last, most);
  return {draft.begin(), draft.end()};
}

TEST(LookupDrafts, GoOnAsTheTextDidWhereItAgreesLongest) {
  LookupDrafts drafts;
  EXPECT_EQ(draft_of(drafts, {1}), Tokens());
  EXPECT_EQ(draft_of(drafts, {1, 2}), Tokens());
  EXPECT_EQ(draft_of(drafts, {1, 2, 3, 4, 5, 6}), Tokens());
  // Three agree at the second, later place, four at the first.
  EXPECT_EQ(draft_of(drafts, {1, 2, 3, 4, 5, 6, 2, 3, 4, 7, 8, 1, 2, 3, 4}), (Tokens{5, 6, 2}));
  EXPECT_EQ(draft_of(drafts, {1, 2, 3, 4, 5, 6, 2, 3, 4, 7, 8, 1, 2, 3, 4}, 1), (Tokens{5}));
  EXPECT_EQ(draft_of(drafts, {1, 2, 3, 4, 5, 6, 2, 3, 4, 7, 8, 1, 2, 3, 4}, 0), Tokens());
}

TEST(LookupDrafts, EndWithTheText) {
  LookupDrafts drafts;
  EXPECT_EQ(draft_of(drafts, {5, 5, 5, 5}), (Tokens{5}));
}

TEST(LookupDrafts, GrowWhereTheyAreRightAndPauseWhereTheyAreNot) {
  Tokens tokens(100);
  std::iota(tokens.begin(), tokens.end(), 0);
  const Tokens begin{0, 1, 2};
  tokens.insert(tokens.end(), begin.begin(), begin.end());
  LookupDrafts drafts;
  for (const size_t length : {3u, 7u, 15u, 15u}) {
    const Tokens draft = draft_of(drafts, tokens);
    ASSERT_EQ(draft.size(), length);
    drafts.report(static_cast<int64_t>(length), static_cast<int64_t>(length));
  }
  drafts.report(15, 2);
  EXPECT_EQ(draft_of(drafts, tokens).size(), 7u);
  int64_t n_passes = 0;
  int64_t n_drafts = 0;
  for (; n_passes < 400; ++n_passes) {
    if (draft_of(drafts, tokens).empty()) continue;
    drafts.report(3, 0);
    ++n_drafts;
  }
  EXPECT_LT(n_drafts, 15);
  EXPECT_GT(n_drafts, 7);  // it goes on trying
}

class ExactTest : public testing::Test {
 protected:
  GenerateResult answer(const std::vector<int32_t>& prompt, const GenerateOptions& options,
                        int64_t ctx = 2048) {
    SessionOptions session_options;
    session_options.ctx = ctx;
    Session session(needle_engine(), session_options);
    const std::vector<int64_t> end{std::ssize(prompt) - 1};
    GenerateResult result = generate(session, needle_engine().tokenizer(), prompt, end, options);
    // Nothing that only a draft had is left.
    const std::vector<int32_t> left(session.tokens().begin() + std::ssize(prompt),
                                    session.tokens().end());
    EXPECT_LE(left.size(), result.ids.size());
    EXPECT_TRUE(std::equal(left.begin(), left.end(), result.ids.begin()));
    return result;
  }
  // Expects the same answer with and without drafts, and returns the one with.
  GenerateResult expect_same(const std::vector<int32_t>& prompt, GenerateOptions options,
                             int64_t ctx = 2048) {
    options.drafts = false;
    const GenerateResult plain = answer(prompt, options, ctx);
    options.drafts = true;
    GenerateResult exact = answer(prompt, options, ctx);
    EXPECT_EQ(exact.ids, plain.ids);
    EXPECT_EQ(exact.text, plain.text);
    EXPECT_EQ(exact.finish_reason, plain.finish_reason);
    EXPECT_EQ(exact.generated_tokens, plain.generated_tokens);
    EXPECT_EQ(plain.retention.n_passes, plain.generated_tokens);
    EXPECT_LE(exact.retention.n_passes, plain.retention.n_passes);
    EXPECT_EQ(exact.retention.n_passes + exact.accepted_tokens, exact.generated_tokens);
    EXPECT_LE(exact.accepted_tokens, exact.drafted_tokens);
    return exact;
  }
  // Prose that begins again.
  std::vector<int32_t> repeating_prompt() {
    Rng rng(11);
    const auto text = make_text(rng, 900);
    return needle_engine().tokenizer().encode(text + "\n" + text.substr(0, 300),
                                              {.add_special_tokens = true});
  }
};

TEST_F(ExactTest, AGreedyAnswerIsTheSameInFewerPasses) {
  const GenerateResult exact = expect_same(repeating_prompt(), {.max_tokens = 150});
  EXPECT_GT(exact.accepted_tokens, 20);
}

// Quantised weights that meet int8 inputs: rounding would make much of little.
TEST_F(ExactTest, TokensThatRunTogetherHaveTheBitsOfPassesOfTheirOwn) {
  const TempFolder folder;
  const std::filesystem::path model = folder / "q8_0.gguf";
  quantize_model({.in = needle_model(), .out = model, .type = DType::kQ8_0});
  EngineOptions engine_options;
  engine_options.model = model;
  Engine engine(engine_options);
  engine.load_weights();
  const int64_t as_alone = tokens_as_alone(engine.precision());
  if (as_alone == 1) GTEST_SKIP() << "no int8 inputs here";
  const std::vector<int32_t> prompt = repeating_prompt();
  const std::vector<int64_t> end{std::ssize(prompt) - 1};
  const std::vector<int32_t> answer(prompt.begin(), prompt.begin() + 30);
  for (const KvType kv_type : {KvType::kF32, KvType::kBf16}) {
    SessionOptions options;
    options.ctx = 2048;
    options.kv_type = kv_type;
    Session alone(engine, options);
    alone.prefill(prompt, end);
    std::vector<std::vector<float>> expected;
    for (const int32_t token : answer) {
      alone.decode(token);
      const std::span<const float> logits = alone.logits();
      expected.emplace_back(logits.begin(), logits.end());
    }
    Session together(engine, options);
    together.prefill(prompt, end);
    const auto most = static_cast<size_t>(std::min(as_alone, kFewQueries));
    size_t done = 0;
    for (size_t n = 2; done < answer.size(); n = std::min(n + 3, most)) {
      n = std::min(n, answer.size() - done);
      together.decode(std::span(answer).subspan(done, n));
      for (size_t behind = 0; behind < n; ++behind) {
        const std::span<const float> logits = together.logits(static_cast<int64_t>(behind));
        EXPECT_TRUE(std::ranges::equal(logits, expected[done + n - 1 - behind]))
            << n << " tokens, " << behind << " from the last";
      }
      done += n;
    }
  }
}

// Elsewhere rows that run together are rounded otherwise: what is chosen is the likeliest token of
// a pass of its own, or near it.
TEST_F(ExactTest, EachTokenIsTheLikeliestOfItsOwnPassOrNearIt) {
  EngineOptions engine_options;
  engine_options.model = needle_model();
  Engine engine(engine_options);
  engine.load_weights();
  const std::vector<int32_t> prompt = repeating_prompt();
  const std::vector<int64_t> end{std::ssize(prompt) - 1};
  SessionOptions options;
  options.ctx = 2048;
  options.kv_type = KvType::kBf16;
  Session drafting(engine, options);
  const GenerateResult exact =
      generate(drafting, engine.tokenizer(), prompt, end, {.max_tokens = 120, .drafts = true});
  EXPECT_GT(exact.accepted_tokens, 20);
  Session session(engine, options);
  session.prefill(prompt, end);
  double largest_gap = 0;
  for (const int32_t token : exact.ids) {
    const std::span<const float> logits = session.logits();
    const float best = *std::ranges::max_element(logits);
    largest_gap = std::max<double>(largest_gap, best - logits[static_cast<size_t>(token)]);
    session.decode(token);
  }
  EXPECT_LT(largest_gap, 0.02) << "of logits";
}

TEST_F(ExactTest, ASampledAnswerIsTheSameByTheSameRandomNumbers) {
  for (const uint64_t seed : {1u, 2u, 3u}) {
    GenerateOptions options{.max_tokens = 80};
    options.sampling.temperature = 0.7;
    options.sampling.top_p = 0.95;
    options.sampling.repeat_penalty = 1.1;
    options.sampling.seed = seed;
    expect_same(repeating_prompt(), options);
  }
}

TEST_F(ExactTest, EndsWhereTheAnswerDoes) {
  const std::vector<int32_t> prompt = repeating_prompt();
  for (const int64_t max_tokens : {1, 2, 3, 7, 30}) {
    expect_same(prompt, {.max_tokens = max_tokens});
  }
  // The context holds the answer but for its last token, which does not run, and no draft beyond.
  expect_same(prompt, {.max_tokens = 30}, std::ssize(prompt) + 29);
  const GenerateResult whole = expect_same(prompt, {.max_tokens = 60});
  for (const size_t at : {5u, 17u, 40u}) {
    expect_same(prompt, {.max_tokens = 60, .eos_ids = {whole.ids[at]}});
    expect_same(prompt, {.max_tokens = 60, .stops = {whole.text.substr(3 * at, 4)}});
  }
}

TEST_F(ExactTest, IsForFullAttention) {
  SessionOptions options;
  options.policy = &policy_named("streaming");
  options.ctx = 512;
  Session session(needle_engine(), options);
  const std::vector<int32_t> prompt{1, 2, 3};
  const std::vector<int64_t> end{2};
  expect_error(ErrorCode::kInvalidArgument, "full attention; the policy is 'streaming'", [&] {
    generate(session, needle_engine().tokenizer(), prompt, end, {.drafts = true});
  });
}

}  // namespace
}  // namespace chunkllm

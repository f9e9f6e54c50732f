#include "engine/drafts.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <optional>
#include <vector>

#include "convert/quantize.h"
#include "data/synthetic.h"
#include "engine/generate.h"
#include "engine/needle_engine.h"
#include "testing/expect_error.h"
#include "testing/temp_folder.h"

namespace chunkllm {
namespace {

using test::needle_engine;
using test::small_budget;
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

// Passes over one token that take a second.
DraftAccount account_after(int n_plain) {
  DraftAccount account;
  for (int i = 0; i < n_plain; ++i) account.add_pass(0, 0.0, 1.0);
  return account;
}

TEST(DraftAccount, WrongDraftsCostASmallShareOfTheAnswer) {
  for (const double checking : {0.05, 0.3, 1.0}) {
    DraftAccount account;
    EXPECT_EQ(account.affordable(0), 0) << "before it is known what a pass takes";
    double seconds = 0;
    int64_t n_drafts = 0;
    constexpr int kTokens = 1000;
    for (int i = 0; i < kTokens; ++i) {
      const int64_t n = std::min<int64_t>(account.affordable(0.5), 7);
      const auto drafted = static_cast<double>(n);
      account.add_pass(n, 0.5 * drafted, 1.0 + checking * drafted);
      seconds += 1.0 + (0.5 + checking) * drafted;
      n_drafts += n > 0;
      if (i == 119) {
        EXPECT_LT(seconds, 120 * 1.06) << checking;
      }
    }
    EXPECT_LT(seconds, kTokens * 1.04) << checking;
    EXPECT_GT(n_drafts, 15) << "it goes on trying";
  }
}

TEST(DraftAccount, RightDraftsPayForLongerOnes) {
  DraftAccount account = account_after(1);
  for (const int64_t most : {3, 7, 15, 15}) {
    const int64_t n = std::min(account.affordable(0), most);
    EXPECT_EQ(n, most);
    account.add_pass(n, 0.0, 1.0 + 0.3 * static_cast<double>(n));
    account.add_accepted(n);
  }
  // What was gained is spent in the end.
  int64_t n_drafted = 0;
  for (int i = 0; i < 20; ++i) {
    const int64_t n = std::min<int64_t>(account.affordable(0), 15);
    account.add_pass(n, 0.0, 1.0 + 0.3 * static_cast<double>(n));
    n_drafted += n;
  }
  EXPECT_GE(n_drafted, 15);
  EXPECT_LT(n_drafted, 40);
}

// Another program took the processor in the middle of a pass.
TEST(DraftAccount, AHiccupDoesNotEndDrafts) {
  DraftAccount account = account_after(5);
  account.add_pass(0, 0.0, 50.0);
  account.add_pass(0, 50.0, 1.0);
  for (int i = 0; i < 100; ++i) account.add_pass(0, 0.0, 1.0);
  EXPECT_GT(account.affordable(0), 0);
}

TEST(DraftPace, DraftsWhatPaysAndPausesWhereItDoesNot) {
  DraftAccount account;
  DraftPace pace(account);
  const auto plain = [&] {
    account.add_pass(0, 0.0, 1.0);
    pace.report_plain();
  };
  const auto draft = [&](int64_t n_drafted, int64_t n_accepted, double making, double checking) {
    account.add_pass(n_drafted, making, checking);
    account.add_accepted(n_accepted);
    pace.report(n_drafted, n_accepted, making, checking);
  };
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(pace.next(7), 0) << "before it is known what a pass takes";
    plain();
  }
  EXPECT_EQ(pace.next(7), 1) << "all that may be lost";
  draft(1, 1, 0.2, 1.1);
  EXPECT_EQ(pace.next(7), 3);
  EXPECT_EQ(pace.next(1), 1);
  EXPECT_EQ(pace.next(0), 0);
  for (int i = 0; i < 20; ++i) {
    const int64_t n = pace.next(20);
    if (n == 0) {
      plain();  // now and then, to know still what a pass takes
    } else {
      draft(n, n, 0.2 * static_cast<double>(n), 1.1);
    }
  }
  EXPECT_EQ(pace.next(20), 7);
  EXPECT_FALSE(pace.is_hopeless());
  draft(7, 1, 1.4, 1.6);  // two tokens in the time of three
  EXPECT_EQ(pace.next(7), 1) << "at once, but shorter";
  int64_t n_drafts = 0;
  for (int i = 0; i < 1000; ++i) {
    const int64_t n = pace.next(7);
    if (n == 0) {
      plain();
      continue;
    }
    draft(n, 0, 0.2, 1.3);
    ++n_drafts;
  }
  EXPECT_LT(n_drafts, 20);
  EXPECT_GT(n_drafts, 7);  // it goes on trying
  EXPECT_FALSE(pace.is_hopeless()) << "what is wrong now may be right again";
}

TEST(DraftPace, KnowsWhenEvenRightDraftsDoNotPay) {
  const auto is_hopeless = [](double making, double checking) {
    DraftAccount account = account_after(3);
    DraftPace pace(account);
    for (int i = 0; i < 2; ++i) {
      EXPECT_FALSE(pace.is_hopeless()) << "one reading may be wrong";
      account.add_pass(1, making, 1.0 + checking);
      pace.report(1, 1, making, 1.0 + checking);
    }
    return pace.is_hopeless();
  };
  EXPECT_TRUE(is_hopeless(0.9, 0.3));
  EXPECT_TRUE(is_hopeless(0.5, 0.45));
  EXPECT_FALSE(is_hopeless(0.5, 0.3));
  EXPECT_FALSE(is_hopeless(0.2, 0.05));
}

DraftCount all_drafts(const GenerateResult& result) {
  return {result.by_lookup.drafted_tokens + result.by_policy.drafted_tokens,
          result.by_lookup.accepted_tokens + result.by_policy.accepted_tokens};
}

class ExactTest : public testing::Test {
 protected:
  // `chunk` drafts for full attention, attending to `budget` tokens.
  static SessionOptions drafting_options(int64_t budget = 128) {
    SessionOptions options = small_budget(PrefillKind::kChunk, budget);
    options.policy = &full_policy();
    options.draft_policy = &policy_named("chunk");
    return options;
  }
  GenerateResult answer(const std::vector<int32_t>& prompt, const GenerateOptions& options,
                        int64_t ctx = 2048) {
    SessionOptions session_options;
    session_options.ctx = ctx;
    if (options.drafts) {
      session_options.draft_policy = draft_policy_;
      session_options.selection = small_budget().selection;
    }
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
    EXPECT_EQ(exact.retention.n_passes + all_drafts(exact).accepted_tokens, exact.generated_tokens);
    EXPECT_LE(all_drafts(exact).accepted_tokens, all_drafts(exact).drafted_tokens);
    return exact;
  }
  const PolicyEntry* draft_policy_ = nullptr;

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
  EXPECT_GT(all_drafts(exact).accepted_tokens, 20);
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
  EXPECT_GT(all_drafts(exact).accepted_tokens, 20);
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

TEST_F(ExactTest, APolicyDraftsWhereNothingIsRepeated) {
  Rng rng(12);
  const std::vector<int32_t> prompt =
      needle_engine().tokenizer().encode(make_text(rng, 1500), {.add_special_tokens = true});
  draft_policy_ = &policy_named("chunk");
  const GenerateResult exact = expect_same(prompt, {.max_tokens = 100});
  EXPECT_GT(exact.by_policy.drafted_tokens, 0);
  GenerateOptions sampled{.max_tokens = 60};
  sampled.sampling.temperature = 0.8;
  sampled.sampling.repeat_penalty = 1.1;
  EXPECT_GT(expect_same(prompt, sampled).by_policy.drafted_tokens, 0);
  expect_same(prompt, {.max_tokens = 30}, std::ssize(prompt) + 29);
}

// What was drafted, right or wrong, and how often.
TEST_F(ExactTest, DraftsLeaveNoTrace) {
  const std::vector<int32_t> prompt = repeating_prompt();
  const std::vector<int64_t> end{std::ssize(prompt) - 1};
  SessionOptions options = small_budget();
  options.policy = &full_policy();
  Session plain(needle_engine(), options);
  options.draft_policy = &policy_named("chunk");
  Session drafting(needle_engine(), options);
  for (Session* session : {&plain, &drafting}) session->prefill(prompt, end);
  Rng rng(3);
  std::vector<int32_t> drafted;
  for (int64_t i = 0; i < 60; ++i) {
    const auto token = static_cast<int32_t>(prompt[static_cast<size_t>(7 * i)]);
    plain.decode(token);
    drafting.decode(token);
    ASSERT_TRUE(std::ranges::equal(drafting.logits(), plain.logits())) << i;
    if (i == 0) continue;  // everything is attended to at a prompt's end
    ASSERT_TRUE(drafting.can_draft()) << i;
    drafted.clear();
    for (int64_t n = rng.below(4); n > 0; --n) {
      drafted.push_back(static_cast<int32_t>(rng.below(100)));
      drafting.draft(drafted);
    }
    if (i % 3 != 0) continue;
    // A pass that is taken back.
    drafting.decode(std::span(prompt).first(static_cast<size_t>(1 + i % 16)));
    drafting.rewind(plain.n_tokens());
  }
}

// With a budget that holds nearly all, drafts attend to nearly all.
TEST_F(ExactTest, DraftsAreNearWhatFullAttentionSays) {
  const std::vector<int32_t> prompt = repeating_prompt();
  const std::vector<int64_t> end{std::ssize(prompt) - 1};
  const SessionOptions options = drafting_options(std::ssize(prompt) / 2 - 20);
  Session session(needle_engine(), options);
  session.prefill(prompt, end);
  int n_same = 0;
  constexpr int kTokens = 40;
  for (int i = 0; i < kTokens; ++i) {
    const std::span<const float> logits = session.logits();
    const auto token = static_cast<int32_t>(std::ranges::max_element(logits) - logits.begin());
    std::optional<int32_t> guess;
    if (session.can_draft()) {
      const std::span<const float> drafted = session.draft({&token, 1});
      guess = static_cast<int32_t>(std::ranges::max_element(drafted) - drafted.begin());
    }
    session.decode(token);
    const std::span<const float> next = session.logits();
    n_same += guess == std::ranges::max_element(next) - next.begin();
  }
  EXPECT_GE(n_same, kTokens * 3 / 4);
}

TEST_F(ExactTest, DraftsGoOnAfterAnotherTurnAndEndWhereNothingIsKnown) {
  const std::vector<int32_t> prompt = repeating_prompt();
  const std::vector<int64_t> end{std::ssize(prompt) - 1};
  SessionOptions options = drafting_options();
  options.block_tokens = 64;
  options.ctx = 8192;
  options.audit_every = 1;  // there is nothing to look at
  Session session(needle_engine(), options);
  const auto turn = [&] {
    session.prefill(prompt, end);
    session.decode(std::span(prompt).first(3));
    return session.can_draft();
  };
  EXPECT_TRUE(turn());
  EXPECT_TRUE(turn());
  session.rewind(session.n_tokens() - 20);
  EXPECT_TRUE(turn());
  session.rewind(0);
  EXPECT_TRUE(turn());
  while (session.n_tokens() < 1200) EXPECT_TRUE(turn());
  // What layers saw at the begin is forgotten.
  session.rewind(100);
  EXPECT_FALSE(turn());
}

TEST_F(ExactTest, DraftsEndWhereTheyAreNotWantedAnyMore) {
  const std::vector<int32_t> prompt = repeating_prompt();
  const std::vector<int64_t> end{std::ssize(prompt) - 1};
  Session session(needle_engine(), drafting_options());
  session.prefill(prompt, end);
  session.decode(prompt[3]);
  EXPECT_TRUE(session.can_draft());
  session.stop_drafting();
  session.decode(prompt[4]);
  EXPECT_FALSE(session.can_draft());
  session.rewind(session.n_tokens() - 10);
  session.decode(prompt[5]);
  EXPECT_FALSE(session.can_draft());
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

TEST_F(ExactTest, OnlyAPolicyWithAdaptersDraftsAndOnlyForFullAttention) {
  for (const auto& [policy, drafts] : {std::pair{"chunk", "chunk"}, std::pair{"full", "meankey"}}) {
    SessionOptions options = small_budget();
    options.policy = &policy_named(policy);
    options.draft_policy = &policy_named(drafts);
    expect_error(ErrorCode::kInvalidArgument, "makes no drafts",
                 [&] { const Session session(needle_engine(), options); });
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

#include "engine/decode_batch.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "convert/quantize.h"
#include "engine/needle_engine.h"
#include "engine/session_cases.h"
#include "testing/expect_error.h"
#include "testing/temp_folder.h"

namespace chunkllm::test {
namespace {

// The demonstration model with weights in Q8_0: products of a batch are shared.
std::unique_ptr<Engine> quantised_engine(DtypeChoice dtype) {
  const TempFolder folder;
  quantize_model({.in = needle_model(), .out = folder / "q8.gguf", .type = DType::kQ8_0});
  auto engine = std::make_unique<Engine>(
      EngineOptions{.model = folder / "q8.gguf", .adapters = {needle_adapter()}, .dtype = dtype});
  engine->load_weights();
  return engine;
}

struct Sequence {
  const char* policy;
  int64_t n_prompt;
};
// Of several lengths and policies; chunks end at different steps.
constexpr Sequence kSequences[] = {
    {"full", 40},    {"chunk", 700},    {"chunk", 333},   {"streaming", 512}, {"full", 1},
    {"chunk", 1100}, {"separator", 90}, {"meankey", 600}, {"quest", 410},     {"chunk", 64},
};
constexpr int64_t kSteps = 40;

std::unique_ptr<Session> begin_session(const Engine& engine, const Sequence& sequence) {
  SessionOptions options = small_budget();
  options.policy = &policy_named(sequence.policy);
  auto session = std::make_unique<Session>(engine, options);
  const std::vector<int32_t> tokens = make_tokens(engine.tokenizer(), 1400);
  const auto n = static_cast<size_t>(sequence.n_prompt);
  session->prefill(std::span(tokens).subspan(tokens.size() - n, n),
                   std::vector<int64_t>{sequence.n_prompt - 1});
  return session;
}

int32_t likeliest(std::span<const float> logits) {
  return static_cast<int32_t>(std::ranges::max_element(logits) - logits.begin());
}

void expect_same_bits(const Engine& engine) {
  std::vector<std::unique_ptr<Session>> alone, batched;
  std::vector<Session*> sessions;
  std::vector<int32_t> tokens;
  for (const Sequence& sequence : kSequences) {
    alone.push_back(begin_session(engine, sequence));
    batched.push_back(begin_session(engine, sequence));
    sessions.push_back(batched.back().get());
    tokens.push_back(likeliest(alone.back()->logits()));
  }
  DecodeBatch batch(engine, std::ssize(sessions));
  for (int64_t step = 0; step < kSteps; ++step) {
    batch.decode(sessions, tokens);
    for (size_t i = 0; i < sessions.size(); ++i) {
      alone[i]->decode(tokens[i]);
      const std::vector<float> expected = logits_of(*alone[i]);
      const std::span<const float> got = batch.logits(static_cast<int64_t>(i));
      ASSERT_TRUE(std::ranges::equal(got, expected))
          << kSequences[i].policy << " of " << kSequences[i].n_prompt << " tokens, step " << step;
      tokens[i] = likeliest(expected);
    }
  }
  for (size_t i = 0; i < sessions.size(); ++i) {
    RetentionCount one, other;
    alone[i]->count_pass(one);
    batched[i]->count_pass(other);
    EXPECT_EQ(one.kv_retention(), other.kv_retention());
    EXPECT_EQ(alone[i]->policy().n_refreshes(), batched[i]->policy().n_refreshes());
  }
}

TEST(DecodeBatch, GivesEachSessionTheBitsOfAPassOfItsOwn) { expect_same_bits(needle_engine()); }

TEST(DecodeBatch, GivesTheSameBitsWithQuantisedWeights) {
  for (const DtypeChoice dtype : {DtypeChoice::kAuto, DtypeChoice::kF32}) {
    expect_same_bits(*quantised_engine(dtype));
  }
}

TEST(DecodeBatch, GoesOnAfterwardsInSessionsOfTheirOwn) {
  const Engine& engine = needle_engine();
  const auto alone = begin_session(engine, kSequences[1]);
  const auto batched = begin_session(engine, kSequences[1]);
  Session* session = batched.get();
  DecodeBatch batch(engine, 2);
  for (const int32_t token : {5, 6, 7}) {
    alone->decode(token);
    batch.decode({&session, 1}, {&token, 1});
  }
  expect_error(ErrorCode::kInvalidArgument, "where it ran", [&] { session->logits(); });
  const std::vector<int32_t> more = make_tokens(engine.tokenizer(), 100);
  alone->prefill(more, std::vector<int64_t>{99});
  batched->prefill(more, std::vector<int64_t>{99});
  EXPECT_EQ(logits_of(*alone), logits_of(*batched));
  alone->truncate(650);
  batched->truncate(650);
  alone->decode(3);
  batched->decode(3);
  EXPECT_EQ(logits_of(*alone), logits_of(*batched));
}

TEST(DecodeBatch, PromptsInBlocksBetweenItsPassesGiveTheSame) {
  const Engine& engine = needle_engine();
  const std::vector<int32_t> tokens = make_tokens(engine.tokenizer(), 900);
  Session whole(engine, small_budget());
  whole.prefill(tokens, std::vector<int64_t>{899});
  const auto other = begin_session(engine, kSequences[2]);
  Session* writing = other.get();
  DecodeBatch batch(engine, 1);
  Session blocks(engine, small_budget());
  blocks.begin_prefill(tokens, std::vector<int64_t>{899});
  int n_blocks = 0;
  while (blocks.run_some_waiting(64)) {
    ++n_blocks;
    const int32_t token = 9;
    batch.decode({&writing, 1}, {&token, 1});
  }
  EXPECT_GE(n_blocks, 900 / 64);
  EXPECT_EQ(blocks.n_done(), 900);
  EXPECT_LE(relative_error(logits_of(blocks), logits_of(whole)), kLogitsError);
}

TEST(DecodeBatch, RefusesASessionWhosePromptIsUnfinished) {
  const Engine& engine = needle_engine();
  Session session(engine, small_budget());
  const std::vector<int32_t> tokens = make_tokens(engine.tokenizer(), 300);
  session.begin_prefill(tokens, std::vector<int64_t>{299});
  DecodeBatch batch(engine, 1);
  Session* one = &session;
  const int32_t token = 1;
  expect_error(ErrorCode::kInvalidArgument, "all its tokens ran", [&] {
    batch.decode({&one, 1}, {&token, 1});
  });
}

}  // namespace
}  // namespace chunkllm::test

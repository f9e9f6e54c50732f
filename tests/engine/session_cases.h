// The sequence that invariance is tested on, and ways of running it.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "data/synthetic.h"
#include "engine/session.h"
#include "testing/relative_error.h"

namespace chunkllm::test {

constexpr int64_t kTokens = 1337;
constexpr int64_t kTail = 64;  // of prompts, by default
inline const std::vector<int64_t> kPromptEnds{300, 1001, kTokens - 1};

// Scores whose difference is below this are equal as far as float32 sums in another order can tell.
constexpr double kScoreGap = 1e-4;
constexpr double kLogitsError = 1e-4;

// Prose of n tokens with a long run without a sentence end in it, so that max_chunk forces one.
inline std::vector<int32_t> make_tokens(const Tokenizer& tokenizer, int64_t n) {
  Rng rng(11);
  std::vector<int32_t> ids = tokenizer.encode(make_text(rng, 6 * n), {.add_special_tokens = true});
  ids.resize(static_cast<size_t>(n));
  for (size_t i = 700; i < std::min<size_t>(900, ids.size()); ++i) ids[i] = ids[100];
  return ids;
}

inline std::vector<float> logits_of(Session& session) {
  return {session.logits().begin(), session.logits().end()};
}

// Runs prefill in pieces, each a call of its own, as one would who feeds a prompt bit by bit.
inline std::vector<float> run_in_blocks(Session& session, const std::vector<int32_t>& tokens,
                                        const std::vector<int64_t>& prompt_ends, int64_t block) {
  const auto n = static_cast<int64_t>(tokens.size());
  for (int64_t begin = 0; begin < n; begin += block) {
    const int64_t end = std::min(n, begin + block);
    std::vector<int64_t> ends;
    for (const int64_t e : prompt_ends) {
      if (e >= begin && e < end) ends.push_back(e - begin);
    }
    session.prefill(
        std::span(tokens).subspan(static_cast<size_t>(begin), static_cast<size_t>(end - begin)),
        ends);
  }
  return logits_of(session);
}

// Where the budget holds all tokens, a policy computes what `full` does, whose logits it returns.
inline std::vector<float> expect_full(const Engine& engine, const SessionOptions& options,
                                      const std::vector<int32_t>& tokens) {
  const std::vector<int64_t> end{std::ssize(tokens) - 1};
  SessionOptions full = options;
  full.policy = &full_policy();
  Session dense(engine, full);
  dense.prefill(tokens, end);
  Session session(engine, options);
  session.prefill(tokens, end);
  const std::vector<float> expected = logits_of(dense);
  EXPECT_LE(relative_error(session.logits(), expected), 1e-5);
  RetentionCount count;
  session.count_pass(count);
  EXPECT_EQ(count.kv_retention(), 1.0);
  EXPECT_EQ(session.prefill_count().retention(), 1.0);
  return expected;
}

}  // namespace chunkllm::test

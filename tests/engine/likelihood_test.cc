// Scored text: blocks give what tokens one by one give, and no token knows of later ones.

#include "engine/likelihood.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "engine/needle_engine.h"
#include "engine/session_cases.h"
#include "testing/expect_error.h"

namespace chunkllm {
namespace {

constexpr int64_t kScored = 900;

std::vector<int32_t> text_tokens() {
  return test::make_tokens(test::needle_engine().tokenizer(), kScored);
}

SessionOptions options_of(std::string_view policy, int64_t budget = 128) {
  SessionOptions options = test::small_budget(PrefillKind::kChunk, budget);
  options.policy = &policy_named(policy);
  return options;
}

// All but those whose adapters the engine lacks; one with fixed chunks is `chunk` with other
// chunks.
std::vector<PolicyEntry> policies_at_hand() {
  std::vector<PolicyEntry> found;
  for (const PolicyEntry& entry : policies()) {
    const AdapterSet adapters = test::needle_engine().adapters();
    if (!entry.needs_adapter() || adapter_for(entry, adapters) != nullptr) found.push_back(entry);
  }
  return found;
}

Likelihood score_all(const SessionOptions& options, const std::vector<int32_t>& tokens) {
  Session session(test::needle_engine(), options);
  return score_text(session, tokens, 1);
}

double largest_difference(std::span<const double> a, std::span<const double> b) {
  EXPECT_EQ(a.size(), b.size());
  double largest = 0;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    const double difference = std::abs(a[i] - b[i]);
    if (std::isnan(difference)) return std::numeric_limits<double>::infinity();
    largest = std::max(largest, difference);
  }
  return largest;
}

TEST(LogSoftmax, IsTheDefinition) {
  const std::vector<float> logits{1.0f, -2.0f, 0.5f};
  const double sum = std::exp(1.0) + std::exp(-2.0) + std::exp(0.5);
  for (int32_t i = 0; i < 3; ++i) {
    EXPECT_NEAR(log_softmax_at(logits, i),
                static_cast<double>(logits[static_cast<size_t>(i)]) - std::log(sum), 1e-7);
  }
  EXPECT_NEAR(log_softmax_at(std::vector<float>{1e4f, 1e4f}, 0), -std::log(2.0), 1e-7);
  EXPECT_TRUE(std::isnan(log_softmax_at(std::vector<float>{1.0f, NAN}, 0)));
}

TEST(LikelihoodTest, AComparatorSeesWhatDiffers) {
  const std::vector<double> a{-1, -2};
  EXPECT_EQ(largest_difference(a, std::vector<double>{-1, -2}), 0);
  EXPECT_EQ(largest_difference(a, std::vector<double>{-1, 2}), 4);
  EXPECT_GT(largest_difference(a, std::vector<double>{-1, std::nan("")}), 1e30);
}

// The definition: each token from the logits that decoding the ones before it leaves.
TEST(LikelihoodTest, BlocksGiveWhatDecodingGives) {
  const std::vector<int32_t> tokens = text_tokens();
  for (const PolicyEntry& entry : policies_at_hand()) {
    const std::string_view policy = entry.name;
    const SessionOptions options = options_of(policy);
    const Likelihood at_once = score_all(options, tokens);
    Session session(test::needle_engine(), options);
    std::vector<double> one_by_one;
    RetentionCount retention;
    for (size_t t = 0; t + 1 < tokens.size(); ++t) {
      session.decode(tokens[t]);
      session.count_pass(retention);
      one_by_one.push_back(log_softmax_at(session.logits(), tokens[t + 1]));
    }
    EXPECT_LE(largest_difference(at_once.log_probs, one_by_one), 1e-3) << policy;
    EXPECT_EQ(at_once.retention.n_passes, retention.n_passes);
    EXPECT_NEAR(at_once.retention.kv_retention(), retention.kv_retention(), 1e-3) << policy;
    EXPECT_NEAR(at_once.retention.kv_bytes_attended() / retention.kv_bytes_attended(), 1, 1e-3);
  }
}

TEST(LikelihoodTest, ATokenKnowsNothingOfLaterOnes) {
  const std::vector<int32_t> tokens = text_tokens();
  for (const PolicyEntry& policy : policies_at_hand()) {
    const Likelihood all = score_all(options_of(policy.name), tokens);
    if (policy.selects()) {
      EXPECT_LT(all.retention.kv_retention(), 0.7) << policy.name << ": the budget selects";
    }
    for (const int64_t n : {int64_t{333}, int64_t{640}, int64_t{897}}) {
      std::vector<int32_t> changed = tokens;
      for (auto i = static_cast<size_t>(n); i < changed.size(); ++i) changed[i] = changed[i - 300];
      const Likelihood other = score_all(options_of(policy.name), changed);
      const auto n_same = static_cast<size_t>(n - 1);
      EXPECT_LE(largest_difference(std::span(other.log_probs).first(n_same),
                                   std::span(all.log_probs).first(n_same)),
                1e-5)
          << policy.name << " " << n;
      EXPECT_GT(largest_difference(other.log_probs, all.log_probs), 0.1);
    }
  }
}

TEST(LikelihoodTest, ABudgetOfEverythingIsFull) {
  const std::vector<int32_t> tokens = text_tokens();
  const Likelihood full = score_all(options_of("full"), tokens);
  const Likelihood chunk = score_all(options_of("chunk", 4096), tokens);
  EXPECT_LE(largest_difference(chunk.log_probs, full.log_probs), 1e-4);
  EXPECT_DOUBLE_EQ(chunk.retention.kv_retention(), 1.0);
  EXPECT_DOUBLE_EQ(full.retention.kv_retention(), 1.0);
  const Likelihood few = score_all(options_of("chunk"), tokens);
  EXPECT_GT(largest_difference(few.log_probs, full.log_probs), 1e-2);
}

TEST(LikelihoodTest, WhatIsScoredLaterIsServedFromWhatIsThere) {
  const std::vector<int32_t> tokens = text_tokens();
  Session session(test::needle_engine(), options_of("chunk"));
  const Likelihood all = score_text(session, tokens, 700);
  EXPECT_EQ(session.n_tokens(), kScored - 1);
  std::vector<int32_t> changed = tokens;
  changed.back() = tokens[5];
  int64_t n_run = 0;
  const auto progress = [&](int64_t done, int64_t) { n_run = done; };
  const Likelihood again = score_text(session, tokens, 700, progress);
  EXPECT_LT(n_run, 400) << "the first 699 tokens are kept, up to a chunk";
  EXPECT_LE(largest_difference(again.log_probs, all.log_probs), 1e-3);
  const Likelihood other = score_text(session, changed, 700);
  EXPECT_LE(largest_difference(std::span(other.log_probs).first(199),
                               std::span(all.log_probs).first(199)),
            1e-3);
  EXPECT_GT(largest_difference(other.log_probs, all.log_probs), 1e-2);
  EXPECT_EQ(again.retention.n_passes, 200);

  // A prompt is read by other rules: nothing of it is kept.
  session.rewind(0);
  const int64_t end = 699;
  session.prefill(std::span(tokens).first(700), {&end, 1});
  const Likelihood after_prompt = score_text(session, tokens, 700, progress);
  EXPECT_GE(n_run, kScored - 1);
  EXPECT_LE(largest_difference(after_prompt.log_probs, all.log_probs), 1e-3);
}

TEST(LikelihoodTest, RefusesWhatCannotBeScored) {
  Session session(test::needle_engine(), options_of("full"));
  const std::vector<int32_t> one{5};
  const std::vector<int32_t> two{5, 6};
  expect_error(ErrorCode::kInvalidArgument, "longer text", [&] { score_text(session, one, 1); });
  expect_error(ErrorCode::kInvalidArgument, "longer text", [&] { score_text(session, two, 0); });
  EXPECT_EQ(score_text(session, two, 1).log_probs.size(), 1u);
  const std::vector<int32_t> long_text(3000, 7);
  expect_error(ErrorCode::kInvalidArgument, "do not fit",
               [&] { score_text(session, long_text, 1); });
}

}  // namespace
}  // namespace chunkllm

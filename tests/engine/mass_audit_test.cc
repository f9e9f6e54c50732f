#include "engine/mass_audit.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "engine/decode_batch.h"
#include "engine/needle_engine.h"
#include "engine/session_cases.h"
#include "select/keys/key_rows.h"
#include "select/keys/toy_model.h"
#include "select/streaming.h"

namespace chunkllm {
namespace {

using test::needle_engine;
using test::ToyModel;

constexpr int64_t kN = 60;
constexpr int64_t kBudget = 10;

// The definition, in double: the mean over heads of the softmax over all rows, summed over those
// that sink 2 and a window of 8 leave out.
double missed_by_definition(const ToyModel& toy, int64_t layer, int64_t t) {
  const ModelConfig& c = toy.config;
  const LayerInput input = toy.input(layer, {0, kN});
  std::vector<float> key(static_cast<size_t>(c.head_dim));
  double missed = 0;
  for (int64_t head = 0; head < c.n_heads; ++head) {
    const float* q = input.q + t * input.q_stride + head * c.head_dim;
    double all = 0;
    double left_out = 0;
    for (int64_t r = 0; r <= t; ++r) {
      read_key(input.kv, head / (c.n_heads / c.n_kv_heads), r, key.data());
      double product = 0;
      for (size_t i = 0; i < key.size(); ++i) product += double{q[i]} * double{key[i]};
      const double weight = std::exp(product * double{input.scale});
      all += weight;
      if (r >= 2 && r <= t - (kBudget - 2)) left_out += weight;
    }
    missed += left_out / all / static_cast<double>(c.n_heads);
  }
  return missed;
}

StreamingPolicy streaming() {
  SelectionSettings settings;
  settings.budget.n_tokens = kBudget;
  settings.sink = 2;
  return StreamingPolicy(settings);
}

void run(const ToyModel& toy, StreamingPolicy& policy, Range positions, MassAudit& audit,
         int64_t first) {
  policy.begin_block(positions, std::vector<int32_t>(static_cast<size_t>(positions.size()), 1));
  for (int64_t layer = 0; layer < toy.config.n_layers; ++layer) {
    const LayerInput input = toy.input(layer, positions);
    audit.look(input, policy.rows(input), first);
  }
}

TEST(MassAudit, SharesAreTheDefinitionsAndLayersTakeTurns) {
  const ToyModel toy(kN);
  for (const int64_t every : {1, 4}) {
    StreamingPolicy policy = streaming();
    MassAudit audit(policy, toy.config, every);
    run(toy, policy, {0, kN}, audit, 0);
    MissedMassReport expected;
    for (int64_t t = kBudget; t < kN; ++t) {
      if (t % every != 0) continue;
      const int64_t layer = t / every % toy.config.n_layers;
      const double share = missed_by_definition(toy, layer, t);
      expected.all.add(share);
      expected.by_layer[layer].add(share);
    }
    const MissedMassReport& report = audit.report();
    EXPECT_EQ(report.all.n, expected.all.n);
    EXPECT_NEAR(report.all.mean(), expected.all.mean(), 1e-5);
    EXPECT_NEAR(report.all.max, expected.all.max, 1e-5);
    EXPECT_GT(report.all.mean(), 0.3);
    ASSERT_EQ(report.by_layer.size(), 3u);
    for (const auto& [layer, mass] : report.by_layer) {
      EXPECT_EQ(mass.n, expected.by_layer[layer].n);
      EXPECT_NEAR(mass.sum, expected.by_layer[layer].sum, 1e-4);
    }
  }
}

TEST(MassAudit, BlocksDoNotMatterAndTokensThatRunAgainAreNotCounted) {
  const ToyModel toy(kN);
  StreamingPolicy whole = streaming();
  MassAudit at_once(whole, toy.config, 3);
  run(toy, whole, {0, kN}, at_once, 0);
  StreamingPolicy split = streaming();
  MassAudit in_parts(split, toy.config, 3);
  for (int64_t t = 0; t < kN; t += 7) {
    split.truncate(std::max<int64_t>(0, t - 2));
    run(toy, split, {std::max<int64_t>(0, t - 2), std::min(kN, t + 7)}, in_parts, t);
  }
  EXPECT_EQ(in_parts.report().all.n, at_once.report().all.n);
  EXPECT_NEAR(in_parts.report().all.sum, at_once.report().all.sum, 1e-5);
}

TEST(MassAudit, WithoutSamplesThereAreNoFigures) {
  const nlohmann::ordered_json json = missed_mass_json({});
  EXPECT_TRUE(json.at("mean").is_null());
  EXPECT_TRUE(json.at("max").is_null());
  EXPECT_EQ(json.at("n"), 0);
  EXPECT_TRUE(json.at("by_layer").empty());
}

class AuditedSession : public testing::TestWithParam<const char*> {
 protected:
  static SessionOptions options_of(const char* policy, int64_t budget, int64_t every) {
    SessionOptions options = test::small_budget(PrefillKind::kChunk, budget);
    options.policy = &policy_named(policy);
    options.audit_every = every;
    return options;
  }
  static std::vector<float> run(Session& session) {
    session.prefill(test::make_tokens(needle_engine().tokenizer(), test::kTokens),
                    test::kPromptEnds);
    for (int32_t token = 5; token < 12; ++token) session.decode(token);
    return {session.logits().begin(), session.logits().end()};
  }
};

TEST_P(AuditedSession, SeesInABatchWhatItSeesAlone) {
  Session alone(needle_engine(), options_of(GetParam(), 200, 1));
  Session batched(needle_engine(), options_of(GetParam(), 200, 1));
  const std::vector<float> expected = run(alone);
  batched.prefill(test::make_tokens(needle_engine().tokenizer(), test::kTokens), test::kPromptEnds);
  DecodeBatch batch(needle_engine(), 1);
  Session* session = &batched;
  for (int32_t token = 5; token < 12; ++token) batch.decode({&session, 1}, {&token, 1});
  EXPECT_TRUE(std::ranges::equal(batch.logits(0), expected));
  EXPECT_EQ(batched.missed_mass()->all.n, alone.missed_mass()->all.n);
  EXPECT_EQ(batched.missed_mass()->all.sum, alone.missed_mass()->all.sum);
}

TEST_P(AuditedSession, ComputesTheSameBitForBitAndSamplesAllLayersThatSelect) {
  Session plain(needle_engine(), options_of(GetParam(), 200, 0));
  Session audited(needle_engine(), options_of(GetParam(), 200, 1));
  EXPECT_EQ(run(audited), run(plain));
  EXPECT_EQ(plain.missed_mass(), nullptr);
  const MissedMassReport& report = *audited.missed_mass();
  EXPECT_GT(report.all.n, 20);
  EXPECT_GT(report.all.mean(), 0.001);
  EXPECT_LT(report.all.mean(), report.all.max);
  EXPECT_LE(report.all.max, 1.0 + 1e-4);
  int64_t n_selecting = 0;
  for (int64_t i = 0; i < 6; ++i) n_selecting += audited.policy().selects(i) ? 1 : 0;
  EXPECT_EQ(std::ssize(report.by_layer), n_selecting);

  Session everything(needle_engine(), options_of(GetParam(), 2048, 1));
  run(everything);
  EXPECT_EQ(everything.missed_mass()->all.n, 0);
}

INSTANTIATE_TEST_SUITE_P(Policies, AuditedSession,
                         testing::Values("chunk", "meankey", "streaming", "separator", "quest",
                                         "oracle"),
                         [](const auto& policy) { return std::string(policy.param); });

// Which have their refreshes in the same places.
TEST(Audit, TheOracleMissesLessThanAdapters) {
  const auto mean_of = [](const char* policy) {
    SessionOptions options = test::small_budget(PrefillKind::kChunk, 256);
    options.policy = &policy_named(policy);
    options.audit_every = 1;
    Session session(needle_engine(), options);
    session.prefill(test::make_tokens(needle_engine().tokenizer(), 1200),
                    std::vector<int64_t>{1199});
    return session.missed_mass()->all.mean();
  };
  EXPECT_LT(mean_of("oracle"), 0.95 * mean_of("chunk"));
}

}  // namespace
}  // namespace chunkllm

#include "eval/ppl.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "data/synthetic.h"
#include "engine/likelihood.h"
#include "engine/needle_engine.h"
#include "eval/run_cells.h"
#include "testing/expect_error.h"
#include "testing/temp_folder.h"

namespace chunkllm {
namespace {

using test::Cells;
using test::full_session;

EvalOptions options_of(std::vector<std::string> budgets) {
  EvalOptions options;
  options.policies = {&policy_named("full"), &policy_named("chunk")};
  options.budgets = std::move(budgets);
  options.ctx = {512};
  options.n_samples = 3;
  return options;
}

std::string text_of(uint64_t seed, int64_t n_bytes) {
  Rng rng(seed);
  return make_text(rng, n_bytes);
}

// Windows one after the other, each with the first token of a text; the mean of what a session says
// of one token after the other.
TEST(Ppl, IsTheDefinition) {
  const TempFolder folder;
  const std::string text = text_of(5, 20000);
  write_text(folder / "a.txt", text);
  EvalOptions options = options_of({"128"});
  options.data = {folder / "a.txt"};
  const Cells cells = test::run_all("ppl", options);
  const Engine& engine = test::needle_engine();
  const std::vector<int32_t> ids = engine.tokenizer().encode(text, {.add_special_tokens = true});
  ASSERT_EQ(cells.at("full").size(), 3u);
  for (size_t i = 0; i < 3; ++i) {
    std::vector<int32_t> window(ids.begin() + static_cast<ptrdiff_t>(i) * 512,
                                ids.begin() + static_cast<ptrdiff_t>(i + 1) * 512);
    window[0] = ids[0];
    Session session(engine, full_session(512));
    double all = 0;
    double last = 0;
    for (size_t t = 0; t + 1 < window.size(); ++t) {
      session.decode(window[t]);
      const double log_prob = log_softmax_at(session.logits(), window[t + 1]);
      all += log_prob;
      if (t >= 256) last += log_prob;
    }
    const CellResult& cell = cells.at("full")[i];
    EXPECT_EQ(cell.measures.at("score").n, 511);
    EXPECT_NEAR(cell.measures.at("score").sum / all, 1, 1e-5);
    EXPECT_EQ(cell.measures.at("last half").n, 255);
    EXPECT_NEAR(cell.measures.at("last half").sum / last, 1, 1e-5);
  }
}

TEST(Ppl, ABudgetOfEverythingIsFullAndASmallOneCosts) {
  const Cells cells = test::run_all("ppl", options_of({"1.0", "128"}));
  for (size_t i = 0; i < 3; ++i) {
    const CellResult& full = cells.at("full").at(i);
    const CellResult& everything = cells.at("chunk 1.0").at(i);
    const CellResult& few = cells.at("chunk 128").at(i);
    EXPECT_NEAR(everything.measures.at("score").sum / full.measures.at("score").sum, 1, 1e-6);
    EXPECT_DOUBLE_EQ(everything.decode.kv_retention(), 1);
    EXPECT_GT(std::abs(few.measures.at("score").sum / full.measures.at("score").sum - 1), 1e-4);
    EXPECT_LT(few.decode.kv_retention(), 0.8);
    EXPECT_GT(few.decode.kv_retention(), 0.2);
    EXPECT_EQ(few.decode.n_passes, 511);
  }
}

TEST(Ppl, SamplesAreTakenFromDocumentsInTurns) {
  const TempFolder folder;
  write_text(folder / "a.txt", text_of(1, 12000));
  write_text(folder / "b.txt", text_of(2, 4000));
  write_text(folder / "c.txt", "Too short.");
  EvalOptions options = options_of({"128"});
  options.policies = {&full_policy()};
  options.data = {folder.path()};
  options.n_samples = 100;
  const auto work = prepare_ppl(test::needle_engine(), options);
  const auto n = static_cast<int64_t>(work->units().size());
  EXPECT_GT(n, 2);
  EXPECT_LT(n, 100);
  ASSERT_EQ(work->notes().size(), 1u);
  EXPECT_THAT(work->notes()[0],
              testing::HasSubstr(std::to_string(n) + " samples of 512 tokens, fewer than 100"));
  options.ctx = {100000};
  expect_error(ErrorCode::kData, "no text of --data has 100000 tokens",
               [&] { prepare_ppl(test::needle_engine(), options); });
  options.ctx = {8};
  expect_error(ErrorCode::kInvalidArgument, "--ctx 8",
               [&] { prepare_ppl(test::needle_engine(), options); });
}

// What is not cut where it could be noticed: the first windows of a long text are those of its
// begin.
TEST(Ppl, LongTextsAreReadAsFarAsTheyAreNeeded) {
  const TempFolder folder;
  const std::string text = text_of(9, 60000);
  write_text(folder / "long.txt", text);
  write_text(folder / "short.txt", text.substr(0, text.find('\n', 8000)));
  const auto first_of = [&](const char* name) {
    EvalOptions options = options_of({"128"});
    options.policies = {&full_policy()};
    options.data = {folder / name};
    options.n_samples = 1;
    return test::run_all("ppl", options).at("full").at(0).measures.at("score").sum;
  };
  EXPECT_EQ(first_of("long.txt"), first_of("short.txt"));
}

}  // namespace
}  // namespace chunkllm

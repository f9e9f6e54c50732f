#include "eval/choice.h"

#include <fmt/core.h>
#include <gtest/gtest.h>

#include <cmath>

#include "engine/likelihood.h"
#include "engine/needle_engine.h"
#include "eval/run_cells.h"
#include "testing/expect_error.h"
#include "testing/temp_folder.h"

namespace chunkllm {
namespace {

constexpr const char* kLines =
    "{\"query\": \"The old man walked to the\", \"choices\": [\"river.\", \"xqzzv jjkw.\"], "
    "\"gold\": 0}\n"
    "\n"
    "{\"query\": \"She said that she \", \"choices\": [\"blorptz\", \"was tired\", \"had\"], "
    "\"gold\": 1, \"id\": 7}\n"
    "{\"query\": \"The secret code of Alice is 48213. What is the secret code of Alice?\", "
    "\"choices\": [\"48213\", \"91764\"], \"gold\": 0}\n";

using test::Cells;
using test::full_session;

class ChoiceTest : public testing::Test {
 protected:
  EvalOptions options(std::string_view text = kLines) {
    write_text(folder_ / "items.jsonl", text);
    EvalOptions options;
    options.policies = {&policy_named("full"), &policy_named("chunk")};
    options.budgets = {"2048"};
    options.data = {folder_ / "items.jsonl"};
    return options;
  }
  void refuses(const std::string& part, const std::string& line) {
    expect_error(ErrorCode::kData, part, [&] {
      prepare_choice(
          test::needle_engine(),
          options(std::string("{\"query\":\"a\",\"choices\":[\"b\"],\"gold\":0}\n") + line + "\n"));
    });
  }

  TempFolder folder_;
};

// Each likelihood from the logits that decoding leaves, query and choice being one text.
TEST_F(ChoiceTest, LikelihoodsAreTheDefinition) {
  const Cells cells = test::run_all("choice", options());
  ASSERT_EQ(cells.at("full").size(), 3u);
  const Engine& engine = test::needle_engine();
  const auto log_likelihood = [&](const std::string& query, const std::string& choice) {
    const auto encode = [&](const std::string& text) {
      return engine.tokenizer().encode(text, {.add_special_tokens = true});
    };
    const std::vector<int32_t> ids = encode(query + choice);
    Session session(engine, full_session(200));
    double sum = 0;
    for (size_t t = 0; t + 1 < ids.size(); ++t) {
      session.decode(ids[t]);
      if (t + 1 >= encode(query).size()) sum += log_softmax_at(session.logits(), ids[t + 1]);
    }
    return sum;
  };
  const auto& first = cells.at("full")[0].details["log_likelihoods"];
  EXPECT_NEAR(first[0].get<double>(), log_likelihood("The old man walked to the", " river."), 1e-3);
  EXPECT_NEAR(first[1].get<double>(), log_likelihood("The old man walked to the", " xqzzv jjkw."),
              1e-3);
  const auto& second = cells.at("full")[1].details["log_likelihoods"];
  EXPECT_NEAR(second[1].get<double>(), log_likelihood("She said that she", " was tired"), 1e-3);
  EXPECT_EQ(cells.at("full")[0].measures.at("score").sum, 1);
  EXPECT_EQ(cells.at("full")[0].details["chosen"], 0);
}

TEST_F(ChoiceTest, LengthsAreBytes) {
  const Cells cells = test::run_all("choice", options());
  const CellResult& cell = cells.at("full")[1];
  const std::vector<double> plain = cell.details["log_likelihoods"];
  const std::vector<double> bytes{7, 9, 3};
  size_t best = 0;
  size_t longest = 0;
  for (size_t i = 0; i < 3; ++i) {
    if (plain[i] > plain[best]) best = i;
    if (plain[i] / bytes[i] > plain[longest] / bytes[longest]) longest = i;
  }
  EXPECT_EQ(cell.details["chosen"], best);
  EXPECT_EQ(cell.details["chosen_by_length"], longest);
  EXPECT_EQ(cell.measures.at("score").sum, best == 1 ? 1 : 0);
  EXPECT_EQ(cell.measures.at("by length").sum, longest == 1 ? 1 : 0);
}

// Bit for bit, whatever the budget is written as; the last item has many chunks.
TEST_F(ChoiceTest, BelowTheBudgetChunkIsFull) {
  std::string passage;
  for (int i = 0; i < 60; ++i) {
    passage += fmt::format("The secret code of house {} is {}. ", i, 10000 + 37 * i);
  }
  const nlohmann::json item{{"query", passage + "What is the secret code of house 7?"},
                            {"choices", {"10259", "The other one. It is 12109.", "10629"}},
                            {"gold", 0}};
  EvalOptions below = options(kLines + item.dump() + "\n");
  below.budgets = {"2048", "0.1"};
  below.selection.budget.min_tokens = 1500;
  const Cells cells = test::run_all("choice", below);
  const std::vector<CellResult>& full = cells.at("full");
  ASSERT_EQ(full.size(), 4u);
  for (const char* const column : {"chunk 2048", "chunk 0.1"}) {
    for (size_t i = 0; i < full.size(); ++i) {
      const CellResult& chunk = cells.at(column)[i];
      EXPECT_EQ(chunk.details, full[i].details) << column << ", item " << i;
      EXPECT_EQ(chunk.decode.kv_retention(), 1) << column << ", item " << i;
    }
  }
  // The comparison sees a budget that does not hold everything.
  below.budgets = {"256"};
  EXPECT_NE(test::run_all("choice", below).at("chunk 256")[3].details, full[3].details);
}

TEST_F(ChoiceTest, LinesThatAreNoQuestionsAreNamed) {
  refuses("items.jsonl, line 2", "{\"query\":\"a\",");
  refuses("items.jsonl, line 2", "[1]");
  refuses("line 2: the field \"query\"", "{\"choices\":[\"b\"],\"gold\":0}");
  refuses("line 2: the field \"choices\"", "{\"query\":\"a\",\"gold\":0}");
  refuses("line 2: the field \"gold\"", "{\"query\":\"a\",\"choices\":[\"b\"]}");
  refuses("gold", "{\"query\":\"a\",\"choices\":[\"b\"],\"gold\":1}");
  refuses("gold", "{\"query\":\"a\",\"choices\":[\"b\"],\"gold\":-1}");
  refuses("gold", "{\"query\":\"a\",\"choices\":[\"b\"],\"gold\":0.5}");
  refuses("line 2: choices must be a list", "{\"query\":\"a\",\"choices\":[],\"gold\":0}");
  refuses("line 2: choices must be a list", "{\"query\":\"a\",\"choices\":\"b\",\"gold\":0}");
  refuses("line 2: choice 1", "{\"query\":\"a\",\"choices\":[\"b\",\"\"],\"gold\":0}");
  refuses("line 2: choice 0", "{\"query\":\"a\",\"choices\":[3],\"gold\":0}");
  refuses("line 2: query is empty", "{\"query\":\" \",\"choices\":[\"b\"],\"gold\":0}");
  refuses("line 2", "{\"query\":\"a\xff\",\"choices\":[\"b\"],\"gold\":0}");
  expect_error(ErrorCode::kData, "holds no questions",
               [&] { prepare_choice(test::needle_engine(), options("\n \n")); });
  EvalOptions none = options();
  none.data = {};
  expect_error(ErrorCode::kInvalidArgument, "--data",
               [&] { prepare_choice(test::needle_engine(), none); });
  none.data = {folder_ / "none.jsonl"};
  expect_error(ErrorCode::kIo, "none.jsonl", [&] { prepare_choice(test::needle_engine(), none); });
}

TEST_F(ChoiceTest, AnItemBeyondTheContextIsNamed) {
  EvalOptions small = options();
  small.ctx = {20};
  expect_error(ErrorCode::kData, "items.jsonl, line 4: query and choice have",
               [&] { prepare_choice(test::needle_engine(), small); });
  small.n_samples = 1;
  EXPECT_EQ(prepare_choice(test::needle_engine(), small)->units().size(), 1u);
}

TEST_F(ChoiceTest, FoldersAreReadByName) {
  EvalOptions both = options();
  write_text(folder_ / "a.jsonl", "{\"query\":\"a\",\"choices\":[\"b\"],\"gold\":0}");
  write_text(folder_ / "readme.md", "no JSON");
  both.data = {folder_.path()};
  EXPECT_EQ(prepare_choice(test::needle_engine(), both)->units().size(), 4u);
}

}  // namespace
}  // namespace chunkllm

#include "eval/niah.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "data/facts.h"
#include "data/ruler/needles.h"
#include "data/synthetic.h"
#include "engine/common_prefix.h"
#include "engine/needle_engine.h"
#include "eval/columns.h"
#include "eval/reading.h"
#include "testing/expect_error.h"
#include "testing/temp_folder.h"

namespace chunkllm {
namespace {

using testing::HasSubstr;

std::string text_of(uint64_t seed, int64_t n_bytes) {
  Rng rng(seed);
  return make_text(rng, n_bytes);
}

TEST(HideFactsAt, FactsLieNearTheirDepths) {
  const std::string text = text_of(3, 20000);
  const std::vector<std::string> facts{"The first fact is one.", "The second fact is two.",
                                       "The third fact is three.", "The fourth fact is four."};
  std::vector<Range> hidden;
  const std::string with = hide_facts_at(text, facts, {0.5, 0.0, 1.0, 0.5}, &hidden);
  ASSERT_EQ(hidden.size(), 4u);
  const std::vector<double> depths{0.0, 0.5, 0.5, 1.0};
  const std::vector<size_t> order{1, 0, 3, 2};  // facts of one place in their order
  std::string rest = with;
  for (size_t i = 4; i-- > 0;) {
    const auto begin = static_cast<size_t>(hidden[i].begin);
    const auto size = static_cast<size_t>(hidden[i].size());
    EXPECT_EQ(with.substr(begin, size), facts[order[i]]);
    EXPECT_NEAR(static_cast<double>(begin) / static_cast<double>(with.size()), depths[i], 0.06);
    rest.erase(begin - 1, size + 1);
  }
  EXPECT_EQ(rest, text) << "nothing else has changed";
  expect_error(ErrorCode::kInvalidArgument, "4 facts cannot lie at 1 depths",
               [&] { hide_facts_at(text, facts, {0.5}, nullptr); });
  EXPECT_EQ(hide_facts_at("no end", {"A fact."}, {0.0}, nullptr), "no end A fact.");
}

TEST(Needles, KindsTakeTurnsAndGoThroughDepthsAndValues) {
  const std::vector<NeedleKind> kinds{NeedleKind::kSingle, NeedleKind::kMultiValue};
  const std::vector<NeedleValue> values{NeedleValue::kNumbers, NeedleValue::kUuids};
  const std::vector<int64_t> depths{0, 50, 100};
  std::map<NeedleKind, int> n_of_kind;
  std::set<std::pair<NeedleValue, int64_t>> singles;
  for (int64_t sample = 0; sample < 2; ++sample) {
    for (const NeedlePlan& plan : plan_needles(kinds, values, depths, sample, 6)) {
      ++n_of_kind[plan.kind];
      if (plan.has_depth()) singles.insert({plan.value, plan.depth_percent});
    }
  }
  EXPECT_EQ(n_of_kind[NeedleKind::kSingle], 6);
  EXPECT_EQ(n_of_kind[NeedleKind::kMultiValue], 6);
  EXPECT_EQ(singles.size(), 6u) << "every value at every depth";
}

TEST(Needles, WhatIsExpectedStandsInTheText) {
  Rng rng(5);
  const std::string text = text_of(4, 12000);
  for (const auto& [kind, kind_name] : kEnumNames<NeedleKind>) {
    for (const auto& [value, value_name] : kEnumNames<NeedleValue>) {
      const TaskDocument document = hide_needle_plans(rng, text, {{kind, value, 50}});
      ASSERT_EQ(document.questions.size(), 1u);
      const TaskQuestion& question = document.questions[0];
      const bool is_many = kind == NeedleKind::kMultiValue || kind == NeedleKind::kMultiQuery;
      EXPECT_EQ(question.expected.size(), is_many ? 4u : 1u);
      EXPECT_EQ(document.hidden.size(), kind == NeedleKind::kSingle ? 1u : 4u);
      EXPECT_THAT(question.question,
                  HasSubstr(is_many ? std::string(value_name)
                                    : std::string(value_name.substr(0, value_name.size() - 1))));
      std::string needles;
      for (const Range& range : document.hidden) {
        needles += document.text.substr(static_cast<size_t>(range.begin),
                                        static_cast<size_t>(range.size()));
      }
      for (const std::string& expected : question.expected) {
        EXPECT_THAT(needles, HasSubstr(" is: " + expected + "."));
        EXPECT_EQ(expected.size() == 36, value == NeedleValue::kUuids) << expected;
      }
      EXPECT_EQ(answer_score(needles, question.expected), 1.0);
      EXPECT_EQ(answer_score(text, question.expected), 0.0);
    }
  }
}

std::vector<EvalColumn> columns_of(const std::vector<std::string>& policies,
                                   std::vector<std::string> budgets,
                                   std::vector<PrefillKind> prefills, int64_t floor = 1) {
  EvalOptions options;
  options.policies.clear();
  for (const std::string& name : policies) options.policies.push_back(&policy_named(name));
  options.budgets = std::move(budgets);
  options.prefills = std::move(prefills);
  options.selection.prefill_floor = floor;
  return make_columns(eval_task_named("niah"), options);
}

std::vector<const EvalColumn*> pointers(const std::vector<EvalColumn>& columns) {
  std::vector<const EvalColumn*> all;
  for (const EvalColumn& column : columns) all.push_back(&column);
  return all;
}

std::vector<std::vector<std::string>> groups_of(const std::vector<EvalColumn>& columns,
                                                int64_t ctx) {
  std::vector<std::vector<std::string>> names;
  const AdapterSet adapters = test::needle_engine().adapters();
  for (const auto& group : group_by_reading(pointers(columns), adapters, ctx)) {
    names.emplace_back();
    for (const EvalColumn* column : group) names.back().push_back(column->name());
  }
  return names;
}

TEST(Readings, AreSharedWherePromptsAreReadAlike) {
  using Names = std::vector<std::vector<std::string>>;
  const PrefillKind full = PrefillKind::kFull;
  const PrefillKind chunk = PrefillKind::kChunk;
  EXPECT_EQ(groups_of(columns_of({"full", "chunk"}, {"0.5", "300"}, {full}), 1000),
            (Names{{"chunk 0.5, prefill full", "chunk 300, prefill full", "full"}}));
  EXPECT_EQ(groups_of(columns_of({"full", "chunk"}, {"0.5", "300"}, {chunk}), 1000),
            (Names{{"chunk 0.5, prefill chunk"}, {"chunk 300, prefill chunk"}, {"full"}}));
  EXPECT_EQ(groups_of(columns_of({"full", "chunk"}, {"0.5", "300"}, {chunk}, 2048), 1000),
            (Names{{"chunk 0.5, prefill chunk", "chunk 300, prefill chunk"}, {"full"}}))
      << "both read with the floor";
  EXPECT_EQ(groups_of(columns_of({"chunk", "oracle"}, {"300"}, {full, chunk}), 1000).size(), 4u);
}

// The words that each column answers with, each alone and all together.
TEST(Readings, SharedOnesGiveWhatOwnOnesGive) {
  const Engine& engine = test::needle_engine();
  const HaystackMaker maker(engine, {});
  Rng rng(8);
  const std::vector<NeedlePlan> plans = plan_needles({NeedleKind::kSingle, NeedleKind::kMultiKey},
                                                     {NeedleValue::kNumbers}, {10, 90}, 0, 4);
  const Haystack haystack = maker.fit(rng, 900, 4000, [&](Rng& draw, int64_t n_bytes) {
    return hide_needle_plans(draw, maker.passage(draw, n_bytes), plans);
  });
  AskOptions ask;
  ask.answers.assign(4, maker.answer_options(16));
  for (const PrefillKind prefill : {PrefillKind::kFull, PrefillKind::kChunk}) {
    const std::vector<EvalColumn> columns =
        columns_of({"full", "chunk"}, {"128", "400", "4096"}, {prefill}, 600);
    std::map<std::string, ColumnAnswers> together;
    const auto done = [&](const EvalColumn& column, const ColumnAnswers& answers) {
      EXPECT_FALSE(together.contains(column.name()));
      together[column.name()] = answers;
    };
    int64_t n_last = 0;
    ask_columns(
        engine, haystack.prompts, pointers(columns), ask, done, [&](int64_t n) { n_last = n; },
        nullptr);
    EXPECT_GT(n_last, 500);
    ASSERT_EQ(together.size(), 4u);
    int n_served = 0;
    for (const EvalColumn& column : columns) {
      ColumnAnswers alone;
      const EvalColumn* const one[] = {&column};
      ask_columns(
          engine, haystack.prompts, one, ask,
          [&](const EvalColumn&, const ColumnAnswers& answers) { alone = answers; }, [](int64_t) {},
          nullptr);
      const ColumnAnswers& shared = together.at(column.name());
      EXPECT_EQ(shared.answers, alone.answers) << column.name();
      n_served += shared.reader == &column ? 0 : 1;
      EXPECT_NEAR(shared.cost.decode.kv_retention(), alone.cost.decode.kv_retention(), 0.02);
      EXPECT_NEAR(shared.cost.prefill.retention(), alone.cost.prefill.retention(), 0.02);
      EXPECT_EQ(shared.cost.n_decoded, alone.cost.n_decoded);
    }
    EXPECT_EQ(n_served, prefill == PrefillKind::kFull ? 3 : 1);
  }
}

TEST(Readings, CopyPrefixRefusesWhatDoesNotFit) {
  const Engine& engine = test::needle_engine();
  SessionOptions options = test::small_budget();
  Session from(engine, options);
  Session to(engine, options);
  const Prompt prompt = text_prompt(engine.tokenizer(), "The old man walked to the river.");
  from.prefill(std::span(prompt.ids).first(5), {});
  expect_error(ErrorCode::kInvalidArgument, "run all its tokens",
               [&] { copy_prefix(from, prompt, to); });
}

class NiahTest : public testing::Test {
 protected:
  NiahTest() {
    options_.ctx = {1000};
    options_.n_samples = 2;
    options_.n_questions = 4;
    options_.values = {NeedleValue::kNumbers};
    options_.needles = {NeedleKind::kSingle, NeedleKind::kMultiKey};
    options_.depths = {20, 80};
  }
  std::map<std::string, std::vector<CellResult>> run(const std::vector<EvalColumn>& columns) {
    const auto work = prepare_niah(test::needle_engine(), options_);
    std::map<std::string, std::vector<CellResult>> cells;
    for (const EvalUnit& unit : work->units()) {
      work->run(
          unit, pointers(columns),
          [&](const EvalColumn& column, const CellResult& result) {
            cells[column.name()].push_back(result);
          },
          [](int64_t) {}, nullptr);
    }
    return cells;
  }

  EvalOptions options_;
};

TEST_F(NiahTest, ScoresAreSharesOfValuesByKindAndDepth) {
  const auto cells = run(columns_of({"full", "chunk"}, {"1.0"}, {PrefillKind::kChunk}));
  ASSERT_EQ(cells.at("full").size(), 2u);
  for (size_t i = 0; i < 2; ++i) {
    const CellResult& full = cells.at("full")[i];
    const CellResult& chunk = cells.at("chunk 1.0, prefill chunk")[i];
    EXPECT_EQ(full.measures.at("score").n, 4);
    EXPECT_EQ(full.measures.at("single").n, 2);
    EXPECT_EQ(full.measures.at("multi-key").n, 2);
    EXPECT_EQ(full.measures.at("numbers").n, 4);
    EXPECT_EQ(full.measures.at("depth 20%").n + full.measures.at("depth 80%").n, 4);
    double sum = 0;
    for (const auto& answer : full.details["answers"]) sum += answer["score"].get<double>();
    EXPECT_EQ(full.measures.at("score").sum, sum);
    EXPECT_LE(full.details["prompt_tokens"].get<int64_t>(), 1000);
    EXPECT_GT(full.details["prompt_tokens"].get<int64_t>(), 900);
    EXPECT_EQ(full.decode.kv_retention(), 1.0);
    EXPECT_EQ(chunk.decode.kv_retention(), 1.0);
    for (size_t q = 0; q < 4; ++q) {
      EXPECT_EQ(chunk.details["answers"][q]["answer"], full.details["answers"][q]["answer"]);
    }
  }
}

TEST_F(NiahTest, HaystacksAreOfTheDataAndDependOnNoOthers) {
  const TempFolder folder;
  write_text(folder / "a.txt", "Grumpf went home. Grumpf slept. Grumpf rose again.\n");
  options_.data = {folder.path()};
  const std::vector<EvalColumn> columns = columns_of({"full"}, {"128"}, {PrefillKind::kChunk});
  const auto cells = run(columns);
  options_.n_samples = 1;
  options_.ctx = {700, 1000};
  const auto others = run(columns);
  EXPECT_EQ(others.at("full")[1].details["answers"], cells.at("full")[0].details["answers"]);
  options_.seed = 4;
  EXPECT_NE(run(columns).at("full")[1].details["answers"], cells.at("full")[0].details["answers"]);
  options_.ctx = {60};
  expect_error(ErrorCode::kInvalidArgument, "60 tokens are too few",
               [&] { prepare_niah(test::needle_engine(), options_); });
}

// The fifth sample asks for more UUIDs than the ones before it.
TEST(Niah, ASampleThatDoesNotFitIsSaidBeforeAnythingRuns) {
  EvalOptions options;
  options.ctx = {1024};
  options.n_samples = 4;
  EXPECT_EQ(prepare_niah(test::needle_engine(), options)->units().size(), 4u);
  options.n_samples = 5;
  expect_error(ErrorCode::kInvalidArgument, "1024 tokens are too few",
               [&] { prepare_niah(test::needle_engine(), options); });
}

}  // namespace
}  // namespace chunkllm

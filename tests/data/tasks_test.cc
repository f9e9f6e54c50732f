#include "data/tasks.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "base/error.h"
#include "data/synthetic.h"
#include "data/task_blocks.h"

namespace chunkllm {
namespace {

constexpr TaskKind kSentenceTasks[] = {TaskKind::kNumber,     TaskKind::kWord,
                                       TaskKind::kSentence,   TaskKind::kMultiKey,
                                       TaskKind::kMultiValue, TaskKind::kVariables};

int64_t count(std::string_view text, std::string_view part) {
  int64_t n = 0;
  for (size_t at = text.find(part); at != std::string_view::npos; at = text.find(part, at + 1)) ++n;
  return n;
}

TEST(AnswerScore, IsTheShareOfWholeWords) {
  EXPECT_EQ(answer_score("It is 48213.", {"48213"}), 1);
  EXPECT_EQ(answer_score("it is Green-Lake", {"green-lake"}), 1);
  EXPECT_EQ(answer_score("1, 2 and 4", {"1", "2", "3", "4"}), 0.75);
  EXPECT_EQ(answer_score("148213 482131 a48213", {"48213"}), 0);
  EXPECT_EQ(answer_score("482131 48213", {"48213"}), 1);
  EXPECT_EQ(answer_score("é48213", {"48213"}), 0);
  EXPECT_EQ(answer_score("", {"48213"}), 0);
  EXPECT_EQ(answer_score("anything", {}), 0);
  EXPECT_EQ(answer_score("anything", {""}), 0);
}

TEST(Tasks, AnswersHoldWhatIsExpectedAndNeedlesTellIt) {
  for (const Forms forms : {Forms::kTraining, Forms::kHeldOut}) {
    for (const TaskKind kind : kSentenceTasks) {
      Rng rng(3);
      for (int i = 0; i < 200; ++i) {
        TakenNames taken;
        const Task task = make_task(rng, kind, forms, taken);
        const TaskQuestion& question = task.question;
        EXPECT_EQ(question.kind, kind);
        EXPECT_EQ(answer_score(question.answer, question.expected), 1) << question.answer;
        EXPECT_EQ(answer_score(question.question, question.expected), 0) << question.question;
        std::string all;
        for (const std::string& needle : task.needles) all += needle + "\n";
        EXPECT_EQ(answer_score(all, question.expected), 1) << all;
        EXPECT_EQ(all.find('{'), std::string::npos) << all;
        EXPECT_EQ((question.question + question.answer).find('{'), std::string::npos);
        EXPECT_EQ(question.expected.size() > 1,
                  kind == TaskKind::kMultiValue || kind == TaskKind::kVariables);
      }
    }
  }
}

TEST(Tasks, ChainsLeadFromEachVariableToTheNumber) {
  Rng rng(5);
  for (int i = 0; i < 100; ++i) {
    TakenNames taken;
    const Task task = make_task(rng, TaskKind::kVariables, Forms::kHeldOut, taken);
    // "VAR ABC1 = 12345." or "VAR DEF2 = ABC1.": what holds the number, in the needles' order.
    std::set<std::string> holders;
    for (const std::string& needle : task.needles) {
      const std::string name = needle.substr(4, 4);
      const std::string from = needle.substr(11, needle.size() - 12);
      if (task.question.question.find(from) != std::string::npos || holders.contains(from)) {
        holders.insert(name);
      }
    }
    EXPECT_EQ(holders,
              std::set<std::string>(task.question.expected.begin(), task.question.expected.end()));
    EXPECT_EQ(task.needles.size(), 6u);
  }
}

TEST(Tasks, HeldOutWordingsAreNotTrainedOn) {
  for (const TaskKind kind : kSentenceTasks) {
    std::set<std::string> openings[2];
    for (const Forms forms : {Forms::kTraining, Forms::kHeldOut}) {
      Rng rng(7);
      for (int i = 0; i < 500; ++i) {
        TakenNames taken;
        const std::string question = make_task(rng, kind, forms, taken).question.question;
        openings[forms == Forms::kHeldOut].insert(question.substr(0, 20));
      }
    }
    for (const std::string& held_out : openings[1]) EXPECT_FALSE(openings[0].contains(held_out));
  }
}

TEST(Tasks, HiddenNeedlesLieWhereTheyAreSaidToBe) {
  Rng rng(9);
  const std::string text = make_text(rng, 20000);
  std::vector<Task> tasks;
  TakenNames taken;
  for (const TaskKind kind : kSentenceTasks) {
    tasks.push_back(make_task(rng, kind, Forms::kTraining, taken));
  }
  const TaskDocument document = hide_tasks(rng, text, tasks);
  ASSERT_EQ(document.questions.size(), tasks.size());
  size_t n_needles = 0;
  for (const Task& task : tasks) {
    size_t last = 0;
    for (const std::string& needle : task.needles) {
      const size_t at = document.text.find(needle);
      ASSERT_NE(at, std::string::npos) << needle;
      EXPECT_GE(at, last);  // in the task's own order
      last = at;
      EXPECT_THAT(document.hidden,
                  testing::Contains(
                      Range{static_cast<int64_t>(at), static_cast<int64_t>(at + needle.size())}));
      ++n_needles;
    }
  }
  EXPECT_EQ(document.hidden.size(), n_needles);
  EXPECT_TRUE(std::ranges::is_sorted(document.hidden, {}, &Range::begin));
}

TEST(Tasks, StructuredKindsAreNoSentences) {
  Rng rng(1);
  TakenNames taken;
  EXPECT_THROW(make_task(rng, TaskKind::kJson, Forms::kTraining, taken), Error);
}

TEST(MakeJson, HoldsEachKeyOnceAndAsksForSome) {
  for (const Forms forms : {Forms::kTraining, Forms::kHeldOut}) {
    Rng rng(11);
    for (int i = 0; i < 20; ++i) {
      const TaskDocument document = make_json(rng, forms, 40, 4);
      EXPECT_EQ(count(document.text, "\": \""), 40);
      ASSERT_EQ(document.questions.size(), 4u);
      for (size_t q = 0; q < 4; ++q) {
        const TaskQuestion& question = document.questions[q];
        const size_t quote = question.question.find('"');
        const std::string key =
            question.question.substr(quote, question.question.find('"', quote + 1) + 1 - quote);
        const std::string pair = key + ": \"" + question.expected.front() + "\"";
        EXPECT_EQ(count(document.text, key + ":"), 1);
        EXPECT_EQ(count(document.text, pair), 1) << pair;
        EXPECT_TRUE(std::ranges::any_of(document.hidden, [&](const Range& range) {
          return document.text
                     .substr(static_cast<size_t>(range.begin), static_cast<size_t>(range.size()))
                     .find(pair) != std::string::npos;
        }));
      }
    }
  }
  Rng rng(1);
  EXPECT_THROW(make_json(rng, Forms::kTraining, 2, 3), Error);
  EXPECT_THROW(make_json(rng, Forms::kTraining, 2, -1), Error);
  EXPECT_EQ(make_json(rng, Forms::kTraining, 0, 0).text, "{\n}\n");
}

TEST(MakeBlock, AnswersStandInTheTextWhereTheyAreSaidToBe) {
  for (const TaskKind kind :
       {TaskKind::kJson, TaskKind::kCode, TaskKind::kTable, TaskKind::kDialogue}) {
    for (const Forms forms : {Forms::kTraining, Forms::kHeldOut}) {
      for (uint64_t seed = 0; seed < 60; ++seed) {
        Rng rng(seed);
        const TaskDocument document = make_block(rng, kind, forms, 3000, 3);
        EXPECT_GE(std::ssize(document.text), 2900);
        EXPECT_LE(std::ssize(document.text), 5000);
        EXPECT_TRUE(document.text.ends_with('\n') && !document.text.ends_with("\n\n"));
        ASSERT_EQ(document.questions.size(), 3u);
        ASSERT_EQ(document.hidden.size(), 3u);
        std::set<std::string> asked;
        std::string hidden;
        for (const Range& range : document.hidden) {
          hidden += document.text.substr(static_cast<size_t>(range.begin),
                                         static_cast<size_t>(range.size()));
        }
        for (const TaskQuestion& question : document.questions) {
          EXPECT_EQ(question.kind, kind);
          EXPECT_EQ(answer_score(hidden, question.expected), 1) << hidden << question.answer;
          EXPECT_EQ(answer_score(question.answer, question.expected), 1) << question.answer;
          EXPECT_EQ(question.question.find('{'), std::string::npos) << question.question;
          asked.insert(question.question);
        }
        EXPECT_EQ(asked.size(), 3u);
      }
    }
  }
  Rng rng(1);
  EXPECT_TRUE(make_block(rng, TaskKind::kCode, Forms::kTraining, 0, 0).questions.empty());
  EXPECT_THROW(make_block(rng, TaskKind::kNumber, Forms::kTraining, 100, 1), Error);
}

TEST(MakeBlock, OneFunctionAloneCallsWhatIsAskedFor) {
  int64_t n_seen = 0;
  for (uint64_t seed = 0; seed < 40; ++seed) {
    Rng rng(seed);
    const TaskDocument document = make_block(rng, TaskKind::kCode, Forms::kHeldOut, 3000, 4);
    for (const TaskQuestion& question : document.questions) {
      const std::string mark = "has a call of ";
      const size_t at = question.question.find(mark);
      if (at == std::string::npos) continue;
      const size_t begin = at + mark.size();
      const std::string callee =
          question.question.substr(begin, question.question.find('(', begin) + 1 - begin);
      EXPECT_EQ(count(document.text, " " + callee), 1) << callee;
      ++n_seen;
    }
  }
  EXPECT_GT(n_seen, 20);
}

}  // namespace
}  // namespace chunkllm

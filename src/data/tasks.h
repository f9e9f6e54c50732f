// Questions about something that a text hides: what adapters learn retrieval from, and what a trial
// asks.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "base/enum_names.h"
#include "base/random.h"
#include "base/range.h"

namespace chunkllm {

enum class TaskKind {
  kNumber,      // one number in a sentence
  kWord,        // one word or two in a sentence
  kSentence,    // what a sentence says
  kMultiKey,    // one of several sentences that differ by key and value alone
  kMultiValue,  // all values that several sentences give to one key
  kVariables,   // all variables that hold a number, by way of each other
  kJson,        // the value of a key in a JSON object
  kCode,        // a call, a default or a constant in a program
  kTable,       // a cell, by row and column
  kDialogue,    // what somebody said
};
template <>
inline constexpr auto kEnumNames<TaskKind> =
    std::to_array<EnumName<TaskKind>>({{TaskKind::kNumber, "number"},
                                       {TaskKind::kWord, "word"},
                                       {TaskKind::kSentence, "sentence"},
                                       {TaskKind::kMultiKey, "multi-key"},
                                       {TaskKind::kMultiValue, "multi-value"},
                                       {TaskKind::kVariables, "variables"},
                                       {TaskKind::kJson, "json"},
                                       {TaskKind::kCode, "code"},
                                       {TaskKind::kTable, "table"},
                                       {TaskKind::kDialogue, "dialogue"}});

// The wordings of facts and questions: those that training draws from, or those that it never sees.
enum class Forms { kTraining, kHeldOut };
template <>
inline constexpr auto kEnumNames<Forms> =
    std::to_array<EnumName<Forms>>({{Forms::kTraining, "training"}, {Forms::kHeldOut, "held-out"}});

struct TaskQuestion {
  TaskKind kind = TaskKind::kNumber;
  std::string question;
  std::string answer;                 // in full, as somebody would put it
  std::vector<std::string> expected;  // the values that a right answer holds
};

// Sentences to hide apart from each other, in this order, and the question about them.
struct Task {
  std::vector<std::string> needles;
  TaskQuestion question;
};

// What the tasks of one document have used already: keys and values.
using TakenNames = std::unordered_set<std::string>;

// A task of one of the kinds whose facts are sentences, kNumber to kVariables. No name is in
// `taken`, which takes in its own. Throws Error (kInvalidArgument) for another kind.
Task make_task(Rng& rng, TaskKind kind, Forms forms, TakenNames& taken);

// Tasks hidden in a text.
struct TaskDocument {
  std::string text;
  std::vector<TaskQuestion> questions;
  std::vector<Range> hidden;  // the bytes of the needles, ascending
};

// Hides the needles of all tasks between sentences of `text`, spread over it as hide_facts() does,
// in random order but for those of one task. Throws Error (kData) if `text` is no valid UTF-8.
TaskDocument hide_tasks(Rng& rng, std::string_view text, const std::vector<Task>& tasks);

// The share of `expected` that `answer` holds as whole words; upper and lower case are the same. 0
// if nothing is expected.
double answer_score(std::string_view answer, const std::vector<std::string>& expected);

}  // namespace chunkllm

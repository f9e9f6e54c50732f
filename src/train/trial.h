// A trial: needle tasks that training never saw, answered under several policies side by side.
#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/cancel.h"
#include "data/haystack.h"
#include "data/tasks.h"
#include "engine/session.h"

namespace chunkllm {

// The policy and settings that one column of the table shows.
struct TrialColumn {
  std::string name;  // "full", "chunk 10%"
  const PolicyEntry* policy = &full_policy();
  SelectionSettings selection = {};
};

// All kinds that a trial has.
inline constexpr TaskKind kTrialTasks[] = {
    TaskKind::kNumber,     TaskKind::kWord,      TaskKind::kSentence, TaskKind::kMultiKey,
    TaskKind::kMultiValue, TaskKind::kVariables, TaskKind::kJson};

struct TrialOptions {
  std::vector<TrialColumn> columns;   // the first is what the others are compared with
  std::vector<int64_t> ctx = {4096};  // most tokens of a prompt
  int64_t n_haystacks = 1;            // a length, at most
  int64_t n_questions = 1;            // of each kind about a haystack; of JSON at least 2
  double seconds = 0;  // no further haystack of a length begins after so many; 0: any
  std::vector<TaskKind> tasks = {std::begin(kTrialTasks), std::end(kTrialTasks)};
  int64_t n_pairs = 0;         // of a JSON object inside a text; 0: no text, as many as fit
  int64_t answer_tokens = 64;  // at most
  std::string_view text = {};  // hides the facts; empty: made up
  Forms forms = Forms::kHeldOut;
  std::optional<KvType> kv_type = {};  // default: bf16 with bf16 products, else f32
  uint64_t seed = 0;
};

// One task at one length. Vectors have one entry a column.
struct TrialRow {
  int64_t ctx = 0;
  TaskKind kind = TaskKind::kNumber;
  std::vector<std::vector<double>> scores;  // [n_columns][n_haystacks]

  double mean_score(size_t column) const;
};

// Of one column at one length, all tasks.
struct TrialCost : AnswerCost {
  int64_t ctx = 0;
  int64_t n_prompt_tokens = 0;  // of the longest prompt
};

// A ratio and its standard error by haystack (jackknife); no error with one haystack.
struct TrialRatio {
  double value = 0;
  double error = 0;
};

struct TrialReport {
  std::vector<std::string> columns;
  std::vector<TrialRow> rows;                 // by length, then task
  std::vector<std::vector<TrialCost>> costs;  // [n_lengths][n_columns]
  double seconds = 0;

  // The sum of a column's scores at costs[length] over the sum of the first column's; nothing where
  // the first column scores nothing.
  std::optional<TrialRatio> ratio(size_t length, size_t column) const;
};

struct TrialAnswer {
  int64_t ctx = 0;
  int64_t haystack = 0;
  std::string_view column;
  const TaskQuestion* question = nullptr;
  std::string_view answer;
  double score = 0;
};

struct TrialCallbacks {
  std::function<void(const TrialAnswer&)> answer = {};
  std::function<void(int64_t n_done, int64_t n_questions)> progress = {};
};

// Asks all questions under all columns, greedily. Each haystack is read once a column and its
// questions are served from what the session holds of it. The engine must have its weights, and an
// adapter where a column needs one. The same options give the same answers. Throws Error;
// (kInterrupted) when cancelled.
TrialReport run_trial(const Engine& engine, const TrialOptions& options,
                      const TrialCallbacks& callbacks = {}, const CancelToken* cancel = nullptr);

// A Markdown table: a row a task, sums, shares of the first column's sum, retention and speed.
std::string trial_table(const TrialReport& report);

nlohmann::ordered_json trial_json(const TrialReport& report);

// The trial that training ends with: `full` and another policy at a tenth of up to 4096 tokens, of
// about half a minute or one haystack. Nothing if the model's context is too short for one.
std::optional<TrialOptions> default_trial(const ModelConfig& config, const PolicyEntry& policy);

}  // namespace chunkllm

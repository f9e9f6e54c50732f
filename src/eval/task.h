// What an evaluation is made of: tasks, the columns that they are run under, and cells.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/cancel.h"
#include "data/ruler/needles.h"
#include "engine/session.h"

namespace chunkllm {

// A policy with one budget and one way of reading prompts.
struct EvalColumn {
  const PolicyEntry* policy = &full_policy();
  SelectionSettings selection = {};
  std::string kv_budget = {};  // as given; empty: the policy reads none
  std::string prefill = {};    // empty: the policy or the task knows but one

  std::string name() const;  // "chunk 0.1, prefill full"
};

struct EvalOptions {
  std::vector<const PolicyEntry*> policies = {&full_policy()};
  std::vector<std::string> budgets = {"0.1"};
  std::vector<PrefillKind> prefills = {PrefillKind::kChunk};
  SelectionSettings selection = {};  // what columns have besides these
  KvType kv_type = KvType::kF32;
  uint64_t seed = 0;
  // What tasks read; 0 and empty: the task's own.
  std::vector<int64_t> ctx = {};
  std::vector<std::filesystem::path> data = {};
  int64_t n_samples = 0;
  int64_t n_questions = 0;  // about a haystack
  std::vector<NeedleKind> needles = {NeedleKind::kSingle, NeedleKind::kMultiKey,
                                     NeedleKind::kMultiValue, NeedleKind::kMultiQuery};
  std::vector<NeedleValue> values = {NeedleValue::kNumbers, NeedleValue::kWords,
                                     NeedleValue::kUuids};
  std::vector<int64_t> depths = {0, 25, 50, 75, 100};  // percent of the text
  std::vector<std::string> tasks = {};                 // of a task that has several, by name
  int64_t n_pairs = 0;                                 // of a JSON object inside a text; 0: no text
  std::filesystem::path prompts = {};                  // folder of a benchmark's own
  int64_t audit_every = 0;                             // as a session has it; 0: none
  double keep = 0.99;  // share of what `full` reaches that a budget is searched for
};

// A sum over `n` items, of which the score is the mean.
struct Measure {
  double sum = 0;
  double n = 0;

  Measure& operator+=(const Measure& other) {
    sum += other.sum;
    n += other.n;
    return *this;
  }
};

// A number for each layer of the model; none for layers that have no such thing.
using LayerValues = std::vector<std::optional<double>>;

// One sample under one column.
struct CellResult {
  // By name: kScore, and what else the task tells apart.
  std::map<std::string, Measure> measures = {};
  std::map<std::string, LayerValues> layers = {};  // by name, of tasks that look at layers
  RetentionCount decode = {};
  PrefillCount prefill = {};
  MissedMass missed = {};  // with an audit
  double seconds = 0;
  nlohmann::ordered_json details = {};  // of the task's own; null: none
};

// The name of the measure that every cell has.
inline constexpr const char* kScore = "score";

// One text, haystack or question of a task.
struct EvalUnit {
  int64_t ctx = 0;  // tokens; 0: of a task without lengths
  int64_t sample = 0;
  int64_t n_tokens = 0;  // that one column runs, about
};

struct EvalRow;

// The seed of a sample at a length, so that none depends on others.
uint64_t sample_seed(uint64_t seed, int64_t ctx, int64_t sample);

// `n_samples` units of each of these lengths, each about as long.
std::vector<EvalUnit> units_of_lengths(std::span<const int64_t> ctx, int64_t n_samples);
// A unit for each text of `n_tokens` at each of these lengths, which cut what is longer.
std::vector<EvalUnit> units_of_texts(std::span<const int64_t> ctx,
                                     std::span<const int64_t> n_tokens);

// What a task does with given options. Refers to the engine, which must outlive it.
class EvalWork {
 public:
  using CellDone = std::function<void(const EvalColumn& column, const CellResult& result)>;
  // Tokens of the unit's current column that are done.
  using Progress = std::function<void(int64_t n_tokens)>;

  virtual ~EvalWork() = default;
  // In the order in which they run.
  virtual std::vector<EvalUnit> units() const = 0;
  // What results depend on besides model, columns and seed, by the names of options or other words.
  virtual nlohmann::ordered_json settings() const = 0;
  // What a user should know before it runs, a line each.
  virtual std::vector<std::string> notes() const { return {}; }
  // Runs a unit under these columns, and hands over each cell once. Throws Error; (kInterrupted)
  // when cancelled.
  virtual void run(const EvalUnit& unit, std::span<const EvalColumn* const> columns,
                   const CellDone& done, const Progress& progress, const CancelToken* cancel) = 0;
  // Called when all cells stand in the folder's cells.jsonl: what else is left there. Throws Error.
  virtual void finish(const std::filesystem::path& folder) const { (void)folder; }
  // The table of a task without policies (results.h): Markdown.
  virtual std::string table(std::span<const EvalRow> /*rows*/) const { return {}; }
};

// What a measure's mean is shown as.
enum class ScoreKind {
  kMean,        // itself
  kPerplexity,  // exp(-mean), of log-probabilities
};

// A task: a row of the table in tasks.cc and a file of its own.
struct EvalTask {
  std::string_view name = {};
  std::string_view help = {};  // what is asked, in a few words
  ScoreKind score_kind = ScoreKind::kMean;
  bool has_policies = true;    // else it looks at the model itself, in one column
  bool reads_prompts = false;  // columns differ by --prefill
  std::span<const std::string_view> settings = {};  // options that it reads, of those not all do
  std::span<const std::string_view> shown = {};     // measures that the table has besides the score
  bool searches_budget = false;  // runs those cells that the search needs (budget.h)
  // A sample is the same however many there are, so that a run can be given more.
  bool takes_more_samples = false;
  // Reads data and makes ready; needs no weights. Throws Error.
  std::unique_ptr<EvalWork> (*prepare)(const Engine& engine, const EvalOptions& options) = nullptr;

  bool reads(std::string_view option) const;
  // The score of a measure.
  double score(const Measure& measure) const;
};

// In the order of lists.
std::span<const EvalTask> eval_tasks();
// Throws Error (kInvalidArgument) that lists the names.
const EvalTask& eval_task_named(std::string_view name);
// "ppl (perplexity of texts), ...".
std::string eval_task_help();

}  // namespace chunkllm

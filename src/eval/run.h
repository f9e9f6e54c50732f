// Runs a task: cell after cell, going on where an earlier run stopped.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "eval/columns.h"
#include "eval/results.h"
#include "eval/task.h"

namespace chunkllm {

// A column that a length has no place for: its budget is below the least one.
struct LeftOut {
  int64_t ctx = 0;
  const EvalColumn* column = nullptr;
  int64_t least_tokens = 0;
};

// What will run. Immutable once made, but for the work's own state; refers to engine and task.
struct EvalPlan {
  const EvalTask* task = nullptr;
  EvalOptions options;
  std::vector<EvalColumn> columns;
  std::unique_ptr<EvalWork> work;
  std::vector<int64_t> lengths;  // in the order of the units
  std::vector<LeftOut> left_out;
  std::string command = {};  // what the user typed, for results.json; may be empty
  // The cells that run, of those that there are; empty: all.
  std::function<bool(const EvalColumn& column, int64_t ctx)> wanted = {};

  int64_t n_cells() const;
  bool has_cell(const EvalColumn& column, int64_t ctx) const;
};

// Reads data and checks options; needs no weights. Throws Error.
EvalPlan plan_eval(const Engine& engine, const EvalTask& task, const EvalOptions& options);

struct EvalCallbacks {
  // Before anything runs: cells that are done by earlier runs, and all.
  std::function<void(int64_t n_done, int64_t n_cells)> begin = {};
  // After the first cell of this run: what it took, and what the other cells will, at its pace.
  std::function<void(double seconds, int64_t n_left, double seconds_left)> first_cell = {};
  // Tokens of this run's cells.
  std::function<void(int64_t n_done, int64_t n_total)> progress = {};
  // A line about what comes next.
  std::function<void(const std::string& line)> message = {};
};

struct EvalReport {
  std::vector<EvalRow> rows;    // of the cells that are done; refer to the plan's columns
  std::string table;            // Markdown
  nlohmann::ordered_json json;  // what results.json holds
};

// Makes the folder of a run, and checks that files and results.json can be written there. Throws
// Error (kIo).
void make_run_folder(const std::filesystem::path& folder);

// Writes results.json. Throws Error (kIo).
void write_results(const EvalReport& report, const std::filesystem::path& folder);

// Runs the cells that `folder` does not hold yet, appends each to cells.jsonl, and writes
// results.json at the end. The engine must have its weights, and an adapter where a column needs
// one. Throws Error; (kInterrupted) when cancelled, after which the same call goes on.
EvalReport run_eval(const Engine& engine, EvalPlan& plan, const std::filesystem::path& folder,
                    const EvalCallbacks& callbacks = {}, const CancelToken* cancel = nullptr);

}  // namespace chunkllm

// Runs a task's work without the frame around it.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "engine/needle_engine.h"
#include "eval/columns.h"

namespace chunkllm::test {

using Cells = std::map<std::string, std::vector<CellResult>>;  // by column

// All units of a task, under all columns of the options, with the demonstration model.
inline Cells run_all(std::string_view name, const EvalOptions& options) {
  const EvalTask& task = eval_task_named(name);
  const std::vector<EvalColumn> columns = make_columns(task, options);
  std::vector<const EvalColumn*> all;
  for (const EvalColumn& column : columns) all.push_back(&column);
  const auto work = task.prepare(needle_engine(), options);
  Cells cells;
  for (const EvalUnit& unit : work->units()) {
    work->run(
        unit, all,
        [&](const EvalColumn& column, const CellResult& result) {
          cells[column.name()].push_back(result);
        },
        [](int64_t) {}, nullptr);
  }
  return cells;
}

// A session with full attention.
inline SessionOptions full_session(int64_t ctx) {
  SessionOptions options;
  options.ctx = ctx;
  return options;
}

}  // namespace chunkllm::test

// Runs a benchmark's work on the demonstration model.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "engine/needle_engine.h"
#include "eval/columns.h"

namespace chunkllm::test {

using Cells = std::map<std::string, std::vector<CellResult>>;  // by column

inline Cells run_benchmark(std::string_view name, const EvalOptions& options) {
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

}  // namespace chunkllm::test

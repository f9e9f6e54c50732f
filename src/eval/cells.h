// The folder of an evaluation: what it was asked, and the cells that are done.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <tuple>
#include <vector>

#include "base/json_log.h"
#include "eval/task.h"

namespace chunkllm {

// Files of a folder.
inline constexpr const char* kCellsFile = "cells.jsonl";
inline constexpr const char* kEvalSettingsFile = "settings.json";
inline constexpr const char* kResultsFile = "results.json";

struct Cell {
  int64_t ctx = 0;
  int64_t sample = 0;
  CellResult result = {};
};

// Keeps cells in `folder` as they are done, and knows those of earlier runs. One thread at a time.
class CellStore {
 public:
  // Opens a folder that can be written to, for cells of `task` of these columns and units.
  // `settings` are all that these depend on. Throws Error (kInvalidArgument) naming the first that
  // differs from those of the cells that stand there, of which there may be fewer samples if the
  // task takes more; (kData) for a file that is none of this kind; (kIo).
  CellStore(const std::filesystem::path& folder, const EvalTask& task,
            const nlohmann::ordered_json& settings, std::span<const EvalColumn> columns,
            std::span<const EvalUnit> units);

  // Null if it is not done. Of two lines for one cell the first counts.
  const Cell* find(const EvalColumn& column, int64_t ctx, int64_t sample) const;
  // Of a column at a length, by sample.
  std::vector<const Cell*> cells_of(const EvalColumn& column, int64_t ctx) const;
  // Appends a line. Throws Error (kIo).
  void add(const EvalColumn& column, Cell cell);

 private:
  const EvalTask& task_;
  using Key = std::tuple<std::string, int64_t, int64_t>;  // column, ctx, sample
  std::map<Key, Cell> cells_;
  std::unique_ptr<JsonLog> log_;
};

// A budget as JSON: tokens, or a fraction; null where there is none.
nlohmann::ordered_json budget_json(const std::string& kv_budget);

}  // namespace chunkllm

// What the cells of an evaluation say together.
#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "eval/cells.h"
#include "eval/task.h"

namespace chunkllm {

// A number and its standard error by sample (jackknife); no error with one sample.
// Null where it is no number: what JSON cannot say.
nlohmann::ordered_json number_or_null(double value);

struct Estimate {
  double value = 0;
  double error = 0;  // NaN: there is none
};

// What prompts and answers took, of the cells whose details say so.
struct EvalSpeed {
  double prefill_seconds = 0;
  double n_prefilled = 0;  // tokens
  double decode_seconds = 0;
  double n_decoded = 0;

  void add(const nlohmann::ordered_json& details);
  // Nothing where none were counted.
  std::optional<double> prefill_tokens_per_second() const;
  std::optional<double> decode_tokens_per_second() const;
};

// One column at one length.
struct EvalRow {
  int64_t ctx = 0;
  const EvalColumn* column = nullptr;
  int64_t n_samples = 0;
  RetentionCount decode = {};
  PrefillCount prefill = {};
  MissedMass missed = {};  // without samples: there was no audit, or nothing was left out
  double seconds = 0;
  EvalSpeed speed = {};
  std::map<std::string, Measure> measures = {};
  std::map<std::string, std::vector<Measure>> layers = {};  // sums over samples, by layer
  Estimate score = {};
  // Of the score to that of `full` over the same samples, where `full` is a column and has any.
  std::optional<Estimate> ratio = {};

  // Means over samples; empty if there is nothing of that name.
  LayerValues layer_values(const std::string& name) const;
};

// "0.912 ± 0.021"; of one sample the value alone.
std::string show_estimate(const Estimate& estimate, int64_t n_samples, int digits);

// The score of all samples. `samples` has a measure each.
Estimate estimate_score(const EvalTask& task, std::span<const Measure> samples);
// The ratio of two scores over the same samples; none where the second is 0.
std::optional<Estimate> estimate_ratio(const EvalTask& task, std::span<const Measure> samples,
                                       std::span<const Measure> of_full);

// A row for each length and column that has cells, lengths first, in the given orders.
std::vector<EvalRow> make_rows(const EvalTask& task, const CellStore& cells,
                               std::span<const int64_t> lengths,
                               std::span<const EvalColumn> columns);

// The array `results` (docs/eval.md).
nlohmann::ordered_json rows_json(const EvalTask& task, std::span<const EvalRow> rows);

// A Markdown table, a line a row.
std::string rows_table(const EvalTask& task, std::span<const EvalRow> rows);

}  // namespace chunkllm

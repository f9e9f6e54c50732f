// What a search for a budget has found, as JSON and as a table.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "eval/results.h"

namespace chunkllm {

// Columns of one policy that read prompts in the same way, at one length, largest budget first.
using BudgetLine = std::vector<const EvalColumn*>;

// What is known of one budget at one length.
struct TriedBudget {
  const EvalColumn* column = nullptr;
  EvalRow row = {};                  // its score
  std::optional<EvalRow> text = {};  // perplexity; not measured where the score decides already
  bool keeps = false;
};

// "0.12: 0.9950 ± 0.0040, perplexity 1.0060 ± 0.0020", both compared with `full`; null: "-".
std::string show_tried(const TriedBudget* tried);

// What the search of one line at one length ended with.
struct FoundBudget {
  int64_t ctx = 0;
  BudgetLine line = {};
  EvalRow full = {};
  std::vector<TriedBudget> tried = {};  // largest budget first
  const EvalColumn* best = nullptr;     // the recommended one; null: none keeps enough
  const EvalColumn* next = nullptr;     // the next smaller one, which does not
  std::vector<std::string> notes = {};  // why there is none, or no next one; doubts

  // Null if it was not tried.
  const TriedBudget* tried_of(const EvalColumn* column) const;
  // An object of `budgets` (docs/eval.md).
  nlohmann::ordered_json to_json(double keep) const;
};

// Markdown; below it the notes.
std::string budget_table(std::span<const FoundBudget> founds, double keep);

}  // namespace chunkllm

// Whether layers share one budget by what they want (row_demand.h), or each has it.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/cancel.h"
#include "engine/engine.h"

namespace chunkllm {

// Texts that say so, and how long each is.
inline constexpr int64_t kBudgetTexts = 2;
inline constexpr int64_t kBudgetTextTokens = 4096;

// Mean negative log-likelihoods of a token at a tenth of the cache.
struct BudgetLosses {
  double shared = 0;
  double equal = 0;

  bool sharing_wins() const { return shared < equal; }
  std::string to_text() const;  // one line for a person
};

// What is about to be done, one line for a person: it takes a while.
std::string budget_comparison_text();

// Gives the adapter `shares` (AdapterConfig::layer_shares) if the texts, token ids of at most
// kBudgetTextTokens each, are likelier with them than without; else it has none. By mass alone it
// cannot be said: many a layer attends widely to rows that change little. The engine has the
// adapter afterwards. Throws Error as Session does; (kInterrupted).
BudgetLosses choose_layer_budgets(Engine& engine, Adapter& adapter,
                                  const std::vector<double>& shares,
                                  std::span<const std::vector<int32_t>> texts,
                                  const CancelToken* cancel);

}  // namespace chunkllm

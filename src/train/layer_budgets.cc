#include "train/layer_budgets.h"

#include <fmt/format.h>

#include <cmath>

#include "engine/likelihood.h"

namespace chunkllm {
namespace {

constexpr double kBudget = 0.1;  // of the cache

double mean_loss(Engine& engine, const Adapter& adapter,
                 std::span<const std::vector<int32_t>> texts, const CancelToken* cancel) {
  engine.use_adapter(adapter);
  SessionOptions options;
  options.policy = &default_policy(AdapterSet::only(&adapter));
  options.selection.budget.fraction = kBudget;
  options.selection.layer_budgets = true;
  options.ctx = kBudgetTextTokens;
  double loss = 0;
  int64_t n_tokens = 0;
  for (const std::vector<int32_t>& text : texts) {
    Session session(engine, options);
    const Likelihood likelihood = score_text(session, text, 1, {}, cancel);
    loss -= likelihood.sum();
    n_tokens += std::ssize(likelihood.log_probs);
  }
  return loss / static_cast<double>(n_tokens);
}

}  // namespace

std::string budget_comparison_text() {
  return fmt::format(
      "all fits are done; budgets of layers by demand and equal ones are compared, which reads {} "
      "tokens",
      2 * kBudgetTexts * kBudgetTextTokens);
}

std::string BudgetLosses::to_text() const {
  return fmt::format(
      "at a tenth of the cache the perplexity of {} texts is {:.3f} with budgets of layers by "
      "demand and {:.3f} with equal ones{}",
      kBudgetTexts, std::exp(shared), std::exp(equal),
      sharing_wins() ? "; --layer-budgets on has the first" : "");
}

BudgetLosses choose_layer_budgets(Engine& engine, Adapter& adapter,
                                  const std::vector<double>& shares,
                                  std::span<const std::vector<int32_t>> texts,
                                  const CancelToken* cancel) {
  BudgetLosses losses;
  adapter.config.layer_shares = shares;
  losses.shared = mean_loss(engine, adapter, texts, cancel);
  adapter.config.layer_shares.clear();
  losses.equal = mean_loss(engine, adapter, texts, cancel);
  if (losses.sharing_wins()) {
    adapter.config.layer_shares = shares;
    engine.use_adapter(adapter);
  }
  return losses;
}

}  // namespace chunkllm

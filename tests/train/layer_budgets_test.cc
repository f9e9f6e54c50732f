#include "train/layer_budgets.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <optional>
#include <vector>

#include "base/random.h"
#include "data/synthetic.h"
#include "engine/engine.h"
#include "testing/models.h"

namespace chunkllm {
namespace {

class LayerBudgetsTest : public testing::Test {
 protected:
  LayerBudgetsTest() {
    EngineOptions options;
    options.model = needle_model();
    options.dtype = DtypeChoice::kF32;
    engine_.emplace(options);
    engine_->load_weights();
    Rng rng(5);
    texts_ = {engine_->tokenizer().encode(make_text(rng, 6000))};
    texts_[0].resize(std::min<size_t>(texts_[0].size(), 1200));
  }
  BudgetLosses choose(const std::vector<double>& shares) {
    return choose_layer_budgets(*engine_, adapter_, shares, texts_, nullptr);
  }
  std::optional<Engine> engine_;
  Adapter adapter_ = load_adapter(needle_adapter());
  std::vector<std::vector<int32_t>> texts_;
};

TEST_F(LayerBudgetsTest, SharesAreKeptWhereTheyWin) {
  const std::vector<double> shares = {0.5, 0.5, 0.5, 1.5, 1.5, 1.5};
  const std::vector<double> opposite = {1.5, 1.5, 1.5, 0.5, 0.5, 0.5};
  for (const std::vector<double>& tried : {shares, opposite}) {
    const BudgetLosses losses = choose(tried);
    EXPECT_NE(losses.shared, losses.equal) << "the selections must differ";
    EXPECT_EQ(adapter_.config.layer_shares,
              losses.shared < losses.equal ? tried : std::vector<double>());
    EXPECT_EQ(engine_->adapters().sentence->config.layer_shares, adapter_.config.layer_shares);
  }
}

TEST_F(LayerBudgetsTest, EqualSharesChangeNothing) {
  const BudgetLosses losses = choose(std::vector<double>(6, 1.0));
  EXPECT_EQ(losses.shared, losses.equal);
  EXPECT_TRUE(adapter_.config.layer_shares.empty());
}

}  // namespace
}  // namespace chunkllm

// One budget shared out over layers: as many rows on the average as if each layer had it.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace chunkllm {

// Rows of a layer for each row of the budget. Immutable; any thread may call it.
class LayerShares {
 public:
  // shares [n_layers], mean 1 over the layers that select and 0 in the others; empty: all the same.
  explicit LayerShares(std::span<const double> shares = {})
      : shares_(shares.begin(), shares.end()) {}

  // Of a layer that selects, where `n_visible` rows are visible. What a layer has beyond these goes
  // to the others, so that a budget of n_visible rows or more is everything in every layer.
  int64_t rows_of(int64_t layer, int64_t budget, int64_t n_visible) const;

 private:
  std::vector<double> shares_;
};

}  // namespace chunkllm

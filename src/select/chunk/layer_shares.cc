#include "select/chunk/layer_shares.h"

#include <algorithm>

namespace chunkllm {

int64_t LayerShares::rows_of(int64_t layer, int64_t budget, int64_t n_visible) const {
  if (shares_.empty() || budget <= 0 || budget >= n_visible) return budget;
  const auto visible = static_cast<double>(n_visible);
  double rows = static_cast<double>(budget);  // of a share of 1
  while (true) {
    double spare = 0;  // rows
    double open = 0;   // shares of the layers that can have more
    for (const double share : shares_) {
      if (share == 0) continue;
      spare += static_cast<double>(budget) - std::min(share * rows, visible);
      if (share * rows < visible) open += share;
    }
    if (open == 0 || spare < 0.5) break;
    rows += spare / open;
  }
  return static_cast<int64_t>(std::min(shares_[static_cast<size_t>(layer)] * rows, visible));
}

}  // namespace chunkllm

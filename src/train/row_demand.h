// How many rows each layer wants: where budgets count.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <vector>

#include "base/range.h"

namespace chunkllm {

// Of one layer: rows by how much attention the teacher gives each of them. Plain sums over queries.
class RowDemand {
 public:
  RowDemand();

  // teacher [eligible.size(), n_chunks] holds masses, one row a query; chunk_tokens [n_chunks].
  // Queries with fewer than 1024 eligible tokens are left out: a tenth of these is hardly a choice.
  void add(const float* teacher, std::span<const int64_t> chunk_tokens,
           std::span<const Range> eligible);

  bool empty() const { return n_queries_ == 0; }
  // The share of the eligible rows in the `n_bins` bins with the most attention a row; bins are
  // fractions of octaves of the mass a row over that of an even spread of all attention.
  double share_of_best(int64_t n_bins) const;

  nlohmann::ordered_json to_json() const;
  static RowDemand from_json(const nlohmann::ordered_json& json);

  static constexpr int64_t kBins = 256;

 private:
  int64_t n_queries_ = 0;
  std::vector<double> shares_;  // [kBins], of the eligible rows, the most attended first; summed
};

// Shares of a budget (AdapterConfig::layer_shares) with which the layers together miss the least
// mass at a tenth of the eligible rows: each takes the rows that are attended more than one and the
// same threshold. Layers without demand have 0; empty if none has any.
std::vector<double> shares_by_demand(std::span<const RowDemand> layers);
// The same of an object of RowDemand::to_json() by layer; null is one without layers.
std::vector<double> shares_by_demand(const nlohmann::ordered_json& by_layer, int64_t n_layers);

}  // namespace chunkllm

#include "train/row_demand.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numeric>
#include <string>

namespace chunkllm {
namespace {

constexpr int64_t kLeastTokens = 1024;
constexpr double kBinsPerOctave = 8;
constexpr double kBudget = 0.1;
// No layer goes without: what it wants at other texts is not known.
constexpr double kLeastOfMean = 0.2;

int64_t bin_of(double times_even_spread) {
  const double octave = std::log2(std::max(times_even_spread, 1e-30));
  const auto bin = static_cast<int64_t>(std::floor(RowDemand::kBins / 2 - octave * kBinsPerOctave));
  return std::clamp<int64_t>(bin, 0, RowDemand::kBins - 1);
}

}  // namespace

RowDemand::RowDemand() : shares_(kBins, 0.0) {}

void RowDemand::add(const float* teacher, std::span<const int64_t> chunk_tokens,
                    std::span<const Range> eligible) {
  const auto n_chunks = static_cast<int64_t>(chunk_tokens.size());
  for (size_t i = 0; i < eligible.size(); ++i) {
    const float* masses = teacher + static_cast<int64_t>(i) * n_chunks;
    const auto [begin, end] = eligible[i];
    const int64_t n_tokens =
        std::accumulate(chunk_tokens.begin() + begin, chunk_tokens.begin() + end, int64_t{0});
    if (n_tokens < kLeastTokens) continue;
    ++n_queries_;
    const auto all = static_cast<double>(n_tokens);
    for (int64_t j = begin; j < end; ++j) {
      const auto tokens = static_cast<double>(chunk_tokens[static_cast<size_t>(j)]);
      shares_[static_cast<size_t>(bin_of(double{masses[j]} / tokens * all))] += tokens / all;
    }
  }
}

double RowDemand::share_of_best(int64_t n_bins) const {
  const double sum = std::accumulate(shares_.begin(), shares_.begin() + n_bins, 0.0);
  return n_queries_ == 0 ? 0.0 : sum / static_cast<double>(n_queries_);
}

nlohmann::ordered_json RowDemand::to_json() const {
  nlohmann::ordered_json json;
  json["queries"] = n_queries_;
  json["shares"] = shares_;
  return json;
}

RowDemand RowDemand::from_json(const nlohmann::ordered_json& json) {
  RowDemand demand;
  demand.n_queries_ = json.at("queries").get<int64_t>();
  demand.shares_ = json.at("shares").get<std::vector<double>>();
  demand.shares_.resize(kBins);
  return demand;
}

std::vector<double> shares_by_demand(std::span<const RowDemand> layers) {
  const auto n = static_cast<double>(
      std::ranges::count_if(layers, [](const RowDemand& layer) { return !layer.empty(); }));
  if (n == 0) return {};
  std::vector<double> shares(layers.size(), 0.0);
  const auto sum = [&] { return std::accumulate(shares.begin(), shares.end(), 0.0); };
  for (int64_t n_bins = 1; n_bins <= RowDemand::kBins && sum() < kBudget * n; ++n_bins) {
    for (size_t l = 0; l < layers.size(); ++l) shares[l] = layers[l].share_of_best(n_bins);
  }
  const double mean = sum() / n;
  for (size_t l = 0; l < layers.size(); ++l) {
    if (!layers[l].empty()) shares[l] = std::max(kLeastOfMean, shares[l] / mean);
  }
  const double clamped_mean = sum() / n;
  for (double& share : shares) share /= clamped_mean;
  return shares;
}

std::vector<double> shares_by_demand(const nlohmann::ordered_json& by_layer, int64_t n_layers) {
  std::vector<RowDemand> layers(static_cast<size_t>(n_layers));
  for (const auto& [layer, demand] : by_layer.items()) {
    layers.at(std::stoul(layer)) = RowDemand::from_json(demand);
  }
  return shares_by_demand(layers);
}

}  // namespace chunkllm

#include "eval/attention/consistency.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "select/teacher/ranking.h"

namespace chunkllm {

RunProfile::RunProfile(int64_t n_chunks, int64_t k)
    : k_(std::min(k, n_chunks)),
      sum_(static_cast<size_t>(n_chunks), 0.0),
      n_in_top_(static_cast<size_t>(n_chunks), 0.0) {}

// With z the masses less their mean, divided by their norm, the correlation of two tokens is the
// product of their z.
void RunProfile::add(std::span<const float> masses) {
  const double mean = std::accumulate(masses.begin(), masses.end(), 0.0) /
                      static_cast<double>(std::max<size_t>(masses.size(), 1));
  double squares = 0;
  for (const float mass : masses) squares += (double{mass} - mean) * (double{mass} - mean);
  if (!(squares > 0) || !std::isfinite(squares)) return;
  const double scale = 1.0 / std::sqrt(squares);
  for (size_t j = 0; j < masses.size(); ++j) sum_[j] += (double{masses[j]} - mean) * scale;
  for (const int64_t j : top_k_indices(masses, k_)) n_in_top_[static_cast<size_t>(j)] += 1;
  ++n_tokens_;
}

std::optional<double> RunProfile::correlation() const {
  if (n_tokens_ < 2) return std::nullopt;
  const auto n = static_cast<double>(n_tokens_);
  const double products = std::inner_product(sum_.begin(), sum_.end(), sum_.begin(), 0.0);
  return (products - n) / (n * (n - 1));
}

std::optional<double> RunProfile::overlap() const {
  if (n_tokens_ < 2) return std::nullopt;
  const auto n = static_cast<double>(n_tokens_);
  double shared = 0;
  for (const double count : n_in_top_) shared += count * (count - 1);
  return shared / (n * (n - 1) * static_cast<double>(k_));
}

std::optional<double> RunProfile::correlation_with(const RunProfile& other) const {
  if (n_tokens_ == 0 || other.n_tokens_ == 0) return std::nullopt;
  const double products = std::inner_product(sum_.begin(), sum_.end(), other.sum_.begin(), 0.0);
  return products / (static_cast<double>(n_tokens_) * static_cast<double>(other.n_tokens_));
}

std::optional<double> RunProfile::overlap_with(const RunProfile& other) const {
  if (n_tokens_ == 0 || other.n_tokens_ == 0) return std::nullopt;
  const double shared =
      std::inner_product(n_in_top_.begin(), n_in_top_.end(), other.n_in_top_.begin(), 0.0);
  return shared / (static_cast<double>(n_tokens_) * static_cast<double>(other.n_tokens_) *
                   static_cast<double>(k_));
}

}  // namespace chunkllm

#include "select/teacher/ranking.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace chunkllm {
namespace {

// Whether one index comes before another: a strict order whatever the values.
class Before {
 public:
  explicit Before(std::span<const float> values) : values_(values) {}

  bool operator()(int64_t a, int64_t b) const {
    if (key(a) != key(b)) return key(a) > key(b);
    if (std::isnan(at(a)) != std::isnan(at(b))) return std::isnan(at(b));
    return a < b;
  }

 private:
  float at(int64_t i) const { return values_[static_cast<size_t>(i)]; }
  // A NaN compares as unordered, which would make the order no order at all.
  float key(int64_t i) const {
    return std::isnan(at(i)) ? -std::numeric_limits<float>::infinity() : at(i);
  }

  std::span<const float> values_;
};

std::vector<int64_t> all_indices(size_t n) {
  std::vector<int64_t> indices(n);
  std::iota(indices.begin(), indices.end(), int64_t{0});
  return indices;
}

}  // namespace

std::vector<int64_t> top_k_indices(std::span<const float> values, int64_t k) {
  std::vector<int64_t> indices = all_indices(values.size());
  const int64_t n_kept = std::clamp<int64_t>(k, 0, std::ssize(values));
  std::partial_sort(indices.begin(), indices.begin() + n_kept, indices.end(), Before(values));
  indices.resize(static_cast<size_t>(n_kept));
  return indices;
}

std::vector<int64_t> best_within(std::span<const float> scores, std::span<const int64_t> tokens,
                                 int64_t budget) {
  // A heap gives the best first without an order of those that are not chosen.
  const Before before(scores);
  const auto after = [&](int64_t a, int64_t b) { return before(b, a); };
  std::vector<int64_t> left = all_indices(scores.size());
  std::make_heap(left.begin(), left.end(), after);
  std::vector<int64_t> chosen;
  while (!left.empty()) {
    budget -= tokens[static_cast<size_t>(left.front())];
    if (budget < 0) break;
    chosen.push_back(left.front());
    std::pop_heap(left.begin(), left.end(), after);
    left.pop_back();
  }
  return chosen;
}

double mass_of(std::span<const float> masses, std::span<const int64_t> chosen) {
  double mass = 0.0;
  for (const int64_t j : chosen) mass += double{masses[static_cast<size_t>(j)]};
  return mass;
}

std::optional<double> recall_at_k(std::span<const float> teacher, std::span<const float> scores,
                                  int64_t k) {
  if (std::ssize(teacher) <= k) return std::nullopt;
  std::vector<int64_t> wanted = top_k_indices(teacher, k);
  std::erase_if(wanted, [&](int64_t j) { return !(teacher[static_cast<size_t>(j)] > 0.0f); });
  if (wanted.empty()) return std::nullopt;
  std::vector<int64_t> chosen = top_k_indices(scores, k);
  std::sort(chosen.begin(), chosen.end());
  const auto n_found = std::ranges::count_if(
      wanted, [&](int64_t j) { return std::binary_search(chosen.begin(), chosen.end(), j); });
  return static_cast<double>(n_found) / static_cast<double>(wanted.size());
}

}  // namespace chunkllm

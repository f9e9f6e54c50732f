// How alike the attention of tokens is: correlations and shared top chunks, over pairs of tokens.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace chunkllm {

// Sums over the tokens of a run from which means over all pairs follow, so that no pair is looked
// at. A plain value.
class RunProfile {
 public:
  // Masses have `n_chunks`; `k` is how many of the greatest count as a token's top.
  RunProfile(int64_t n_chunks, int64_t k);

  // Takes in a token. One whose masses are all alike, or not finite, has no correlation and is left
  // out.
  void add(std::span<const float> masses);

  int64_t n_tokens() const { return n_tokens_; }
  // Mean over the pairs of different tokens of the run; nothing with fewer than two tokens.
  std::optional<double> correlation() const;
  std::optional<double> overlap() const;
  // Mean over the pairs with a token of each run; nothing where one has none.
  std::optional<double> correlation_with(const RunProfile& other) const;
  std::optional<double> overlap_with(const RunProfile& other) const;

 private:
  int64_t k_;
  int64_t n_tokens_ = 0;
  std::vector<double> sum_;       // of masses with mean 0 and norm 1, [n_chunks]
  std::vector<double> n_in_top_;  // tokens that have the chunk in their top, [n_chunks]
};

}  // namespace chunkllm

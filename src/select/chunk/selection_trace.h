// What a run decided, so that another can be made to decide the same and its own wishes compared.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <vector>

namespace chunkllm {

// Boundaries and choices by position. A plain value.
struct SelectionTrace {
  int64_t n_tokens = 0;             // positions below this are covered
  std::vector<int64_t> boundaries;  // positions of boundary tokens, ascending
  std::vector<std::map<int64_t, std::vector<int64_t>>> choices;  // [n_layers]: refresh -> chunks

  bool is_boundary(int64_t position) const {
    return std::binary_search(boundaries.begin(), boundaries.end(), position);
  }
};

// How far a replayed run's own decisions were from those of the trace. A difference that rounding
// explains has a small gap.
struct TraceDifferences {
  int64_t n_boundaries = 0;         // decided otherwise
  int64_t n_choices = 0;            // decided otherwise
  double largest_boundary_gap = 0;  // |logit - threshold| of those
  double largest_score_gap = 0;     // |score - first refused score| of chunks in one choice only
};

}  // namespace chunkllm

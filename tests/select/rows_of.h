// The rows that each token of a block attends to, one by one.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "select/policy.h"

namespace chunkllm::test {

// [n_tokens] the rows of spans as attend() reads them; a token that no span has, or that two have,
// has the row -1.
inline std::vector<std::vector<int64_t>> rows_of(std::span<const AttentionSpan> spans,
                                                 Range positions) {
  std::vector<std::vector<int64_t>> rows(static_cast<size_t>(positions.size()));
  std::vector<int> n_spans(rows.size(), 0);
  for (const AttentionSpan& span : spans) {
    for (int64_t t = span.queries.begin; t < span.queries.end; ++t) {
      const auto i = static_cast<size_t>(t - positions.begin);
      ++n_spans[i];
      for (const Range& range : span.rows) {
        for (int64_t r = range.begin; r < std::min(range.end, t + 1); ++r) rows[i].push_back(r);
      }
    }
  }
  for (size_t i = 0; i < rows.size(); ++i) {
    if (n_spans[i] != 1) rows[i].assign(1, -1);
  }
  return rows;
}

// Runs a block of tokens that follow those before, and says what they attend to.
inline std::vector<std::vector<int64_t>> run_block(SelectionPolicy& policy, int64_t begin,
                                                   std::span<const int32_t> tokens) {
  const Range positions{begin, begin + std::ssize(tokens)};
  policy.begin_block(positions, tokens);
  LayerInput input;
  input.positions = positions;
  return rows_of(policy.rows(input), positions);
}

}  // namespace chunkllm::test

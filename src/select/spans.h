// What a policy answers a layer with: spans of queries and the rows they attend to.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/attention/attention.h"

namespace chunkllm {

// The spans of a block, built from left to right. Keeps its memory between blocks.
class SpanList {
 public:
  void clear() { n_ = 0; }
  // Queries that attend to everything at or before them. Neighbours become one span, which is
  // computed just as `full` does it.
  void add_everything(Range queries);
  // Queries that attend to `rows` (ascending, disjoint, before local_begin) and to everything from
  // local_begin on; and, where that is not everything, to weighted rows.
  void add(Range queries, std::span<const Range> rows, int64_t local_begin, Range weighted = {});
  // The same of one query whose rows are its own, however the text is cut into blocks.
  void add_alone(int64_t position, std::span<const Range> rows, int64_t local_begin,
                 Range weighted = {});

  // Valid until the next change.
  std::span<const AttentionSpan> spans() const { return {spans_.data(), n_}; }
  // Rows that the last query attends to; 0 without spans.
  int64_t rows_of_last_query() const;

 private:
  AttentionSpan& append(Range queries);

  std::vector<AttentionSpan> spans_;  // the first n_ are valid
  size_t n_ = 0;
};

}  // namespace chunkllm

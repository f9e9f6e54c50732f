#include "select/spans.h"

namespace chunkllm {

AttentionSpan& SpanList::append(Range queries) {
  if (n_ == spans_.size()) spans_.emplace_back();
  AttentionSpan& span = spans_[n_++];
  span.queries = queries;
  span.rows.clear();
  span.weighted = {};
  span.alone = false;
  return span;
}

void SpanList::add_everything(Range queries) {
  if (queries.empty()) return;
  if (n_ > 0) {
    AttentionSpan& last = spans_[n_ - 1];
    if (last.queries.end == queries.begin && last.rows.size() == 1 &&
        last.rows[0] == Range{0, queries.begin}) {
      last.queries.end = queries.end;
      last.rows[0].end = queries.end;
      return;
    }
  }
  append(queries).rows.push_back({0, queries.end});
}

void SpanList::add(Range queries, std::span<const Range> rows, int64_t local_begin,
                   Range weighted) {
  if (queries.empty()) return;
  int64_t n_rows = 0;
  for (const Range& range : rows) n_rows += range.size();
  if (n_rows == local_begin) {
    add_everything(queries);
    return;
  }
  AttentionSpan& span = append(queries);
  span.rows.assign(rows.begin(), rows.end());
  append_merged(span.rows, {local_begin, queries.end});
  span.weighted = weighted;
}

void SpanList::add_alone(int64_t position, std::span<const Range> rows, int64_t local_begin,
                         Range weighted) {
  add({position, position + 1}, rows, local_begin, weighted);
  AttentionSpan& span = spans_[n_ - 1];
  const bool is_everything = span.rows.size() == 1 && span.rows[0] == Range{0, position + 1};
  span.alone = !is_everything;
}

int64_t SpanList::rows_of_last_query() const {
  if (n_ == 0) return 0;
  const AttentionSpan& last = spans_[n_ - 1];
  return count_below(last.rows, last.queries.end) + last.weighted.size();
}

}  // namespace chunkllm

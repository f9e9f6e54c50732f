#include "select/streaming.h"

#include <algorithm>

namespace chunkllm {

StreamingPolicy::StreamingPolicy(const SelectionSettings& settings)
    : sink_(settings.sink.value_or(kDefaultSink)),
      budget_(settings.budget),
      least_budget_(budget_.least_tokens(sink_, kDefaultWindow, kDefaultMaxChunk)) {
  budget_.top_k_chunks.reset();  // there are none
}

void StreamingPolicy::add_rows(int64_t position, SpanList& spans) {
  const int64_t window = std::max<int64_t>(1, budget_.tokens_at(position, least_budget_) - sink_);
  const int64_t begin = std::max<int64_t>(0, position + 1 - window);
  const Range sink{0, std::min(sink_, begin)};
  spans.add_alone(position, {&sink, sink.empty() ? size_t{0} : size_t{1}}, begin);
}

}  // namespace chunkllm

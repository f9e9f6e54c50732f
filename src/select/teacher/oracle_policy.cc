#include "select/teacher/oracle_policy.h"

#include "select/teacher/chunk_mass.h"

namespace chunkllm {

std::span<const AttentionSpan> OraclePolicy::rows(const LayerInput& input) {
  input_ = &input;
  const std::span<const AttentionSpan> spans = ChunkPolicy::rows(input);
  input_ = nullptr;
  return spans;
}

Selection OraclePolicy::choose(const Candidates& candidates) {
  const int64_t t = candidates.position;
  if (candidates.scores.empty() || !input_->positions.contains(t)) {
    return ChunkPolicy::choose(candidates);
  }
  return select_chunks(
      candidates.track, t, candidates.limits,
      mass_.in(*input_, t,
               rows_after_sink(candidates.track, candidates.eligible, candidates.limits.sink)));
}

}  // namespace chunkllm

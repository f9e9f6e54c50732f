#include "select/teacher/oracle_policy.h"

#include "kernels/attention/attention.h"
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
  const auto n_heads = static_cast<size_t>(input_->n_heads);
  const float* q = input_->q + (t - input_->positions.begin) * input_->q_stride;
  log_sum_exp_.resize(n_heads);
  out_.resize(n_heads * static_cast<size_t>(input_->kv.head_dim));
  const AttentionSpan everything{{t, t + 1}, {{0, t + 1}}};
  attend({.q = q,
          .q_stride = input_->q_stride,
          .first_position = t,
          .n_tokens = 1,
          .n_heads = input_->n_heads,
          .scale = input_->scale,
          .out = out_.data(),
          .log_sum_exp = log_sum_exp_.data()},
         input_->kv, {&everything, 1});

  const std::vector<Range> chunks =
      rows_after_sink(candidates.track, candidates.eligible, candidates.limits.sink);
  mass_.resize(chunks.size());
  chunk_attention_mass({.q = q,
                        .log_sum_exp = log_sum_exp_.data(),
                        .positions = {&t, 1},
                        .n_heads = input_->n_heads,
                        .scale = input_->scale},
                       input_->kv, chunks, mass_.data());
  return select_chunks(candidates.track, t, candidates.limits, mass_);
}

}  // namespace chunkllm

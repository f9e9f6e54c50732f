#include "select/teacher/token_mass.h"

#include "kernels/attention/attention.h"

namespace chunkllm {

std::span<const float> TokenMass::in(const LayerInput& input, int64_t position,
                                     std::span<const Range> ranges) {
  const auto n_heads = static_cast<size_t>(input.n_heads);
  const float* q = input.q + (position - input.positions.begin) * input.q_stride;
  log_sum_exp_.resize(n_heads);
  out_.resize(n_heads * static_cast<size_t>(input.kv.head_dim));
  const AttentionSpan everything{{position, position + 1}, {{0, position + 1}}};
  attend({.q = q,
          .q_stride = input.q_stride,
          .first_position = position,
          .n_tokens = 1,
          .n_heads = input.n_heads,
          .scale = input.scale,
          .out = out_.data(),
          .log_sum_exp = log_sum_exp_.data()},
         input.kv, {&everything, 1});
  mass_.resize(ranges.size());
  chunk_attention_mass({.q = q,
                        .log_sum_exp = log_sum_exp_.data(),
                        .positions = {&position, 1},
                        .n_heads = input.n_heads,
                        .scale = input.scale},
                       input.kv, ranges, mass_.data());
  return mass_;
}

}  // namespace chunkllm

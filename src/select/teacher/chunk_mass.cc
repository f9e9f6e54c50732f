#include "select/teacher/chunk_mass.h"

#include <algorithm>
#include <numeric>

namespace chunkllm {

std::vector<Range> rows_after_sink(const ChunkTrack& track, Range chunks, int64_t sink) {
  std::vector<Range> rows;
  for (int64_t j = chunks.begin; j < chunks.end; ++j) {
    rows.push_back(rows_after_sink(track.chunk(j), sink));
  }
  return rows;
}

std::span<const float> BlockMasses::compute(const LayerInput& input, const float* log_sum_exp,
                                            const ChunkTrack& track, int64_t n_chunks,
                                            int64_t sink) {
  const Range block = input.positions;
  const int64_t q_dim = input.n_heads * input.kv.head_dim;
  q_.resize(static_cast<size_t>(block.size() * q_dim));
  for (int64_t row = 0; row < block.size(); ++row) {
    std::copy_n(input.q + row * input.q_stride, q_dim, q_.begin() + row * q_dim);
  }
  positions_.resize(static_cast<size_t>(block.size()));
  std::iota(positions_.begin(), positions_.end(), block.begin);
  masses_.resize(static_cast<size_t>(block.size() * n_chunks));
  if (n_chunks == 0) return masses_;
  chunk_attention_mass({.q = q_.data(),
                        .log_sum_exp = log_sum_exp,
                        .positions = positions_,
                        .n_heads = input.n_heads,
                        .scale = input.scale},
                       input.kv, rows_after_sink(track, {0, n_chunks}, sink), masses_.data());
  return masses_;
}

}  // namespace chunkllm

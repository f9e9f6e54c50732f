// The attention that chunks receive from a block's tokens: what teaches adapters, and what choices
// of chunks are measured by.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "model/transformer.h"
#include "select/chunk/chunk_track.h"

namespace chunkllm {

// The rows of chunks by their numbers, without those of the sink.
std::vector<Range> rows_after_sink(const ChunkTrack& track, Range chunks, int64_t sink);

// Work space of one pass. One thread at a time.
class BlockMasses {
 public:
  // What each token of the block gives to the first `n_chunks` chunks, mean over heads, sink
  // removed: [n_tokens, n_chunks], valid until the next call. log_sum_exp as attention_done() has
  // it, of tokens that attend to everything.
  std::span<const float> compute(const LayerInput& input, const float* log_sum_exp,
                                 const ChunkTrack& track, int64_t n_chunks, int64_t sink);

 private:
  std::vector<float> q_, masses_;
  std::vector<int64_t> positions_;
};

}  // namespace chunkllm

// What the keys of chunks are projected from, gathered alike for inference and training.
#pragma once

#include <cstdint>
#include <vector>

#include "base/range.h"
#include "select/chunk/adapter.h"
#include "select/chunk/chunk_track.h"

namespace chunkllm {

// One layer's rows of x, one a chunk: at its boundary token, or the mean over its tokens after the
// sink, whose activations are unlike all others (zeros where there are none: such a chunk is not
// eligible unless --sink is smaller). The projection is linear: the mean of k^ is the projection of
// the mean of x. One thread at a time.
class KeyInputs {
 public:
  KeyInputs(int64_t d_model, ChunkKey key, int64_t sink);

  // Takes in the block at `positions` after all before it, x [n_tokens, d_model], and appends a row
  // [d_model] to `rows` for each chunk of `track` that ends in it.
  void extend(const ChunkTrack& track, Range positions, const float* x, std::vector<float>& rows);
  // Forgets the open chunk; with means the next block begins where a chunk begins.
  void reset();

 private:
  int64_t d_model_;
  ChunkKey key_;
  int64_t sink_;                 // tokens
  std::vector<float> open_sum_;  // [d_model], over the open chunk, for means
};

}  // namespace chunkllm

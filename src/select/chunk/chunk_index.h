// The chunk index of one layer: keys of chunks, queries of refreshes, and the choice they make.
#pragma once

#include <cstdint>
#include <vector>

#include "select/chunk/adapter.h"
#include "select/chunk/key_inputs.h"
#include "select/chunk/selection.h"

namespace chunkllm {

// Grows with the sequence. Refers to an adapter, which must outlive it. One thread at a time.
class ChunkIndex {
 public:
  ChunkIndex(const QkAdapter& adapter, const AdapterConfig& config, ChunkKey chunk_key);

  // Takes in the block at `positions`, whose boundaries and refreshes are in `track`:
  // x [n_tokens, d_model], the layer's normalised input.
  void extend(const ChunkTrack& track, Range positions, const float* x);

  // Each head's scores s(t, j) (docs/method.md, "The chunk score") of the refreshes with these
  // numbers against `chunks`: out [n_refreshes, selection_heads, n_chunks]. Those of one refresh do
  // not depend on the others in the call. `distances` as distance_features() gives them, for
  // adapters with a distance term; else not looked at. `work` is written over, and keeps its
  // memory from one call to the next.
  void scores(Range refreshes, Range chunks, const float* distances, std::vector<float>& work,
              float* out) const;

  // Forgets everything from position `n` on; `track` is truncated already. With mean keys `n` must
  // be the begin of a chunk.
  void truncate(const ChunkTrack& track);

  const std::vector<float>& keys() const { return keys_; }        // [n_chunks, q_dim]
  const std::vector<float>& queries() const { return queries_; }  // [n_refreshes, q_dim]
  // Takes over the keys and queries of another index over `track`, which must be followed by
  // truncate(); false, and nothing is changed, if their numbers are not those of the track.
  bool restore(const ChunkTrack& track, const std::vector<float>& keys,
               const std::vector<float>& queries);

  int64_t size_bytes() const {
    return static_cast<int64_t>((keys_.size() + queries_.size()) * sizeof(float));
  }

 private:
  // Appends inputs_ [n, d_model] times weight^T to `target`. Each row is the same whatever others
  // share the call, so a token decoded alone has the query that it has in a prompt.
  void project(const std::vector<float>& weight, int64_t n, std::vector<float>& target);

  const QkAdapter& adapter_;
  int64_t d_model_;
  int64_t n_heads_;
  int64_t adapter_dim_;  // of each head
  int64_t q_dim_;
  bool distance_term_;
  KeyInputs key_inputs_;
  std::vector<float> keys_;     // [n_chunks, q_dim]
  std::vector<float> queries_;  // [n_refreshes, q_dim]
  std::vector<float> inputs_;   // scratch [n, d_model]
};

}  // namespace chunkllm

// What the policies share that choose by the model's own keys and queries: no training, any model.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "model/config.h"
#include "select/chunk/chunked_policy.h"
#include "select/keys/key_index.h"

namespace chunkllm {

// How the chunks of such a policy end.
struct OwnChunks {
  AdapterConfig rules = {};                   // what ChunkRules reads of it
  std::span<const int32_t> special_ids = {};  // that end chunks, ascending
  std::span<const uint8_t> token_marks = {};  // by token id (token_marks.h)
  uint8_t ending_marks = 0;                   // a token with one of these is a boundary
};

// The text says where chunks end, so all layers that do not slide choose among the same ones, the
// first too, and a sequence is cut before it runs. Each layer has a KeyIndex, by which a refresh
// scores chunks. Nothing is saved: the index follows from the cache, in one pass over its keys.
class OwnKeysPolicy : public ChunkedPolicy {
 public:
  void begin_block(Range positions, std::span<const int32_t> tokens) override;
  std::span<const AttentionSpan> rows(const LayerInput& input) override;
  Range next_block(std::span<const int32_t> tokens, int64_t max_tokens) override;
  int64_t truncate(int64_t n_tokens) override;
  PolicyState state() const override { return {}; }
  void restore(std::span<const int32_t> tokens, const PolicyState& state) override;
  int64_t n_chunks() const override;
  int64_t n_refreshes() const override;
  int64_t size_bytes() const override;

  // The chunks of the tokens that next_block() was given.
  const ChunkTrack& chunks() const { return track_; }

 protected:
  // Special ids and token marks of `chunks`, and `form`, must outlive it.
  OwnKeysPolicy(const ModelConfig& model, const SelectionSettings& settings,
                const OwnChunks& chunks, const KeyForm& form);

  // Bytes of an index with a row every `tokens_per_row` tokens in the layers from `first_layer` on.
  static int64_t index_bytes(const ModelConfig& model, int64_t n_tokens, int64_t tokens_per_row,
                             int64_t first_layer, int64_t row_size);

  const ChunkTrack& track_of(int64_t) const override { return track_; }
  std::span<const float> scores_of(const LayerInput& input, std::span<const PlannedSpan> spans,
                                   Range eligible) override;

 private:
  // What a layer keeps.
  struct LayerIndex {
    KeyIndex index;
    std::vector<float> last_query = {};  // [n_heads, head_dim] of the last refresh that ran
  };

  void cut(std::span<const int32_t> tokens);
  void extend(const LayerInput& input);
  void keep_last_query(const LayerInput& input);
  const float* query_of(const LayerInput& input, const PlannedSpan& span) const;
  void score(const LayerInput& input, std::span<const PlannedSpan> spans);
  int64_t decided_end(int64_t n_tokens) const;

  std::span<const uint8_t> token_marks_;
  uint8_t ending_marks_;
  bool fixed_;  // ends of chunks are positions
  ChunkRules rules_;
  ChunkCutter cutter_;
  ChunkTrack track_;
  int64_t cut_ = 0;                 // tokens that track_ holds
  std::vector<LayerIndex> layers_;  // [n_layers]
  // What score() leaves: scores [n_scored, scored_chunks].
  std::vector<PlannedSpan> scored_;
  Range scored_chunks_;
  std::vector<float> scores_;
  KeyScorer scorer_;
  std::vector<float> keys_;  // scratch
};

}  // namespace chunkllm

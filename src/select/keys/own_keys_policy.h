// What the policies share that choose by the model's own keys and queries: no training, any model.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "model/config.h"
#include "select/chunk/chunked_policy.h"

namespace chunkllm {

// How the chunks of such a policy end.
struct OwnChunks {
  AdapterConfig rules = {};                   // what ChunkRules reads of it
  std::span<const int32_t> special_ids = {};  // that end chunks, ascending
  std::span<const uint8_t> token_marks = {};  // by token id (token_marks.h)
  uint8_t ending_marks = 0;                   // a token with one of these is a boundary
};

// The text says where chunks end, so all layers that do not slide choose among the same ones, the
// first too, and a sequence is cut before it runs. Each chunk has rows of an index, one a KV head,
// made from its cached keys; a refresh scores a chunk by
//   ln(mean over heads h of softmax over eligible chunks j of (scale query_h . row_j))
// Nothing is saved: the index follows from the cache, in one pass over its keys.
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

 protected:
  // Special ids and token marks of `chunks`, and `model`, must outlive it. Rows of the index have
  // `row_size` numbers.
  OwnKeysPolicy(const ModelConfig& model, const SelectionSettings& settings,
                const OwnChunks& chunks, int64_t row_size);

  const ChunkTrack& track_of(int64_t) const override { return track_; }
  std::span<const float> scores_of(const LayerInput& input, std::span<const PlannedSpan> spans,
                                   Range eligible) override;

  // Whether a layer chooses; others attend to everything.
  virtual bool selects(int64_t /*layer*/) const { return true; }
  // The row [row_size] of a chunk from the cached keys of its tokens after the sink, at least one:
  // keys [n_keys, head_dim].
  virtual void index_row(std::span<const float> keys, float* row) const = 0;
  // What a head's query [head_dim] is multiplied with rows as: out [row_size].
  virtual void query_row(const float* query, float* out) const = 0;

  int64_t head_dim() const { return model_.head_dim; }

 private:
  // What a layer keeps.
  struct LayerIndex {
    std::vector<std::vector<float>> rows;  // [n_kv_heads] of [n_chunks, row_size]
    int64_t n_chunks = 0;
    std::vector<float> last_query;  // [n_heads, head_dim] of the last refresh that ran
  };

  void cut(std::span<const int32_t> tokens);
  Range keys_of_chunk(int64_t j) const;
  void extend(const LayerInput& input);
  void keep_last_query(const LayerInput& input);
  const float* query_of(const LayerInput& input, const PlannedSpan& span) const;
  void score(const LayerInput& input, std::span<const PlannedSpan> spans);
  int64_t decided_end(int64_t n_tokens) const;

  const ModelConfig& model_;
  int64_t row_size_;
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
  // Scratch.
  std::vector<float> keys_, queries_, products_, of_heads_, ones_;
};

}  // namespace chunkllm

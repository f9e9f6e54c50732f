// The policy `chunk`: ChunkLLM's selection, prefill and decode alike (docs/method.md).
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "select/chunk/chunk_index.h"
#include "select/chunk/chunked_policy.h"

namespace chunkllm {

// The arrays of its PolicyState: ends of chunks, and for each layer that selects the keys
// [n_chunks, q_dim] and the queries [n_refreshes, q_dim].
inline constexpr const char* kChunkEnds = "chunk_ends";
std::string chunk_keys_name(size_t layer);
std::string refresh_queries_name(size_t layer);

class ChunkPolicy : public ChunkedPolicy {
 public:
  // Adapter and token marks (token_marks.h; none: chunks are cut at their limit) must outlive it.
  ChunkPolicy(const Adapter& adapter, const SelectionSettings& settings,
              std::span<const int32_t> special_ids, std::span<const uint8_t> token_marks = {});

  void begin_block(Range positions, std::span<const int32_t> tokens) override;
  std::span<const AttentionSpan> rows(const LayerInput& input) override;
  void layer_done(int64_t layer, Range positions, const float* hidden) override;
  Range ready(Range positions) override;
  Range next_block(std::span<const int32_t> tokens, int64_t max_tokens) override;
  int64_t truncate(int64_t n_tokens) override;
  PolicyState state() const override;
  void restore(std::span<const int32_t> tokens, const PolicyState& state) override;
  std::vector<ChosenChunk> chosen_at(int64_t position) const override;
  bool selects(int64_t layer) const override { return adapter_.config.selects(layer); }
  int64_t n_chunks() const override { return sentences_.n_chunks(); }
  Range chunk(int64_t i) const override { return sentences_.chunk(i); }
  int64_t n_refreshes() const override { return static_cast<int64_t>(sentences_.refreshes.size()); }
  int64_t size_bytes() const override;

  // Bytes that its index takes at `n_tokens`, foretold at one chunk every 16 tokens and an eighth
  // of the tokens in answers.
  static int64_t index_bytes(const AdapterConfig& adapter, int64_t n_tokens);
  // What its blocks need: a grid chunk at least, and an open chunk may wait.
  static BlockNeeds block_needs(const AdapterConfig& adapter);

  // The chunks of the layers after the first.
  const ChunkTrack& sentences() const { return sentences_; }
  // Those of a grid first layer.
  const ChunkTrack& grid() const { return grid_; }

 protected:
  // What floating-point sums decide beside choose(), so that a test can watch it or make it
  // otherwise: whether the Chunk Adapter predicts a boundary. `margin` is its logit minus its
  // threshold, `own` whether that is above 0.
  virtual bool decide_boundary(int64_t position, float margin, bool own);

  const ChunkTrack& track_of(int64_t layer) const override {
    return layer == 0 ? grid_ : sentences_;
  }
  std::span<const float> scores_of(const LayerInput& input, std::span<const PlannedSpan> spans,
                                   Range eligible) override;

 private:
  bool has_grid() const { return adapter_.config.first_layer == FirstLayerKind::kGrid; }
  void add_to_grid(Range positions, std::span<const int32_t> tokens);
  void add_windows(Range queries);
  // Scores the refreshes of the first spans, all in one pass over the keys.
  void score(int64_t layer, std::span<const PlannedSpan> spans);
  // What does not hang on the layer of the scored refreshes and chunks of a track.
  void measure_chunks(const ChunkTrack& track);
  int64_t decided_at(int64_t chunk) const;
  int64_t restorable_chunks(int64_t n_tokens) const;

  const Adapter& adapter_;
  float logit_threshold_;
  ChunkRules rules_;
  ChunkCutter cutter_;
  ChunkTrack grid_;       // of the first layer
  ChunkTrack sentences_;  // of all other layers

  // Tokens that went through the first layer; whose boundaries were looked for. The first may fall
  // behind where a grid chunk has to be made again.
  int64_t first_done_ = 0;
  int64_t scanned_ = 0;
  // The last length that truncate() went back to, and the token that decided it.
  int64_t restored_ = 0;
  int64_t restored_by_ = 0;

  std::vector<ChunkIndex> layers_;  // [n_layers]
  std::vector<int32_t> block_tokens_;
  // What score() leaves: scores_ [refreshes, selection_heads, chunks].
  Range scored_refreshes_;
  Range scored_chunks_;
  std::vector<float> scores_;
  std::vector<float> mixed_;  // one refresh's, all heads as one
  std::vector<float> work_;   // scratch of what computes them
  // Of the scores' refreshes and chunks in a track, kept from one layer to the next.
  struct Measures {
    const ChunkTrack* track = nullptr;
    Range refreshes = {};
    Range chunks = {};
    std::vector<float> distances = {};  // [refreshes, chunks] features; with a distance term
    std::vector<float> tokens = {};     // [chunks], how many each has; with several heads
  };
  Measures measures_;
};

}  // namespace chunkllm

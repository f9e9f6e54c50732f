// The policy `chunk`: ChunkLLM's selection, prefill and decode alike (METHOD.md in the
// documentation).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "select/chunk/chunk_index.h"
#include "select/chunk/chunk_track.h"
#include "select/chunk/selection.h"
#include "select/chunk/selection_trace.h"
#include "select/policy.h"
#include "select/settings.h"

namespace chunkllm {

// The arrays of its PolicyState: ends of chunks, and for each layer that selects the keys
// [n_chunks, adapter_dim] and the queries [n_refreshes, adapter_dim].
inline constexpr const char* kChunkEnds = "chunk_ends";
std::string chunk_keys_name(size_t layer);
std::string refresh_queries_name(size_t layer);

class ChunkPolicy : public SelectionPolicy {
 public:
  ChunkPolicy(const Adapter& adapter, const SelectionSettings& settings,
              std::span<const int32_t> special_ids);

  void begin_block(Range positions, std::span<const int32_t> tokens) override;
  std::span<const AttentionSpan> rows(const LayerInput& input) override;
  void layer_done(int64_t layer, Range positions, const float* hidden) override;
  void add_prompt(Range positions, std::span<const int64_t> prompt_ends) override;
  int64_t truncate(int64_t n_tokens) override;
  PolicyState state() const override;
  void restore(std::span<const int32_t> tokens, const PolicyState& state) override;
  int64_t rows_attended(int64_t layer) const override;
  int64_t n_chunks() const override { return sentences_.n_chunks(); }
  int64_t n_refreshes() const override { return static_cast<int64_t>(sentences_.refreshes.size()); }
  int64_t size_bytes() const override;

  // Bytes that its index takes at `n_tokens`, foretold at one chunk every 16 tokens.
  static int64_t index_bytes(const AdapterConfig& adapter, int64_t n_tokens);

  // The chunks of the layers after the first.
  const ChunkTrack& sentences() const { return sentences_; }

  // Writes down every decision from now on; `trace` must outlive the policy. Null ends it.
  void record(SelectionTrace* trace);
  // Decides as `trace` did wherever it covers the position, and counts in `differences` what would
  // have been decided otherwise. Both must outlive the policy.
  void replay(const SelectionTrace* trace, TraceDifferences* differences);

 private:
  SelectionLimits limits_at(int64_t position) const;
  bool is_special(int32_t token) const;
  bool is_prompt_end(int64_t position) const;
  bool refreshes_without_boundary(int64_t position) const;
  // The end of the run of tokens from `position` on that attend to everything because their prompt
  // is prefilled in full; `position` itself if it does not.
  int64_t full_prefill_end(int64_t position) const;
  int64_t next_full_prefill(int64_t position) const;

  const ChunkTrack& track_of(int64_t layer) const { return layer == 0 ? grid_ : sentences_; }
  // Scores of some of a layer's refreshes, all that select() may need for them.
  void score(int64_t layer, Range refreshes);
  // Makes the choice of a refresh, whose scores must be there.
  void select(int64_t layer, int64_t refresh);
  void note_difference(const Selection& own, Range eligible, std::span<const float> scores,
                       const std::vector<int64_t>& replayed);
  int64_t restorable_length(int64_t n_tokens) const;
  void emit(Range queries, const Selection* selection);
  void emit_selected(int64_t layer, Range queries);
  void emit_windows(Range queries);
  bool decide_boundary(int64_t position, float logit);
  // Enters a token of the layers after the first into their track.
  void note_token(int64_t position, bool boundary);

  // What a layer that selects keeps.
  struct LayerState {
    ChunkIndex index;
    Selection selection;
    bool selected = false;  // before its first refresh a layer attends to everything
  };

  const Adapter& adapter_;
  SelectionSettings settings_;
  SelectionLimits limits_;
  float logit_threshold_;
  std::vector<int32_t> special_ids_;  // ascending
  ChunkTrack grid_;                   // of the first layer
  ChunkTrack sentences_;              // of all other layers
  std::vector<int64_t> prompt_ends_;  // ascending
  std::vector<Range> full_prefill_;   // ascending, disjoint
  std::vector<LayerState> layers_;    // [n_layers]
  std::vector<int32_t> block_tokens_;
  Range block_;
  std::vector<AttentionSpan> spans_;  // reused; the first n_spans_ are valid
  size_t n_spans_ = 0;
  std::vector<int64_t> rows_attended_;  // [n_layers]
  // What score() leaves: scores_ [refreshes, chunks].
  Range scored_refreshes_;
  Range scored_chunks_;
  std::vector<float> scores_;
  SelectionTrace* record_ = nullptr;
  const SelectionTrace* replay_ = nullptr;
  TraceDifferences* differences_ = nullptr;
};

}  // namespace chunkllm

// The policy `chunk`: ChunkLLM's selection, prefill and decode alike (METHOD.md in the
// documentation).
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "select/chunk/boundaries.h"
#include "select/chunk/chunk_index.h"
#include "select/chunk/chunk_track.h"
#include "select/chunk/selection.h"
#include "select/policy.h"
#include "select/prompt_spans.h"
#include "select/settings.h"
#include "select/spans.h"

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

 protected:
  // What a refresh chooses from. Views of what is in force during the call.
  struct Candidates {
    int64_t layer = 0;
    int64_t position = 0;  // of the refresh
    const ChunkTrack& track;
    const SelectionLimits& limits;
    Range eligible;                 // chunk indices
    std::span<const float> scores;  // of the eligible chunks; empty where all of them fit
  };
  // The two decisions that floating-point sums go into, so that a test can watch them or make them
  // otherwise. `margin` is the Chunk Adapter's logit minus its threshold, `own` what the rules make
  // of it.
  virtual bool decide_boundary(int64_t position, float margin, bool own);
  virtual Selection choose(const Candidates& candidates);

 private:
  SelectionLimits limits_at(int64_t position) const;
  const ChunkTrack& track_of(int64_t layer) const { return layer == 0 ? grid_ : sentences_; }
  void add_selected(int64_t layer, Range queries);
  void add_windows(Range queries);
  // Scores refreshes with these numbers, all in one pass over the keys, for select().
  void score(int64_t layer, Range refreshes);
  void select(int64_t layer, int64_t refresh);
  int64_t restorable_length(int64_t n_tokens) const;

  // What a layer that selects keeps.
  struct LayerState {
    ChunkIndex index;
    Selection selection;
    bool selected = false;  // before its first refresh a layer attends to everything
  };

  const Adapter& adapter_;
  KvBudget budget_;
  int64_t least_budget_ = 0;  // tokens, of a fraction
  SelectionLimits limits_;    // but for the budget
  float logit_threshold_;
  ChunkRules rules_;
  ChunkTrack grid_;       // of the first layer
  ChunkTrack sentences_;  // of all other layers
  PromptSpans prompts_;
  std::vector<LayerState> layers_;  // [n_layers]
  std::vector<int32_t> block_tokens_;
  SpanList spans_;
  std::vector<int64_t> rows_attended_;  // [n_layers]
  // What score() leaves: scores_ [refreshes, chunks].
  Range scored_refreshes_;
  Range scored_chunks_;
  std::vector<float> scores_;
};

}  // namespace chunkllm

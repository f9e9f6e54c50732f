// The policy `chunk`: ChunkLLM's selection, prefill and decode alike (docs/method.md).
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "select/chunk/boundaries.h"
#include "select/chunk/chunk_index.h"
#include "select/chunk/chunk_track.h"
#include "select/chunk/selection.h"
#include "select/chunk/span_plan.h"
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
  // Adapter and token marks (token_marks.h; none: chunks are cut at their limit) must outlive it.
  ChunkPolicy(const Adapter& adapter, const SelectionSettings& settings,
              std::span<const int32_t> special_ids, std::span<const uint8_t> token_marks = {});

  void begin_block(Range positions, std::span<const int32_t> tokens) override;
  std::span<const AttentionSpan> rows(const LayerInput& input) override;
  void layer_done(int64_t layer, Range positions, const float* hidden) override;
  Range ready(Range positions) override;
  void add_prompt(Range positions, std::span<const int64_t> prompt_ends) override;
  Range next_block(int64_t n_known, int64_t max_tokens) override;
  int64_t n_done() const override { return done_; }
  int64_t truncate(int64_t n_tokens) override;
  PolicyState state() const override;
  void restore(std::span<const int32_t> tokens, const PolicyState& state) override;
  int64_t rows_attended(int64_t layer) const override;
  int64_t prompt_rows_attended() const override { return prompt_rows_attended_; }
  std::vector<ChosenChunk> chosen_at(int64_t position) const override;
  int64_t n_chunks() const override { return sentences_.n_chunks(); }
  int64_t n_refreshes() const override { return static_cast<int64_t>(sentences_.refreshes.size()); }
  int64_t size_bytes() const override;

  // Bytes that its index takes at `n_tokens`, foretold at one chunk every 16 tokens and an eighth
  // of the tokens in answers.
  static int64_t index_bytes(const AdapterConfig& adapter, int64_t n_tokens);
  // What its blocks need: a grid chunk at least, and an open chunk may wait.
  static BlockNeeds block_needs(const AdapterConfig& adapter);

  // The chunks of the layers after the first.
  const ChunkTrack& sentences() const { return sentences_; }

 protected:
  // What a refresh chooses from. Views of what is in force during the call.
  struct Candidates {
    int64_t layer = 0;
    int64_t position = 0;         // of the refresh
    bool prefill_budget = false;  // for prompt tokens
    const ChunkTrack& track;
    const SelectionLimits& limits;
    Range eligible;                 // chunk indices
    std::span<const float> scores;  // of the eligible chunks; empty where all of them fit
  };
  // The two decisions that floating-point sums go into, so that a test can watch them or make them
  // otherwise. decide_boundary() says whether the Chunk Adapter predicts one: `margin` is its logit
  // minus its threshold, `own` whether that is above 0.
  virtual bool decide_boundary(int64_t position, float margin, bool own);
  virtual Selection choose(const Candidates& candidates);

 private:
  // What a layer that selects keeps.
  struct LayerState {
    ChunkIndex index;
    PlannedSpan chosen_for = {};  // the last span that selected; everything(): none
    Selection selection = {};
  };

  bool has_grid() const { return adapter_.config.first_layer == FirstLayerKind::kGrid; }
  const ChunkTrack& track_of(int64_t layer) const { return layer == 0 ? grid_ : sentences_; }
  TokenRole role_at(int64_t position) const;
  void add_to_grid(Range positions, std::span<const int32_t> tokens);
  SelectionLimits limits_of(const PlannedSpan& span, int64_t position) const;
  // Whether all before `position` may run although nothing after it is known.
  bool is_whole(int64_t position) const;
  void add_selected(int64_t layer);
  void add_windows(Range queries);
  void add_everything(Range queries);
  // Counts what prompt tokens attend to: all rows before them but `n_left_out`.
  void count_prompt_rows(Range queries, int64_t n_left_out);
  // The selection of the first of these spans, which are those of a layer from some number on.
  const Selection& select(int64_t layer, std::span<const PlannedSpan> spans);
  // Scores the refreshes of the first spans, all in one pass over the keys, for select().
  void score(int64_t layer, std::span<const PlannedSpan> spans);
  const float* distances(const ChunkTrack& track);
  int64_t decided_at(int64_t chunk) const;
  int64_t restorable_chunks(int64_t n_tokens) const;

  const Adapter& adapter_;
  SelectionSettings settings_;
  int64_t least_budget_ = 0;  // tokens, of a fraction
  SelectionLimits limits_;    // but for what a span changes
  float logit_threshold_;
  ChunkRules rules_;
  ChunkCutter cutter_;
  ChunkTrack grid_;       // of the first layer
  ChunkTrack sentences_;  // of all other layers
  PromptSpans prompts_;
  bool by_own_end_;  // whether tokens of a prompt wait for their chunk's end

  // Tokens that went through the first layer; whose boundaries were looked for; that are done in
  // all layers; that are known. The first may fall behind where a grid chunk has to be made again.
  int64_t first_done_ = 0;
  int64_t scanned_ = 0;
  int64_t done_ = 0;
  int64_t n_known_ = 0;
  // The last length that truncate() went back to, and the token that decided it.
  int64_t restored_ = 0;
  int64_t restored_by_ = 0;

  std::vector<LayerState> layers_;  // [n_layers]
  std::vector<int32_t> block_tokens_;
  std::vector<PlannedSpan> plan_;  // of the layer that runs
  SpanList spans_;
  std::vector<int64_t> rows_attended_;  // [n_layers]
  int64_t prompt_rows_attended_ = 0;
  int64_t count_from_ = 0;  // rows of tokens before it were counted
  // What score() leaves: scores_ [refreshes, chunks].
  Range scored_refreshes_;
  Range scored_chunks_;
  std::vector<float> scores_;
  // Those of the scores' refreshes and chunks in a track, kept from one layer to the next.
  struct Distances {
    const ChunkTrack* track = nullptr;
    Range refreshes = {};
    Range chunks = {};
    std::vector<float> values = {};
  };
  Distances distances_;
};

}  // namespace chunkllm

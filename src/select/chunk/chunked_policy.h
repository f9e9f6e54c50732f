// What policies share whose layers choose among chunks: prompts, budgets, spans and counts.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "select/chunk/boundaries.h"
#include "select/chunk/chunk_track.h"
#include "select/chunk/layer_shares.h"
#include "select/chunk/remainder.h"
#include "select/chunk/selection.h"
#include "select/chunk/span_plan.h"
#include "select/chunk/token_lookup.h"
#include "select/policy.h"
#include "select/prompt_spans.h"
#include "select/settings.h"
#include "select/spans.h"

namespace chunkllm {

// Turns a plan of spans and the scores of chunks into what the tokens of a block attend to. Where
// chunks end, how they are scored and in which blocks tokens run is for those that derive from it.
class ChunkedPolicy : public SelectionPolicy {
 public:
  void add_prompt(Range positions, std::span<const int64_t> prompt_ends) override;
  int64_t n_done() const override { return done_; }
  Range refreshes_in(int64_t layer, Range positions) const override {
    return track_of(layer).refreshes_in(positions);
  }
  int64_t refresh_at(int64_t layer, int64_t number) const override {
    return track_of(layer).refreshes[static_cast<size_t>(number)];
  }
  int64_t rows_attended(int64_t layer) const override;
  int64_t prompt_rows_attended() const override { return prompt_rows_attended_; }
  WeightedRows weighted_rows() const override;

 protected:
  // `sink` and `window` where the settings leave them open; a fractional budget's least follows
  // from them and `max_chunk`.
  ChunkedPolicy(const SelectionSettings& settings, int64_t n_layers, int64_t sink, int64_t window,
                int64_t max_chunk, LayerShares shares = LayerShares());

  // What a refresh chooses from. Views of what is in force during the call.
  struct Candidates {
    int64_t layer = 0;
    int64_t position = 0;         // of the refresh
    bool prefill_budget = false;  // for prompt tokens
    const ChunkTrack& track;
    const SelectionLimits& limits;
    Range eligible;                      // chunk indices
    std::span<const float> scores;       // of the eligible chunks; empty where all of them fit
    std::span<const int64_t> preferred;  // chunks that lookup finds
  };
  // The choice itself, so that a test can watch it or make it otherwise.
  virtual Selection choose(const Candidates& candidates);

  // The chunks of a layer.
  virtual const ChunkTrack& track_of(int64_t layer) const = 0;
  // The scores of the chunks that are eligible for the first of `spans`, the plan's from there on;
  // not everything fits it. Valid until the next call.
  virtual std::span<const float> scores_of(const LayerInput& input,
                                           std::span<const PlannedSpan> spans, Range eligible) = 0;

  TokenRole role_at(int64_t position) const;
  SelectionLimits limits_of(int64_t layer, const PlannedSpan& span, int64_t position) const;
  // Whether all before `position` may run although nothing after it is known.
  bool is_whole(int64_t position) const;
  // Takes in tokens from position `first` on, for lookup.
  void look_up_tokens(int64_t first, std::span<const int32_t> tokens);
  // The eligible chunks that lookup prefers at a refresh of an answer, ascending.
  std::vector<int64_t> preferred_by_lookup(const ChunkTrack& track, int64_t position,
                                           const SelectionLimits& limits) const;
  // Before the spans of a layer are added; and once they are.
  void begin_layer() { spans_.clear(); }
  std::span<const AttentionSpan> end_layer(int64_t layer);
  // Adds the spans of plan_.
  void add_selected(const LayerInput& input);
  void add_everything(Range queries);
  // Counts what prompt tokens attend to: all rows before them but `n_left_out`.
  void count_prompt_rows(Range queries, int64_t n_left_out);
  // What was chosen is chosen anew, and what was summed of chunks behind done_ is summed anew;
  // lookup forgets the tokens from n_known_ on.
  void forget_selections();
  // Bytes of what is kept for the remainder and for lookup.
  int64_t kept_bytes() const;

  SelectionSettings settings_;
  SelectionLimits limits_;  // but for what a span changes
  PromptSpans prompts_;
  bool by_own_end_;                // whether tokens of a prompt wait for their chunk's end
  int64_t done_ = 0;               // tokens that are done in all layers
  int64_t n_known_ = 0;            // tokens that are known
  int64_t count_from_ = 0;         // rows of tokens before it were counted
  std::vector<PlannedSpan> plan_;  // of the layer that runs
  SpanList spans_;

 private:
  // What select() chooses by, for a span of the layer.
  struct Limits {
    SelectionLimits limits = {};
    Range eligible = {};      // chunks
    int64_t n_remainder = 0;  // most rows that stand for chunks left out
  };
  // What was chosen last in a layer.
  struct Chosen {
    PlannedSpan by = {};  // everything(): nothing was
    Limits limits = {};
    Selection selection = {};
  };
  // The selection of the first of these spans, which are those of the plan from some number on.
  const Chosen& select(const LayerInput& input, std::span<const PlannedSpan> spans);
  Limits limits_in(int64_t layer, const PlannedSpan& span) const;
  void begin_remainder(const LayerInput& input);
  // preferred_by_lookup(), kept from layer to layer. Valid until the next call.
  std::span<const int64_t> preferred_in(const ChunkTrack& track, int64_t position,
                                        const SelectionLimits& limits);

  int64_t least_budget_;  // tokens, of a fraction
  LayerShares shares_;
  std::vector<Chosen> chosen_;          // [n_layers]
  std::vector<int64_t> rows_attended_;  // [n_layers]
  int64_t prompt_rows_attended_ = 0;
  std::vector<ChunkSums> sums_;  // [n_layers]; with a remainder
  RemainderRows remainder_;      // of the layer that runs
  TokenLookup lookup_;
  // What lookup found last: the same for all layers of a track with one budget.
  struct Preferred {
    const ChunkTrack* track = nullptr;
    int64_t position = -1;  // of the refresh
    int64_t budget = 0;
    std::vector<int64_t> chunks = {};
  };
  Preferred preferred_;
};

}  // namespace chunkllm

#include "select/chunk/chunk_policy.h"

#include <algorithm>
#include <cmath>

#include "kernels/ops/ops.h"
#include "select/chunk/distance.h"

namespace chunkllm {
namespace {

// Refreshes whose scores are computed in one pass over the keys; enough to pay, few enough that
// their scores take little memory at a million tokens.
constexpr int64_t kScoredTogether = 32;

AdapterConfig with_min_chunk(AdapterConfig config, const SelectionSettings& settings) {
  config.min_chunk = settings.min_chunk.value_or(config.min_chunk);
  return config;
}

}  // namespace

ChunkPolicy::ChunkPolicy(const Adapter& adapter, const SelectionSettings& settings,
                         std::span<const int32_t> special_ids, std::span<const uint8_t> token_marks)
    : ChunkedPolicy(settings, adapter.config.n_layers, adapter.config.sink, adapter.config.window,
                    adapter.config.max_chunk,
                    LayerShares(settings.layer_budgets ? adapter.config.layer_shares
                                                       : std::vector<double>())),
      adapter_(adapter),
      logit_threshold_(std::log(adapter.config.alpha / (1.0f - adapter.config.alpha))),
      rules_(with_min_chunk(adapter.config, settings), special_ids,
             {.kind = settings.refresh, .every = settings.refresh_every}, token_marks),
      cutter_(rules_) {
  const AdapterConfig& config = adapter.config;
  for (int64_t i = 0; i < config.n_layers; ++i) {
    layers_.emplace_back(adapter.layers[static_cast<size_t>(i)], config, config.key_of(i));
  }
}

BlockNeeds ChunkPolicy::block_needs(const AdapterConfig& adapter) {
  const bool has_grid = adapter.first_layer == FirstLayerKind::kGrid;
  return {.least_tokens = has_grid ? adapter.first_layer_tokens : 1,
          .waiting_tokens = adapter.max_chunk};
}

// Blocks end where grid chunks do, or where a prompt does, so that the refreshes that tokens of a
// prompt attend by lie in their own block; and at multiples of the block's size, so that they are
// the same for a sequence that goes on from a saved begin.
Range ChunkPolicy::next_block(std::span<const int32_t> tokens, int64_t max_tokens) {
  const auto n_known = static_cast<int64_t>(tokens.size());
  n_known_ = n_known;
  const int64_t unit = has_grid() ? adapter_.config.first_layer_tokens : 1;
  const int64_t step = std::max(unit, max_tokens - max_tokens % unit);
  int64_t end = std::min((first_done_ / step + 1) * step, n_known);
  if (!is_whole(end)) {
    const PromptSpan& prompt = *prompts_.find(end - 1);
    const auto [begin, prompt_end] = prompt.positions;
    if (!prompt.has_end && prompt_end == n_known) {
      end = std::min(end, n_known - prompts_.n_undecided());
    }
    end = std::max(end - end % unit, begin);
  }
  return {first_done_, std::max(first_done_, end)};
}

void ChunkPolicy::add_to_grid(Range positions, std::span<const int32_t> tokens) {
  if (!has_grid()) return;
  for (int64_t t = positions.begin; t < positions.end; ++t) {
    rules_.add_to_grid(grid_, t, tokens[static_cast<size_t>(t - positions.begin)], role_at(t));
  }
}

void ChunkPolicy::begin_block(Range positions, std::span<const int32_t> tokens) {
  block_tokens_.assign(tokens.begin(), tokens.end());
  look_up_tokens(positions.begin, tokens);
  add_to_grid(positions, tokens);
  count_from_ = done_;
  if (has_grid()) plan_ = plan_spans(grid_, prompts_, positions, settings_.prefill_selection);
}

// The Chunk Adapter reads the first layer's output; what it finds holds for all later layers.
void ChunkPolicy::layer_done(int64_t layer, Range positions, const float* hidden) {
  if (layer != 0) return;
  const int64_t d_model = adapter_.config.d_model;
  for (int64_t t = std::max(positions.begin, scanned_); t < positions.end; ++t) {
    const float* h = hidden + (t - positions.begin) * d_model;
    const float logit = dot(adapter_.boundary_weight.data(), h, d_model) + adapter_.boundary_bias;
    const int32_t token = block_tokens_[static_cast<size_t>(t - positions.begin)];
    const float margin = logit - logit_threshold_;
    const PromptSpan* prompt = prompts_.find(t);
    const auto prompt_begin =
        prompt != nullptr ? std::optional(prompt->positions.begin) : std::nullopt;
    cutter_.add(sentences_, t, token, decide_boundary(t, margin, margin > 0), prompt_begin,
                prompts_.is_end(t));
  }
  first_done_ = positions.end;
  scanned_ = std::max(scanned_, first_done_);
}

// The other layers run to the last chunk end, since tokens of a prompt may attend by the selection
// made at their own; or as far as the first one where nothing that comes can matter.
Range ChunkPolicy::ready(Range positions) {
  int64_t end = positions.end;
  if (!is_whole(end)) {
    end = std::max(sentences_.open_begin(), prompts_.find(end - 1)->positions.begin);
  }
  const Range run{done_, std::max(done_, end)};
  plan_ = plan_spans(sentences_, prompts_, run, settings_.prefill_selection);
  done_ = run.end;
  return run;
}

std::span<const AttentionSpan> ChunkPolicy::rows(const LayerInput& input) {
  begin_layer();
  const Range positions = input.positions;
  if (adapter_.config.selects(input.layer)) {
    layers_[static_cast<size_t>(input.layer)].extend(track_of(input.layer), positions, input.x);
    scored_refreshes_ = {};
    add_selected(input);
  } else if (adapter_.config.first_layer == FirstLayerKind::kWindow) {
    add_windows(positions);
  } else {
    add_everything(positions);
  }
  return end_layer(input.layer);
}

// The first layer as sink and a sliding window; everything while the context is within the budget.
void ChunkPolicy::add_windows(Range queries) {
  for (int64_t t = queries.begin; t < queries.end; ++t) {
    const bool in_prompt = prompts_.find(t) != nullptr;
    const SelectionLimits limits =
        limits_of(0, {.prefill_budget = in_prompt && !prompts_.is_end(t)}, t);
    int64_t n_left_out = 0;
    if (prompts_.attends_to_everything(t) || everything_fits(t, limits)) {
      spans_.add_everything({t, t + 1});
    } else {
      const int64_t begin = std::max<int64_t>(0, t + 1 - adapter_.config.first_layer_tokens);
      const Range sink{0, std::min(limits.sink, begin)};
      spans_.add_alone(t, {&sink, sink.empty() ? size_t{0} : size_t{1}}, begin);
      n_left_out = begin - sink.end;
    }
    if (in_prompt) count_prompt_rows({t, t + 1}, n_left_out);
  }
}

void ChunkPolicy::score(int64_t layer, std::span<const PlannedSpan> spans) {
  const ChunkTrack& track = track_of(layer);
  scored_refreshes_ = {spans.front().refresh, spans.front().refresh};
  scored_chunks_ = {};
  for (const PlannedSpan& span : spans) {
    if (span.everything()) continue;
    if (span.refresh >= scored_refreshes_.begin + kScoredTogether) break;
    scored_refreshes_.end = std::max(scored_refreshes_.end, span.refresh + 1);
    const int64_t position = refresh_at(layer, span.refresh);
    const SelectionLimits limits = limits_of(layer, span, position);
    if (everything_fits(position, limits)) continue;
    const Range eligible = eligible_chunks(track, position, limits);
    if (scored_chunks_.empty()) scored_chunks_ = eligible;
    scored_chunks_.end = std::max(scored_chunks_.end, eligible.end);
  }
  const auto n = static_cast<size_t>(scored_refreshes_.size() * adapter_.config.selection_heads *
                                     scored_chunks_.size());
  if (scores_.size() < n) scores_.resize(n);
  measure_chunks(track);
  layers_[static_cast<size_t>(layer)].scores(scored_refreshes_, scored_chunks_,
                                             measures_.distances.data(), work_, scores_.data());
}

void ChunkPolicy::measure_chunks(const ChunkTrack& track) {
  if (measures_.track == &track && measures_.refreshes == scored_refreshes_ &&
      measures_.chunks == scored_chunks_) {
    return;
  }
  measures_.track = &track;
  measures_.refreshes = scored_refreshes_;
  measures_.chunks = scored_chunks_;
  const int64_t n_chunks = scored_chunks_.size();
  if (adapter_.config.distance_term) {
    measures_.distances.resize(static_cast<size_t>(scored_refreshes_.size() * n_chunks));
    distance_features(track, scored_refreshes_, scored_chunks_, measures_.distances.data());
  }
  if (adapter_.config.selection_heads > 1) {
    measures_.tokens.resize(static_cast<size_t>(n_chunks));
    chunk_lengths(track, scored_chunks_, measures_.tokens.data());
  }
}

std::span<const float> ChunkPolicy::scores_of(const LayerInput& input,
                                              std::span<const PlannedSpan> spans, Range eligible) {
  const int64_t refresh = spans.front().refresh;
  if (!scored_refreshes_.contains(refresh)) score(input.layer, spans);
  const int64_t n_heads = adapter_.config.selection_heads;
  const int64_t row = (refresh - scored_refreshes_.begin) * n_heads;
  const float* of_heads = scores_.data() + row * scored_chunks_.size();
  const auto n_chunks = static_cast<size_t>(eligible.size());
  if (n_heads == 1) return {of_heads, n_chunks};
  mixed_.resize(n_chunks);
  work_.resize(n_chunks);
  mix_heads(of_heads, n_heads, scored_chunks_.size(), measures_.tokens.data(), eligible.size(),
            work_.data(), mixed_.data());
  return mixed_;
}

bool ChunkPolicy::decide_boundary(int64_t, float, bool own) { return own; }

// The position of the last token that says where a chunk ends: its boundary token, or the one at
// which a forced cut was made, or the refresh by which that token attended in the first layer.
int64_t ChunkPolicy::decided_at(int64_t chunk) const {
  const int64_t last = rules_.decided_at(sentences_.chunk(chunk));
  if (!by_own_end_ || !has_grid() || prompts_.find(last) == nullptr) return last;
  const int64_t next = grid_.refreshes_in({0, last}).end;
  if (next < std::ssize(grid_.refreshes)) return grid_.refreshes[static_cast<size_t>(next)];
  // The grid was cut, or does not reach so far.
  return last < restored_ ? restored_by_ : n_known_;
}

// How many chunks have ends that tokens before `n_tokens` decided.
int64_t ChunkPolicy::restorable_chunks(int64_t n_tokens) const {
  for (int64_t j = sentences_.n_closed_at(std::min(n_tokens, done_)) - 1; j >= 0; --j) {
    if (decided_at(j) < n_tokens) return j + 1;
  }
  return 0;
}

int64_t ChunkPolicy::truncate(int64_t n_tokens) {
  n_known_ = std::max(n_known_, n_tokens);
  const int64_t n_chunks = restorable_chunks(prompts_.first_changed(n_tokens));
  restored_by_ = n_chunks > 0 ? decided_at(n_chunks - 1) : 0;
  restored_ = done_ = n_chunks > 0 ? sentences_.chunk(n_chunks - 1).end : 0;
  first_done_ = has_grid() ? done_ - done_ % adapter_.config.first_layer_tokens : done_;
  scanned_ = done_;
  n_known_ = n_tokens;
  sentences_.truncate(done_);
  grid_.truncate(first_done_);
  prompts_.truncate(n_tokens);
  cutter_.reset();
  measures_.track = nullptr;
  forget_selections();
  for (int64_t layer = 0; layer < adapter_.config.n_layers; ++layer) {
    if (!adapter_.config.selects(layer)) continue;
    layers_[static_cast<size_t>(layer)].truncate(track_of(layer));
  }
  return done_;
}

int64_t ChunkPolicy::index_bytes(const AdapterConfig& adapter, int64_t n_tokens) {
  constexpr int64_t kTokensPerChunk = 16;
  constexpr int64_t kTokensPerAnswerToken = 8;  // each of which keeps a query
  const int64_t n_rows = 2 * (n_tokens / kTokensPerChunk) + n_tokens / kTokensPerAnswerToken;
  return n_rows * adapter.n_selecting() * adapter.q_dim() * 4;
}

int64_t ChunkPolicy::size_bytes() const {
  int64_t n_bytes = static_cast<int64_t>((grid_.ends.size() + grid_.refreshes.size() +
                                          sentences_.ends.size() + sentences_.refreshes.size()) *
                                         sizeof(int64_t));
  for (const ChunkIndex& index : layers_) n_bytes += index.size_bytes();
  return n_bytes + kept_bytes();
}

}  // namespace chunkllm

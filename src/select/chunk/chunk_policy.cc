#include "select/chunk/chunk_policy.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "kernels/ops/ops.h"

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

std::string chunk_keys_name(size_t layer) { return fmt::format("layers.{}.chunk_keys", layer); }
std::string refresh_queries_name(size_t layer) {
  return fmt::format("layers.{}.refresh_queries", layer);
}

ChunkPolicy::ChunkPolicy(const Adapter& adapter, const SelectionSettings& settings,
                         std::span<const int32_t> special_ids)
    : adapter_(adapter),
      budget_(settings.budget),
      logit_threshold_(std::log(adapter.config.alpha / (1.0f - adapter.config.alpha))),
      rules_(with_min_chunk(adapter.config, settings), special_ids,
             {.kind = settings.refresh, .every = settings.refresh_every}),
      prompts_(settings.prefill),
      rows_attended_(static_cast<size_t>(adapter.config.n_layers), 0) {
  const AdapterConfig& config = adapter.config;
  limits_.sink = settings.sink.value_or(config.sink);
  limits_.window = settings.window.value_or(config.window);
  limits_.top_k_chunks = settings.budget.top_k_chunks.value_or(0);
  least_budget_ = budget_.least_tokens(limits_.sink, limits_.window, config.max_chunk);
  for (int64_t i = 0; i < config.n_layers; ++i) {
    layers_.push_back(
        {ChunkIndex(adapter.layers[static_cast<size_t>(i)], config, config.key_of(i)), {}, false});
  }
}

SelectionLimits ChunkPolicy::limits_at(int64_t position) const {
  SelectionLimits limits = limits_;
  limits.budget = budget_.tokens_at(position, least_budget_);
  return limits;
}

void ChunkPolicy::add_prompt(Range positions, std::span<const int64_t> prompt_ends) {
  prompts_.add(positions, prompt_ends);
}

void ChunkPolicy::begin_block(Range positions, std::span<const int32_t> tokens) {
  block_tokens_.assign(tokens.begin(), tokens.end());
  if (adapter_.config.first_layer != FirstLayerKind::kGrid) return;
  for (int64_t t = positions.begin; t < positions.end; ++t) {
    rules_.add_to_grid(grid_, t, tokens[static_cast<size_t>(t - positions.begin)],
                       prompts_.is_end(t));
  }
}

// The Chunk Adapter reads the first layer's output; what it finds holds for all later layers.
void ChunkPolicy::layer_done(int64_t layer, Range positions, const float* hidden) {
  if (layer != 0) return;
  const int64_t d_model = adapter_.config.d_model;
  for (int64_t t = positions.begin; t < positions.end; ++t) {
    const float* h = hidden + (t - positions.begin) * d_model;
    const float logit = dot(adapter_.boundary_weight.data(), h, d_model) + adapter_.boundary_bias;
    const int32_t token = block_tokens_[static_cast<size_t>(t - positions.begin)];
    const bool boundary = rules_.ends_chunk(sentences_, t, token, logit > logit_threshold_);
    rules_.add(sentences_, t, decide_boundary(t, logit - logit_threshold_, boundary),
               prompts_.is_end(t));
  }
}

std::span<const AttentionSpan> ChunkPolicy::rows(const LayerInput& input) {
  spans_.clear();
  const Range positions = input.positions;
  if (adapter_.config.selects(input.layer)) {
    LayerState& state = layers_[static_cast<size_t>(input.layer)];
    state.index.extend(track_of(input.layer), positions, input.x);
    for (int64_t t = positions.begin; t < positions.end;) {
      const int64_t full_end = std::min(prompts_.full_end(t), positions.end);
      if (full_end > t) {
        spans_.add_everything({t, full_end});
        t = full_end;
      } else {
        const int64_t end = prompts_.next_full(t, positions.end);
        add_selected(input.layer, {t, end});
        t = end;
      }
    }
  } else if (adapter_.config.first_layer == FirstLayerKind::kWindow) {
    add_windows(positions);
  } else {
    spans_.add_everything(positions);
  }
  rows_attended_[static_cast<size_t>(input.layer)] = spans_.rows_of_last_query();
  return spans_.spans();
}

// Spans of the tokens between refreshes, each over the selection in force.
void ChunkPolicy::add_selected(int64_t layer, Range queries) {
  const LayerState& state = layers_[static_cast<size_t>(layer)];
  const auto add = [&](Range span) {
    if (state.selected) {
      spans_.add(span, state.selection.rows, state.selection.local_begin);
    } else {
      spans_.add_everything(span);
    }
  };
  const ChunkTrack& track = track_of(layer);
  const Range refreshes = track.refreshes_in(queries);
  int64_t begin = queries.begin;
  for (int64_t i = refreshes.begin; i < refreshes.end; ++i) {
    if ((i - refreshes.begin) % kScoredTogether == 0) {
      score(layer, {i, std::min(i + kScoredTogether, refreshes.end)});
    }
    const int64_t position = track.refreshes[static_cast<size_t>(i)];
    add({begin, position});
    select(layer, i);
    begin = position;
  }
  add({begin, queries.end});
}

// The first layer as sink and a sliding window; everything while the context is within the budget.
void ChunkPolicy::add_windows(Range queries) {
  for (int64_t t = queries.begin; t < queries.end; ++t) {
    const SelectionLimits limits = limits_at(t);
    if (prompts_.full_end(t) > t || everything_fits(t, limits)) {
      spans_.add_everything({t, t + 1});
      continue;
    }
    const int64_t begin = std::max<int64_t>(0, t + 1 - adapter_.config.first_layer_tokens);
    const Range sink{0, std::min(limits.sink, begin)};
    spans_.add({t, t + 1}, {&sink, sink.empty() ? size_t{0} : size_t{1}}, begin);
  }
}

void ChunkPolicy::score(int64_t layer, Range refreshes) {
  const ChunkTrack& track = track_of(layer);
  scored_refreshes_ = refreshes;
  scored_chunks_ = {};
  for (int64_t i = refreshes.begin; i < refreshes.end; ++i) {
    const int64_t position = track.refreshes[static_cast<size_t>(i)];
    const SelectionLimits limits = limits_at(position);
    if (everything_fits(position, limits)) continue;
    const Range eligible = eligible_chunks(track, position, limits);
    if (scored_chunks_.empty()) scored_chunks_ = eligible;
    scored_chunks_.end = std::max(scored_chunks_.end, eligible.end);
  }
  const auto n = static_cast<size_t>(refreshes.size() * scored_chunks_.size());
  if (scores_.size() < n) scores_.resize(n);
  layers_[static_cast<size_t>(layer)].index.scores(refreshes, scored_chunks_, scores_.data());
}

void ChunkPolicy::select(int64_t layer, int64_t refresh) {
  LayerState& state = layers_[static_cast<size_t>(layer)];
  const ChunkTrack& track = track_of(layer);
  const int64_t position = track.refreshes[static_cast<size_t>(refresh)];
  const SelectionLimits limits = limits_at(position);
  // Boundaries after the refresh are known in a block, and must not be.
  const Range eligible = eligible_chunks(track, position, limits);
  std::span<const float> scores;
  if (!everything_fits(position, limits)) {
    const int64_t row = refresh - scored_refreshes_.begin;
    scores = std::span(scores_).subspan(static_cast<size_t>(row * scored_chunks_.size()),
                                        static_cast<size_t>(eligible.size()));
  }
  state.selection = choose({.layer = layer,
                            .position = position,
                            .track = track,
                            .limits = limits,
                            .eligible = eligible,
                            .scores = scores});
  state.selected = true;
}

bool ChunkPolicy::decide_boundary(int64_t, float, bool own) { return own; }

Selection ChunkPolicy::choose(const Candidates& candidates) {
  return select_chunks(candidates.track, candidates.position, candidates.limits, candidates.scores);
}

// A mean key needs its chunk's inputs from the begin on.
int64_t ChunkPolicy::restorable_length(int64_t n_tokens) const {
  const AdapterConfig& config = adapter_.config;
  while (true) {
    int64_t n = n_tokens;
    if (config.first_layer == FirstLayerKind::kGrid) n -= n % config.first_layer_tokens;
    if (config.chunk_key == ChunkKey::kMean) n = sentences_.begin_of_chunk_at(n);
    if (n == n_tokens) return n;
    n_tokens = n;
  }
}

int64_t ChunkPolicy::truncate(int64_t n_tokens) {
  n_tokens = restorable_length(n_tokens);
  grid_.truncate(n_tokens);
  sentences_.truncate(n_tokens);
  prompts_.truncate(n_tokens);
  for (int64_t layer = 0; layer < adapter_.config.n_layers; ++layer) {
    LayerState& state = layers_[static_cast<size_t>(layer)];
    state.selected = false;
    if (!adapter_.config.selects(layer)) continue;
    const ChunkTrack& track = track_of(layer);
    state.index.truncate(track);
    // The selection in force is that of the last refresh left, unless it lay in a prompt run in
    // full.
    for (auto i = static_cast<int64_t>(track.refreshes.size()) - 1; i >= 0; --i) {
      const int64_t position = track.refreshes[static_cast<size_t>(i)];
      if (prompts_.full_end(position) > position) continue;
      score(layer, {i, i + 1});
      select(layer, i);
      break;
    }
  }
  return n_tokens;
}

PolicyState ChunkPolicy::state() const {
  PolicyState state;
  state.positions[kChunkEnds] = sentences_.ends;
  for (size_t i = 0; i < layers_.size(); ++i) {
    if (!adapter_.config.selects(static_cast<int64_t>(i))) continue;
    state.floats[chunk_keys_name(i)] = layers_[i].index.keys();
    state.floats[refresh_queries_name(i)] = layers_[i].index.queries();
  }
  return state;
}

void ChunkPolicy::restore(std::span<const int32_t> tokens, const PolicyState& state) {
  const auto n_tokens = static_cast<int64_t>(tokens.size());
  const auto refuse = [](const std::string& what) {
    fail(ErrorCode::kData, "the saved chunk index does not fit its tokens: {}; make it anew", what);
  };
  const auto find = [&](const auto& arrays, const std::string& name) -> const auto& {
    const auto found = arrays.find(name);
    if (found == arrays.end()) refuse(name + " is missing");
    return found->second;
  };
  begin_block({0, n_tokens}, tokens);
  const std::vector<int64_t>& ends = find(state.positions, kChunkEnds);
  auto next_end = ends.begin();
  for (int64_t t = 0; t < n_tokens; ++t) {
    const bool boundary = next_end != ends.end() && *next_end == t + 1;
    if (boundary) ++next_end;
    rules_.add(sentences_, t, boundary, prompts_.is_end(t));
  }
  if (next_end != ends.end()) {
    refuse(fmt::format("chunk end {} is out of order or beyond {} tokens", *next_end, n_tokens));
  }
  size_t n_used = 0;
  for (size_t i = 0; i < layers_.size(); ++i) {
    if (!adapter_.config.selects(static_cast<int64_t>(i))) continue;
    const ChunkTrack& track = track_of(static_cast<int64_t>(i));
    const std::vector<float>& keys = find(state.floats, chunk_keys_name(i));
    const std::vector<float>& queries = find(state.floats, refresh_queries_name(i));
    n_used += 2;
    if (!layers_[i].index.restore(track, keys, queries)) {
      refuse(fmt::format("layer {} has {} numbers for {} chunks and {} for {} refreshes", i,
                         keys.size(), track.n_chunks(), queries.size(), track.refreshes.size()));
    }
  }
  if (n_used != state.floats.size() || state.positions.size() != 1) {
    refuse("it has arrays that no layer of the model has");
  }
}

int64_t ChunkPolicy::index_bytes(const AdapterConfig& adapter, int64_t n_tokens) {
  constexpr int64_t kTokensPerChunk = 16;
  int64_t n_selecting = 0;
  for (int64_t i = 0; i < adapter.n_layers; ++i) n_selecting += adapter.selects(i) ? 1 : 0;
  return n_tokens / kTokensPerChunk * n_selecting * 2 * adapter.adapter_dim * 4;
}

int64_t ChunkPolicy::rows_attended(int64_t layer) const {
  return rows_attended_[static_cast<size_t>(layer)];
}

int64_t ChunkPolicy::size_bytes() const {
  int64_t n_bytes = static_cast<int64_t>((grid_.ends.size() + grid_.refreshes.size() +
                                          sentences_.ends.size() + sentences_.refreshes.size()) *
                                         sizeof(int64_t));
  for (const LayerState& state : layers_) n_bytes += state.index.size_bytes();
  return n_bytes;
}

}  // namespace chunkllm

#include "select/chunk/chunk_policy.h"

#include <algorithm>
#include <cmath>
#include <iterator>

#include "base/error.h"
#include "kernels/ops/ops.h"

namespace chunkllm {
namespace {

// Refreshes whose scores are computed in one pass over the keys; enough to pay, few enough that
// their scores take little memory at a million tokens.
constexpr int64_t kScoredTogether = 32;

}  // namespace

std::string chunk_keys_name(size_t layer) { return fmt::format("layers.{}.chunk_keys", layer); }
std::string refresh_queries_name(size_t layer) {
  return fmt::format("layers.{}.refresh_queries", layer);
}

ChunkPolicy::ChunkPolicy(const Adapter& adapter, const SelectionSettings& settings,
                         std::span<const int32_t> special_ids)
    : adapter_(adapter),
      settings_(settings),
      logit_threshold_(std::log(adapter.config.alpha / (1.0f - adapter.config.alpha))),
      special_ids_(special_ids.begin(), special_ids.end()),
      rows_attended_(static_cast<size_t>(adapter.config.n_layers), 0) {
  const AdapterConfig& config = adapter.config;
  limits_.sink = settings.sink.value_or(config.sink);
  limits_.window = settings.window.value_or(config.window);
  limits_.budget = settings.budget.n_tokens;
  limits_.top_k_chunks = settings.budget.top_k_chunks.value_or(0);
  for (int64_t i = 0; i < config.n_layers; ++i) {
    const ChunkKey key = i == 0 ? ChunkKey::kMean : config.chunk_key;
    layers_.push_back({ChunkIndex(adapter.layers[static_cast<size_t>(i)], config, key), {}, false});
  }
}

SelectionLimits ChunkPolicy::limits_at(int64_t position) const {
  SelectionLimits limits = limits_;
  if (settings_.budget.fraction) {
    const auto n_rows = static_cast<int64_t>(
        std::floor(*settings_.budget.fraction * static_cast<double>(position + 1)));
    limits.budget = std::max(n_rows, settings_.budget.least_tokens(limits.sink, limits.window,
                                                                   adapter_.config.max_chunk));
  }
  return limits;
}

bool ChunkPolicy::is_special(int32_t token) const {
  return std::binary_search(special_ids_.begin(), special_ids_.end(), token);
}

bool ChunkPolicy::is_prompt_end(int64_t position) const {
  return std::binary_search(prompt_ends_.begin(), prompt_ends_.end(), position);
}

bool ChunkPolicy::refreshes_without_boundary(int64_t position) const {
  if (settings_.refresh == RefreshKind::kBoundary) return false;
  return is_prompt_end(position) || (settings_.refresh == RefreshKind::kEvery &&
                                     (position + 1) % settings_.refresh_every == 0);
}

void ChunkPolicy::add_prompt(Range positions, std::span<const int64_t> prompt_ends) {
  prompt_ends_.insert(prompt_ends_.end(), prompt_ends.begin(), prompt_ends.end());
  if (settings_.prefill != PrefillKind::kFull) return;
  int64_t begin = positions.begin;
  for (const int64_t end : prompt_ends) {
    append_merged(full_prefill_, {begin, end});
    begin = end + 1;
  }
  append_merged(full_prefill_, {begin, positions.end});
}

int64_t ChunkPolicy::full_prefill_end(int64_t position) const {
  const auto after = std::ranges::upper_bound(full_prefill_, position, {}, &Range::begin);
  if (after == full_prefill_.begin()) return position;
  const Range& range = *std::prev(after);
  return range.contains(position) ? range.end : position;
}

int64_t ChunkPolicy::next_full_prefill(int64_t position) const {
  const auto after = std::ranges::upper_bound(full_prefill_, position, {}, &Range::begin);
  return after == full_prefill_.end() ? block_.end : std::min(after->begin, block_.end);
}

void ChunkPolicy::begin_block(Range positions, std::span<const int32_t> tokens) {
  block_ = positions;
  block_tokens_.assign(tokens.begin(), tokens.end());
  if (adapter_.config.first_layer != FirstLayerKind::kGrid) return;
  const bool at_boundaries = settings_.refresh != RefreshKind::kEvery;
  for (int64_t t = positions.begin; t < positions.end; ++t) {
    const bool grid_end = (t + 1) % adapter_.config.first_layer_tokens == 0;
    if (grid_end) grid_.ends.push_back(t + 1);
    const bool special = is_special(tokens[static_cast<size_t>(t - positions.begin)]);
    if ((at_boundaries && (grid_end || special)) || refreshes_without_boundary(t)) {
      grid_.refreshes.push_back(t);
    }
  }
}

// The Chunk Adapter reads the first layer's output; what it finds holds for all later layers.
void ChunkPolicy::layer_done(int64_t layer, Range positions, const float* hidden) {
  if (layer != 0) return;
  const int64_t d_model = adapter_.config.d_model;
  for (int64_t t = positions.begin; t < positions.end; ++t) {
    const float* h = hidden + (t - positions.begin) * d_model;
    const float logit = dot(adapter_.boundary_weight.data(), h, d_model) + adapter_.boundary_bias;
    const bool boundary = decide_boundary(t, logit);
    note_token(t, boundary);
    if (record_ != nullptr) {
      record_->n_tokens = t + 1;
      if (boundary) record_->boundaries.push_back(t);
    }
  }
}

void ChunkPolicy::note_token(int64_t position, bool boundary) {
  if (boundary) sentences_.ends.push_back(position + 1);
  const bool refreshes = boundary && settings_.refresh != RefreshKind::kEvery;
  if (refreshes || refreshes_without_boundary(position)) sentences_.refreshes.push_back(position);
}

bool ChunkPolicy::decide_boundary(int64_t position, float logit) {
  const AdapterConfig& config = adapter_.config;
  const bool replayed = replay_ != nullptr && position < replay_->n_tokens;
  const int64_t open_tokens = position + 1 - sentences_.open_begin();
  const bool forced = open_tokens >= config.max_chunk ||
                      is_special(block_tokens_[static_cast<size_t>(position - block_.begin)]);
  const bool seen =
      config.fixed_chunk > 0 ? open_tokens >= config.fixed_chunk : logit > logit_threshold_;
  const bool own = forced || seen;
  if (!replayed) return own;
  const bool decided = replay_->is_boundary(position);
  if (decided != own) {
    ++differences_->n_boundaries;
    differences_->largest_boundary_gap =
        std::max(differences_->largest_boundary_gap, std::abs(double{logit} - logit_threshold_));
  }
  return decided;
}

std::span<const AttentionSpan> ChunkPolicy::rows(const LayerInput& input) {
  n_spans_ = 0;
  const Range positions = input.positions;
  if (adapter_.config.selects(input.layer)) {
    LayerState& state = layers_[static_cast<size_t>(input.layer)];
    state.index.extend(track_of(input.layer), positions, input.x);
    for (int64_t t = positions.begin; t < positions.end;) {
      const int64_t full_end = std::min(full_prefill_end(t), positions.end);
      if (full_end > t) {
        emit({t, full_end}, nullptr);
        t = full_end;
      } else {
        const int64_t end = next_full_prefill(t);
        emit_selected(input.layer, {t, end});
        t = end;
      }
    }
  } else if (adapter_.config.first_layer == FirstLayerKind::kWindow) {
    emit_windows(positions);
  } else {
    emit(positions, nullptr);
  }
  rows_attended_[static_cast<size_t>(input.layer)] =
      count_below(spans_[n_spans_ - 1].rows, positions.end);
  return {spans_.data(), n_spans_};
}

// Spans of the tokens between refreshes, each over the selection in force.
void ChunkPolicy::emit_selected(int64_t layer, Range queries) {
  LayerState& state = layers_[static_cast<size_t>(layer)];
  const ChunkTrack& track = track_of(layer);
  const Range refreshes = track.refreshes_in(queries);
  int64_t begin = queries.begin;
  for (int64_t i = refreshes.begin; i < refreshes.end; ++i) {
    if ((i - refreshes.begin) % kScoredTogether == 0) {
      score(layer, {i, std::min(i + kScoredTogether, refreshes.end)});
    }
    const int64_t position = track.refreshes[static_cast<size_t>(i)];
    emit({begin, position}, state.selected ? &state.selection : nullptr);
    select(layer, i);
    begin = position;
  }
  emit({begin, queries.end}, state.selected ? &state.selection : nullptr);
}

void ChunkPolicy::emit(Range queries, const Selection* selection) {
  if (queries.empty()) return;
  const bool everything =
      selection == nullptr ||
      count_below(selection->rows, selection->local_begin) == selection->local_begin;
  if (everything && n_spans_ > 0) {
    // Neighbours that attend to everything are one span, computed just as `full` does it.
    AttentionSpan& last = spans_[n_spans_ - 1];
    if (last.queries.end == queries.begin && last.rows.size() == 1 &&
        last.rows[0] == Range{0, queries.begin}) {
      last.queries.end = queries.end;
      last.rows[0].end = queries.end;
      return;
    }
  }
  if (n_spans_ == spans_.size()) spans_.emplace_back();
  AttentionSpan& span = spans_[n_spans_++];
  span.queries = queries;
  span.rows.clear();
  if (everything) {
    span.rows.push_back({0, queries.end});
  } else {
    span.rows.assign(selection->rows.begin(), selection->rows.end());
    append_merged(span.rows, {selection->local_begin, queries.end});
  }
}

// The first layer as sink and a sliding window; everything while the context is within the budget.
void ChunkPolicy::emit_windows(Range queries) {
  for (int64_t t = queries.begin; t < queries.end; ++t) {
    const SelectionLimits limits = limits_at(t);
    Selection window;
    if (full_prefill_end(t) == t && !everything_fits(t, limits)) {
      window.local_begin = std::max<int64_t>(0, t + 1 - adapter_.config.first_layer_tokens);
      append_merged(window.rows, {0, std::min(limits.sink, window.local_begin)});
    }
    emit({t, t + 1}, &window);
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
  Selection selection = select_chunks(track, position, limits, scores);
  if (replay_ != nullptr && position < replay_->n_tokens) {
    const auto& choices = replay_->choices[static_cast<size_t>(layer)];
    if (const auto found = choices.find(position); found != choices.end()) {
      note_difference(selection, eligible, scores, found->second);
      selection = selection_of(track, position, limits, found->second);
    }
  }
  if (record_ != nullptr) {
    record_->choices[static_cast<size_t>(layer)][position] = selection.chunks;
  }
  state.selection = std::move(selection);
  state.selected = true;
}

void ChunkPolicy::note_difference(const Selection& own, Range eligible,
                                  std::span<const float> scores,
                                  const std::vector<int64_t>& replayed) {
  if (own.chunks == replayed || scores.empty()) return;
  std::vector<int64_t> different;
  std::ranges::set_symmetric_difference(own.chunks, replayed, std::back_inserter(different));
  ++differences_->n_choices;
  for (const int64_t j : different) {
    const double gap =
        std::abs(double{scores[static_cast<size_t>(j - eligible.begin)]} - own.first_refused_score);
    differences_->largest_score_gap = std::max(differences_->largest_score_gap, gap);
  }
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
  std::erase_if(prompt_ends_, [&](int64_t end) { return end >= n_tokens; });
  for (Range& range : full_prefill_) range.end = std::min(range.end, n_tokens);
  std::erase_if(full_prefill_, [](const Range& range) { return range.empty(); });
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
      if (full_prefill_end(position) > position) continue;
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
    note_token(t, boundary);
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
  return n_tokens / kTokensPerChunk * adapter.n_layers * 2 * adapter.adapter_dim * 4;
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

void ChunkPolicy::record(SelectionTrace* trace) {
  record_ = trace;
  if (trace != nullptr) trace->choices.resize(static_cast<size_t>(adapter_.config.n_layers));
}

void ChunkPolicy::replay(const SelectionTrace* trace, TraceDifferences* differences) {
  replay_ = trace;
  differences_ = differences;
}

}  // namespace chunkllm

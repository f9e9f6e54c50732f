#include "select/chunk/chunked_policy.h"

#include <algorithm>
#include <utility>

namespace chunkllm {
namespace {

// The remainder takes at most one part in so many of the budget.
constexpr int64_t kBudgetsPerRemainder = 4;
// And so do the chunks that lookup prefers.
constexpr int64_t kBudgetsPerLookup = 4;

}  // namespace

ChunkedPolicy::ChunkedPolicy(const SelectionSettings& settings, int64_t n_layers, int64_t sink,
                             int64_t window, int64_t max_chunk, LayerShares shares)
    : settings_(settings),
      prompts_(settings.prefill, settings.prompt_tail),
      by_own_end_(settings.prefill_selection == PrefillSelection::kOwn &&
                  settings.refresh != RefreshKind::kEvery &&
                  settings.prefill == PrefillKind::kChunk),
      shares_(std::move(shares)),
      chosen_(static_cast<size_t>(n_layers)),
      rows_attended_(static_cast<size_t>(n_layers), 0),
      sums_(settings.remainder ? static_cast<size_t>(n_layers) : 0) {
  limits_.sink = settings.sink.value_or(sink);
  limits_.window = settings.window.value_or(window);
  limits_.top_k_chunks = settings.budget.top_k_chunks.value_or(0);
  least_budget_ = settings.budget.least_tokens(limits_.sink, limits_.window, max_chunk);
}

SelectionLimits ChunkedPolicy::limits_of(int64_t layer, const PlannedSpan& span,
                                         int64_t position) const {
  SelectionLimits limits = limits_;
  limits.local_from = span.local_from;
  const int64_t budget = span.prefill_budget ? settings_.prefill_tokens_at(position, least_budget_)
                                             : settings_.budget.tokens_at(position, least_budget_);
  limits.budget = shares_.rows_of(layer, budget, position + 1);
  return limits;
}

void ChunkedPolicy::add_prompt(Range positions, std::span<const int64_t> prompt_ends) {
  prompts_.add(positions, prompt_ends);
}

bool ChunkedPolicy::is_whole(int64_t position) const {
  const PromptSpan* prompt = prompts_.find(position - 1);
  if (prompt == nullptr) return true;
  return prompt->positions.end == position && (prompt->has_end || n_known_ > position);
}

TokenRole ChunkedPolicy::role_at(int64_t position) const {
  return role_of(prompts_.find(position) != nullptr, prompts_.is_end(position));
}

std::span<const AttentionSpan> ChunkedPolicy::end_layer(int64_t layer) {
  rows_attended_[static_cast<size_t>(layer)] = spans_.rows_of_last_query();
  return spans_.spans();
}

WeightedRows ChunkedPolicy::weighted_rows() const {
  return settings_.remainder ? remainder_.view() : WeightedRows{};
}

ChunkedPolicy::Limits ChunkedPolicy::limits_in(int64_t layer, const PlannedSpan& span) const {
  const ChunkTrack& track = track_of(layer);
  const int64_t position = refresh_at(layer, span.refresh);
  Limits limits;
  limits.limits = limits_of(layer, span, position);
  // Boundaries after the span's begin are known in a block, and must not be.
  limits.eligible = eligible_chunks(track, position, limits.limits);
  if (settings_.remainder && !everything_fits(position, limits.limits)) {
    limits.n_remainder =
        std::min(limits.limits.budget / kBudgetsPerRemainder, limits.eligible.size());
    limits.limits.budget -= limits.n_remainder;
  }
  return limits;
}

void ChunkedPolicy::begin_remainder(const LayerInput& input) {
  int64_t n_rows = 0;
  for (const PlannedSpan& span : plan_) {
    if (!span.everything()) n_rows += limits_in(input.layer, span).n_remainder;
  }
  remainder_.begin(n_rows, input.kv);
  sums_[static_cast<size_t>(input.layer)].extend(track_of(input.layer), input.positions.end,
                                                 limits_.sink, input.kv);
}

void ChunkedPolicy::add_selected(const LayerInput& input) {
  if (settings_.remainder) begin_remainder(input);
  for (size_t i = 0; i < plan_.size(); ++i) {
    const PlannedSpan& span = plan_[i];
    int64_t n_left_out = 0;
    if (span.everything()) {
      spans_.add_everything(span.queries);
    } else {
      const Chosen& chosen = select(input, std::span(plan_).subspan(i));
      const Selection& selection = chosen.selection;
      n_left_out = selection.local_begin - count_below(selection.rows, selection.local_begin);
      Range weighted;
      if (settings_.remainder && n_left_out > 0) {
        weighted = remainder_.add(track_of(input.layer), sums_[static_cast<size_t>(input.layer)],
                                  chosen.limits.eligible, selection, limits_.sink,
                                  chosen.limits.n_remainder);
        n_left_out -= weighted.size();
      }
      // Each token of an answer chooses for itself.
      if (settings_.refresh == RefreshKind::kAnswer && !span.of_prompt &&
          span.queries.size() == 1) {
        spans_.add_alone(span.queries.begin, selection.rows, selection.local_begin, weighted);
      } else {
        spans_.add(span.queries, selection.rows, selection.local_begin, weighted);
      }
    }
    if (span.of_prompt) count_prompt_rows(span.queries, n_left_out);
  }
}

void ChunkedPolicy::add_everything(Range queries) {
  spans_.add_everything(queries);
  for (int64_t t = queries.begin; t < queries.end; ++t) {
    if (prompts_.find(t) != nullptr) count_prompt_rows({t, t + 1}, 0);
  }
}

void ChunkedPolicy::count_prompt_rows(Range queries, int64_t n_left_out) {
  queries.begin = std::max(queries.begin, count_from_);
  if (queries.empty()) return;
  prompt_rows_attended_ += queries.size() * (queries.begin + queries.end + 1 - 2 * n_left_out) / 2;
}

const ChunkedPolicy::Chosen& ChunkedPolicy::select(const LayerInput& input,
                                                   std::span<const PlannedSpan> spans) {
  Chosen& chosen = chosen_[static_cast<size_t>(input.layer)];
  const PlannedSpan& span = spans.front();
  if (chosen.by.shares_selection(span)) return chosen;
  const int64_t position = refresh_at(input.layer, span.refresh);
  chosen.limits = limits_in(input.layer, span);
  const Limits& limits = chosen.limits;
  std::span<const float> scores;
  std::span<const int64_t> preferred;
  if (!everything_fits(position, limits.limits)) {
    scores = scores_of(input, spans, limits.eligible);
    if (!span.prefill_budget) {
      preferred = preferred_in(track_of(input.layer), position, limits.limits);
    }
  }
  chosen.selection = choose({.layer = input.layer,
                             .position = position,
                             .prefill_budget = span.prefill_budget,
                             .track = track_of(input.layer),
                             .limits = limits.limits,
                             .eligible = limits.eligible,
                             .scores = scores,
                             .preferred = preferred});
  chosen.by = span;
  return chosen;
}

Selection ChunkedPolicy::choose(const Candidates& candidates) {
  return select_chunks(candidates.track, candidates.position, candidates.limits, candidates.scores,
                       candidates.preferred);
}

void ChunkedPolicy::look_up_tokens(int64_t first, std::span<const int32_t> tokens) {
  if (settings_.lookup) lookup_.extend(first, tokens);
}

std::vector<int64_t> ChunkedPolicy::preferred_by_lookup(const ChunkTrack& track, int64_t position,
                                                        const SelectionLimits& limits) const {
  if (!settings_.lookup) return {};
  return preferred_chunks(lookup_, track, position, eligible_chunks(track, position, limits),
                          limits.budget / kBudgetsPerLookup);
}

std::span<const int64_t> ChunkedPolicy::preferred_in(const ChunkTrack& track, int64_t position,
                                                     const SelectionLimits& limits) {
  if (preferred_.track != &track || preferred_.position != position ||
      preferred_.budget != limits.budget) {
    preferred_ = {.track = &track,
                  .position = position,
                  .budget = limits.budget,
                  .chunks = preferred_by_lookup(track, position, limits)};
  }
  return preferred_.chunks;
}

void ChunkedPolicy::forget_selections() {
  lookup_.truncate(n_known_);
  preferred_ = {};
  for (Chosen& chosen : chosen_) chosen.by = {};
  for (size_t layer = 0; layer < sums_.size(); ++layer) {
    sums_[layer].truncate(track_of(static_cast<int64_t>(layer)).n_closed_at(done_));
  }
}

int64_t ChunkedPolicy::kept_bytes() const {
  int64_t n_bytes = lookup_.size_bytes();
  for (const ChunkSums& sums : sums_) n_bytes += sums.size_bytes();
  return n_bytes;
}

int64_t ChunkedPolicy::rows_attended(int64_t layer) const {
  return rows_attended_[static_cast<size_t>(layer)];
}

}  // namespace chunkllm

#include "select/keys/own_keys_policy.h"

#include <algorithm>

#include "base/error.h"

namespace chunkllm {
namespace {

// Selections whose scores are computed in one pass over the index.
constexpr int64_t kScoredTogether = 16;

}  // namespace

OwnKeysPolicy::OwnKeysPolicy(const ModelConfig& model, const SelectionSettings& settings,
                             const OwnChunks& chunks, const KeyForm& form)
    : ChunkedPolicy(settings, model.n_layers, kDefaultSink, kDefaultWindow, chunks.rules.max_chunk),
      token_marks_(chunks.token_marks),
      ending_marks_(chunks.ending_marks),
      fixed_(chunks.rules.fixed_chunk > 0),
      rules_(chunks.rules, chunks.special_ids,
             {.kind = settings.refresh, .every = settings.refresh_every}, chunks.token_marks),
      cutter_(rules_),
      layers_(static_cast<size_t>(model.n_layers),
              {.index = KeyIndex(form, model.n_kv_heads, model.head_dim)}) {}

void OwnKeysPolicy::cut(std::span<const int32_t> tokens) {
  for (; cut_ < std::ssize(tokens); ++cut_) {
    const int32_t token = tokens[static_cast<size_t>(cut_)];
    const auto id = static_cast<size_t>(token);
    const bool is_end = id < token_marks_.size() && (token_marks_[id] & ending_marks_) != 0;
    const PromptSpan* prompt = prompts_.find(cut_);
    const auto prompt_begin =
        prompt != nullptr ? std::optional(prompt->positions.begin) : std::nullopt;
    cutter_.add(track_, cut_, token, is_end, prompt_begin, prompts_.is_end(cut_));
  }
}

// Blocks end where chunks do, since tokens of a prompt may attend by the selection made at their
// own end, or where nothing that comes can matter.
Range OwnKeysPolicy::next_block(std::span<const int32_t> tokens, int64_t max_tokens) {
  n_known_ = std::ssize(tokens);
  cut(tokens);
  int64_t end = std::min(done_ + max_tokens, n_known_);
  if (!is_whole(end)) {
    const PromptSpan& prompt = *prompts_.find(end - 1);
    const auto [begin, prompt_end] = prompt.positions;
    if (!prompt.has_end && prompt_end == n_known_) {
      end = std::min(end, n_known_ - prompts_.n_undecided());
    }
    if (!fixed_) end = track_.begin_of_chunk_at(end);
    end = std::max(end, begin);
  }
  return {done_, std::max(done_, end)};
}

void OwnKeysPolicy::begin_block(Range positions, std::span<const int32_t> tokens) {
  look_up_tokens(positions.begin, tokens);
  count_from_ = done_;
  plan_ = plan_spans(track_, prompts_, positions, settings_.prefill_selection);
  done_ = positions.end;
}

std::span<const AttentionSpan> OwnKeysPolicy::rows(const LayerInput& input) {
  begin_layer();
  if (selects(input.layer)) {
    extend(input);
    scored_.clear();
    add_selected(input);
    keep_last_query(input);
  } else {
    add_everything(input.positions);
  }
  return end_layer(input.layer);
}

void OwnKeysPolicy::extend(const LayerInput& input) {
  KeyIndex& index = layers_[static_cast<size_t>(input.layer)].index;
  const int64_t n_closed = track_.n_closed_at(input.positions.end);
  while (index.n_chunks() < n_closed) {
    index.add(input.kv, keys_of_chunk(track_.chunk(index.n_chunks()), limits_.sink), keys_);
  }
}

// Tokens of later blocks may attend by it.
void OwnKeysPolicy::keep_last_query(const LayerInput& input) {
  const Range refreshes = track_.refreshes_in(input.positions);
  if (refreshes.empty()) return;
  const int64_t position = track_.refreshes[static_cast<size_t>(refreshes.end - 1)];
  const float* query = input.q + (position - input.positions.begin) * input.q_stride;
  layers_[static_cast<size_t>(input.layer)].last_query.assign(
      query, query + input.n_heads * input.kv.head_dim);
}

// Of a refresh in the block, or of the last one before it.
const float* OwnKeysPolicy::query_of(const LayerInput& input, const PlannedSpan& span) const {
  const int64_t position = refresh_at(input.layer, span.refresh);
  if (position < input.positions.begin) {
    return layers_[static_cast<size_t>(input.layer)].last_query.data();
  }
  return input.q + (position - input.positions.begin) * input.q_stride;
}

std::span<const float> OwnKeysPolicy::scores_of(const LayerInput& input,
                                                std::span<const PlannedSpan> spans,
                                                Range eligible) {
  const auto is_scored = [&](const PlannedSpan& scored) {
    return scored.shares_selection(spans.front());
  };
  auto found = std::ranges::find_if(scored_, is_scored);
  if (found == scored_.end()) {
    score(input, spans);
    found = scored_.begin();
  }
  const int64_t first = (found - scored_.begin()) * scored_chunks_.size();
  return std::span(scores_).subspan(
      static_cast<size_t>(first + eligible.begin - scored_chunks_.begin),
      static_cast<size_t>(eligible.size()));
}

void OwnKeysPolicy::score(const LayerInput& input, std::span<const PlannedSpan> spans) {
  scored_.clear();
  std::vector<Range> eligible;  // of each of scored_
  std::vector<const float*> queries;
  for (const PlannedSpan& span : spans) {
    if (std::ssize(scored_) == kScoredTogether) break;
    if (span.everything() || (!scored_.empty() && scored_.back().shares_selection(span))) continue;
    const int64_t position = refresh_at(input.layer, span.refresh);
    const SelectionLimits limits = limits_of(input.layer, span, position);
    if (everything_fits(position, limits)) continue;
    scored_.push_back(span);
    eligible.push_back(eligible_chunks(track_, position, limits));
    queries.push_back(query_of(input, span));
  }
  scored_chunks_ = eligible.front();
  for (const Range& chunks : eligible) {
    scored_chunks_ = {std::min(scored_chunks_.begin, chunks.begin),
                      std::max(scored_chunks_.end, chunks.end)};
  }
  scorer_.score(
      layers_[static_cast<size_t>(input.layer)].index,
      {.queries = queries, .eligible = eligible, .n_heads = input.n_heads, .scale = input.scale},
      scored_chunks_, scores_);
}

// How many tokens attend as they did if only the first `n_tokens` are known.
int64_t OwnKeysPolicy::decided_end(int64_t n_tokens) const {
  const int64_t n = std::min(prompts_.first_changed(n_tokens), done_);
  if (fixed_) return n;
  for (int64_t j = track_.n_closed_at(n) - 1; j >= 0; --j) {
    if (rules_.decided_at(track_.chunk(j)) < n) return track_.chunk(j).end;
  }
  return 0;
}

// Goes back to the last refresh before that, whose query must be there.
int64_t OwnKeysPolicy::truncate(int64_t n_tokens) {
  const int64_t n = decided_end(n_tokens);
  const int64_t n_refreshes = track_.refreshes_in({0, n}).end;
  done_ = n_refreshes > 0 ? track_.refreshes[static_cast<size_t>(n_refreshes - 1)] : n;
  n_known_ = n_tokens;
  track_.truncate(done_);
  for (LayerIndex& layer : layers_) layer.index.truncate(track_.n_chunks());
  // The open chunk is cut again.
  cut_ = track_.open_begin();
  track_.truncate(cut_);
  cutter_.reset();
  prompts_.truncate(n_tokens);
  forget_selections();
  return done_;
}

void OwnKeysPolicy::restore(std::span<const int32_t> tokens, const PolicyState& state) {
  if (!state.positions.empty() || !state.floats.empty()) {
    fail(ErrorCode::kData, "the saved state has arrays, and this policy keeps none; make it anew");
  }
  done_ = n_known_ = std::ssize(tokens);
  cut(tokens);
  look_up_tokens(0, tokens);
}

int64_t OwnKeysPolicy::n_chunks() const { return track_.n_closed_at(done_); }

int64_t OwnKeysPolicy::n_refreshes() const { return track_.refreshes_in({0, done_}).end; }

int64_t OwnKeysPolicy::index_bytes(const ModelConfig& model, int64_t n_tokens,
                                   int64_t tokens_per_row, int64_t first_layer, int64_t row_size) {
  int64_t n_selecting = 0;
  for (int64_t i = first_layer; i < model.n_layers; ++i) n_selecting += model.slides(i) ? 0 : 1;
  return n_tokens / tokens_per_row * n_selecting * model.n_kv_heads * row_size *
         static_cast<int64_t>(sizeof(float));
}

int64_t OwnKeysPolicy::size_bytes() const {
  auto n_bytes =
      static_cast<int64_t>((track_.ends.size() + track_.refreshes.size()) * sizeof(int64_t));
  for (const LayerIndex& layer : layers_) n_bytes += layer.index.size_bytes();
  return n_bytes + kept_bytes();
}

}  // namespace chunkllm

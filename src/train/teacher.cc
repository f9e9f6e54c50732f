#include "train/teacher.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <iterator>

namespace chunkllm {
namespace {

SelectionLimits limits_of(const AdapterConfig& config) {
  return {.sink = config.sink, .window = config.window};
}

// Weight of the token at `t` in the teacher of a query whose selection holds for `span`.
float token_weight(TeacherTarget target, Range span, int64_t t) {
  const float own = t == span.begin ? 1.0f : 0.0f;
  const float next = 1.0f / static_cast<float>(span.size());
  switch (target) {
    case TeacherTarget::kOwn:
      return own;
    case TeacherTarget::kNext:
      return next;
    case TeacherTarget::kBoth:
      return 0.5f * (own + next);
  }
  return own;
}

}  // namespace

TeacherPass::TeacherPass(const ModelConfig& model, const AdapterConfig& config,
                         const TrainingSequence& sequence, const Tracks& tracks,
                         const TeacherOptions& options)
    : model_(model),
      config_(config),
      target_(options.target),
      states_(static_cast<size_t>(model.n_layers)),
      lessons_(static_cast<size_t>(model.n_layers)) {
  for (size_t layer = 0; layer < states_.size(); ++layer) {
    LayerState& state = states_[layer];
    if (!config.selects(static_cast<int64_t>(layer))) continue;
    state.track = layer == 0 ? tracks.first_layer : tracks.others;
    state.mean_keys = layer == 0 || config.chunk_key == ChunkKey::kMean;
    if (state.track != nullptr) plan_layer(sequence, options, state, lessons_[layer]);
  }
}

void TeacherPass::plan_layer(const TrainingSequence& sequence, const TeacherOptions& options,
                             LayerState& state, LayerLesson& lesson) const {
  const ChunkTrack& track = *state.track;
  std::ranges::set_union(track.refreshes, sequence.random_queries,
                         std::back_inserter(lesson.positions));
  lesson.n_chunks = track.n_chunks();
  const auto n_queries = static_cast<size_t>(lesson.n_queries());
  lesson.query_inputs.resize(n_queries * static_cast<size_t>(model_.d_model));
  lesson.key_inputs.resize(static_cast<size_t>(lesson.n_chunks * model_.d_model));
  lesson.teacher.assign(n_queries * static_cast<size_t>(lesson.n_chunks), 0.0f);
  for (const int64_t t : lesson.positions) {
    lesson.eligible.push_back(eligible_chunks(track, t, limits_of(config_)));
    const bool prompt_end = std::ranges::binary_search(sequence.prompt_ends, t);
    lesson.weights.push_back(prompt_end ? options.prompt_end_weight : 1.0f);
    lesson.refreshes.push_back(std::ranges::binary_search(track.refreshes, t) ? 1 : 0);
    const auto next = std::ranges::upper_bound(track.refreshes, t);
    state.span_ends.push_back(next == track.refreshes.end() ? sequence.n_tokens() : *next);
  }
  state.open_sum.assign(static_cast<size_t>(model_.d_model), 0.0f);
}

void TeacherPass::begin_block(Range positions, std::span<const int32_t> tokens) {
  full_.begin_block(positions, tokens);
}

std::span<const AttentionSpan> TeacherPass::rows(const LayerInput& input) {
  return full_.rows(input);
}

void TeacherPass::attention_done(const LayerInput& input, const float* log_sum_exp) {
  LayerState& state = states_[static_cast<size_t>(input.layer)];
  if (state.track == nullptr) return;
  LayerLesson& lesson = lessons_[static_cast<size_t>(input.layer)];
  collect_inputs(input, state, lesson);
  collect_masses(input, log_sum_exp, state, lesson);
}

void TeacherPass::collect_inputs(const LayerInput& input, LayerState& state,
                                 LayerLesson& lesson) const {
  const int64_t d_model = model_.d_model;
  const auto row_of = [&](int64_t t) { return input.x + (t - input.positions.begin) * d_model; };
  const auto first = std::ranges::lower_bound(lesson.positions, input.positions.begin);
  for (auto it = first; it != lesson.positions.end() && *it < input.positions.end; ++it) {
    std::copy_n(row_of(*it), d_model,
                lesson.query_inputs.begin() + (it - lesson.positions.begin()) * d_model);
  }
  const ChunkTrack& track = *state.track;
  for (int64_t t = input.positions.begin; t < input.positions.end; ++t) {
    const bool ends = state.n_keys < track.n_chunks() && track.chunk(state.n_keys).end == t + 1;
    const float* x = row_of(t);
    if (state.mean_keys) {
      for (int64_t i = 0; i < d_model; ++i) state.open_sum[static_cast<size_t>(i)] += x[i];
    }
    if (!ends) continue;
    float* key = lesson.key_inputs.data() + state.n_keys * d_model;
    if (state.mean_keys) {
      const float inverse = 1.0f / static_cast<float>(track.chunk(state.n_keys).size());
      for (int64_t i = 0; i < d_model; ++i) {
        key[i] = state.open_sum[static_cast<size_t>(i)] * inverse;
        state.open_sum[static_cast<size_t>(i)] = 0.0f;
      }
    } else {
      std::copy_n(x, d_model, key);
    }
    ++state.n_keys;
  }
}

void TeacherPass::collect_masses(const LayerInput& input, const float* log_sum_exp,
                                 const LayerState& state, LayerLesson& lesson) {
  const ChunkTrack& track = *state.track;
  const Range block = input.positions;
  // Queries whose spans reach into the block, and the tokens of the block that any of them wants.
  std::vector<int64_t> queries;
  std::vector<uint8_t> wanted(static_cast<size_t>(block.size()), 0);
  for (int64_t i = 0; i < lesson.n_queries(); ++i) {
    const auto index = static_cast<size_t>(i);
    const Range span{lesson.positions[index], state.span_ends[index]};
    if (span.end <= block.begin || span.begin >= block.end || lesson.eligible[index].empty())
      continue;
    queries.push_back(i);
    const int64_t end = target_ == TeacherTarget::kOwn ? span.begin + 1 : span.end;
    for (int64_t t = std::max(span.begin, block.begin); t < std::min(end, block.end); ++t) {
      wanted[static_cast<size_t>(t - block.begin)] = 1;
    }
  }
  std::vector<int64_t> positions;
  const int64_t n_heads = model_.n_heads;
  q_.clear();
  log_sum_exp_.clear();
  for (int64_t t = block.begin; t < block.end; ++t) {
    const int64_t row = t - block.begin;
    if (wanted[static_cast<size_t>(row)] == 0) continue;
    positions.push_back(t);
    const float* q = input.q + row * input.q_stride;
    q_.insert(q_.end(), q, q + model_.q_dim());
    log_sum_exp_.insert(log_sum_exp_.end(), log_sum_exp + row * n_heads,
                        log_sum_exp + (row + 1) * n_heads);
  }
  const int64_t n_closed = track.n_closed_at(block.end);
  if (positions.empty() || n_closed == 0) return;

  std::vector<Range> chunks;
  for (int64_t j = 0; j < n_closed; ++j) {
    const Range chunk = track.chunk(j);
    chunks.push_back({std::min(std::max(chunk.begin, config_.sink), chunk.end), chunk.end});
  }
  mass_.resize(positions.size() * chunks.size());
  chunk_attention_mass({.q = q_.data(),
                        .log_sum_exp = log_sum_exp_.data(),
                        .positions = positions,
                        .n_heads = n_heads,
                        .scale = model_.attention_scale()},
                       input.kv, chunks, mass_.data());
  for (const int64_t i : queries) {
    const auto index = static_cast<size_t>(i);
    const Range span{lesson.positions[index], state.span_ends[index]};
    const int64_t n_eligible = std::min(lesson.eligible[index].end, n_closed);
    float* teacher = lesson.teacher.data() + i * lesson.n_chunks;
    auto at = std::ranges::lower_bound(positions, std::max(span.begin, block.begin));
    for (; at != positions.end() && *at < span.end; ++at) {
      const float weight = token_weight(target_, span, *at);
      if (weight == 0.0f) continue;
      const float* mass = mass_.data() + (at - positions.begin()) * n_closed;
      for (int64_t j = 0; j < n_eligible; ++j) teacher[j] += weight * mass[j];
    }
  }
}

}  // namespace chunkllm

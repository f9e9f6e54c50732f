#include "train/teacher.h"

#include <algorithm>
#include <cmath>
#include <iterator>

#include "base/thread_pool.h"
#include "select/chunk/selection.h"

namespace chunkllm {
namespace {

std::vector<Bf16> rounded(const std::vector<float>& values) {
  std::vector<Bf16> all(values.size());
  std::ranges::transform(values, all.begin(), to_bf16);
  return all;
}

}  // namespace

LayerLessonView::LayerLessonView(const LayerLesson& lesson)
    : positions(lesson.positions),
      kinds(lesson.kinds),
      eligible(lesson.eligible),
      chunk_ends(lesson.chunk_ends),
      query_inputs(lesson.query_inputs),
      mean_inputs(lesson.mean_inputs),
      mean_squares(lesson.mean_squares) {
  std::ranges::copy(lesson.masses, masses.begin());
}

void TeacherPass::Squares::add(Range positions, int64_t sink, const float* rows) {
  const auto d_model = static_cast<int64_t>(sums.size());
  for (int64_t t = std::max(positions.begin, sink); t < positions.end; ++t) {
    const float* row = rows + (t - positions.begin) * d_model;
    for (int64_t i = 0; i < d_model; ++i) {
      sums[static_cast<size_t>(i)] += double{row[i]} * double{row[i]};
    }
    ++n_tokens;
  }
}

std::vector<float> TeacherPass::Squares::means() const {
  std::vector<float> values;
  const double n = static_cast<double>(std::max<int64_t>(n_tokens, 1));
  for (const double sum : sums) values.push_back(static_cast<float>(sum / n));
  return values;
}

TeacherPass::TeacherPass(const ModelConfig& model, const AdapterConfig& config,
                         const TrainingSequence& sequence, const Tracks& tracks)
    : model_(model),
      config_(config),
      sequence_(sequence),
      layers_(static_cast<size_t>(model.n_layers)) {
  const auto d_model = static_cast<size_t>(model.d_model);
  first_output_.sums.assign(d_model, 0.0);
  for (int64_t layer = 0; layer < model.n_layers; ++layer) {
    states_.push_back(
        {.track = nullptr, .key_inputs = KeyInputs(model.d_model, ChunkKey::kMean, config.sink)});
    LayerState& state = states_.back();
    if (!config.selects(layer)) continue;
    state.track = layer == 0 ? tracks.first_layer : tracks.others;
    state.squares.sums.assign(d_model, 0.0);
    if (state.track != nullptr) plan_layer(state, layers_[static_cast<size_t>(layer)]);
  }
}

void TeacherPass::plan_layer(LayerState& state, LayerLesson& lesson) const {
  const ChunkTrack& track = *state.track;
  const SelectionLimits limits{.sink = config_.sink, .window = config_.window};
  std::vector<int64_t> others;
  std::ranges::set_union(sequence_.answers, sequence_.random_queries, std::back_inserter(others));
  std::ranges::set_union(track.refreshes, others, std::back_inserter(lesson.positions));
  lesson.chunk_ends = track.ends;
  size_t n_masses = 0;
  for (const int64_t t : lesson.positions) {
    const Range eligible = eligible_chunks(track, t, limits);
    lesson.eligible.push_back(eligible.empty() ? Range{} : eligible);
    state.offsets.push_back(n_masses);
    n_masses += static_cast<size_t>(lesson.eligible.back().size());
    const bool prompt_end = std::ranges::binary_search(sequence_.prompt_ends, t);
    const bool answer = std::ranges::binary_search(sequence_.answers, t);
    const bool refresh = std::ranges::binary_search(track.refreshes, t);
    lesson.kinds.push_back(prompt_end ? QueryKind::kPromptEnd
                           : answer   ? QueryKind::kAnswer
                           : refresh  ? QueryKind::kBoundary
                                      : QueryKind::kRandom);
    // Answers and random queries end no span: the refresh after next is that of the track.
    const auto next = std::ranges::upper_bound(track.refreshes, t);
    const int64_t next_refresh = next == track.refreshes.end() ? sequence_.n_tokens() : *next;
    const int64_t chunk = track.n_closed_at(t + 1) - 1;
    const bool ends_chunk = chunk >= 0 && track.chunk(chunk).end == t + 1;
    const int64_t chunk_begin = ends_chunk ? track.chunk(chunk).begin : t;
    state.spans.push_back({Range{t, t + 1}, Range{t, next_refresh}, Range{chunk_begin, t + 1}});
  }
  lesson.query_inputs.resize(lesson.positions.size() * static_cast<size_t>(model_.d_model));
  for (std::vector<float>& masses : state.masses) masses.assign(n_masses, 0.0f);
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
  LayerLesson& lesson = layers_[static_cast<size_t>(input.layer)];
  collect_inputs(input, state, lesson);
  collect_masses(input, log_sum_exp, state, lesson);
}

void TeacherPass::layer_done(int64_t layer, Range positions, const float* hidden) {
  if (layer == 0) first_output_.add(positions, config_.sink, hidden);
}

void TeacherPass::collect_inputs(const LayerInput& input, LayerState& state,
                                 LayerLesson& lesson) const {
  const int64_t d_model = model_.d_model;
  const auto first = std::ranges::lower_bound(lesson.positions, input.positions.begin);
  for (auto it = first; it != lesson.positions.end() && *it < input.positions.end; ++it) {
    const float* row = input.x + (*it - input.positions.begin) * d_model;
    std::transform(row, row + d_model,
                   lesson.query_inputs.begin() + (it - lesson.positions.begin()) * d_model,
                   to_bf16);
  }
  state.key_inputs.extend(*state.track, input.positions, input.x, state.means);
  state.squares.add(input.positions, config_.sink, input.x);
}

void TeacherPass::collect_masses(const LayerInput& input, const float* log_sum_exp,
                                 LayerState& state, const LayerLesson& lesson) {
  const Range block = input.positions;
  // Queries with a span that reaches into the block, and the chunks that any of them may select.
  std::vector<size_t> queries;
  int64_t n_chunks = 0;
  for (size_t i = 0; i < lesson.positions.size(); ++i) {
    const auto& [own, next, chunk] = state.spans[i];
    if (next.end <= block.begin || chunk.begin >= block.end || lesson.eligible[i].empty()) continue;
    queries.push_back(i);
    n_chunks = std::max(n_chunks, lesson.eligible[i].end);
  }
  if (queries.empty()) return;

  const std::span<const float> masses =
      block_masses_.compute(input, log_sum_exp, *state.track, n_chunks, config_.sink);
  // Tokens are added one by one, so that sums do not depend on how the sequence is cut into blocks.
  parallel_for(std::ssize(queries), 4, [&](int64_t begin, int64_t end, int) {
    for (int64_t at = begin; at < end; ++at) {
      const size_t i = queries[static_cast<size_t>(at)];
      const Range eligible = lesson.eligible[i];
      for (size_t kind = 0; kind < kMassKinds; ++kind) {
        const Range span = state.spans[i][kind];
        const float weight = 1.0f / static_cast<float>(span.size());
        float* to = state.masses[kind].data() + state.offsets[i];
        for (int64_t t = std::max(span.begin, block.begin); t < std::min(span.end, block.end);
             ++t) {
          const float* from = masses.data() + (t - block.begin) * n_chunks + eligible.begin;
          for (int64_t j = 0; j < eligible.size(); ++j) to[j] += weight * from[j];
        }
      }
    }
  });
}

Lesson TeacherPass::finish() {
  Lesson lesson;
  lesson.sequence = sequence_;
  lesson.boundary_mean_squares = first_output_.means();
  for (size_t i = 0; i < layers_.size(); ++i) {
    LayerState& state = states_[i];
    if (state.track == nullptr) continue;
    layers_[i].mean_inputs = rounded(state.means);
    layers_[i].mean_squares = state.squares.means();
    for (size_t kind = 0; kind < kMassKinds; ++kind) {
      layers_[i].masses[kind] = rounded(state.masses[kind]);
      state.masses[kind] = {};
    }
  }
  lesson.layers = std::move(layers_);
  return lesson;
}

}  // namespace chunkllm

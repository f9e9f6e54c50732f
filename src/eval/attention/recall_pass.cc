#include "eval/attention/recall_pass.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/random.h"
#include "base/thread_pool.h"
#include "eval/layer_values.h"
#include "kernels/ops/ops.h"
#include "select/chunk/distance.h"
#include "select/chunk/selection.h"
#include "select/keys/mean_key_policy.h"
#include "select/keys/quest_policy.h"
#include "select/teacher/ranking.h"

namespace chunkllm {
namespace {

// Queries that are scored in one pass over the indices.
constexpr int64_t kScoredTogether = 16;

constexpr size_t index_of(RecallMethod method) { return static_cast<size_t>(method); }

// Whether scores are mass per token, which times the tokens is the mass of a chunk.
constexpr bool is_density(RecallMethod method) {
  return method == RecallMethod::kChunk || method == RecallMethod::kMeanKey ||
         method == RecallMethod::kQuest;
}

}  // namespace

// Of one query.
struct RecallListener::Figures {
  bool is_counted = false;
  double mass = 0;
  std::vector<double> oracle;  // [n_budgets]
  struct OfMethod {
    std::vector<double> captured;  // [n_budgets]; empty: the layer has no such method
    std::optional<double> recall;
  };
  std::array<OfMethod, kRecallMethods> methods;
};

RecallListener::RecallListener(const ModelConfig& model, const Adapter* adapter,
                               const Track& others, const Track* first,
                               const RecallOptions& options)
    : adapter_(adapter), options_(options), layers_(static_cast<size_t>(model.n_layers)) {
  const size_t n_budgets = options.budgets.size();
  for (int64_t layer = 0; layer < model.n_layers; ++layer) {
    if (model.slides(layer)) continue;
    LayerState& state = layers_[static_cast<size_t>(layer)];
    state.track = layer == 0 && first != nullptr ? first : &others;
    state.chunks.ends = state.track->chunks.ends;
    for (const Query& query : state.track->queries) {
      state.chunks.refreshes.push_back(query.position);
    }
    if (adapter != nullptr && adapter->config.selects(layer)) {
      state.index.emplace(adapter->layers[static_cast<size_t>(layer)], adapter->config,
                          adapter->config.key_of(layer));
    }
    state.mean_keys.emplace(MeanKeyPolicy::kForm, model.n_kv_heads, model.head_dim);
    state.bounds.emplace(QuestPolicy::kForm, model.n_kv_heads, model.head_dim);
    for (PlaceSums& sums : state.sums) {
      sums.oracle.resize(n_budgets);
      for (Sums& of_method : sums.methods) of_method.captured.resize(n_budgets);
    }
  }
}

const ChunkTrack* RecallListener::track_of(int64_t layer) const {
  const LayerState& state = layers_[static_cast<size_t>(layer)];
  return state.track != nullptr ? &state.chunks : nullptr;
}

int64_t RecallListener::kept_from(int64_t layer, int64_t end) const {
  return layers_[static_cast<size_t>(layer)].chunks.begin_of_chunk_at(end);
}

void RecallListener::extend(const LayerInput& input, LayerState& state) {
  if (state.index) state.index->extend(state.chunks, input.positions, input.x);
  const int64_t n_closed = state.chunks.n_closed_at(input.positions.end);
  while (state.mean_keys->n_chunks() < n_closed) {
    const Range keys =
        keys_of_chunk(state.chunks.chunk(state.mean_keys->n_chunks()), options_.sink);
    state.mean_keys->add(input.kv, keys, keys_);
    state.bounds->add(input.kv, keys, keys_);
  }
}

void RecallListener::score(const LayerInput& input, const LayerState& state, Range queries,
                           std::span<const Range> eligible, Range chunks) {
  std::vector<const float*> q;
  for (int64_t i = queries.begin; i < queries.end; ++i) {
    const int64_t t = state.chunks.refreshes[static_cast<size_t>(i)];
    q.push_back(input.q + (t - input.positions.begin) * input.q_stride);
  }
  const KeyQueries by_keys{
      .queries = q, .eligible = eligible, .n_heads = input.n_heads, .scale = input.scale};
  scorer_.score(*state.mean_keys, by_keys, chunks, scores_[index_of(RecallMethod::kMeanKey)]);
  scorer_.score(*state.bounds, by_keys, chunks, scores_[index_of(RecallMethod::kQuest)]);
  if (!state.index) return;
  const AdapterConfig& config = adapter_->config;
  const auto n_scores = static_cast<size_t>(queries.size() * chunks.size());
  if (config.distance_term) {
    distances_.resize(n_scores);
    distance_features(state.chunks, queries, chunks, distances_.data());
  }
  const int64_t n_heads = config.selection_heads;
  std::vector<float>& scores = scores_[index_of(RecallMethod::kChunk)];
  scores.resize(n_scores);
  std::vector<float>& of_heads = n_heads == 1 ? scores : of_heads_;
  of_heads.resize(n_scores * static_cast<size_t>(n_heads));
  state.index->scores(queries, chunks, distances_.data(), work_, of_heads.data());
  if (n_heads == 1) return;
  tokens_.resize(static_cast<size_t>(chunks.size()));
  chunk_lengths(state.chunks, chunks, tokens_.data());
  work_.resize(n_scores);
  parallel_for(queries.size(), 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      const Range of_query = eligible[static_cast<size_t>(i)];
      const int64_t first = of_query.begin - chunks.begin;
      mix_heads(of_heads.data() + i * n_heads * chunks.size() + first, n_heads, chunks.size(),
                tokens_.data() + first, of_query.size(), work_.data() + i * chunks.size(),
                scores.data() + i * chunks.size() + first);
    }
  });
}

void RecallListener::block_done(const LayerInput& input, const MassRows& rows) {
  LayerState& state = layers_[static_cast<size_t>(input.layer)];
  extend(input, state);
  const SelectionLimits limits{.sink = options_.sink, .window = options_.window};
  Range queries = state.chunks.refreshes_in(input.positions);
  std::vector<Range> eligible;  // grows with the position
  for (int64_t i = queries.begin; i < queries.end; ++i) {
    const int64_t position = state.chunks.refreshes[static_cast<size_t>(i)];
    eligible.push_back(eligible_chunks(state.chunks, position, limits));
  }
  const auto first = std::ranges::find_if(eligible, [](Range chunks) { return !chunks.empty(); });
  queries.begin += first - eligible.begin();
  eligible.erase(eligible.begin(), first);
  while (!queries.empty()) {
    const int64_t n = std::min(queries.size(), kScoredTogether);
    const std::span<const Range> of_queries(eligible.data(), static_cast<size_t>(n));
    const Range chunks{of_queries.front().begin, of_queries.back().end};
    score(input, state, {queries.begin, queries.begin + n}, of_queries, chunks);
    std::vector<Figures> figures(static_cast<size_t>(n));
    parallel_for(n, 1, [&](int64_t begin, int64_t end, int) {
      for (int64_t i = begin; i < end; ++i) {
        const Range of_query = of_queries[static_cast<size_t>(i)];
        const int64_t at = i * chunks.size() + of_query.begin - chunks.begin;
        figures[static_cast<size_t>(i)] =
            measure(input.layer, rows, queries.begin + i, of_query, at);
      }
    });
    for (int64_t i = 0; i < n; ++i) {
      const Query& query = state.track->queries[static_cast<size_t>(queries.begin + i)];
      add(figures[static_cast<size_t>(i)], state.sums[static_cast<size_t>(query.place)]);
    }
    queries.begin += n;
    eligible.erase(eligible.begin(), eligible.begin() + n);
  }
}

// The scores of the eligible chunks begin at `at` in scores_.
RecallListener::Figures RecallListener::measure(int64_t layer, const MassRows& rows, int64_t query,
                                                Range eligible, int64_t at) const {
  const LayerState& state = layers_[static_cast<size_t>(layer)];
  const auto n = static_cast<size_t>(eligible.size());
  const auto [position, place] = state.track->queries[static_cast<size_t>(query)];
  Range tokens{position, position + 1};
  if (place == RecallPlace::kBoundary) tokens.begin = state.chunks.begin_of_chunk_at(position);
  std::vector<float> teacher(n, 0.0f);
  for (int64_t t = tokens.begin; t < tokens.end; ++t) {
    const std::span<const float> row = rows.at(t).subspan(static_cast<size_t>(eligible.begin), n);
    for (size_t j = 0; j < n; ++j) teacher[j] += row[j] / static_cast<float>(tokens.size());
  }
  Figures figures;
  figures.mass = std::accumulate(teacher.begin(), teacher.end(), 0.0);
  figures.is_counted = figures.mass > 0 && std::isfinite(figures.mass);
  if (!figures.is_counted) return figures;

  std::vector<int64_t> lengths;
  for (int64_t j = eligible.begin; j < eligible.end; ++j) {
    lengths.push_back(state.chunks.chunk(j).size());
  }
  const auto n_tokens = std::accumulate(lengths.begin(), lengths.end(), int64_t{0});
  const auto captured_by = [&](std::span<const float> order) {
    std::vector<double> captured;
    for (const double budget : options_.budgets) {
      const auto most = static_cast<int64_t>(budget * static_cast<double>(n_tokens));
      captured.push_back(mass_of(teacher, best_within(order, lengths, most)));
    }
    return captured;
  };
  figures.oracle = captured_by(teacher);
  Rng rng(Rng(options_.seed * 1000003 + static_cast<uint64_t>(position)).next() +
          static_cast<uint64_t>(layer));
  for (const EnumName<RecallMethod>& method : kEnumNames<RecallMethod>) {
    const size_t m = index_of(method.value);
    std::vector<float> scores(n);
    switch (method.value) {
      case RecallMethod::kChunk:
      case RecallMethod::kMeanKey:
      case RecallMethod::kQuest:
        if (method.value == RecallMethod::kChunk && !state.index) continue;
        std::copy_n(scores_[m].begin() + at, n, scores.begin());
        break;
      case RecallMethod::kRecent:
        std::iota(scores.begin(), scores.end(), 0.0f);
        break;
      case RecallMethod::kRandom:
        for (float& score : scores) score = static_cast<float>(rng.uniform());
        break;
    }
    Figures::OfMethod& of_method = figures.methods[m];
    of_method.captured = captured_by(scores);
    if (is_density(method.value)) {
      for (size_t j = 0; j < n; ++j) scores[j] += std::log(static_cast<float>(lengths[j]));
    }
    of_method.recall = recall_at_k(teacher, scores, kRecallK);
  }
  return figures;
}

void RecallListener::add(const Figures& figures, PlaceSums& sums) const {
  if (!figures.is_counted) return;
  for (size_t budget = 0; budget < options_.budgets.size(); ++budget) {
    sums.oracle[budget] += {figures.oracle[budget], figures.mass};
  }
  for (size_t method = 0; method < kRecallMethods; ++method) {
    const Figures::OfMethod& of_method = figures.methods[method];
    if (of_method.captured.empty()) continue;
    Sums& to = sums.methods[method];
    for (size_t budget = 0; budget < options_.budgets.size(); ++budget) {
      to.captured[budget] += {of_method.captured[budget], figures.oracle[budget]};
    }
    if (of_method.recall) to.recall += {*of_method.recall, 1};
  }
}

std::string captured_name(std::string_view budget, RecallPlace place, std::string_view by) {
  return fmt::format("captured {}, {}, {}", budget, enum_name(place), by);
}

std::string recall_name(RecallPlace place, RecallMethod method) {
  return fmt::format("recall@{}, {}, {}", kRecallK, enum_name(place), enum_name(method));
}

std::map<std::string, LayerValues> RecallListener::values(
    const std::vector<std::string>& budget_names) const {
  std::map<std::string, LayerValues> values;
  const auto put = [&](const std::string& name, auto&& of_layer) {
    std::vector<Measure> by_layer;
    for (const LayerState& state : layers_) {
      by_layer.push_back(state.track != nullptr ? of_layer(state) : Measure{});
    }
    values[name] = quotients(by_layer);
  };
  for (const auto& [place, place_name] : kEnumNames<RecallPlace>) {
    const auto p = static_cast<size_t>(place);
    for (size_t b = 0; b < budget_names.size(); ++b) {
      put(captured_name(budget_names[b], place, kOracle),
          [&, p](const LayerState& state) { return state.sums[p].oracle[b]; });
    }
    for (const auto& [method, method_name] : kEnumNames<RecallMethod>) {
      if (method == RecallMethod::kChunk && adapter_ == nullptr) continue;
      const size_t m = index_of(method);
      put(recall_name(place, method),
          [&, p](const LayerState& state) { return state.sums[p].methods[m].recall; });
      for (size_t b = 0; b < budget_names.size(); ++b) {
        put(captured_name(budget_names[b], place, enum_name(method)),
            [&, p](const LayerState& state) { return state.sums[p].methods[m].captured[b]; });
      }
    }
  }
  return values;
}

}  // namespace chunkllm

#include "eval/attention/icac_pass.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/thread_pool.h"
#include "eval/attention/consistency.h"
#include "eval/layer_values.h"
#include "select/chunk/selection.h"
#include "select/teacher/ranking.h"

namespace chunkllm {
namespace {

RunProfile profile_of(const MassRows& rows, Range tokens, Range eligible) {
  RunProfile profile(eligible.size(), kIcacK);
  for (int64_t t = tokens.begin; t < tokens.end; ++t) {
    profile.add(rows.at(t).subspan(static_cast<size_t>(eligible.begin),
                                   static_cast<size_t>(eligible.size())));
  }
  return profile;
}

Measure one_or_none(std::optional<double> value) { return value ? Measure{*value, 1} : Measure{}; }

constexpr size_t index_of(TokenPairs pairs) { return static_cast<size_t>(pairs); }
constexpr size_t index_of(SelectedBy by) { return static_cast<size_t>(by); }

}  // namespace

std::string correlation_name(TokenPairs pairs) {
  return fmt::format("correlation, {}", enum_name(pairs));
}

std::string overlap_name(TokenPairs pairs) {
  return fmt::format("overlap@{}, {}", kIcacK, enum_name(pairs));
}

std::string captured_name(std::string_view budget, SelectedBy by) {
  return fmt::format("captured {}, {}", budget, enum_name(by));
}

std::string each_token_name(std::string_view budget) {
  return fmt::format("captured {}, each token", budget);
}

void IcacListener::Figures::add(const Figures& other) {
  for (size_t i = 0; i < kTokenPairs; ++i) {
    pairs[i].correlation += other.pairs[i].correlation;
    pairs[i].overlap += other.pairs[i].overlap;
  }
  for (size_t i = 0; i < other.budgets.size(); ++i) {
    for (size_t by = 0; by < kSelectedBy; ++by) {
      budgets[i].captured[by] += other.budgets[i].captured[by];
    }
    budgets[i].each += other.budgets[i].each;
  }
}

IcacListener::IcacListener(const ModelConfig& model, const ChunkTrack& chunks,
                           const IcacOptions& options)
    : chunks_(chunks),
      options_(options),
      fixed_tokens_(
          chunks.n_chunks() > 0
              ? std::max<int64_t>(2, std::llround(static_cast<double>(chunks.open_begin()) /
                                                  static_cast<double>(chunks.n_chunks())))
              : kDefaultMaxChunk),
      layers_(static_cast<size_t>(model.n_layers)) {
  for (int64_t layer = 0; layer < model.n_layers; ++layer) {
    looks_at_.push_back(model.slides(layer) ? 0 : 1);
    layers_[static_cast<size_t>(layer)].budgets.resize(options.budgets.size());
  }
}

const ChunkTrack* IcacListener::track_of(int64_t layer) const {
  return looks_at_[static_cast<size_t>(layer)] != 0 ? &chunks_ : nullptr;
}

// The open chunk and the one before it, and the open fixed chunk.
int64_t IcacListener::kept_from(int64_t, int64_t end) const {
  const int64_t open = chunks_.begin_of_chunk_at(end);
  const int64_t before = open > 0 ? chunks_.begin_of_chunk_at(open - 1) : 0;
  return std::min(before, end - end % fixed_tokens_);
}

Range IcacListener::eligible_at(int64_t begin) const {
  const SelectionLimits limits{
      .sink = options_.sink, .window = options_.window, .local_from = begin};
  return eligible_chunks(chunks_, begin, limits);
}

void IcacListener::block_done(const LayerInput& input, const MassRows& rows) {
  const Range block = input.positions;
  const Range ended{chunks_.n_closed_at(block.begin), chunks_.n_closed_at(block.end)};
  const Range fixed{block.begin / fixed_tokens_, block.end / fixed_tokens_};
  std::vector<Figures> figures(static_cast<size_t>(ended.size() + fixed.size()));
  parallel_for(std::ssize(figures), 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t number = fixed.begin + i - ended.size();
      figures[static_cast<size_t>(i)] =
          i < ended.size()
              ? look_at_chunk(rows, ended.begin + i)
              : look_at_fixed(rows, {number * fixed_tokens_, (number + 1) * fixed_tokens_});
    }
  });
  Figures& sums = layers_[static_cast<size_t>(input.layer)];
  for (const Figures& of_chunk : figures) sums.add(of_chunk);
}

// Compared are only tokens with more chunks to choose from than their tops have.
IcacListener::Figures IcacListener::look_at_chunk(const MassRows& rows, int64_t chunk) const {
  Figures figures;
  const Range tokens = chunks_.chunk(chunk);
  const Range eligible = eligible_at(tokens.begin);
  if (eligible.size() <= kIcacK) return figures;
  const RunProfile own = profile_of(rows, tokens, eligible);
  figures.pairs[index_of(TokenPairs::kOneChunk)] = {one_or_none(own.correlation()),
                                                    one_or_none(own.overlap())};
  select(rows, tokens, eligible, figures);
  // Neighbours look at what is eligible for the first of them.
  const Range before = chunks_.chunk(chunk - 1);
  const Range for_both = eligible_at(before.begin);
  if (for_both.size() <= kIcacK) return figures;
  const RunProfile first = profile_of(rows, before, for_both);
  const RunProfile second = profile_of(rows, tokens, for_both);
  figures.pairs[index_of(TokenPairs::kNeighbours)] = {one_or_none(first.correlation_with(second)),
                                                      one_or_none(first.overlap_with(second))};
  return figures;
}

IcacListener::Figures IcacListener::look_at_fixed(const MassRows& rows, Range tokens) const {
  Figures figures;
  const Range eligible = eligible_at(tokens.begin);
  if (eligible.size() <= kIcacK) return figures;
  const RunProfile profile = profile_of(rows, tokens, eligible);
  figures.pairs[index_of(TokenPairs::kFixed)] = {one_or_none(profile.correlation()),
                                                 one_or_none(profile.overlap())};
  return figures;
}

// What the chunk's tokens capture by the choice of its last token, of the token before it, and each
// by its own.
void IcacListener::select(const MassRows& rows, Range tokens, Range eligible,
                          Figures& figures) const {
  const auto masses_of = [&](int64_t t) {
    return rows.at(t).subspan(static_cast<size_t>(eligible.begin),
                              static_cast<size_t>(eligible.size()));
  };
  std::vector<int64_t> lengths;
  for (int64_t j = eligible.begin; j < eligible.end; ++j) {
    lengths.push_back(chunks_.chunk(j).size());
  }
  const auto n_tokens = std::accumulate(lengths.begin(), lengths.end(), int64_t{0});
  for (const double share : options_.budgets) {
    const auto most = static_cast<int64_t>(share * static_cast<double>(n_tokens));
    const auto choice_of = [&](int64_t t) { return best_within(masses_of(t), lengths, most); };
    const std::vector<int64_t> by_own_end = choice_of(tokens.end - 1);
    const std::vector<int64_t> by_previous_end = choice_of(tokens.begin - 1);
    Budget& budget = figures.budgets.emplace_back();
    for (int64_t t = tokens.begin; t < tokens.end; ++t) {
      const std::span<const float> masses = masses_of(t);
      const double all = std::accumulate(masses.begin(), masses.end(), 0.0);
      if (!std::isfinite(all)) continue;
      const double own = mass_of(masses, choice_of(t));
      budget.each += {own, all};
      budget.captured[index_of(SelectedBy::kOwnEnd)] += {mass_of(masses, by_own_end), own};
      budget.captured[index_of(SelectedBy::kPreviousEnd)] +=
          {mass_of(masses, by_previous_end), own};
    }
  }
}

std::map<std::string, LayerValues> IcacListener::values(
    const std::vector<std::string>& budget_names) const {
  std::map<std::string, LayerValues> values;
  const auto put = [&](const std::string& name, auto&& of_layer) {
    std::vector<Measure> by_layer;
    for (const Figures& figures : layers_) by_layer.push_back(of_layer(figures));
    values[name] = quotients(by_layer);
  };
  for (const EnumName<TokenPairs>& pairs : kEnumNames<TokenPairs>) {
    const size_t i = index_of(pairs.value);
    put(correlation_name(pairs.value), [&](const Figures& of) { return of.pairs[i].correlation; });
    put(overlap_name(pairs.value), [&](const Figures& of) { return of.pairs[i].overlap; });
  }
  for (size_t b = 0; b < budget_names.size(); ++b) {
    put(each_token_name(budget_names[b]), [&](const Figures& of) { return of.budgets[b].each; });
    for (const EnumName<SelectedBy>& by : kEnumNames<SelectedBy>) {
      const size_t i = index_of(by.value);
      put(captured_name(budget_names[b], by.value),
          [&](const Figures& of) { return of.budgets[b].captured[i]; });
    }
  }
  return values;
}

}  // namespace chunkllm

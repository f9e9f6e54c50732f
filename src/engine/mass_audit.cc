#include "engine/mass_audit.h"

#include <nlohmann/json.hpp>
#include <string>

namespace chunkllm {
namespace {

// The rows up to and with `t` that are in none of `rows`, which are ascending and disjoint.
void find_missed(std::span<const Range> rows, int64_t t, std::vector<Range>& missed) {
  missed.clear();
  int64_t next = 0;
  for (const Range& range : rows) {
    if (range.begin > t) break;
    if (range.begin > next) missed.push_back({next, range.begin});
    next = range.end;
  }
  if (next <= t) missed.push_back({next, t + 1});
}

nlohmann::ordered_json to_json(const MissedMass& mass) {
  nlohmann::ordered_json json;
  json["mean"] = mass.n > 0 ? nlohmann::ordered_json(mass.mean()) : nullptr;
  json["max"] = mass.n > 0 ? nlohmann::ordered_json(mass.max) : nullptr;
  json["n"] = mass.n;
  return json;
}

}  // namespace

nlohmann::ordered_json missed_mass_json(const MissedMassReport& report) {
  nlohmann::ordered_json json = to_json(report.all);
  json["by_layer"] = nlohmann::ordered_json::object();
  for (const auto& [layer, mass] : report.by_layer) {
    json["by_layer"][std::to_string(layer)] = to_json(mass);
  }
  return json;
}

MassAudit::MassAudit(const SelectionPolicy& policy, const ModelConfig& config, int64_t every)
    : policy_(policy), every_(every) {
  for (int64_t layer = 0; layer < config.n_layers; ++layer) {
    const bool selects = !config.slides(layer) && policy.selects(layer);
    places_.push_back(selects ? n_selecting_++ : -1);
  }
}

void MassAudit::look(const LayerInput& input, std::span<const AttentionSpan> spans, int64_t first) {
  const int64_t place = places_[static_cast<size_t>(input.layer)];
  if (place < 0) return;
  const Range positions{std::max(input.positions.begin, first), input.positions.end};
  if (positions.empty()) return;
  const Range refreshes = policy_.refreshes_in(input.layer, positions);
  auto span = spans.begin();
  for (int64_t k = refreshes.begin; k < refreshes.end; ++k) {
    if (k % every_ != 0 || k / every_ % n_selecting_ != place) continue;
    const int64_t t = policy_.refresh_at(input.layer, k);
    while (span->queries.end <= t) ++span;
    find_missed(span->rows, t, missed_);
    if (missed_.empty()) continue;
    double share = 0;
    for (const float mass : mass_.in(input, t, missed_)) share += static_cast<double>(mass);
    report_.all.add(share);
    report_.by_layer[input.layer].add(share);
  }
}

}  // namespace chunkllm

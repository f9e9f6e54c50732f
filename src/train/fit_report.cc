#include "train/fit_report.h"

#include <string>

namespace chunkllm {

void add_layer(nlohmann::ordered_json& json, int64_t layer, const LayerReport& report) {
  const std::string name = std::to_string(layer);
  json["kl"][name] = report.kl();
  json["recall_at_8"][name] = report.recall.by_score();
  json["recall_at_8_recent"][name] = report.recall.by_recency();
  json["recall_at_8_random"][name] = report.recall.by_chance();
  json["captured_mass"][name] = report.boundaries.by_score();
  json["captured_mass_recent"][name] = report.boundaries.by_recency();
  if (!report.answers.empty()) {
    json["captured_mass_answers"][name] = report.answers.by_score();
  }
  if (!report.prompt_ends.empty()) {
    json["captured_mass_prompt_end"][name] = report.prompt_ends.by_score();
  }
  json["loss_kl"] = mean_of(json, "kl");
}

void add_boundaries(nlohmann::ordered_json& json, const BoundaryReport& report) {
  json["loss_bce"] = report.loss();
  json["boundary_precision"] = report.counts.precision();
  json["boundary_recall"] = report.counts.recall();
  json["boundary_f1"] = report.counts.f1();
  if (!report.line_ends.has_no_boundary()) {
    json["boundary_f1_line_ends"] = report.line_ends.f1();
  }
}

double mean_of(const nlohmann::ordered_json& json, const char* field) {
  const auto found = json.find(field);
  if (found == json.end() || found->empty()) return 0.0;
  double sum = 0;
  for (const auto& value : *found) sum += value.get<double>();
  return sum / static_cast<double>(found->size());
}

}  // namespace chunkllm

#include "train/plot.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "train/line_chart.h"

namespace chunkllm {
namespace {

using nlohmann::json;

// The member of an object, or nothing if there is none or `object` is none.
const json* member(const json& object, const char* name) {
  if (!object.is_object()) return nullptr;
  const auto found = object.find(name);
  return found == object.end() ? nullptr : &*found;
}

std::optional<double> number(const json& object, const char* name) {
  const json* value = member(object, name);
  if (!value || !value->is_number()) return std::nullopt;
  return value->get<double>();
}

// What a record says about the training step itself or, where `in_eval`, about the evaluation after
// it. Null if it says nothing.
const json* part_of(const json& record, bool in_eval) {
  return in_eval ? member(record, "eval") : &record;
}

Series number_series(std::span<const json> records, bool in_eval, const char* field,
                     const char* name) {
  Series series{.name = name};
  for (const json& record : records) {
    const std::optional<double> step = number(record, "step");
    const json* part = part_of(record, in_eval);
    const std::optional<double> value = part ? number(*part, field) : std::nullopt;
    if (!step || !value) continue;
    series.x.push_back(*step);
    series.y.push_back(*value);
  }
  return series;
}

// One series a layer, in the order of the layers.
std::vector<Series> layer_series(std::span<const json> records, const char* field) {
  std::map<int64_t, Series> by_layer;
  for (const json& record : records) {
    const std::optional<double> step = number(record, "step");
    const json* layers = member(record, field);
    if (!step || !layers || !layers->is_object()) continue;
    for (const auto& [key, value] : layers->items()) {
      int64_t layer = 0;
      const auto parsed = std::from_chars(key.data(), key.data() + key.size(), layer);
      if (parsed.ec != std::errc() || parsed.ptr != key.data() + key.size()) continue;
      if (!value.is_number()) continue;
      Series& series = by_layer[layer];
      series.name = "layer " + key;
      series.x.push_back(*step);
      series.y.push_back(value.get<double>());
    }
  }
  std::vector<Series> list;
  for (auto& [layer, series] : by_layer) list.push_back(std::move(series));
  return list;
}

// The mean over the layers at each step, as a baseline.
Series layer_mean_series(std::span<const json> records, const char* field, const char* name) {
  Series series{.name = name, .dashed = true};
  for (const json& record : records) {
    const std::optional<double> step = number(record, "step");
    const json* layers = member(record, field);
    if (!step || !layers || !layers->is_object()) continue;
    double sum = 0.0;
    int64_t count = 0;
    for (const json& value : *layers) {
      if (!value.is_number()) continue;
      sum += value.get<double>();
      ++count;
    }
    if (count == 0) continue;
    series.x.push_back(*step);
    series.y.push_back(sum / static_cast<double>(count));
  }
  return series;
}

void append_unless_empty(std::vector<Series>& list, Series series) {
  if (!series.x.empty()) list.push_back(std::move(series));
}

Chart loss_chart(std::span<const json> records) {
  Chart chart{
      .title = "Losses", .x_label = "step", .y_label = "loss", .log_y = true, .smooth = true};
  chart.series = {number_series(records, false, "loss_bce", "boundary (BCE)"),
                  number_series(records, false, "loss_kl", "selection (mean KL)")};
  append_unless_empty(chart.series, number_series(records, true, "loss_bce", "BCE, held out"));
  append_unless_empty(chart.series, number_series(records, true, "loss_kl", "KL, held out"));
  return chart;
}

Chart layer_chart(std::span<const json> records) {
  Chart chart{.x_label = "step", .palette = Palette::kOrdered, .smooth = true};
  chart.series = layer_series(records, "recall_at_8");
  if (chart.series.empty()) {
    chart.title = "Selection, by layer";
    chart.y_label = "KL";
    chart.series = layer_series(records, "kl");
    return chart;
  }
  chart.title = "Selection, by layer: recall of the teacher's 8 best chunks";
  chart.y_label = "recall@8";
  append_unless_empty(chart.series,
                      layer_mean_series(records, "recall_at_8_recent", "recent chunks"));
  append_unless_empty(chart.series,
                      layer_mean_series(records, "recall_at_8_random", "random chunks"));
  return chart;
}

Chart boundary_chart(std::span<const json> records) {
  Chart chart{.title = "Boundaries", .x_label = "step", .y_label = "F1", .smooth = true};
  chart.series = {number_series(records, false, "boundary_f1", "F1")};
  append_unless_empty(chart.series, number_series(records, true, "boundary_f1", "F1, held out"));
  return chart;
}

}  // namespace

std::string render_training_svg(const std::string& title, std::span<const json> records) {
  const std::array charts = {loss_chart(records), layer_chart(records), boundary_chart(records)};
  return render_line_charts(title, charts);
}

}  // namespace chunkllm

#include "eval/layer_values.h"

#include <fmt/format.h>

#include <algorithm>

namespace chunkllm {

Range typical_layers(int64_t n_layers) {
  constexpr int64_t kFirst = 4;
  return {std::min(kFirst, n_layers / 4), n_layers};
}

Range third_of_layers(int64_t n_layers, int64_t third) {
  return {third * n_layers / 3, (third + 1) * n_layers / 3};
}

std::optional<double> mean_over(const LayerValues& values, Range layers) {
  Measure sum;
  for (int64_t i = layers.begin; i < layers.end; ++i) {
    const std::optional<double>& value = values[static_cast<size_t>(i)];
    if (value) sum += {*value, 1};
  }
  if (sum.n == 0) return std::nullopt;
  return sum.sum / sum.n;
}

std::optional<double> typical_mean(const LayerValues& values) {
  return mean_over(values, typical_layers(std::ssize(values)));
}

void add_thirds(const LayerValues& values, std::vector<std::optional<double>>& numbers) {
  for (int64_t third = 0; third < 3; ++third) {
    numbers.push_back(mean_over(values, third_of_layers(std::ssize(values), third)));
  }
}

LayerValues quotients(const std::vector<Measure>& by_layer) {
  LayerValues values;
  for (const Measure& measure : by_layer) {
    values.push_back(measure.n > 0 ? std::optional(measure.sum / measure.n) : std::nullopt);
  }
  return values;
}

std::string layer_line(const std::vector<std::string>& labels,
                       const std::vector<std::optional<double>>& numbers) {
  std::string line = "|";
  for (const std::string& label : labels) line += fmt::format(" {} |", label);
  for (const std::optional<double>& number : numbers) {
    line += number ? fmt::format(" {:.3f} |", *number) : " - |";
  }
  return line + "\n";
}

}  // namespace chunkllm

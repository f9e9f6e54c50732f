// Numbers that a task has for each layer, and their means over parts of the network.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/range.h"
#include "eval/task.h"

namespace chunkllm {

// The layers whose mean stands for a model: from the fifth on, or in a small one the last three
// quarters. The first ones attend to what is near, whatever the text.
Range typical_layers(int64_t n_layers);
// The layers of a third of the depth, 0 to 2.
Range third_of_layers(int64_t n_layers, int64_t third);
inline constexpr std::string_view kThirds[] = {"first third", "middle third", "last third"};

// The mean over those of the layers that have a number; nothing where none has.
std::optional<double> mean_over(const LayerValues& values, Range layers);
std::optional<double> typical_mean(const LayerValues& values);

// Appends the means over the three thirds of the depth.
void add_thirds(const LayerValues& values, std::vector<std::optional<double>>& numbers);

// The quotients of sums; nothing where there is nothing to divide by.
LayerValues quotients(const std::vector<Measure>& by_layer);

// A line of a Markdown table with these numbers, "-" for those that are missing.
std::string layer_line(const std::vector<std::string>& labels,
                       const std::vector<std::optional<double>>& numbers);

}  // namespace chunkllm

// Line charts as SVG text: what training and evaluation reports draw. No fonts, scripts or files
// beside the text are needed to show it.
#pragma once

#include <span>
#include <string>
#include <vector>

namespace chunkllm {

struct Series {
  std::string name = {};
  std::vector<double> x = {};
  std::vector<double> y = {};  // as many as x; the line is interrupted where x or y is not finite
  bool dashed = false;         // a baseline: grey, each with its own pattern of dashes
};

enum class Palette {
  kDistinct,  // colours easily told apart, for series that differ in kind; repeats after 8
  kOrdered,   // dark blue to yellow, for series that have an order, such as layers
};

struct Chart {
  std::string title = {};
  std::string x_label = {};
  std::string y_label = {};
  std::vector<Series> series = {};
  Palette palette = Palette::kDistinct;
  bool log_y = false;   // logarithmic y axis; values that are not positive are left out
  bool smooth = false;  // draws a moving average, and the values themselves faintly behind it
};

// The charts one below the other, each with axes, grid and legend, on a white ground; `title`
// stands above them. Series without a point to draw keep their place in the legend. Long series are
// thinned to what the width can show, keeping extremes. Text may hold anything: it is escaped, and
// what is not UTF-8 is replaced. Throws Error (kInvalidArgument) if a series has unequal numbers of
// x and y.
std::string render_line_charts(const std::string& title, std::span<const Chart> charts);

// The mean of the values within half a window on either side of each, over the finite ones; NaN
// stays NaN. A window of n takes (n - 1) / 2 neighbours each side, fewer at the ends.
std::vector<double> moving_average(std::span<const double> values, int window);

// About n_ticks round numbers (1, 2 or 5 times a power of ten apart) inside [low, high], ascending.
// Empty unless low < high and both are finite.
std::vector<double> nice_ticks(double low, double high, int n_ticks);

}  // namespace chunkllm

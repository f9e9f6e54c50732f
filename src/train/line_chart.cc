#include "train/line_chart.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <iterator>
#include <limits>
#include <nlohmann/json.hpp>
#include <string_view>

#include "base/error.h"

namespace chunkllm {
namespace {

// Layout, in SVG user units.
constexpr double kWidth = 1040.0;
constexpr double kTitleHeight = 56.0;
constexpr double kChartHeight = 330.0;
constexpr double kPlotLeft = 84.0;
constexpr double kPlotTop = 40.0;  // within its chart
constexpr double kPlotWidth = 710.0;
constexpr double kPlotHeight = 225.0;
constexpr double kLegendLeft = kPlotLeft + kPlotWidth + 24.0;
constexpr double kLegendHeight = 270.0;
constexpr double kLegendRow = 18.0;      // at most; rows move closer where there are many
constexpr size_t kLegendRows = 15;       // before a second column begins
constexpr size_t kLegendRowsDense = 20;  // before a third one does

constexpr int kMaxPoints = 700;      // a line; about one a unit of width
constexpr size_t kMaxSeriesRaw = 6;  // more raw lines than this hide the smoothed ones
constexpr int kMaxMarked = 40;       // lines with at most so many points show each as a dot
constexpr double kLargest = 1e100;   // beyond, differences and logarithms are not worth drawing
constexpr const char* kBaselineColor = "#8a8f98";

struct Point {
  double x = 0.0;
  double y = 0.0;
};

// Values along one axis and their place on the page.
struct Axis {
  double low = 0.0;
  double high = 1.0;
  double at_low = 0.0;
  double at_high = 1.0;
  std::vector<double> ticks = {};

  double place(double value) const {
    return at_low + (value - low) / (high - low) * (at_high - at_low);
  }
};

std::string escape_xml(const std::string& text) {
  // The JSON library replaces what is not UTF-8, which XML does not allow.
  using nlohmann::json;
  const std::string valid =
      json::parse(json(text).dump(-1, ' ', false, json::error_handler_t::replace))
          .get<std::string>();
  std::string escaped;
  for (const char c : valid) {
    switch (c) {
      case '&':
        escaped += "&amp;";
        break;
      case '<':
        escaped += "&lt;";
        break;
      case '>':
        escaped += "&gt;";
        break;
      case '"':
        escaped += "&quot;";
        break;
      case '\'':
        escaped += "&#39;";
        break;
      default:
        escaped += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
    }
  }
  return escaped;
}

std::string series_color(const Chart& chart, size_t index) {
  static constexpr std::array kDistinctColors = {"#2563c9", "#e0701b", "#1d8a4e", "#c22f3d",
                                                 "#7a4fc0", "#0f8fa3", "#b1368c", "#7d6a1a"};
  if (chart.series[index].dashed) return kBaselineColor;
  if (chart.palette == Palette::kDistinct) return kDistinctColors[index % kDistinctColors.size()];

  // Blue, teal, green, amber; evenly over the series that are no baselines.
  static constexpr std::array<std::array<double, 3>, 4> kStops = {
      {{49, 46, 129}, {20, 120, 160}, {60, 165, 95}, {235, 170, 30}}};
  int64_t rank = 0;
  int64_t n_ordered = 0;
  for (size_t i = 0; i < chart.series.size(); ++i) {
    if (chart.series[i].dashed) continue;
    if (i < index) ++rank;
    ++n_ordered;
  }
  const double place = n_ordered > 1 ? static_cast<double>(rank) * (kStops.size() - 1) /
                                           static_cast<double>(n_ordered - 1)
                                     : 0.0;
  const size_t stop = std::min(static_cast<size_t>(place), kStops.size() - 2);
  const double fraction = place - static_cast<double>(stop);
  const auto mix = [&](size_t channel) {
    return std::lround(kStops[stop][channel] * (1.0 - fraction) +
                       kStops[stop + 1][channel] * fraction);
  };
  return fmt::format("#{:02x}{:02x}{:02x}", mix(0), mix(1), mix(2));
}

// The SVG attribute that tells the baselines of a chart apart; nothing for other series.
const char* dash_pattern(const Chart& chart, size_t index) {
  static constexpr std::array kPatterns = {"stroke-dasharray=\"7 3\"", "stroke-dasharray=\"2 3\"",
                                           "stroke-dasharray=\"7 3 2 3\""};
  if (!chart.series[index].dashed) return "";
  size_t rank = 0;
  for (size_t i = 0; i < index; ++i) rank += chart.series[i].dashed ? 1 : 0;
  return kPatterns[rank % kPatterns.size()];
}

// The points of a series as drawn: y as its logarithm on a logarithmic axis, NaN in both where
// nothing can be drawn.
std::vector<Point> drawable_points(const Chart& chart, std::span<const double> x,
                                   std::span<const double> y) {
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
  std::vector<Point> points;
  for (size_t i = 0; i < x.size(); ++i) {
    const bool drawable =
        std::abs(x[i]) < kLargest && std::abs(y[i]) < kLargest && (!chart.log_y || y[i] > 0.0);
    points.push_back(drawable ? Point{x[i], chart.log_y ? std::log10(y[i]) : y[i]}
                              : Point{kNan, kNan});
  }
  return points;
}

// At most kMaxPoints points that look the same: the least and the greatest of each stretch.
std::vector<Point> thin_out(const std::vector<Point>& points) {
  const size_t n = points.size();
  if (n <= kMaxPoints) return points;
  std::vector<Point> kept;
  constexpr size_t kBuckets = kMaxPoints / 2;
  for (size_t bucket = 0; bucket < kBuckets; ++bucket) {
    size_t low = bucket * n / kBuckets;
    size_t high = low;
    for (size_t i = low; i < (bucket + 1) * n / kBuckets; ++i) {
      // The negations prefer any value to NaN.
      if (!(points[i].y >= points[low].y) && !std::isnan(points[i].y)) low = i;
      if (!(points[i].y <= points[high].y) && !std::isnan(points[i].y)) high = i;
    }
    kept.push_back(points[std::min(low, high)]);
    if (low != high) kept.push_back(points[std::max(low, high)]);
  }
  return kept;
}

// The limits of the finite values, widened where there is but one, [0, 1] where there is none.
Axis make_axis(const std::vector<double>& values, double margin) {
  Axis axis{std::numeric_limits<double>::infinity(), -std::numeric_limits<double>::infinity()};
  for (const double value : values) {
    if (std::isnan(value)) continue;
    axis.low = std::min(axis.low, value);
    axis.high = std::max(axis.high, value);
  }
  if (axis.low > axis.high) {
    axis.low = 0.0;
    axis.high = 1.0;
  }
  const double extent = axis.high - axis.low;
  const double size = std::max(std::abs(axis.low), std::abs(axis.high));
  // Values closer than this cannot be told apart by their labels.
  const double pad = extent > 1e-9 * size ? extent * margin : std::max(0.1 * size, 0.5);
  axis.low -= pad;
  axis.high += pad;
  return axis;
}

// The logarithms of 1, 2 and 5 times powers of ten, or of the powers alone over many decades.
std::vector<double> log_ticks(double low, double high) {
  std::vector<double> ticks;
  const int stride = std::max(1, static_cast<int>((high - low) / 6.0));
  for (int decade = static_cast<int>(std::floor(low)); decade <= high; decade += stride) {
    for (const double factor : {1.0, 2.0, 5.0}) {
      const double tick = decade + std::log10(factor);
      const bool wanted = factor == 1.0 || high - low < 2.5;
      if (wanted && tick >= low && tick <= high) ticks.push_back(tick);
    }
  }
  if (ticks.size() >= 3) return ticks;
  ticks.clear();
  for (const double tick : nice_ticks(std::pow(10.0, low), std::pow(10.0, high), 5)) {
    ticks.push_back(std::log10(tick));
  }
  return ticks;
}

std::string linear_label(double value, double spacing) {
  const double size = std::max(std::abs(value), spacing);
  if (size >= 1e7 || size < 1e-4) return fmt::format("{:.4g}", value);
  const int decimals = std::max(0, static_cast<int>(-std::floor(std::log10(spacing) + 1e-9)));
  const std::string label = fmt::format("{:.{}f}", value, std::min(decimals, 12));
  const bool is_zero = label.find_first_not_of("-0.") == label.npos;
  return is_zero && label[0] == '-' ? label.substr(1) : label;
}

std::vector<std::string> tick_labels(const std::vector<double>& ticks, bool log) {
  const double spacing = ticks.size() > 1 ? ticks[1] - ticks[0] : 1.0;
  std::vector<std::string> labels;
  for (const double tick : ticks) {
    labels.push_back(log ? fmt::format("{:.4g}", std::pow(10.0, tick))
                         : linear_label(tick, spacing));
  }
  return labels;
}

// Collects the SVG text of one chart whose upper edge is at `top`.
class ChartWriter {
 public:
  ChartWriter(const Chart& chart, double top, std::string& svg)
      : chart_(chart), plot_top_(top + kPlotTop), svg_(svg) {}

  void write() {
    prepare();
    write_frame();
    for (size_t i = 0; i < lines_.size(); ++i) {
      const std::string color = series_color(chart_, i);
      write_line(raw_lines_[i], color, "stroke-width=\"1\" opacity=\"0.25\"");
      write_line(lines_[i], color, fmt::format("stroke-width=\"1.8\" {}", dash_pattern(chart_, i)));
      write_markers(lines_[i], color);
    }
    write_legend();
  }

 private:
  template <typename... Args>
  void put(fmt::format_string<Args...> format, Args&&... args) {
    fmt::format_to(std::back_inserter(svg_), format, std::forward<Args>(args)...);
  }

  void prepare() {
    const bool show_raw = chart_.series.size() <= kMaxSeriesRaw;
    std::vector<double> x;
    std::vector<double> y;
    for (const Series& series : chart_.series) {
      const int window = std::clamp(static_cast<int>(series.y.size() / 30), 1, 201);
      const bool smooth = chart_.smooth && !series.dashed && window >= 3;
      const std::vector<Point> raw = drawable_points(chart_, series.x, series.y);
      const std::vector<Point> line =
          smooth ? drawable_points(chart_, series.x, moving_average(series.y, window)) : raw;
      lines_.push_back(thin_out(line));
      raw_lines_.push_back(smooth && show_raw ? thin_out(raw) : std::vector<Point>());
      for (const std::vector<Point>* drawn : {&lines_.back(), &raw_lines_.back()}) {
        for (const Point& point : *drawn) {
          x.push_back(point.x);
          y.push_back(point.y);
        }
      }
    }
    x_ = make_axis(x, 0.0);
    x_.at_low = kPlotLeft;
    x_.at_high = kPlotLeft + kPlotWidth;
    x_.ticks = nice_ticks(x_.low, x_.high, 8);
    y_ = make_axis(y, 0.05);
    y_.at_low = plot_top_ + kPlotHeight;
    y_.at_high = plot_top_;
    y_.ticks = chart_.log_y ? log_ticks(y_.low, y_.high) : nice_ticks(y_.low, y_.high, 6);
  }

  void write_frame() {
    const double bottom = plot_top_ + kPlotHeight;
    const double right = kPlotLeft + kPlotWidth;
    put("<text x=\"{:.1f}\" y=\"{:.1f}\" class=\"chart-title\">{}</text>\n", kPlotLeft,
        plot_top_ - 14.0, escape_xml(chart_.title));
    const std::vector<std::string> y_labels = tick_labels(y_.ticks, chart_.log_y);
    for (size_t i = 0; i < y_.ticks.size(); ++i) {
      const double y = y_.place(y_.ticks[i]);
      put("<path class=\"grid\" d=\"M{:.1f} {:.1f}H{:.1f}\"/>"
          "<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"end\">{}</text>\n",
          kPlotLeft, y, right, kPlotLeft - 8.0, y + 4.0, y_labels[i]);
    }
    const std::vector<std::string> x_labels = tick_labels(x_.ticks, false);
    for (size_t i = 0; i < x_.ticks.size(); ++i) {
      const double x = x_.place(x_.ticks[i]);
      put("<path class=\"grid\" d=\"M{:.1f} {:.1f}V{:.1f}\"/>"
          "<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"middle\">{}</text>\n",
          x, plot_top_, bottom, x, bottom + 18.0, x_labels[i]);
    }
    put("<path class=\"axis\" d=\"M{:.1f} {:.1f}V{:.1f}H{:.1f}\"/>\n", kPlotLeft, plot_top_, bottom,
        right);
    put("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"middle\" class=\"label\">{}</text>\n",
        kPlotLeft + kPlotWidth / 2.0, bottom + 38.0, escape_xml(chart_.x_label));
    const double middle = plot_top_ + kPlotHeight / 2.0;
    put("<text transform=\"translate(22 {:.1f}) rotate(-90)\" text-anchor=\"middle\" "
        "class=\"label\">{}</text>\n",
        middle, escape_xml(chart_.y_label));
  }

  void write_line(const std::vector<Point>& points, const std::string& color,
                  const std::string& style) {
    std::string path;
    bool drawing = false;
    for (const Point& point : points) {
      if (std::isnan(point.y)) {
        drawing = false;
        continue;
      }
      fmt::format_to(std::back_inserter(path), "{}{:.1f} {:.1f}", drawing ? 'L' : 'M',
                     x_.place(point.x), y_.place(point.y));
      drawing = true;
    }
    if (path.empty()) return;
    put("<path fill=\"none\" stroke=\"{}\" stroke-linejoin=\"round\" {} d=\"{}\"/>\n", color, style,
        path);
  }

  void write_markers(const std::vector<Point>& points, const std::string& color) {
    const auto is_drawn = [](const Point& point) { return !std::isnan(point.y); };
    if (std::count_if(points.begin(), points.end(), is_drawn) > kMaxMarked) return;
    for (const Point& point : points) {
      if (!is_drawn(point)) continue;
      put("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"2.6\" fill=\"{}\"/>\n", x_.place(point.x),
          y_.place(point.y), color);
    }
  }

  void write_legend() {
    const size_t n = chart_.series.size();
    const size_t n_rows = std::clamp((n + 1) / 2, kLegendRows, kLegendRowsDense);
    const size_t n_columns = (n + n_rows - 1) / n_rows;
    const double row_height = std::min(kLegendRow, kLegendHeight / static_cast<double>(n_rows));
    const double column_width = (kWidth - 12.0 - kLegendLeft) / static_cast<double>(n_columns);
    for (size_t i = 0; i < n; ++i) {
      const double x = kLegendLeft + static_cast<double>(i / n_rows) * column_width;
      const double y = plot_top_ + 6.0 + static_cast<double>(i % n_rows) * row_height;
      put("<path stroke=\"{}\" stroke-width=\"3\" {} d=\"M{:.1f} {:.1f}h16\"/>"
          "<text x=\"{:.1f}\" y=\"{:.1f}\">{}</text>\n",
          series_color(chart_, i), dash_pattern(chart_, i), x, y, x + 22.0, y + 4.0,
          escape_xml(chart_.series[i].name));
    }
  }

  const Chart& chart_;
  double plot_top_;
  std::string& svg_;
  Axis x_;
  Axis y_;
  std::vector<std::vector<Point>> lines_;      // one a series
  std::vector<std::vector<Point>> raw_lines_;  // one a series; empty where nothing is smoothed
};

}  // namespace

std::vector<double> moving_average(std::span<const double> values, int window) {
  const int64_t n = std::ssize(values);
  const int64_t reach = std::max(0, (window - 1) / 2);
  std::vector<double> averages;
  for (int64_t i = 0; i < n; ++i) {
    double sum = 0.0;
    int64_t count = 0;
    for (int64_t j = std::max<int64_t>(0, i - reach); j <= std::min(n - 1, i + reach); ++j) {
      if (!std::isfinite(values[j])) continue;
      sum += values[j];
      ++count;
    }
    averages.push_back(std::isfinite(values[i]) ? sum / static_cast<double>(count)
                                                : std::numeric_limits<double>::quiet_NaN());
  }
  return averages;
}

std::vector<double> nice_ticks(double low, double high, int n_ticks) {
  if (!(low < high) || !std::isfinite(high - low) || n_ticks < 1) return {};
  const double rough = (high - low) / n_ticks;
  const double power = std::pow(10.0, std::floor(std::log10(rough)));
  const double digits = rough / power;
  const double step = power * (digits < 1.5 ? 1.0 : digits < 3.5 ? 2.0 : digits < 7.5 ? 5.0 : 10.0);
  const double first = std::ceil(low / step - 1e-9);
  std::vector<double> ticks;
  // Counted, since steps far smaller than the values would never arrive at `high`.
  for (int i = 0; i <= 2 * n_ticks; ++i) {
    const double tick = (first + i) * step;
    if (tick > high + 1e-9 * step) break;
    ticks.push_back(tick);
  }
  return ticks;
}

std::string render_line_charts(const std::string& title, std::span<const Chart> charts) {
  for (const Chart& chart : charts) {
    for (const Series& series : chart.series) {
      if (series.x.size() == series.y.size()) continue;
      fail(ErrorCode::kInvalidArgument, "chart \"{}\": series \"{}\" has {} x but {} y",
           chart.title, series.name, series.x.size(), series.y.size());
    }
  }
  const double height = kTitleHeight + static_cast<double>(charts.size()) * kChartHeight;
  std::string svg = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0:.0f} {1:.0f}\" width=\"{0:.0f}\" "
      "height=\"{1:.0f}\" font-family=\"system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif\" "
      "font-size=\"12\" fill=\"#3d434d\">\n"
      "<style>.grid{{stroke:#e6e8ec;fill:none}}.axis{{stroke:#9aa1ac;fill:none}}"
      ".title{{font-size:19px;font-weight:600;fill:#171a1f}}"
      ".chart-title{{font-size:14px;font-weight:600;fill:#171a1f}}.label{{fill:#5b626d}}</style>\n"
      "<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n"
      "<text x=\"{2:.1f}\" y=\"34\" class=\"title\">{3}</text>\n",
      kWidth, height, kPlotLeft, escape_xml(title));
  for (size_t i = 0; i < charts.size(); ++i) {
    ChartWriter(charts[i], kTitleHeight + static_cast<double>(i) * kChartHeight, svg).write();
  }
  svg += "</svg>\n";
  return svg;
}

}  // namespace chunkllm

#include "train/line_chart.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "base/error.h"
#include "svg_check.h"

namespace chunkllm {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

// Whatever was given, the text is well-formed and no number in it is NaN or infinite.
void expect_sound(const std::string& svg) {
  EXPECT_EQ(xml_fault(svg), "");
  EXPECT_THAT(svg, Not(HasSubstr("nan")));
  EXPECT_THAT(svg, Not(HasSubstr("inf")));
}

size_t count(const std::string& text, const std::string& part) {
  size_t n = 0;
  for (size_t at = text.find(part); at != text.npos; at = text.find(part, at + 1)) ++n;
  return n;
}

TEST(XmlFault, FindsFaults) {
  EXPECT_EQ(xml_fault("<a b=\"1\"><c/>x &amp; y</a>\n"), "");
  for (const char* bad :
       {"", "<a>", "<a></b>", "<a/><a/>", "<a b></a>", "<a>x & y</a>", "<a b=\"&\"/>", "<a b=\"1/>",
        "<a>></a>", "x<a/>", "<a b=\"1\"c=\"2\"/>"}) {
    EXPECT_NE(xml_fault(bad), "") << bad;
  }
}

TEST(LineCharts, ShowTitlesLabelsAndEverySeries) {
  const std::vector<Chart> charts = {
      {.title = "first",
       .x_label = "xs",
       .y_label = "ys",
       .series = {{"rising", {0, 1, 2}, {0, 1, 4}}, {"base", {0, 2}, {1, 1}, true}}},
      {.title = "second", .series = {{"other", {5, 6}, {7, 8}}}}};
  const std::string svg = render_line_charts("All of it", charts);
  expect_sound(svg);
  for (const char* text : {"All of it", "first", "xs", "ys", "rising", "base", "second", "other"}) {
    EXPECT_THAT(svg, HasSubstr(fmt::format(">{}</text>", text)));
  }
  EXPECT_EQ(count(svg, "<circle"), 7u);  // few points, so each has its dot
  EXPECT_EQ(render_line_charts("All of it", charts), svg);
}

TEST(LineCharts, PlaceValuesOnTheirAxes) {
  // The corners of the data: left to right, and a greater y higher up.
  const std::vector<Chart> charts = {{.series = {{"s", {10, 20}, {1, 3}}}}};
  const std::string svg = render_line_charts("", charts);
  const size_t at = svg.find("<circle cx=\"");
  double x[2];
  double y[2];
  ASSERT_EQ(std::sscanf(svg.c_str() + at, "<circle cx=\"%lf\" cy=\"%lf\"", &x[0], &y[0]), 2);
  ASSERT_EQ(std::sscanf(svg.c_str() + svg.find("<circle", at + 1), "<circle cx=\"%lf\" cy=\"%lf\"",
                        &x[1], &y[1]),
            2);
  EXPECT_LT(x[0], x[1]);
  EXPECT_GT(y[0], y[1]);
}

TEST(LineCharts, EscapeText) {
  const std::string hostile = "<b a=\"1\">&amp;'\n\x01\xff\xc3";
  const std::vector<Chart> charts = {
      {.title = hostile, .x_label = hostile, .y_label = hostile, .series = {{hostile, {1}, {1}}}}};
  const std::string svg = render_line_charts(hostile, charts);
  expect_sound(svg);
  EXPECT_EQ(count(svg, "&lt;b a=&quot;1&quot;&gt;&amp;amp;&#39;"), 5u);
  EXPECT_THAT(svg, Not(HasSubstr("\xff")));
  EXPECT_THAT(svg, Not(HasSubstr("\x01")));
}

TEST(LineCharts, TolerateAnyNumbers) {
  const double huge = std::numeric_limits<double>::max();
  const std::vector<std::vector<double>> values = {{},
                                                   {kNan, kNan},
                                                   {1, kNan, 2},
                                                   {kInfinity, -kInfinity, 1},
                                                   {huge, -huge, 0},
                                                   {0, 0, 0},
                                                   {5e-324, 1e-310},
                                                   {-1, 0, 1},
                                                   {1e99, -1e99},
                                                   {1e16, 1e16 + 2},
                                                   {1, 1 + 1e-15},
                                                   {1e-90, 1e90},
                                                   {1e300, 1}};
  for (const std::vector<double>& x : values) {
    for (const std::vector<double>& y : values) {
      Series series{.name = "s", .x = x, .y = y};
      series.x.resize(std::min(x.size(), y.size()));
      series.y.resize(std::min(x.size(), y.size()));
      for (const bool flag : {false, true}) {
        const std::vector<Chart> charts = {{.series = {series}, .log_y = flag, .smooth = flag}};
        expect_sound(render_line_charts("t", charts));
      }
    }
  }
  expect_sound(render_line_charts("t", {}));
}

TEST(LineCharts, InterruptTheLineWhereAValueIsMissing) {
  const std::vector<Chart> charts = {{.series = {{"s", {0, 1, 2, 3, 4}, {0, 1, kNan, 1, 0}}}}};
  const std::string svg = render_line_charts("", charts);
  const size_t begin = svg.find("d=\"M", svg.find("stroke-linejoin"));
  const std::string path = svg.substr(begin, svg.find('"', begin + 3) - begin);
  EXPECT_EQ(count(path, "M"), 2u);
  EXPECT_EQ(count(path, "L"), 2u);
}

TEST(LineCharts, ThinLongSeriesButKeepTheirExtremes) {
  Series series{.name = "s"};
  for (int i = 0; i < 200000; ++i) {
    series.x.push_back(i);
    series.y.push_back(i == 123457 ? 50.0 : i == 654 ? kNan : 1.0);
  }
  const std::vector<Chart> charts = {{.series = {series}}};
  const std::string svg = render_line_charts("", charts);
  expect_sound(svg);
  EXPECT_LT(svg.size(), 40000u);
  EXPECT_THAT(svg, HasSubstr(">50</text>"));  // the axis reaches the peak
}

TEST(LineCharts, RefuseSeriesOfUnequalLengths) {
  const std::vector<Chart> charts = {{.series = {{"s", {0, 1}, {0}}}}};
  EXPECT_THROW(render_line_charts("", charts), Error);
}

TEST(MovingAverage, HandWorkedCase) {
  const std::vector<double> values = {1, 2, 6, kNan, 10};
  const std::vector<double> averages = moving_average(values, 3);
  ASSERT_EQ(averages.size(), 5u);
  EXPECT_DOUBLE_EQ(averages[0], 1.5);
  EXPECT_DOUBLE_EQ(averages[1], 3.0);
  EXPECT_DOUBLE_EQ(averages[2], 4.0);
  EXPECT_TRUE(std::isnan(averages[3]));
  EXPECT_DOUBLE_EQ(averages[4], 10.0);
  EXPECT_EQ(moving_average(std::vector<double>{3, 4}, 1), (std::vector<double>{3, 4}));
  EXPECT_TRUE(moving_average({}, 5).empty());
}

TEST(NiceTicks, AreRoundAndInside) {
  EXPECT_EQ(nice_ticks(0.0, 10.0, 5), (std::vector<double>{0, 2, 4, 6, 8, 10}));
  EXPECT_EQ(nice_ticks(-0.3, 0.3, 6).size(), 7u);
  for (const auto& [low, high] : std::vector<std::pair<double, double>>{
           {0.013, 0.71}, {-5e7, 3e8}, {1e-12, 3e-12}, {100.0, 101.0}, {-2.5, -2.4}}) {
    const std::vector<double> ticks = nice_ticks(low, high, 6);
    EXPECT_GE(ticks.size(), 3u);
    EXPECT_LE(ticks.size(), 13u);
    const double slack = 1e-6 * (high - low);
    for (const double tick : ticks) {
      EXPECT_GE(tick, low - slack);
      EXPECT_LE(tick, high + slack);
    }
  }
  EXPECT_TRUE(nice_ticks(1.0, 1.0, 5).empty());
  EXPECT_TRUE(nice_ticks(kNan, 1.0, 5).empty());
  EXPECT_TRUE(nice_ticks(0.0, kInfinity, 5).empty());
}

}  // namespace
}  // namespace chunkllm

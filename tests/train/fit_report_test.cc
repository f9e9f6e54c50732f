#include "train/fit_report.h"

#include <gtest/gtest.h>

namespace chunkllm {
namespace {

TEST(FitReport, HasAFigureOfLineEndsOnlyWhereOneWasABoundaryOrTakenForOne) {
  BoundaryReport report;
  report.n_tokens = 10;
  report.counts = {.n_true_positive = 2, .n_true_negative = 8};
  nlohmann::ordered_json json;
  add_boundaries(json, report);
  EXPECT_EQ(json.at("boundary_f1"), 1.0);
  EXPECT_FALSE(json.contains("boundary_f1_line_ends")) << "there were no line ends";

  report.line_ends.n_true_negative = 3;  // hard-wrapped prose, all of it right
  json.clear();
  add_boundaries(json, report);
  EXPECT_FALSE(json.contains("boundary_f1_line_ends")) << json;

  report.line_ends.n_false_negative = 1;
  json.clear();
  add_boundaries(json, report);
  EXPECT_EQ(json.at("boundary_f1_line_ends"), 0.0);
}

}  // namespace
}  // namespace chunkllm

#include "train/plot.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "svg_check.h"

namespace chunkllm {
namespace {

using nlohmann::json;
using testing::HasSubstr;
using testing::Not;

// The log of a run over `n_steps` steps with `n_layers` selecting layers.
std::vector<json> run_records(int n_steps, int n_layers) {
  std::vector<json> records;
  for (int step = 1; step <= n_steps; ++step) {
    json record = {{"step", step},
                   {"loss_bce", 0.7 * std::exp(-step / 50.0) + 0.02},
                   {"loss_kl", 1.8 * std::exp(-step / 80.0) + 0.4},
                   {"boundary_f1", 1.0 - std::exp(-step / 30.0)}};
    for (int layer = 0; layer < n_layers; ++layer) {
      const std::string key = std::to_string(layer);
      record["kl"][key] = 1.0 / (layer + 1);
      record["recall_at_8"][key] = 0.5 + 0.01 * layer;
      record["recall_at_8_recent"][key] = 0.3;
      record["recall_at_8_random"][key] = 0.1;
    }
    if (step % 10 == 0) record["eval"] = {{"boundary_f1", 0.9}, {"loss_kl", 0.5}};
    records.push_back(record);
  }
  return records;
}

TEST(TrainingSvg, ShowsEverySeriesOfTheLog) {
  const std::string svg = render_training_svg("adapters <of> llama", run_records(100, 12));
  EXPECT_EQ(xml_fault(svg), "");
  EXPECT_THAT(svg, HasSubstr("adapters &lt;of&gt; llama"));
  for (const char* name :
       {"boundary (BCE)", "selection (mean KL)", "KL, held out", "recall@8", "layer 0", "layer 2",
        "layer 11", "recent chunks", "random chunks", "F1", "F1, held out"}) {
    EXPECT_THAT(svg, HasSubstr(fmt::format(">{}</text>", name)));
  }
  EXPECT_THAT(svg, Not(HasSubstr("BCE, held out")));
  // Layers come in numerical order.
  EXPECT_LT(svg.find("layer 2<"), svg.find("layer 11<"));
}

TEST(TrainingSvg, FallsBackToKlByLayer) {
  std::vector<json> records = run_records(5, 3);
  for (json& record : records) record.erase("recall_at_8");
  const std::string svg = render_training_svg("t", records);
  EXPECT_EQ(xml_fault(svg), "");
  EXPECT_THAT(svg, HasSubstr(">layer 2</text>"));
  EXPECT_THAT(svg, Not(HasSubstr("recall@8")));
}

TEST(TrainingSvg, ToleratesRecordsOfAnyShape) {
  const std::vector<json> records = {
      json(),
      json::array({1, 2}),
      "text",
      {{"loss_bce", 1.0}},
      {{"step", "x"}, {"loss_bce", 1.0}},
      {{"step", 1}, {"loss_bce", nullptr}, {"loss_kl", "x"}, {"recall_at_8", 3}, {"eval", 5}},
      {{"step", 2}, {"recall_at_8", {{"x", 1}, {"0", nullptr}, {"1", 0.5}}}},
      {{"step", 3}, {"recall_at_8_recent", json::array({nullptr})}}};
  EXPECT_EQ(xml_fault(render_training_svg("t", records)), "");
  EXPECT_EQ(xml_fault(render_training_svg("t", {})), "");
}

}  // namespace
}  // namespace chunkllm

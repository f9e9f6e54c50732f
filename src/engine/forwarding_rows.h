// A selector that looks on while another one decides.
#pragma once

#include "model/transformer.h"

namespace chunkllm {

// Hands everything on. The other must outlive it.
class ForwardingRows : public RowSelector {
 public:
  explicit ForwardingRows(RowSelector& to) : to_(to) {}

  void begin_block(Range positions, std::span<const int32_t> tokens) override {
    to_.begin_block(positions, tokens);
  }
  std::span<const AttentionSpan> rows(const LayerInput& input) override { return to_.rows(input); }
  WeightedRows weighted_rows() const override { return to_.weighted_rows(); }
  void attention_done(const LayerInput& input, const float* log_sum_exp) override {
    to_.attention_done(input, log_sum_exp);
  }
  bool wants_log_sum_exp() const override { return to_.wants_log_sum_exp(); }
  void layer_done(int64_t layer, Range positions, const float* hidden) override {
    to_.layer_done(layer, positions, hidden);
  }
  Range ready(Range positions) override { return to_.ready(positions); }

 private:
  RowSelector& to_;
};

}  // namespace chunkllm

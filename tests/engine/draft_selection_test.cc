#include "engine/draft_selection.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

namespace chunkllm {
namespace {

// Runs all layers but the first to the last multiple of four, as if chunks ended there, and writes
// down what it is shown.
class Witness : public SelectionPolicy {
 public:
  struct Seen {
    std::vector<int32_t> tokens;             // of the blocks
    std::vector<std::vector<float>> inputs;  // [n_layers] the first number of each row
    std::vector<float> hidden;
  };
  Witness(Seen& seen, int64_t n_layers, int64_t d_model) : seen_(seen), d_model_(d_model) {
    seen_.inputs.resize(static_cast<size_t>(n_layers));
  }

  void begin_block(Range positions, std::span<const int32_t> tokens) override {
    seen_.tokens.resize(static_cast<size_t>(positions.begin));
    seen_.tokens.insert(seen_.tokens.end(), tokens.begin(), tokens.end());
    first_done_ = positions.end;
  }
  std::span<const AttentionSpan> rows(const LayerInput& input) override {
    take(seen_.inputs[static_cast<size_t>(input.layer)], input.positions, input.x);
    span_.queries = input.positions;
    span_.rows = {{0, 2}, {input.positions.end - 1, input.positions.end}};
    return {&span_, 1};
  }
  void layer_done(int64_t layer, Range positions, const float* hidden) override {
    if (layer == 0) take(seen_.hidden, positions, hidden);
  }
  Range ready(Range positions) override {
    const Range run{done_, positions.end - positions.end % 4};
    done_ = run.end;
    return run;
  }
  Range next_block(std::span<const int32_t> tokens, int64_t max_tokens) override {
    return {first_done_, std::min(std::ssize(tokens), first_done_ + max_tokens)};
  }
  int64_t n_done() const override { return done_; }
  int64_t truncate(int64_t n_tokens) override {
    first_done_ = done_ = n_tokens - n_tokens % 4;
    seen_.tokens.resize(static_cast<size_t>(done_));
    for (std::vector<float>& inputs : seen_.inputs) inputs.resize(static_cast<size_t>(done_));
    return done_;
  }
  PolicyState state() const override { return {}; }
  void restore(std::span<const int32_t>, const PolicyState&) override {}
  int64_t rows_attended(int64_t) const override { return 3; }

 private:
  void take(std::vector<float>& to, Range positions, const float* x) {
    ASSERT_GE(std::ssize(to), positions.begin);
    to.resize(static_cast<size_t>(positions.begin));
    for (int64_t i = 0; i < positions.size(); ++i) to.push_back(x[i * d_model_]);
  }

  Seen& seen_;
  int64_t d_model_;
  int64_t first_done_ = 0;
  int64_t done_ = 0;
  AttentionSpan span_;
};

// A sequence whose inputs tell their layer, position and token.
class DraftSelectionTest : public testing::Test {
 protected:
  static constexpr int64_t kLayers = 3;
  static constexpr int64_t kWidth = 8;

  DraftSelectionTest() {
    config_.n_layers = kLayers;
    config_.d_model = kWidth;
    selection_ = std::make_unique<DraftSelection>(std::make_unique<Witness>(seen_, kLayers, kWidth),
                                                  config_, 16);
  }

  static float number(int64_t layer, int64_t position, int32_t token) {
    return static_cast<float>(token) + static_cast<float>(1000 * layer + 10000 * position);
  }
  std::vector<float> rows_of(int64_t layer, Range positions) const {
    std::vector<float> rows(static_cast<size_t>(positions.size() * kWidth));
    for (int64_t t = positions.begin; t < positions.end; ++t) {
      rows[static_cast<size_t>((t - positions.begin) * kWidth)] =
          number(layer, t, tokens_[static_cast<size_t>(t)]);
    }
    return rows;
  }

  // A pass with full attention over `n` tokens more.
  void run(int64_t n) {
    selection_->follow(tokens_);
    const Range positions{std::ssize(tokens_), std::ssize(tokens_) + n};
    for (int64_t i = 0; i < n; ++i) tokens_.push_back(next_token_++);
    RowSelector& recorder = selection_->recorder(full_);
    recorder.begin_block(positions, std::span(tokens_).last(static_cast<size_t>(n)));
    for (int64_t layer = 0; layer < kLayers; ++layer) {
      const std::vector<float> x = rows_of(layer, positions);
      LayerInput input;
      input.layer = layer;
      input.positions = positions;
      input.x = x.data();
      const std::span<const AttentionSpan> spans = recorder.rows(input);
      ASSERT_EQ(spans.size(), 1u);
      EXPECT_EQ(spans.front().rows, (std::vector<Range>{{0, positions.end}}));
      const std::vector<float> hidden = rows_of(7, positions);
      recorder.layer_done(layer, positions, hidden.data());
      if (layer == 0) {
        EXPECT_EQ(recorder.ready(positions), positions);
      }
    }
  }
  bool cut(int64_t n_tokens) {
    tokens_.resize(static_cast<size_t>(n_tokens));
    return selection_->truncate(tokens_);
  }
  // The policy saw the tokens that are there, and layers as far as it runs them.
  void expect_all_seen() {
    selection_->follow(tokens_);
    EXPECT_EQ(seen_.tokens, tokens_);
    const int64_t n = std::ssize(tokens_);
    for (int64_t layer = 0; layer < kLayers; ++layer) {
      std::vector<float> expected;
      for (int64_t t = 0; t < (layer == 0 ? n : n - n % 4); ++t) {
        expected.push_back(number(layer, t, tokens_[static_cast<size_t>(t)]));
      }
      EXPECT_EQ(seen_.inputs[static_cast<size_t>(layer)], expected) << layer;
    }
  }

  ModelConfig config_;
  Witness::Seen seen_;
  std::unique_ptr<DraftSelection> selection_;
  FullRows full_;
  std::vector<int32_t> tokens_;
  int32_t next_token_ = 1;
};

TEST_F(DraftSelectionTest, ThePolicySeesWhatStaysAndNothingElse) {
  run(16);
  run(13);
  expect_all_seen();
  run(5);
  ASSERT_TRUE(cut(30));  // four of five were wrong
  run(6);
  ASSERT_TRUE(cut(30));
  run(1);
  expect_all_seen();
  EXPECT_EQ(seen_.tokens.size(), 31u);
}

TEST_F(DraftSelectionTest, GoesOnOverManyTokens) {
  for (int i = 0; i < 400; ++i) {
    run(1 + i % 16);
    if (i % 3 == 0) {
      ASSERT_TRUE(cut(std::ssize(tokens_) - 1 - i % 5));
    }
    if (i % 7 == 0) expect_all_seen();
  }
  expect_all_seen();
}

TEST_F(DraftSelectionTest, ACutBehindWhatIsKeptIsRefused) {
  for (int i = 0; i < 100; ++i) run(16);
  ASSERT_TRUE(cut(1600 - 100));
  expect_all_seen();
  EXPECT_FALSE(cut(99));
}

TEST_F(DraftSelectionTest, CanBeginAnew) {
  for (int i = 0; i < 100; ++i) run(16);
  ASSERT_TRUE(cut(0));
  expect_all_seen();
  run(9);
  expect_all_seen();
}

TEST_F(DraftSelectionTest, DraftsAttendToTheLastChoiceAndAllSince) {
  run(16);
  selection_->follow(tokens_);
  EXPECT_TRUE(selection_->is_sparse());
  LayerInput input;
  input.layer = 1;
  input.positions = {18, 19};
  const std::span<const AttentionSpan> spans = selection_->rows().rows(input);
  ASSERT_EQ(spans.size(), 1u);
  EXPECT_EQ(spans.front().queries, input.positions);
  EXPECT_EQ(spans.front().rows, (std::vector<Range>{{0, 2}, {15, 19}}));
  run(3);
  selection_->follow(tokens_);
  EXPECT_FALSE(selection_->is_sparse()) << "tokens wait";
}

}  // namespace
}  // namespace chunkllm

#include "eval/attention/icac_pass.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "data/synthetic.h"
#include "engine/needle_engine.h"
#include "eval/attention/attention_recorder.h"

namespace chunkllm {
namespace {

using test::AttentionRecorder;
using test::layer_difference;
using Masses = std::vector<double>;

constexpr int64_t kTokens = 300;
constexpr int64_t kSink = 4;
constexpr int64_t kWindow = 20;

std::vector<size_t> order_of(const Masses& masses) {
  std::vector<size_t> order(masses.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::stable_sort(order, [&](size_t a, size_t b) { return masses[a] > masses[b]; });
  return order;
}

double pearson(const Masses& a, const Masses& b) {
  const auto n = static_cast<double>(a.size());
  const double mean_a = std::accumulate(a.begin(), a.end(), 0.0) / n;
  const double mean_b = std::accumulate(b.begin(), b.end(), 0.0) / n;
  double ab = 0;
  double aa = 0;
  double bb = 0;
  for (size_t j = 0; j < a.size(); ++j) {
    ab += (a[j] - mean_a) * (b[j] - mean_b);
    aa += (a[j] - mean_a) * (a[j] - mean_a);
    bb += (b[j] - mean_b) * (b[j] - mean_b);
  }
  return ab / std::sqrt(aa * bb);
}

double shared_top(const Masses& a, const Masses& b) {
  double n = 0;
  for (size_t i = 0; i < size_t{kIcacK}; ++i) {
    for (size_t j = 0; j < size_t{kIcacK}; ++j) n += order_of(a)[i] == order_of(b)[j] ? 1 : 0;
  }
  return n / static_cast<double>(kIcacK);
}

class IcacPassTest : public testing::Test {
 protected:
  IcacPassTest() {
    Rng rng(8);
    ids_ = engine_.tokenizer().encode(make_text(rng, 6000));
    ids_.resize(kTokens);
    for (int64_t end = 9; end < kTokens; end += 6 + rng.below(8)) chunks_.ends.push_back(end);
  }

  std::map<std::string, LayerValues> run(int64_t block_tokens, double budget = 0.25) const {
    IcacListener listener(engine_.config(), chunks_,
                          {.budgets = {budget}, .sink = kSink, .window = kWindow});
    MassPass pass(engine_.config(), kSink, listener);
    Backbone backbone(engine_.weights(), kTokens, block_tokens, KvType::kF32);
    backbone.run(ids_, engine_.config().n_layers, pass, nullptr);
    return listener.values({"B"});
  }

  // Chunks that a token which attends from `begin` on may choose.
  std::vector<Range> eligible_at(int64_t begin) const {
    const int64_t edge = chunks_.begin_of_chunk_at(std::max<int64_t>(0, begin - kWindow));
    std::vector<Range> eligible;
    for (int64_t j = 0; j < chunks_.n_chunks(); ++j) {
      const Range chunk = chunks_.chunk(j);
      if (chunk.end > kSink && chunk.end <= edge) eligible.push_back(chunk);
    }
    return eligible;
  }

  const Engine& engine_ = test::needle_engine();
  std::vector<int32_t> ids_;
  ChunkTrack chunks_;
};

TEST_F(IcacPassTest, IsTheDefinition) {
  const AttentionRecorder recorder(engine_.weights(), ids_);
  const int64_t n_layers = engine_.config().n_layers;
  std::map<std::string, LayerValues> expected;
  for (int64_t layer = 0; layer < n_layers; ++layer) {
    std::vector<std::vector<double>> attention;
    for (int64_t t = 0; t < kTokens; ++t) attention.push_back(recorder.attention(layer, t));
    const auto masses_of = [&](int64_t t, const std::vector<Range>& eligible) {
      Masses masses;
      for (const Range& chunk : eligible) {
        double mass = 0;
        for (int64_t r = std::max(chunk.begin, kSink); r < chunk.end; ++r) {
          mass += attention[static_cast<size_t>(t)][static_cast<size_t>(r)];
        }
        masses.push_back(mass);
      }
      return masses;
    };
    std::map<std::string, Measure> sums;
    // The mean over the pairs of a run, or of two, is one number of the mean.
    const auto add_pairs = [&](const std::string& name, Range a, Range b,
                               const std::vector<Range>& eligible) {
      Measure correlation;
      Measure overlap;
      for (int64_t s = a.begin; s < a.end; ++s) {
        for (int64_t t = b.begin; t < b.end; ++t) {
          if (a == b && s >= t) continue;
          const Masses of_s = masses_of(s, eligible);
          const Masses of_t = masses_of(t, eligible);
          correlation += {pearson(of_s, of_t), 1};
          overlap += {shared_top(of_s, of_t), 1};
        }
      }
      if (correlation.n == 0) return;
      sums["correlation, " + name] += {correlation.sum / correlation.n, 1};
      sums["overlap@8, " + name] += {overlap.sum / overlap.n, 1};
    };
    const auto chosen_by = [&](const Masses& masses, const std::vector<Range>& eligible) {
      double left = 0;
      for (const Range& chunk : eligible) left += static_cast<double>(chunk.size());
      left = std::floor(left / 4);
      std::vector<size_t> chosen;
      for (const size_t j : order_of(masses)) {
        left -= static_cast<double>(eligible[j].size());
        if (left < 0) break;
        chosen.push_back(j);
      }
      return chosen;
    };
    const auto captured = [](const Masses& masses, const std::vector<size_t>& chosen) {
      double sum = 0;
      for (const size_t j : chosen) sum += masses[j];
      return sum;
    };
    for (int64_t j = 1; j < chunks_.n_chunks(); ++j) {
      const Range chunk = chunks_.chunk(j);
      const Range before = chunks_.chunk(j - 1);
      const std::vector<Range> eligible = eligible_at(chunk.begin);
      if (eligible.size() <= size_t{kIcacK}) continue;
      add_pairs("one chunk", chunk, chunk, eligible);
      if (eligible_at(before.begin).size() > size_t{kIcacK}) {
        add_pairs("neighbouring chunks", before, chunk, eligible_at(before.begin));
      }
      const auto own_end = chosen_by(masses_of(chunk.end - 1, eligible), eligible);
      const auto previous_end = chosen_by(masses_of(chunk.begin - 1, eligible), eligible);
      for (int64_t t = chunk.begin; t < chunk.end; ++t) {
        const Masses masses = masses_of(t, eligible);
        const double own = captured(masses, chosen_by(masses, eligible));
        sums["captured B, each token"] += {own, std::accumulate(masses.begin(), masses.end(), 0.0)};
        sums["captured B, own end"] += {captured(masses, own_end), own};
        sums["captured B, previous end"] += {captured(masses, previous_end), own};
      }
    }
    const auto n_chunks = static_cast<double>(chunks_.n_chunks());
    const auto fixed = std::llround(static_cast<double>(chunks_.ends.back()) / n_chunks);
    for (int64_t begin = 0; begin + fixed <= kTokens; begin += fixed) {
      const std::vector<Range> eligible = eligible_at(begin);
      if (eligible.size() <= size_t{kIcacK}) continue;
      add_pairs("fixed chunks", {begin, begin + fixed}, {begin, begin + fixed}, eligible);
    }
    for (const auto& [name, sum] : sums) {
      expected[name].resize(static_cast<size_t>(layer));
      expected[name].emplace_back(sum.sum / sum.n);
    }
  }
  const std::map<std::string, LayerValues> values = run(512);
  ASSERT_EQ(values.size(), expected.size());
  ASSERT_EQ(values.size(), 9u);
  for (const auto& [name, of_name] : expected) {
    // Tops change by one chunk where two masses are nearly the same.
    EXPECT_LT(layer_difference(values.at(name), of_name),
              name.starts_with("correlation") ? 1e-4 : 3e-3)
        << name;
  }
}

TEST_F(IcacPassTest, BlocksDoNotMatter) {
  const std::map<std::string, LayerValues> whole = run(512);
  for (const int64_t block : {int64_t{64}, int64_t{7}}) {
    for (const auto& [name, values] : run(block)) {
      EXPECT_LT(layer_difference(values, whole.at(name)), 3e-3) << name;
    }
  }
}

TEST_F(IcacPassTest, NothingIsLostWhereEverythingFits) {
  const std::map<std::string, LayerValues> values = run(512, 1.0);
  for (const char* name :
       {"captured B, each token", "captured B, own end", "captured B, previous end"}) {
    for (const std::optional<double>& value : values.at(name)) EXPECT_NEAR(*value, 1, 1e-9) << name;
  }
  const std::map<std::string, LayerValues> few = run(512);
  for (const auto& [name, of_name] : few) {
    for (const std::optional<double>& value : of_name) {
      EXPECT_LE(*value, 1 + 1e-9) << name;
      EXPECT_GE(*value, -1) << name;
    }
  }
}

// A text of less than a window has nothing to choose from.
TEST_F(IcacPassTest, AShortTextHasNoNumbers) {
  ids_.resize(40);
  while (chunks_.ends.back() > 40) chunks_.ends.pop_back();
  for (const auto& [name, values] : run(512)) {
    for (const std::optional<double>& value : values) EXPECT_FALSE(value) << name;
  }
}

}  // namespace
}  // namespace chunkllm

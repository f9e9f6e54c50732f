#include "eval/attention/recall_pass.h"

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

constexpr int64_t kTokens = 420;
constexpr int64_t kSink = 4;
constexpr int64_t kWindow = 20;
constexpr double kBudget = 0.25;

// Which of two lists of numbers is greater, first by value, then the lower index.
std::vector<size_t> order_of(const std::vector<double>& values) {
  std::vector<size_t> order(values.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::stable_sort(order, [&](size_t a, size_t b) { return values[a] > values[b]; });
  return order;
}

class RecallPassTest : public testing::Test {
 protected:
  RecallPassTest() {
    Rng rng(8);
    ids_ = test::needle_engine().tokenizer().encode(make_text(rng, 6000));
    ids_.resize(kTokens);
    others_.chunks = chunks_of(12, 4);
    first_.chunks = chunks_of(16, 0);
    for (auto* track : {&others_, &first_}) {
      for (const int64_t end : track->chunks.ends) {
        track->queries.push_back({end - 1, RecallPlace::kBoundary});
      }
      track->queries.push_back({300, RecallPlace::kPromptEnd});
      track->queries.push_back({kTokens - 1, RecallPlace::kPromptEnd});
      for (const int64_t t : {151, 212, 259, 333}) {
        track->queries.push_back({t, RecallPlace::kRandom});
      }
      std::ranges::sort(track->queries, {}, [](const RecallListener::Query& query) {
        return std::pair(query.position, query.place);
      });
      track->queries.erase(
          std::unique(track->queries.begin(), track->queries.end(),
                      [](const auto& a, const auto& b) { return a.position == b.position; }),
          track->queries.end());
    }
  }

  static ChunkTrack chunks_of(int64_t least, int64_t spread) {
    Rng rng(4);
    ChunkTrack track;
    for (int64_t end = least; end < kTokens; end += least + (spread > 0 ? rng.below(spread) : 0)) {
      track.ends.push_back(end);
    }
    return track;
  }

  std::map<std::string, LayerValues> run(int64_t block_tokens,
                                         std::vector<double> budgets = {kBudget}) const {
    RecallListener listener(config(), engine_.adapters().sentence, others_, &first_,
                            {.budgets = budgets, .sink = kSink, .window = kWindow, .seed = 3});
    MassPass pass(config(), kSink, listener);
    Backbone backbone(engine_.weights(), kTokens, block_tokens, KvType::kF32);
    backbone.run(ids_, config().n_layers, pass, nullptr);
    std::vector<std::string> names;
    for (const double budget : budgets) names.push_back(fmt::format("{}", budget));
    return listener.values(names);
  }

  const ModelConfig& config() const { return engine_.config(); }

  const Engine& engine_ = test::needle_engine();
  std::vector<int32_t> ids_;
  RecallListener::Track others_;
  RecallListener::Track first_;
};

// The scores of chunks for a query by the definitions of docs/method.md, as mass per token.
class Reference {
 public:
  Reference(const AttentionRecorder& recorder, const Adapter& adapter)
      : recorder_(recorder), adapter_(adapter) {}

  // ln of the mean over heads of a softmax over chunks of logits[head][chunk] + ln(weights).
  static std::vector<double> mixed(const std::vector<std::vector<double>>& logits,
                                   const std::vector<double>& weights) {
    std::vector<double> mean(weights.size(), 0.0);
    for (const std::vector<double>& of_head : logits) {
      double sum = 0;
      for (size_t j = 0; j < weights.size(); ++j) sum += weights[j] * std::exp(of_head[j]);
      for (size_t j = 0; j < weights.size(); ++j) {
        mean[j] += std::exp(of_head[j]) / sum / static_cast<double>(logits.size());
      }
    }
    for (double& value : mean) value = std::log(value);
    return mean;
  }

  std::vector<double> by_adapter(int64_t layer, int64_t t, const std::vector<Range>& chunks,
                                 const std::vector<Range>& keyed) const {
    const AdapterConfig& config = adapter_.config;
    const QkAdapter& qk = adapter_.layers[static_cast<size_t>(layer)];
    const auto project = [&](const std::vector<float>& weights, int64_t component, int64_t token) {
      double sum = 0;
      for (int64_t i = 0; i < config.d_model; ++i) {
        sum += double{weights[static_cast<size_t>(component * config.d_model + i)]} *
               double{recorder_.x(layer, token)[i]};
      }
      return sum;
    };
    std::vector<std::vector<double>> logits(static_cast<size_t>(config.selection_heads));
    std::vector<double> tokens;
    for (const Range& chunk : chunks) tokens.push_back(static_cast<double>(chunk.size()));
    for (int64_t head = 0; head < config.selection_heads; ++head) {
      std::vector<double> q;
      for (int64_t i = 0; i < config.adapter_dim; ++i) {
        q.push_back(project(qk.q, head * config.adapter_dim + i, t));
      }
      for (const Range& chunk : keyed) {
        double score = 0;
        for (int64_t i = 0; i < config.adapter_dim; ++i) {
          double key = 0;
          if (config.key_of(layer) == ChunkKey::kMean) {
            for (int64_t r = chunk.begin; r < chunk.end; ++r) {
              key += project(qk.k, head * config.adapter_dim + i, r) /
                     static_cast<double>(chunk.size());
            }
          } else {
            key = project(qk.k, head * config.adapter_dim + i, chunk.end - 1);
          }
          score += q[static_cast<size_t>(i)] * key;
        }
        if (config.distance_term) {
          score += q.back() * -std::log(static_cast<double>(t + 1 - chunk.end) / 64.0);
        }
        logits[static_cast<size_t>(head)].push_back(score / std::sqrt(double(config.adapter_dim)));
      }
    }
    return mixed(logits, tokens);
  }

  // By the mean of keys, or by their bounds.
  std::vector<double> by_keys(int64_t layer, int64_t t, const std::vector<Range>& chunks,
                              bool bounds) const {
    const ModelConfig& config = recorder_.config();
    std::vector<std::vector<double>> logits;
    for (int64_t head = 0; head < config.n_heads; ++head) {
      std::vector<double>& of_head = logits.emplace_back();
      const float* q = recorder_.q(layer, t, head);
      const int64_t kv_head = recorder_.kv_head_of(head);
      for (const Range& chunk : chunks) {
        double score = 0;
        for (int64_t i = 0; i < config.head_dim; ++i) {
          double mean = 0;
          double greatest = -1e300;
          double least = 1e300;
          for (int64_t r = chunk.begin; r < chunk.end; ++r) {
            const double key = double{recorder_.k(layer, r, kv_head)[i]};
            mean += key / static_cast<double>(chunk.size());
            greatest = std::max(greatest, key);
            least = std::min(least, key);
          }
          score += bounds ? std::max(double{q[i]} * greatest, double{q[i]} * least)
                          : double{q[i]} * mean;
        }
        of_head.push_back(score * recorder_.scale(layer));
      }
    }
    return mixed(logits, std::vector<double>(chunks.size(), 1.0));
  }

 private:
  const AttentionRecorder& recorder_;
  const Adapter& adapter_;
};

struct Expected {
  std::vector<Measure> captured, recall, oracle;
};

TEST_F(RecallPassTest, IsTheDefinition) {
  const AttentionRecorder recorder(engine_.weights(), ids_);
  const Reference reference(recorder, *engine_.adapters().sentence);
  const auto n_layers = static_cast<size_t>(config().n_layers);
  const RecallMethod methods[] = {RecallMethod::kChunk, RecallMethod::kMeanKey,
                                  RecallMethod::kQuest, RecallMethod::kRecent};
  std::map<std::pair<RecallPlace, RecallMethod>, Expected> expected;
  for (const EnumName<RecallPlace>& place : kEnumNames<RecallPlace>) {
    for (const RecallMethod method : methods) {
      expected[{place.value, method}] = {std::vector<Measure>(n_layers),
                                         std::vector<Measure>(n_layers),
                                         std::vector<Measure>(n_layers)};
    }
  }
  for (size_t layer = 0; layer < n_layers; ++layer) {
    const RecallListener::Track& track = layer == 0 ? first_ : others_;
    const auto number = static_cast<int64_t>(layer);
    for (const auto& [t, place] : track.queries) {
      // Chunks after the sink that end where the window's chunk begins.
      const int64_t edge = track.chunks.begin_of_chunk_at(std::max<int64_t>(0, t + 1 - kWindow));
      std::vector<Range> chunks;
      for (int64_t j = 0; j < track.chunks.n_chunks(); ++j) {
        const Range chunk = track.chunks.chunk(j);
        if (chunk.end > kSink && chunk.end <= edge) chunks.push_back(chunk);
      }
      if (chunks.empty()) continue;
      int64_t begin = t;
      if (place == RecallPlace::kBoundary) begin = track.chunks.begin_of_chunk_at(t);
      std::vector<double> teacher(chunks.size(), 0.0);
      for (int64_t token = begin; token <= t; ++token) {
        const std::vector<double> attention = recorder.attention(number, token);
        for (size_t j = 0; j < chunks.size(); ++j) {
          for (int64_t r = std::max(chunks[j].begin, kSink); r < chunks[j].end; ++r) {
            teacher[j] += attention[static_cast<size_t>(r)] / static_cast<double>(t + 1 - begin);
          }
        }
      }
      std::vector<Range> keyed = chunks;  // without the sink
      keyed[0].begin = std::max(keyed[0].begin, kSink);
      double n_tokens = 0;
      double mass = 0;
      for (size_t j = 0; j < chunks.size(); ++j) {
        n_tokens += static_cast<double>(chunks[j].size());
        mass += teacher[j];
      }
      const auto captured_by = [&](const std::vector<double>& scores) {
        double left = std::floor(kBudget * n_tokens);
        double sum = 0;
        for (const size_t j : order_of(scores)) {
          left -= static_cast<double>(chunks[j].size());
          if (left < 0) break;
          sum += teacher[j];
        }
        return sum;
      };
      for (const RecallMethod method : methods) {
        std::vector<double> scores;
        if (method == RecallMethod::kChunk) {
          scores = reference.by_adapter(number, t, chunks, keyed);
        } else if (method == RecallMethod::kRecent) {
          for (size_t j = 0; j < chunks.size(); ++j) scores.push_back(static_cast<double>(j));
        } else {
          scores = reference.by_keys(number, t, keyed, method == RecallMethod::kQuest);
        }
        Expected& to = expected[{place, method}];
        to.captured[layer] += {captured_by(scores), captured_by(teacher)};
        to.oracle[layer] += {captured_by(teacher), mass};
        if (chunks.size() <= size_t{kRecallK}) continue;
        if (method != RecallMethod::kRecent) {
          for (size_t j = 0; j < chunks.size(); ++j) {
            scores[j] += std::log(static_cast<double>(chunks[j].size()));
          }
        }
        std::vector<size_t> wanted = order_of(teacher);
        std::vector<size_t> chosen = order_of(scores);
        wanted.resize(kRecallK);
        chosen.resize(kRecallK);
        double n_found = 0;
        for (const size_t j : wanted) n_found += std::ranges::count(chosen, j) > 0 ? 1 : 0;
        to.recall[layer] += {n_found / kRecallK, 1};
      }
    }
  }
  const std::map<std::string, LayerValues> values = run(512);
  const auto quotients_of = [](const std::vector<Measure>& sums) {
    LayerValues all;
    for (const Measure& measure : sums) {
      all.push_back(measure.n > 0 ? std::optional(measure.sum / measure.n) : std::nullopt);
    }
    return all;
  };
  for (const auto& [key, of_key] : expected) {
    const auto& [place, method] = key;
    const std::string name = captured_name("0.25", place, enum_name(method));
    // Two scores that differ by less than rounding may change places.
    EXPECT_LT(layer_difference(values.at(name), quotients_of(of_key.captured)), 2e-3) << name;
    EXPECT_LT(layer_difference(values.at(captured_name("0.25", place, kOracle)),
                               quotients_of(of_key.oracle)),
              1e-4)
        << name;
    EXPECT_LT(layer_difference(values.at(recall_name(place, method)), quotients_of(of_key.recall)),
              0.07)
        << name;
  }
  // The methods differ by more than that, or nothing would be compared.
  const auto mean_of = [&](RecallMethod method) {
    double sum = 0;
    for (const auto& value :
         values.at(captured_name("0.25", RecallPlace::kBoundary, enum_name(method)))) {
      sum += *value / static_cast<double>(n_layers);
    }
    return sum;
  };
  EXPECT_GT(mean_of(RecallMethod::kMeanKey), mean_of(RecallMethod::kQuest) + 0.01);
  EXPECT_GT(std::abs(mean_of(RecallMethod::kChunk) - mean_of(RecallMethod::kRecent)), 0.01);
}

TEST_F(RecallPassTest, BlocksDoNotMatter) {
  const std::map<std::string, LayerValues> whole = run(512);
  for (const int64_t block : {int64_t{64}, int64_t{23}}) {
    const std::map<std::string, LayerValues> in_blocks = run(block);
    ASSERT_EQ(in_blocks.size(), whole.size());
    for (const auto& [name, values] : whole) {
      EXPECT_LT(layer_difference(in_blocks.at(name), values),
                name.starts_with("recall") ? 0.07 : 2e-3)
          << name;
    }
  }
}

TEST_F(RecallPassTest, ABudgetOfEverythingIsEverything) {
  for (const auto& [name, values] : run(512, {1.0, 0.1})) {
    for (const std::optional<double>& value : values) {
      ASSERT_TRUE(value) << name;
      EXPECT_GE(*value, 0) << name;
      if (name.starts_with("captured 1,")) {
        EXPECT_NEAR(*value, 1, 1e-6) << name;
      } else if (name.ends_with("oracle") || name.starts_with("recall")) {
        EXPECT_LE(*value, 1) << name;
      }
    }
  }
}

// Adapters apart, a model has all of it; a first layer without chunks of its own has those of the
// others.
TEST_F(RecallPassTest, WorksWithoutAdapters) {
  const std::map<std::string, LayerValues> with = run(512);
  RecallListener listener(config(), nullptr, others_, nullptr,
                          {.budgets = {kBudget}, .sink = kSink, .window = kWindow, .seed = 3});
  MassPass pass(config(), kSink, listener);
  Backbone backbone(engine_.weights(), kTokens, 512, KvType::kF32);
  backbone.run(ids_, config().n_layers, pass, nullptr);
  const std::map<std::string, LayerValues> without = listener.values({"0.25"});
  EXPECT_EQ(without.count("captured 0.25, boundaries, chunk"), 0u);
  for (const auto& [name, values] : without) {
    ASSERT_TRUE(values[0]) << name;
    LayerValues same = with.at(name);
    same[0] = values[0];
    EXPECT_EQ(layer_difference(values, same), 0) << name;
  }
}

TEST(LayerDifference, FindsWhatDiffers) {
  const LayerValues values = {0.5, std::nullopt, 0.25};
  EXPECT_EQ(layer_difference(values, values), 0);
  EXPECT_DOUBLE_EQ(layer_difference({0.5, std::nullopt, -0.25}, values), 0.5);
  EXPECT_TRUE(std::isinf(layer_difference({0.5, 0.0, 0.25}, values)));
  EXPECT_TRUE(std::isinf(layer_difference({0.5, std::nullopt}, values)));
  EXPECT_TRUE(std::isinf(layer_difference({NAN, std::nullopt, 0.25}, values)));
  EXPECT_TRUE(std::isinf(layer_difference(values, {NAN, std::nullopt, 0.25})));
}

}  // namespace
}  // namespace chunkllm

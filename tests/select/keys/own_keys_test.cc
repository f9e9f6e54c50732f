// The policies that choose by the model's own keys: scores beside their definition, and that
// blocks, going back and saved sequences make no difference.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <memory>

#include "select/chunk/token_marks.h"
#include "select/keys/key_rows.h"
#include "select/keys/mean_key_policy.h"
#include "select/keys/quest_policy.h"
#include "select/keys/toy_model.h"
#include "testing/expect_error.h"

namespace chunkllm {
namespace {

using test::LayerRows;
using test::ToyModel;

constexpr int32_t kWord = 0;
constexpr int32_t kStop = 1;
constexpr int32_t kLineEnd = 2;
constexpr int32_t kComma = 3;
constexpr int32_t kSpecial = 4;
const std::vector<int32_t> kSpecialIds{kSpecial};
const std::vector<uint8_t> kMarks{marks_of_token(" word"), marks_of_token("."),
                                  marks_of_token("\n"), marks_of_token(","), 0};

std::vector<int32_t> random_tokens(int64_t n) {
  Rng rng(5);
  std::vector<int32_t> tokens;
  for (int64_t t = 0; t < n; ++t) {
    const double u = rng.uniform();
    tokens.push_back(u < 0.05 ? kStop : u < 0.08 ? kLineEnd : u < 0.12 ? kComma : kWord);
    if (t > 150 && t < 420 && tokens.back() != kComma) tokens.back() = kWord;  // forced cuts
  }
  tokens[90] = tokens[491] = kSpecial;
  return tokens;
}

// Two prompts, the first of them long, each answered.
std::string roles_of(int64_t n) {
  std::string roles(static_cast<size_t>(n), 'p');
  const auto generated = [&](size_t begin, size_t end) {
    std::fill(roles.begin() + static_cast<int64_t>(begin),
              roles.begin() + static_cast<int64_t>(end), 'g');
  };
  roles[499] = roles[599] = 'e';
  generated(500, 560);
  generated(600, roles.size());
  return roles;
}

SelectionSettings settings_of(int64_t budget) {
  SelectionSettings settings;
  settings.budget.n_tokens = budget;
  settings.prefill_floor = 1;
  settings.prompt_tail = 20;
  settings.window = 16;
  return settings;
}

// What a policy chose from, as it chose.
struct Choice {
  int64_t layer = 0;
  int64_t position = 0;
  std::vector<Range> chunks;  // eligible
  std::vector<float> scores;
  std::vector<int64_t> chosen;  // indices into `chunks`
};

template <typename Policy>
class Watched : public Policy {
 public:
  using Policy::Policy;
  std::vector<Choice> choices;

 protected:
  Selection choose(const typename Policy::Candidates& c) override {
    Selection selection = Policy::choose(c);
    if (c.scores.empty()) return selection;
    Choice choice;
    choice.layer = c.layer;
    choice.position = c.position;
    for (int64_t j = c.eligible.begin; j < c.eligible.end; ++j) {
      choice.chunks.push_back(c.track.chunk(j));
    }
    choice.scores.assign(c.scores.begin(), c.scores.end());
    for (const int64_t j : selection.chunks) choice.chosen.push_back(j - c.eligible.begin);
    choices.push_back(std::move(choice));
    return selection;
  }
};

std::unique_ptr<Watched<MeanKeyPolicy>> mean_key(const ToyModel& toy,
                                                 const SelectionSettings& settings) {
  return std::make_unique<Watched<MeanKeyPolicy>>(toy.config, settings, kSpecialIds, kMarks);
}

std::unique_ptr<Watched<QuestPolicy>> quest(const ToyModel& toy,
                                            const SelectionSettings& settings) {
  return std::make_unique<Watched<QuestPolicy>>(toy.config, settings);
}

// The scores of a choice, in double, from the definition: `score` says what a head gives a chunk,
// of its query and its keys [n_keys][head_dim].
using HeadScore = std::function<double(const std::vector<double>& query,
                                       const std::vector<std::vector<double>>& keys)>;

std::vector<double> reference_scores(const ToyModel& toy, const Choice& choice, int64_t sink,
                                     const HeadScore& score) {
  const ModelConfig& c = toy.config;
  const KvLayerView kv = toy.cache.layer(choice.layer);
  std::vector<double> mean(choice.chunks.size(), 0.0);
  for (int64_t head = 0; head < c.n_heads; ++head) {
    const float* q = toy.queries[static_cast<size_t>(choice.layer)].data() +
                     choice.position * c.q_dim() + head * c.head_dim;
    std::vector<double> masses;
    double sum = 0;
    for (const Range& chunk : choice.chunks) {
      std::vector<std::vector<double>> keys;
      for (int64_t t = std::max(chunk.begin, sink); t < chunk.end; ++t) {
        std::vector<float> key(static_cast<size_t>(c.head_dim));
        read_key(kv, head / 2, t, key.data());
        keys.emplace_back(key.begin(), key.end());
      }
      masses.push_back(std::exp(score({q, q + c.head_dim}, keys)));
      sum += masses.back();
    }
    for (size_t j = 0; j < masses.size(); ++j) {
      mean[j] += masses[j] / sum / static_cast<double>(c.n_heads);
    }
  }
  for (double& value : mean) value = std::log(value);
  return mean;
}

double mean_key_score(const std::vector<double>& query,
                      const std::vector<std::vector<double>>& keys) {
  const auto n_keys = static_cast<double>(keys.size());
  double sum = 0;
  for (const std::vector<double>& key : keys) {
    for (size_t i = 0; i < query.size(); ++i) sum += query[i] * key[i] / n_keys;
  }
  return sum / std::sqrt(static_cast<double>(query.size()));
}

double quest_score(const std::vector<double>& query, const std::vector<std::vector<double>>& keys) {
  double sum = 0;
  for (size_t i = 0; i < query.size(); ++i) {
    double largest = -1e30;
    for (const std::vector<double>& key : keys) largest = std::max(largest, query[i] * key[i]);
    sum += largest;
  }
  return sum / std::sqrt(static_cast<double>(query.size()));
}

void expect_scores(const ToyModel& toy, const std::vector<Choice>& choices, int64_t sink,
                   const HeadScore& score) {
  ASSERT_GT(choices.size(), 100u);
  double widest = 0;
  for (size_t i = 0; i < choices.size(); i += 7) {
    const Choice& choice = choices[i];
    const std::vector<double> expected = reference_scores(toy, choice, sink, score);
    for (size_t j = 0; j < expected.size(); ++j) {
      EXPECT_NEAR(choice.scores[j], expected[j], 2e-5) << choice.layer << " " << choice.position;
    }
    if (expected.empty()) continue;
    widest =
        std::max(widest, *std::ranges::max_element(expected) - *std::ranges::min_element(expected));
  }
  EXPECT_GT(widest, 1) << "scores must differ";
}

TEST(MeanKey, ScoresAreTheDefinition) {
  const std::vector<int32_t> tokens = random_tokens(700);
  const std::string roles = roles_of(700);
  for (const KvType type : {KvType::kF32, KvType::kBf16, KvType::kF16, KvType::kQ8_0}) {
    const ToyModel toy(700, type);
    const auto policy = mean_key(toy, settings_of(100));
    LayerRows rows;
    test::feed(*policy, toy, tokens, roles, 0, 700, 512, rows);
    expect_scores(toy, policy->choices, 4, mean_key_score);
  }
}

TEST(Quest, ScoresAreTheDefinition) {
  const std::vector<int32_t> tokens = random_tokens(700);
  const std::string roles = roles_of(700);
  for (const KvType type : {KvType::kF32, KvType::kBf16}) {
    const ToyModel toy(700, type);
    const auto policy = quest(toy, settings_of(100));
    LayerRows rows;
    test::feed(*policy, toy, tokens, roles, 0, 700, 512, rows);
    expect_scores(toy, policy->choices, 4, quest_score);
  }
}

// One head, two features, three chunks: by hand.
TEST(MeanKey, ASmallExampleByHand) {
  ModelConfig config;
  config.n_layers = config.n_heads = config.n_kv_heads = 1;
  config.head_dim = 8;
  KvCache cache(config, 7, KvType::kF32);
  std::vector<float> keys(7 * 8, 0.0f);
  // Chunks [0, 2), [2, 4), [4, 6) of ends at stops, then a word.
  const float first[] = {1, 3, 0, 2, -1, -1, 0};
  for (size_t t = 0; t < 7; ++t) keys[t * 8] = first[t];
  cache.store(0, 0, 7, keys.data(), keys.data(), 8);
  std::vector<float> query(7 * 8, 0.0f);
  query[6 * 8] = 2 * std::sqrt(8.0f);  // scores are twice the means 2, 1, -1

  SelectionSettings settings;
  settings.budget.n_tokens = 3;
  settings.window = 1;
  settings.sink = 0;
  settings.min_chunk = 1;
  settings.lookup = false;
  Watched<MeanKeyPolicy> policy(config, settings, kSpecialIds, kMarks);
  const std::vector<int32_t> tokens{kWord, kStop, kWord, kStop, kWord, kStop, kWord};
  policy.next_block(tokens, 128);  // all are generated
  policy.begin_block({0, 7}, tokens);
  LayerInput input;
  input.positions = {0, 7};
  input.q = query.data();
  input.q_stride = 8;
  input.n_heads = 1;
  input.scale = config.attention_scale();
  input.kv = cache.layer(0);
  const auto rows = test::rows_of(policy.rows(input), {0, 7});
  const Choice& last = policy.choices.back();
  EXPECT_EQ(last.position, 6);
  EXPECT_EQ(last.chunks, (std::vector<Range>{{0, 2}, {2, 4}, {4, 6}}));
  const double log_sum = std::log(std::exp(4.0) + std::exp(2.0) + std::exp(-2.0));
  EXPECT_NEAR(last.scores[0], 4 - log_sum, 1e-5);
  EXPECT_NEAR(last.scores[1], 2 - log_sum, 1e-5);
  EXPECT_NEAR(last.scores[2], -2 - log_sum, 1e-5);
  EXPECT_EQ(rows[6], (std::vector<int64_t>{0, 1, 6}));

  // The last three tokens stood there, too, and went on in the second chunk.
  settings.lookup = true;
  MeanKeyPolicy with_lookup(config, settings, kSpecialIds, kMarks);
  with_lookup.next_block(tokens, 128);
  with_lookup.begin_block({0, 7}, tokens);
  EXPECT_EQ(test::rows_of(with_lookup.rows(input), {0, 7})[6], (std::vector<int64_t>{2, 3, 6}));
}

TEST(MeanKey, ChunksEndWhereTheTextSaysSo) {
  const std::vector<int32_t> tokens = random_tokens(700);
  const ToyModel toy(700);
  const auto policy = mean_key(toy, settings_of(100));
  LayerRows rows;
  test::feed(*policy, toy, tokens, roles_of(700), 0, 700, 512, rows);
  int64_t n_seen = 0;
  for (const Range& chunk : policy->choices.back().chunks) {
    const int32_t last = tokens[static_cast<size_t>(chunk.end - 1)];
    const bool marked = last == kStop || last == kLineEnd || last == kSpecial;
    EXPECT_TRUE(marked || chunk.size() >= 64) << chunk.begin << " " << chunk.end;
    EXPECT_LE(chunk.size(), 128);
    if (last != kSpecial) {
      EXPECT_GE(chunk.size(), kDefaultMinChunk);
    }
    n_seen += marked ? 1 : 0;
  }
  EXPECT_GT(n_seen, 10);
}

// The settings that change which selection a token attends by.
std::vector<SelectionSettings> variants() {
  std::vector<SelectionSettings> all;
  const auto add = [&](const std::function<void(SelectionSettings&)>& change) {
    all.push_back(settings_of(100));
    change(all.back());
  };
  add([](SelectionSettings&) {});
  add([](SelectionSettings& s) { s.refresh = RefreshKind::kPromptEnd; });
  add([](SelectionSettings& s) { s.refresh = RefreshKind::kBoundary; });
  add([](SelectionSettings& s) {
    s.refresh = RefreshKind::kEvery;
    s.refresh_every = 5;
  });
  add([](SelectionSettings& s) { s.prefill_selection = PrefillSelection::kPrevious; });
  add([](SelectionSettings& s) { s.prefill = PrefillKind::kFull; });
  add([](SelectionSettings& s) {
    s.prefill = PrefillKind::kFull;
    s.refresh = RefreshKind::kBoundary;
  });
  add([](SelectionSettings& s) {
    s.prompt_tail = 0;
    s.prefill_budget = KvBudget::parse("150");
  });
  add([](SelectionSettings& s) {  // at first no chunk is eligible
    s.budget.n_tokens = 10;
    s.window = 64;
  });
  return all;
}

using Make =
    std::function<std::unique_ptr<SelectionPolicy>(const ToyModel&, const SelectionSettings&)>;
struct Case {
  const char* name;
  Make make;
};

class OwnKeys : public testing::TestWithParam<Case> {
 protected:
  static constexpr int64_t kTokens = 700;
  const std::vector<int32_t> tokens_ = random_tokens(kTokens);
  const std::string roles_ = roles_of(kTokens);
  const ToyModel toy_{kTokens};

  std::unique_ptr<SelectionPolicy> make(const SelectionSettings& settings) const {
    return GetParam().make(toy_, settings);
  }
};

TEST_P(OwnKeys, AnyBlocksGiveTheSame) {
  for (const SelectionSettings& settings : variants()) {
    LayerRows whole;
    const auto policy = make(settings);
    test::feed(*policy, toy_, tokens_, roles_, 0, kTokens, 1000, whole);
    EXPECT_EQ(policy->n_done(), kTokens);
    for (const int64_t piece : {int64_t{1}, int64_t{7}, int64_t{64}, kTokens}) {
      LayerRows rows;
      const auto split = make(settings);
      test::feed(*split, toy_, tokens_, roles_, 0, piece, 128, rows);
      EXPECT_EQ(rows, whole) << "pieces of " << piece;
      EXPECT_EQ(split->prompt_rows_attended(), policy->prompt_rows_attended());
      EXPECT_EQ(split->n_chunks(), policy->n_chunks());
      EXPECT_EQ(split->n_refreshes(), policy->n_refreshes());
    }
  }
}

TEST_P(OwnKeys, GoingBackAndSavedSequencesGiveTheSame) {
  for (const SelectionSettings& settings : variants()) {
    LayerRows whole;
    const auto policy = make(settings);
    test::feed(*policy, toy_, tokens_, roles_, 0, kTokens, 1000, whole);
    const auto expect_same = [&](SelectionPolicy& again, int64_t n, const char* what) {
      const int64_t n_done = again.truncate(n);
      EXPECT_EQ(again.n_done(), n_done);
      EXPECT_LE(n_done, n);
      EXPECT_GE(n_done, n - 160 - settings.prompt_tail) << what;
      LayerRows rows = whole;
      for (auto& layer : rows) {
        for (int64_t t = n_done; t < kTokens; ++t) layer[static_cast<size_t>(t)].clear();
      }
      test::feed(again, toy_, tokens_, roles_, n, 1, 128, rows);
      EXPECT_EQ(rows, whole) << what << " to " << n;
    };
    for (const int64_t n : {int64_t{699}, int64_t{640}, int64_t{600}, int64_t{599}, int64_t{590},
                            int64_t{530}, int64_t{495}, int64_t{450}, int64_t{300}, int64_t{5}}) {
      expect_same(*policy, n, "back");
      const auto restored = make(settings);
      test::announce(*restored, roles_, {0, kTokens});
      restored->restore(tokens_, policy->state());
      expect_same(*restored, n, "restored");
    }
  }
}

TEST_P(OwnKeys, BudgetsAreRespectedAndABudgetOfTheContextIsEverything) {
  LayerRows rows;
  const auto policy = make(settings_of(100));
  test::feed(*policy, toy_, tokens_, roles_, 0, kTokens, 1000, rows);
  int64_t n_rows = 0;
  for (int64_t t = 600; t < kTokens; ++t) {  // each refreshes
    const int64_t n = std::ssize(rows[2][static_cast<size_t>(t)]);
    EXPECT_LE(n, 4 + 16 + 128);  // sink, window and an open chunk may be more than the budget
    n_rows += n;
  }
  EXPECT_GT(n_rows, 100 * 25);  // the first chunk that does not fit ends the choice
  EXPECT_LE(n_rows, 100 * 104);
  EXPECT_EQ(policy->rows_attended(2), std::ssize(rows[2].back()));

  LayerRows all;
  test::feed(*make(settings_of(kTokens)), toy_, tokens_, roles_, 0, kTokens, 1000, all);
  for (const auto& layer : all) {
    for (int64_t t = 0; t < kTokens; ++t) {
      ASSERT_EQ(std::ssize(layer[static_cast<size_t>(t)]), t + 1) << t;
    }
  }
}

TEST_P(OwnKeys, CountsTheRowsOfPrompts) {
  LayerRows rows;
  const auto policy = make(settings_of(100));
  test::feed(*policy, toy_, tokens_, roles_, 0, kTokens, 1000, rows);
  int64_t n_rows = 0;
  for (const auto& layer : rows) {
    for (size_t t = 0; t < layer.size(); ++t) {
      if (roles_[t] != 'g') n_rows += std::ssize(layer[t]);
    }
  }
  EXPECT_EQ(policy->prompt_rows_attended(), n_rows);
}

TEST_P(OwnKeys, TakesNoStateOfOthers) {
  PolicyState state;
  state.floats["layers.0.chunk_keys"] = {1.0f};
  const auto policy = make(settings_of(100));
  expect_error(ErrorCode::kData, "make it anew", [&] { policy->restore(tokens_, state); });
}

INSTANTIATE_TEST_SUITE_P(Policies, OwnKeys,
                         testing::Values(Case{"meankey", mean_key}, Case{"quest", quest}),
                         [](const auto& of) { return std::string(of.param.name); });

TEST(Quest, TheFirstTwoLayersAttendToEverything) {
  const ToyModel toy(700);
  LayerRows rows;
  test::feed(*quest(toy, settings_of(64)), toy, random_tokens(700), std::string(700, 'g'), 0, 700,
             512, rows);
  EXPECT_EQ(std::ssize(rows[0].back()), 700);
  EXPECT_EQ(std::ssize(rows[1].back()), 700);
  EXPECT_LE(std::ssize(rows[2].back()), 64);
}

}  // namespace
}  // namespace chunkllm

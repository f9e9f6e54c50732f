#include "select/chunk/token_lookup.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "base/random.h"

namespace chunkllm {
namespace {

std::vector<int32_t> random_tokens(Rng& rng, int64_t n_tokens, int64_t n_vocab) {
  std::vector<int32_t> tokens(static_cast<size_t>(n_tokens));
  for (int32_t& token : tokens) token = static_cast<int32_t>(rng.below(n_vocab));
  return tokens;
}

// The places by comparing every run with every earlier one.
std::vector<TokenLookup::Place> places_by_definition(const std::vector<int32_t>& tokens,
                                                     int64_t position, int64_t limit) {
  constexpr int64_t kGram = TokenLookup::kGram;
  std::vector<TokenLookup::Place> all;
  for (int64_t t = 0; t <= position; ++t) {
    if (t + 1 < kGram || t <= position - TokenLookup::kRecent) continue;
    std::vector<TokenLookup::Place> of_run;
    for (int64_t place = std::min(t, limit) - 1; place + 1 >= kGram; --place) {
      const auto run = tokens.begin() + t + 1 - kGram;
      if (std::equal(run, run + kGram, tokens.begin() + place + 1 - kGram)) {
        of_run.push_back({.position = place});
      }
    }
    if (std::ssize(of_run) > TokenLookup::kMostPlaces) continue;
    for (TokenLookup::Place& place : of_run) {
      place.weight = 1 / static_cast<float>(of_run.size());
      const float halves = static_cast<float>(position - t) / TokenLookup::kHalfLife;
      place.urgency = place.weight * std::exp2(-halves);
      all.push_back(place);
    }
  }
  return all;
}

TEST(TokenLookup, FindsThePlacesOfTheDefinitionWhereverTheSequenceWasCut) {
  Rng rng(7);
  for (int trial = 0; trial < 60; ++trial) {
    const int64_t n_vocab = trial % 3 == 0 ? 2 : 4 + rng.below(20);
    std::vector<int32_t> tokens;
    TokenLookup lookup;
    for (int step = 0; step < 12; ++step) {
      if (rng.uniform() < 0.4) {
        tokens.resize(static_cast<size_t>(rng.below(std::ssize(tokens) + 1)));
        lookup.truncate(std::ssize(tokens));
      }
      const int64_t first = rng.below(std::ssize(tokens) + 1);
      const auto added = random_tokens(rng, rng.below(200), n_vocab);
      tokens.insert(tokens.end(), added.begin(), added.end());
      lookup.extend(first, std::span(tokens).subspan(static_cast<size_t>(first)));
      ASSERT_EQ(lookup.n_tokens(), std::ssize(tokens));
      if (tokens.empty()) continue;
      const int64_t position = rng.below(std::ssize(tokens));
      const int64_t limit = rng.below(position + 2);
      std::vector<TokenLookup::Place> places;
      lookup.find(position, limit, places);
      const auto expected = places_by_definition(tokens, position, limit);
      ASSERT_EQ(places.size(), expected.size()) << "trial " << trial << " step " << step;
      for (size_t i = 0; i < places.size(); ++i) {
        EXPECT_EQ(places[i].position, expected[i].position);
        EXPECT_EQ(places[i].weight, expected[i].weight);
        EXPECT_FLOAT_EQ(places[i].urgency, expected[i].urgency);
      }
    }
  }
}

// The place by comparing the text's end with what stands before every earlier position.
int64_t best_place_by_definition(const std::vector<int32_t>& tokens) {
  int64_t best = -1;
  int64_t most = TokenLookup::kGram - 1;
  const int64_t last = std::ssize(tokens) - 1;
  for (int64_t place = last - 1; place >= 0; --place) {
    int64_t agreed = 0;
    while (agreed <= place && agreed < TokenLookup::kMostAgreed &&
           tokens[static_cast<size_t>(place - agreed)] ==
               tokens[static_cast<size_t>(last - agreed)]) {
      ++agreed;
    }
    if (agreed > most) {
      most = agreed;
      best = place;
    }
  }
  return best;
}

TEST(TokenLookup, FindsWhereTheTextAgreesLongest) {
  Rng rng(9);
  int n_found = 0;
  for (int trial = 0; trial < 300; ++trial) {
    const auto tokens = random_tokens(rng, rng.below(120), 2 + rng.below(5));
    TokenLookup lookup;
    lookup.extend(0, tokens);
    const int64_t place = lookup.best_place();
    EXPECT_EQ(place, best_place_by_definition(tokens)) << "trial " << trial;
    n_found += place >= 0 ? 1 : 0;
  }
  EXPECT_GT(n_found, 100);
}

// Chunks of ten tokens, all different but for what a test makes equal.
class PreferredChunks : public testing::Test {
 protected:
  static constexpr int64_t kTokens = 200;
  static constexpr int64_t kPosition = kTokens - 1;
  static constexpr Range kEligible{1, 15};  // positions 10 to 150

  PreferredChunks() {
    for (int32_t t = 0; t < kTokens; ++t) tokens_.push_back(t);
    for (int64_t end = 10; end <= kTokens; end += 10) track_.ends.push_back(end);
  }

  // The tokens at `to` become those at `from`.
  void repeat(int64_t from, int64_t to, int64_t n_tokens) {
    std::copy_n(tokens_.begin() + from, n_tokens, tokens_.begin() + to);
  }
  std::vector<int64_t> preferred(int64_t most_rows) const {
    TokenLookup lookup;
    lookup.extend(0, tokens_);
    return preferred_chunks(lookup, track_, kPosition, kEligible, most_rows);
  }

  std::vector<int32_t> tokens_;
  ChunkTrack track_;
};

TEST_F(PreferredChunks, AreThoseThatHoldTheLastTokens) {
  EXPECT_TRUE(preferred(100).empty());
  repeat(43, 190, 3);
  EXPECT_EQ(preferred(100), (std::vector<int64_t>{4}));
  repeat(81, 180, 5);
  EXPECT_EQ(preferred(100), (std::vector<int64_t>{4, 8}));
}

TEST_F(PreferredChunks, GoOnInTheNextOneWhereTheTextDoes) {
  repeat(47, 190, 3);
  EXPECT_EQ(preferred(100), (std::vector<int64_t>{4, 5}));
}

TEST_F(PreferredChunks, AreTheMostUrgentThatFitOrOneAtLeast) {
  repeat(81, 150, 9);  // long, and far back
  repeat(43, 190, 4);  // short, and near
  EXPECT_EQ(preferred(10), (std::vector<int64_t>{4}));
  EXPECT_EQ(preferred(1), (std::vector<int64_t>{4}));
  EXPECT_EQ(preferred(20), (std::vector<int64_t>{4, 8}));
}

TEST_F(PreferredChunks, LieAmongTheEligible) {
  repeat(3, 190, 5);    // the first chunk
  repeat(163, 180, 5);  // behind the left edge
  EXPECT_TRUE(preferred(100).empty());
}

TEST_F(PreferredChunks, AreNotThoseOfRunsThatStandEverywhere) {
  for (const int64_t begin : {21, 41}) repeat(1, begin, 4);
  repeat(1, 190, 3);
  EXPECT_TRUE(preferred(100).empty());  // a third of a run each, of which two are eligible
}

}  // namespace
}  // namespace chunkllm

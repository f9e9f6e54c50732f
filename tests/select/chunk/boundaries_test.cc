// Where chunks end and selections are renewed, beside the definition.
#include "select/chunk/boundaries.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/random.h"
#include "select/chunk/token_marks.h"

namespace chunkllm {
namespace {

constexpr int32_t kSpecial = 7;

struct Token {
  int32_t id = 0;
  bool predicted = false;
  bool prompt_end = false;
  bool generated = false;

  TokenRole role() const { return role_of(!generated, prompt_end); }
};

std::vector<Token> random_tokens(Rng& rng, int64_t n) {
  std::vector<Token> tokens(static_cast<size_t>(n));
  for (Token& token : tokens) {
    token = {static_cast<int32_t>(rng.below(40)), rng.uniform() < 0.06, rng.uniform() < 0.03,
             rng.uniform() < 0.2};
    token.prompt_end = token.prompt_end && !token.generated;
  }
  return tokens;
}

ChunkTrack track_of(const ChunkRules& rules, const std::vector<Token>& tokens) {
  ChunkTrack track;
  for (int64_t t = 0; t < std::ssize(tokens); ++t) {
    const Token& token = tokens[static_cast<size_t>(t)];
    const bool boundary = rules.ends_chunk(track, t, token.id, token.predicted);
    rules.add(track, t, boundary, token.role());
  }
  return track;
}

// Every chunk ends at its first token that may end it.
TEST(ChunkRules, AChunkEndsAtTheFirstTokenThatEndsIt) {
  Rng rng(1);
  const std::vector<int32_t> special{kSpecial};
  for (const int64_t fixed : {int64_t{0}, int64_t{9}, int64_t{50}}) {
    AdapterConfig config;
    config.min_chunk = 5;
    config.max_chunk = 24;
    config.fixed_chunk = fixed;
    const std::vector<Token> tokens = random_tokens(rng, 600);
    const ChunkTrack track = track_of(ChunkRules(config, special), tokens);
    ASSERT_GT(track.n_chunks(), 20);
    const auto may_end = [&](int64_t begin, int64_t t) {
      const Token& token = tokens[static_cast<size_t>(t)];
      const int64_t length = t + 1 - begin;
      return token.id == kSpecial || length == 24 ||
             (fixed > 0 ? length == fixed : token.predicted && length >= 5);
    };
    for (int64_t j = 0; j < track.n_chunks(); ++j) {
      const Range chunk = track.chunk(j);
      for (int64_t t = chunk.begin; t < chunk.end; ++t) {
        EXPECT_EQ(may_end(chunk.begin, t), t + 1 == chunk.end) << "token " << t;
      }
    }
    for (int64_t t = track.open_begin(); t < std::ssize(tokens); ++t) {
      EXPECT_FALSE(may_end(track.open_begin(), t));
    }
  }
}

// Chunks beside the definition, where a token's id is its marks.
TEST(ChunkCutter, CutsPromptsAtTheBestPlaceAndAnswersAtTheLimit) {
  constexpr int64_t kMax = 12;
  std::vector<uint8_t> marks{0, kHoldsLineEnd, kEndsInPunctuation, kBeginsWithSpace};
  marks.push_back(kBeginsWithSpace | kEndsInPunctuation);
  AdapterConfig config;
  config.min_chunk = 3;
  config.max_chunk = kMax;
  const std::vector<int32_t> special{kSpecial};
  const ChunkRules rules(config, special, {.kind = RefreshKind::kBoundary}, marks);
  Rng rng(3);
  for (int trial = 0; trial < 200; ++trial) {
    const int64_t n = 1 + rng.below(120);
    const int64_t prompt_begin = rng.below(30);
    const int64_t prompt_end = prompt_begin + rng.below(90);
    std::vector<int32_t> ids;
    std::vector<bool> predicted;
    ChunkCutter cutter(rules);
    ChunkTrack track;
    for (int64_t t = 0; t < n; ++t) {
      const bool marked = rng.uniform() < 0.15;
      ids.push_back(static_cast<int32_t>(marked ? rng.below(5) : 0));
      if (rng.uniform() < 0.02) ids.back() = kSpecial;
      predicted.push_back(rng.uniform() < 0.04);
      const bool in_prompt = prompt_begin <= t && t < prompt_end;
      cutter.add(track, t, ids.back(), predicted.back(),
                 in_prompt ? std::optional(prompt_begin) : std::nullopt, false);
    }
    const auto mark = [&](int64_t t) {
      const auto id = static_cast<size_t>(ids[static_cast<size_t>(t)]);
      return id < marks.size() ? marks[id] : uint8_t{0};
    };
    std::vector<int64_t> ends;
    int64_t begin = 0;
    for (int64_t t = 0; t < n; ++t) {
      const int64_t length = t + 1 - begin;
      int64_t end = -1;
      if (ids[static_cast<size_t>(t)] == kSpecial ||
          (predicted[static_cast<size_t>(t)] && length >= 3)) {
        end = t + 1;
      } else if (length == kMax) {
        end = t + 1;
        // The best place is the one of the least rank, and of these the last.
        int best = 3;
        const bool in_prompt = prompt_begin <= t && t < prompt_end;
        for (int64_t c = t; in_prompt && c >= std::max(begin + kMax / 2, prompt_begin); --c) {
          const int rank = (mark(c) & kHoldsLineEnd) != 0                   ? 0
                           : (mark(c) & kEndsInPunctuation) != 0            ? 1
                           : c < t && (mark(c + 1) & kBeginsWithSpace) != 0 ? 2
                                                                            : 3;
          if (rank < best) {
            best = rank;
            end = c + 1;
          }
        }
      }
      if (end < 0) continue;
      ends.push_back(end);
      begin = end;
    }
    ASSERT_EQ(track.ends, ends) << "trial " << trial;
    std::vector<int64_t> refreshes;
    for (const int64_t end : ends) refreshes.push_back(end - 1);
    EXPECT_EQ(track.refreshes, refreshes);
    EXPECT_EQ(track.closing, std::vector<uint8_t>(refreshes.size(), 1));
    for (int64_t j = 0; j < track.n_chunks(); ++j) {
      EXPECT_GE(rules.decided_at(track.chunk(j)), track.chunk(j).end - 1);
    }
  }
}

TEST(ChunkRules, RefreshesAreWhereTheSettingSays) {
  Rng rng(2);
  AdapterConfig config;
  config.max_chunk = 24;
  config.first_layer_tokens = 16;
  const std::vector<int32_t> special{kSpecial};
  const std::vector<Token> tokens = random_tokens(rng, 600);
  const auto n = std::ssize(tokens);
  for (const RefreshRule rule : {RefreshRule{}, RefreshRule{.kind = RefreshKind::kPromptEnd},
                                 RefreshRule{.kind = RefreshKind::kBoundary},
                                 RefreshRule{.kind = RefreshKind::kEvery, .every = 5}}) {
    const ChunkRules rules(config, special, rule);
    const ChunkTrack sentences = track_of(rules, tokens);
    ChunkTrack grid;
    for (int64_t t = 0; t < n; ++t) {
      const Token& token = tokens[static_cast<size_t>(t)];
      rules.add_to_grid(grid, t, token.id, token.role());
    }
    const auto expected = [&](int64_t t, bool boundary) {
      const auto& [id, predicted, prompt_end, generated] = tokens[static_cast<size_t>(t)];
      if (rule.kind == RefreshKind::kEvery) return prompt_end || t % 5 == 4;
      return boundary || (prompt_end && rule.kind != RefreshKind::kBoundary) ||
             (generated && rule.kind == RefreshKind::kAnswer);
    };
    for (int64_t t = 0; t < n; ++t) {
      const bool ends = std::ranges::binary_search(sentences.ends, t + 1);
      EXPECT_EQ(std::ranges::binary_search(sentences.refreshes, t), expected(t, ends)) << t;
      const bool grid_end = t % 16 == 15;
      EXPECT_EQ(std::ranges::binary_search(grid.ends, t + 1), grid_end) << t;
      const bool marked = grid_end || tokens[static_cast<size_t>(t)].id == kSpecial;
      EXPECT_EQ(std::ranges::binary_search(grid.refreshes, t), expected(t, marked)) << t;
    }
  }
}

}  // namespace
}  // namespace chunkllm

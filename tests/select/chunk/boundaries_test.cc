// Where chunks end and selections are renewed, beside the definition.
#include "select/chunk/boundaries.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/random.h"

namespace chunkllm {
namespace {

constexpr int32_t kSpecial = 7;

struct Token {
  int32_t id = 0;
  bool predicted = false;
  bool prompt_end = false;
};

std::vector<Token> random_tokens(Rng& rng, int64_t n) {
  std::vector<Token> tokens(static_cast<size_t>(n));
  for (Token& token : tokens) {
    token = {static_cast<int32_t>(rng.below(40)), rng.uniform() < 0.06, rng.uniform() < 0.03};
  }
  return tokens;
}

ChunkTrack track_of(const ChunkRules& rules, const std::vector<Token>& tokens) {
  ChunkTrack track;
  for (int64_t t = 0; t < std::ssize(tokens); ++t) {
    const Token& token = tokens[static_cast<size_t>(t)];
    const bool boundary = rules.ends_chunk(track, t, token.id, token.predicted);
    rules.add(track, t, boundary, token.prompt_end);
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

TEST(ChunkRules, RefreshesAreWhereTheSettingSays) {
  Rng rng(2);
  AdapterConfig config;
  config.max_chunk = 24;
  config.first_layer_tokens = 16;
  const std::vector<int32_t> special{kSpecial};
  const std::vector<Token> tokens = random_tokens(rng, 600);
  const auto n = std::ssize(tokens);
  for (const RefreshRule rule : {RefreshRule{}, RefreshRule{.kind = RefreshKind::kBoundary},
                                 RefreshRule{.kind = RefreshKind::kEvery, .every = 5}}) {
    const ChunkRules rules(config, special, rule);
    const ChunkTrack sentences = track_of(rules, tokens);
    ChunkTrack grid;
    for (int64_t t = 0; t < n; ++t) {
      const Token& token = tokens[static_cast<size_t>(t)];
      rules.add_to_grid(grid, t, token.id, token.prompt_end);
    }
    const auto expected = [&](int64_t t, bool boundary) {
      const bool prompt_end = tokens[static_cast<size_t>(t)].prompt_end;
      if (rule.kind == RefreshKind::kEvery) return prompt_end || t % 5 == 4;
      return boundary || (prompt_end && rule.kind == RefreshKind::kPromptEnd);
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

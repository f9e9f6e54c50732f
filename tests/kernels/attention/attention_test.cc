#include "kernels/attention/attention.h"

#include <gtest/gtest.h>

#include <cfloat>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/random.h"
#include "kernels/attention/attention_cases.h"
#include "kernels/attention/kernels.h"
#include "kernels/attention/kv_rows.h"
#include "kernels/attention/plan.h"
#include "kernels/attention/ref.h"
#include "kernels/compare.h"

namespace chunkllm {
namespace {

using test::all_shapes;
using test::AttentionShape;
using test::dense;
using test::describe;
using test::RandomCache;
using test::RandomQueries;
using test::Threads;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

struct Output {
  std::vector<float> out;
  std::vector<float> log_sum_exp;
};

// Runs attend() into guarded arrays.
Output run(AttentionBlock block, const KvLayerView& kv, const std::vector<AttentionSpan>& spans,
           const WeightedRows& weighted = {}) {
  test::GuardedArray out(block.n_tokens * block.n_heads * kv.head_dim);
  test::GuardedArray log_sum_exp(block.n_tokens * block.n_heads);
  block.out = out.data();
  block.log_sum_exp = log_sum_exp.data();
  attend(block, kv, spans, weighted);
  EXPECT_TRUE(out.guards_intact());
  EXPECT_TRUE(log_sum_exp.guards_intact());
  return {out.values(), log_sum_exp.values()};
}

// Rounding of a score is some eps |q| |k|, and makes an error of that size in every weight; the
// sums of weights and values add their own.
double float_tolerance(const RandomCache& cache, const RandomQueries& queries, float scale) {
  const double score_bound = scale * queries.norm() * cache.key_norm();
  return FLT_EPSILON * (8 + 2 * score_bound);
}

// With rows that are not float32, weights may be rounded to bf16, by half of 2^-8 at most.
constexpr double kWeightRounding = 1.0 / 256;
// Their logarithm is that of a polynomial.
constexpr double kCoarseExponential = 1e-4;

double tolerance(const RandomCache& cache, const RandomQueries& queries, float scale) {
  const double weights = cache.view().type == KvType::kF32 ? 0.0 : kWeightRounding;
  return float_tolerance(cache, queries, scale) + weights;
}

double log_tolerance(const RandomCache& cache, const RandomQueries& queries, float scale) {
  const double sums = cache.view().type == KvType::kF32 ? 0.0 : kCoarseExponential;
  return 4 * float_tolerance(cache, queries, scale) + sums;
}

void expect_reference(const RandomCache& cache, const RandomQueries& queries,
                      const std::vector<AttentionSpan>& spans, const WeightedRows& weighted = {}) {
  const AttentionBlock block = queries.block();
  const Output actual = run(block, cache.view(), spans, weighted);
  const ref::AttentionResult expected = ref::attend(block, cache.view(), spans, weighted);
  test::expect_close(actual.out, expected.out, tolerance(cache, queries, block.scale));
  for (size_t i = 0; i < expected.log_sum_exp.size(); ++i) {
    // An absolute error of the scores' size is an absolute error of their logarithm.
    EXPECT_NEAR(actual.log_sum_exp[i], expected.log_sum_exp[i],
                log_tolerance(cache, queries, block.scale));
  }
}

// A list of ranges below `end` that holds row `first_query` or one before it; some of them empty.
std::vector<Range> random_ranges(Rng& rng, int64_t first_query, int64_t end) {
  std::vector<Range> ranges{{0, std::min(end, 1 + rng.below(4))}};
  int64_t at = ranges.back().end;
  while (at < end) {
    at += rng.below(40);
    if (rng.below(4) == 0) ranges.push_back({});
    const int64_t size = std::min(end - at, rng.below(3) == 0 ? rng.below(150) : rng.below(30));
    if (size > 0) ranges.push_back({at, at + size});
    at += std::max<int64_t>(size, 0);
  }
  ranges.push_back({first_query, first_query});
  return ranges;
}

std::vector<AttentionSpan> random_spans(Rng& rng, int64_t first, int64_t n_tokens) {
  std::vector<AttentionSpan> spans;
  for (int64_t begin = first; begin < first + n_tokens;) {
    const int64_t end = std::min(first + n_tokens, begin + 1 + rng.below(40));
    spans.push_back({{begin, end}, random_ranges(rng, begin, end)});
    begin = end;
  }
  return spans;
}

// The queries [begin, end) of the spans.
std::vector<AttentionSpan> cut_spans(const std::vector<AttentionSpan>& spans, int64_t begin,
                                     int64_t end) {
  std::vector<AttentionSpan> cut;
  for (AttentionSpan span : spans) {
    span.queries.begin = std::max(span.queries.begin, begin);
    span.queries.end = std::min(span.queries.end, end);
    if (!span.queries.empty()) cut.push_back(span);
  }
  return cut;
}

TEST(Attend, DenseBlockEqualsReference) {
  for (const AttentionShape& shape : all_shapes()) {
    SCOPED_TRACE(describe(shape));
    const RandomCache cache(shape, 200, 1);
    expect_reference(cache, RandomQueries(shape, 140, 60, 2), dense(140, 60));
  }
}

// A query that is not rounded beforehand: its rounding to bf16 changes a score by 2^-9 |q| |k| at
// most, and by far less on average.
TEST(Attend, QueriesMayBeRounded) {
  for (const int64_t head_dim : {32, 64, 96, 128, 256}) {
    const AttentionShape shape{8, 2, head_dim, KvType::kBf16};
    SCOPED_TRACE(describe(shape));
    const RandomCache cache(shape, 300, 41);
    RandomQueries queries(shape, 200, 100, 42);
    for (int64_t i = 0; i < 100 * queries.stride(); ++i) queries.data()[i] *= 1.1f;
    const Output actual = run(queries.block(), cache.view(), dense(200, 100));
    const ref::AttentionResult expected =
        ref::attend(queries.block(), cache.view(), dense(200, 100));
    test::expect_close(actual.out, expected.out, 2 * kWeightRounding);
  }
}

// The same for rows that are not bf16 numbers; a rounded value changes the output by 2^-9 of it.
TEST(Attend, RowsMayBeRounded) {
  Rng rng(45);
  for (const KvType type : {KvType::kF16, KvType::kQ8_0}) {
    const AttentionShape shape{8, 2, 64, type};
    SCOPED_TRACE(describe(shape));
    std::vector<float> rows(2 * 300 * 64);
    for (float& x : rows) x = static_cast<float>(rng.normal() + 0.3);
    std::vector<std::byte> cache(static_cast<size_t>(2 * 300 * kv_row_bytes(type, 64)));
    round_kv_rows(type, rows.data(), 64, 2 * 300, 64, cache.data());
    const KvLayerView kv{cache.data(), cache.data(), type, 2, 300, 64};
    for (const int64_t n_tokens : {1, 100}) {
      const RandomQueries queries(shape, 300 - n_tokens, n_tokens, 46);
      const auto spans = dense(300 - n_tokens, n_tokens);
      const Output actual = run(queries.block(), kv, spans);
      test::expect_close(actual.out, ref::attend(queries.block(), kv, spans).out,
                         2 * kWeightRounding);
    }
  }
}

// Scores that rise from row to row, slowly or fast, so that the running maximum does.
TEST(Attend, RisingScoresEqualReference) {
  const AttentionShape shape{4, 2, 64, KvType::kBf16};
  for (const float step : {0.01f, 0.5f, 8.0f, -3.0f}) {
    SCOPED_TRACE(step);
    RandomCache cache(shape, 400, 43);
    RandomQueries queries(shape, 330, 70, 44);
    for (int64_t token = 0; token < 70; ++token) {
      for (int64_t head = 0; head < 4; ++head) {
        queries.data()[token * queries.stride() + head * 64] = 8.0f;
      }
    }
    for (int64_t row = 0; row < 400; ++row) {
      for (int64_t head = 0; head < 2; ++head) {
        cache.set_key(head, row, 0, step * static_cast<float>(row));
      }
    }
    expect_reference(cache, queries, dense(330, 70));
  }
}

TEST(Attend, FirstBlockIsCausal) {
  for (const AttentionShape& shape : all_shapes()) {
    SCOPED_TRACE(describe(shape));
    const RandomCache cache(shape, 90, 1);
    expect_reference(cache, RandomQueries(shape, 0, 90, 2), dense(0, 90));
  }
}

TEST(Attend, RandomSpansEqualReference) {
  Rng rng(7);
  for (const AttentionShape& shape : all_shapes()) {
    for (int round = 0; round < 2; ++round) {
      SCOPED_TRACE(describe(shape));
      const int64_t first = rng.below(300);
      const int64_t n_tokens = 1 + rng.below(40);
      const RandomCache cache(shape, first + n_tokens, rng.next());
      expect_reference(cache, RandomQueries(shape, first, n_tokens, rng.next()),
                       random_spans(rng, first, n_tokens));
    }
  }
}

// Some spans attend to weighted rows as well, before and behind all queries' positions.
TEST(Attend, WeightedRowsEqualReference) {
  Rng rng(17);
  for (const AttentionShape& shape : all_shapes()) {
    for (const int64_t n_tokens : {1, 3, 40}) {
      SCOPED_TRACE(describe(shape));
      const int64_t first = rng.below(300);
      const RandomCache cache(shape, first + n_tokens, rng.next());
      AttentionShape float_shape = shape;
      float_shape.type = KvType::kF32;
      float_shape.side_by_side = false;
      constexpr int64_t kRows = 500;
      const RandomCache rows(float_shape, kRows, rng.next());
      std::vector<float> log_weights;
      for (int64_t r = 0; r < kRows; ++r) {
        log_weights.push_back(std::log(1.0f + static_cast<float>(rng.below(60))));
      }
      const KvLayerView view = rows.view();
      const WeightedRows weighted{static_cast<const float*>(view.keys),
                                  static_cast<const float*>(view.values), log_weights.data(),
                                  kRows};
      std::vector<AttentionSpan> spans = random_spans(rng, first, n_tokens);
      for (AttentionSpan& span : spans) {
        const int64_t begin = rng.below(kRows);
        span.weighted = {begin, begin + rng.below(kRows - begin)};
      }
      expect_reference(cache, RandomQueries(shape, first, n_tokens, rng.next()), spans, weighted);
    }
  }
}

TEST(Attend, WeightedRowsThatAreNotThereAreRefused) {
  const AttentionShape shape{4, 2, 64, KvType::kF32};
  const RandomCache cache(shape, 8, 1);
  std::vector<AttentionSpan> spans = dense(7, 1);
  spans[0].weighted = {0, 1};
  EXPECT_THROW(run(RandomQueries(shape, 7, 1, 2).block(), cache.view(), spans), Error);
}

TEST(Attend, OneTokenEqualsReference) {
  Rng rng(8);
  for (const AttentionShape& shape : all_shapes()) {
    for (const int64_t n_rows : {1, 2, 5, 63, 64, 65, 700}) {
      SCOPED_TRACE(describe(shape));
      const RandomCache cache(shape, n_rows, rng.next());
      const RandomQueries queries(shape, n_rows - 1, 1, rng.next());
      expect_reference(cache, queries, dense(n_rows - 1, 1));
      expect_reference(cache, queries, random_spans(rng, n_rows - 1, 1));
    }
  }
}

// Rows enough that they are divided among threads, whatever the number of queries.
TEST(Attend, DividedRowsEqualReference) {
  for (const int n_threads : {1, 4}) {
    const Threads threads(n_threads);
    for (const KvType type : test::kAllKvTypes) {
      const AttentionShape shape{6, 2, 64, type};
      const RandomCache cache(shape, 2500, 3);
      for (const int64_t n_tokens : {1, 2, 12}) {
        SCOPED_TRACE(fmt::format("{} threads, {} tokens", n_threads, n_tokens));
        const int64_t first = 2500 - n_tokens;
        expect_reference(cache, RandomQueries(shape, first, n_tokens, 4), dense(first, n_tokens));
      }
    }
  }
}

class AttendSplit : public testing::TestWithParam<KvType> {};
INSTANTIATE_TEST_SUITE_P(AllTypes, AttendSplit, testing::ValuesIn(test::kAllKvTypes));

TEST_P(AttendSplit, AnySplitOfRangesEqualsTheWhole) {
  Rng rng(9);
  const AttentionShape shape{6, 2, 64, GetParam()};
  const RandomCache cache(shape, 900, 5);
  for (const int64_t n_tokens : {1, 50}) {
    const int64_t first = 900 - n_tokens;
    const RandomQueries queries(shape, first, n_tokens, 6);
    const Output whole = run(queries.block(), cache.view(), dense(first, n_tokens));
    for (int round = 0; round < 5; ++round) {
      AttentionSpan split{{first, 900}, {}};
      for (int64_t begin = 0; begin < 900;) {
        const int64_t end = std::min<int64_t>(900, begin + 1 + rng.below(60));
        split.rows.push_back({begin, end});
        begin = end;
      }
      EXPECT_EQ(run(queries.block(), cache.view(), {split}).out, whole.out);
    }
  }
}

TEST(Attend, BlocksOfAnySizeEqualTokenByToken) {
  Rng rng(10);
  for (const AttentionShape& shape :
       {AttentionShape{4, 2, 64, KvType::kF32}, AttentionShape{8, 1, 32, KvType::kBf16},
        AttentionShape{8, 2, 128, KvType::kBf16}, AttentionShape{8, 1, 32, KvType::kF16},
        AttentionShape{8, 2, 64, KvType::kQ8_0}}) {
    constexpr int64_t kFirst = 77;
    constexpr int64_t kTokens = 120;
    const RandomCache cache(shape, kFirst + kTokens, 11);
    const RandomQueries queries(shape, kFirst, kTokens, 12);
    const std::vector<AttentionSpan> spans = random_spans(rng, kFirst, kTokens);
    const auto run_by = [&](int64_t block_size) {
      Output all;
      for (int64_t begin = 0; begin < kTokens; begin += block_size) {
        const int64_t end = std::min(kTokens, begin + block_size);
        const Output output = run(queries.block(begin, end), cache.view(),
                                  cut_spans(spans, kFirst + begin, kFirst + end));
        all.out.insert(all.out.end(), output.out.begin(), output.out.end());
        all.log_sum_exp.insert(all.log_sum_exp.end(), output.log_sum_exp.begin(),
                               output.log_sum_exp.end());
      }
      return all;
    };
    const Output one_by_one = run_by(1);
    for (const int64_t block_size : {2, 7, 16}) {
      const Output blocks = run_by(block_size);
      EXPECT_EQ(blocks.out, one_by_one.out);
      EXPECT_EQ(blocks.log_sum_exp, one_by_one.log_sum_exp);
    }
    const double limit = 2 * tolerance(cache, queries, queries.block().scale);
    for (const int64_t block_size : {32, 120}) {
      const Output blocks = run_by(block_size);
      test::expect_close(blocks.out, one_by_one.out, limit);
      test::expect_close(blocks.log_sum_exp, one_by_one.log_sum_exp, limit);
    }
  }
}

// Around lengths at which rows are cut otherwise among threads, too.
TEST(Attend, FewQueriesGetTheSameBitsTogetherAsAlone) {
  constexpr int64_t kTokens = kFewQueries;
  for (const int n_threads : {1, 2, 5}) {
    const Threads threads(n_threads);
    for (const KvType type : test::kAllKvTypes) {
      for (const int64_t group : {3, 7}) {
        const AttentionShape shape{2 * group, 2, 32, type};
        const RandomCache cache(shape, 1600, 21);
        for (const int64_t first : {0, 250, 1018, 1530}) {
          SCOPED_TRACE(fmt::format("{}, {} threads, at {}", describe(shape), n_threads, first));
          const RandomQueries queries(shape, first, kTokens, 22);
          Output alone;
          for (int64_t t = 0; t < kTokens; ++t) {
            const Output one = run(queries.block(t, t + 1), cache.view(), dense(first + t, 1));
            alone.out.insert(alone.out.end(), one.out.begin(), one.out.end());
            alone.log_sum_exp.insert(alone.log_sum_exp.end(), one.log_sum_exp.begin(),
                                     one.log_sum_exp.end());
          }
          const Output together = run(queries.block(), cache.view(), dense(first, kTokens));
          EXPECT_EQ(together.out, alone.out);
          EXPECT_EQ(together.log_sum_exp, alone.log_sum_exp);
        }
      }
    }
  }
}

// Lengths around which rows are summed in pieces, with threads enough to divide them and without.
TEST(Attend, QueriesOfATextGetTheSameBitsHoweverItIsCut) {
  constexpr int64_t kTokens = 90;
  Rng rng(23);
  for (const KvType type : test::kAllKvTypes) {
    for (const int64_t group : {1, 3, 7}) {
      const AttentionShape shape{2 * group, 2, 32, type};
      const RandomCache cache(shape, 2 * kPieceRows + kTokens, 24);
      const bool may_round =
          attention_kernels().bf16_tile.attend != nullptr && type != KvType::kF32;
      for (const int64_t first : {int64_t{0}, kPieceRows - 40, 2 * kPieceRows - 3}) {
        SCOPED_TRACE(fmt::format("{}, at {}", describe(shape), first));
        const RandomQueries queries(shape, first, kTokens, 25);
        std::vector<AttentionSpan> spans = dense(first, kTokens);
        if (first > kPieceRows) {
          spans = random_spans(rng, first, kTokens);
          for (AttentionSpan& span : spans) span.alone = span.queries.size() == 1;
        }
        const auto run_by = [&](int n_threads, const auto& next_size) {
          const Threads threads(n_threads);
          Output all;
          for (int64_t begin = 0, end = 0; begin < kTokens; begin = end) {
            end = std::min(kTokens, begin + next_size());
            AttentionBlock block = queries.block(begin, end);
            block.of_text = true;
            const Output output =
                run(block, cache.view(), cut_spans(spans, first + begin, first + end));
            all.out.insert(all.out.end(), output.out.begin(), output.out.end());
            all.log_sum_exp.insert(all.log_sum_exp.end(), output.log_sum_exp.begin(),
                                   output.log_sum_exp.end());
          }
          return all;
        };
        const Output whole = run_by(1, [] { return kTokens; });
        for (const int n_threads : {1, 2, 5}) {
          const Output cut = run_by(n_threads, [&] { return 1 + rng.below(40); });
          if (may_round) {
            test::expect_close(cut.out, whole.out,
                               2 * tolerance(cache, queries, queries.block().scale));
          } else {
            EXPECT_EQ(cut.out, whole.out);
            test::expect_close(cut.log_sum_exp, whole.log_sum_exp, 2 * FLT_EPSILON);
          }
        }
      }
    }
  }
}

// What one row holds is what comes out, exactly but for the division.
TEST(Attend, OneRowIsItsValue) {
  const AttentionShape shape{4, 2, 64, KvType::kF32};
  const RandomCache cache(shape, 10, 13);
  for (const int64_t n_tokens : {1, 5}) {
    const RandomQueries queries(shape, 10 - n_tokens, n_tokens, 14);
    const Output output =
        run(queries.block(), cache.view(), {{{10 - n_tokens, 10}, {{}, {2, 3}, {}}}});
    for (int64_t i = 0; i < n_tokens * 4 * 64; ++i) {
      const int64_t kv_head = i / 64 % 4 / 2;
      const auto value =
          static_cast<float>(ref::cached(cache.view(), cache.view().values, kv_head, 2, i % 64));
      EXPECT_NEAR(output.out[static_cast<size_t>(i)], value, FLT_EPSILON * std::abs(value));
    }
  }
}

TEST(Attend, LargeScores) {
  for (const KvType type : test::kAllKvTypes) {
    for (const int64_t n_tokens : {1, 40}) {
      const AttentionShape shape{4, 2, 64, type};
      const RandomCache cache(shape, 300, 15, 1e3f);
      expect_reference(cache, RandomQueries(shape, 300 - n_tokens, n_tokens, 16),
                       dense(300 - n_tokens, n_tokens));
    }
  }
}

// All scores are far below zero, as far as 1e4, and equal: the maximum must be theirs.
TEST(Attend, EqualScoresGiveTheMean) {
  const AttentionShape shape{2, 2, 16, KvType::kF32};
  for (const float score : {0.0f, 1e4f, -1e4f}) {
    for (const int64_t n_tokens : {1, 9}) {
      RandomCache cache(shape, 133, 17);
      RandomQueries queries(shape, 133 - n_tokens, n_tokens, 18);
      std::fill_n(queries.data(), n_tokens * queries.stride(), 1.0f);
      for (int64_t row = 0; row < 133; ++row) {
        for (int64_t i = 0; i < 16; ++i) {
          for (int64_t head = 0; head < 2; ++head) cache.set_key(head, row, i, score / 4.0f);
        }
      }
      const Output output = run(queries.block(), cache.view(), dense(133 - n_tokens, n_tokens));
      const size_t last = static_cast<size_t>(n_tokens - 1) * 2 * 16;
      for (int64_t i = 0; i < 32; ++i) {
        double mean = 0;
        for (int64_t row = 0; row < 133; ++row) {
          mean += ref::cached(cache.view(), cache.view().values, i / 16, row, i % 16) / 133;
        }
        EXPECT_NEAR(output.out[last + static_cast<size_t>(i)], mean, 1e-5);
      }
      EXPECT_NEAR(output.log_sum_exp.back(), score + std::log(133.0f),
                  4 * FLT_EPSILON * (1 + std::abs(score)));
    }
  }
}

TEST(Attend, NanOfAnyInputArrivesAtTheQueriesThatSeeIt) {
  const AttentionShape shape{4, 2, 32, KvType::kF32};
  for (const KvType type : test::kAllKvTypes) {
    for (const char what : {'q', 'k', 'v', 'i'}) {
      SCOPED_TRACE(what);
      AttentionShape typed = shape;
      typed.type = type;
      for (const int64_t n_tokens : {1, 40}) {
        const int64_t first = 150 - n_tokens;
        const int64_t at = n_tokens == 1 ? 70 : 130;  // the row; seen by KV head 1's queries
        RandomCache cache(typed, 150, 19);
        RandomQueries queries(typed, first, n_tokens, 20);
        const int64_t nan_token = n_tokens / 2;
        if (what == 'q') queries.data()[nan_token * queries.stride() + 2 * 32 + 3] = kNan;
        if (what == 'k') cache.set_key(1, at, 7, kNan);
        if (what == 'v') cache.set_value(1, at, 7, kNan);
        if (what == 'i') cache.set_value(1, at, 7, std::numeric_limits<float>::infinity());
        const Output output = run(queries.block(), cache.view(), dense(first, n_tokens));
        for (int64_t i = 0; i < n_tokens * 4 * 32; ++i) {
          const int64_t token = i / 128;
          const int64_t head = i / 32 % 4;
          const bool sees = head >= 2 && first + token >= at;
          const bool hit = what == 'q'   ? token == nan_token && head == 2
                           : what == 'k' ? sees
                                         : sees && (type == KvType::kQ8_0 || i % 32 == 7);
          EXPECT_EQ(!std::isfinite(output.out[static_cast<size_t>(i)]), hit)
              << "token " << token << " head " << head << " element " << i % 32;
        }
      }
    }
  }
}

// Rows that no query may read hold NaN, and so does the rest of the cache.
TEST(Attend, UnlistedRowsAreNotRead) {
  const AttentionShape shape{4, 2, 64, KvType::kF32};
  RandomCache cache(shape, 200, 21);
  const std::vector<Range> rows{{3, 9}, {40, 71}, {150, 180}};
  for (int64_t row = 0; row < 200; ++row) {
    bool listed = false;
    for (const Range& range : rows) listed |= range.contains(row);
    if (listed && row < 175) continue;
    for (int64_t head = 0; head < 2; ++head) {
      cache.set_key(head, row, 0, kNan);
      cache.set_value(head, row, 0, kNan);
    }
  }
  for (const int64_t n_tokens : {1, 20}) {
    const RandomQueries queries(shape, 175 - n_tokens, n_tokens, 22);
    const Output output = run(queries.block(), cache.view(), {{{175 - n_tokens, 175}, rows}});
    for (const float value : output.out) EXPECT_TRUE(std::isfinite(value));
  }
}

TEST(Attend, LogSumExpIsOptional) {
  const AttentionShape shape;
  const RandomCache cache(shape, 60, 23);
  for (const int64_t n_tokens : {1, 30}) {
    const RandomQueries queries(shape, 60 - n_tokens, n_tokens, 24);
    const Output both = run(queries.block(), cache.view(), dense(60 - n_tokens, n_tokens));
    AttentionBlock block = queries.block();
    std::vector<float> out(both.out.size());
    block.out = out.data();
    attend(block, cache.view(), dense(60 - n_tokens, n_tokens));
    EXPECT_EQ(out, both.out);
  }
}

TEST(Attend, RefusesWhatItCannotDo) {
  const AttentionShape shape;
  const RandomCache cache(shape, 100, 25);
  const RandomQueries queries(shape, 80, 10, 26);
  std::vector<float> out(10 * 4 * 64);
  AttentionBlock block = queries.block();
  block.out = out.data();
  const std::vector<AttentionSpan> spans = dense(80, 10);
  const auto expect_refused = [&](const AttentionBlock& b, const KvLayerView& kv,
                                  const std::vector<AttentionSpan>& s, const char* message) {
    try {
      attend(b, kv, s);
      FAIL() << "accepted; expected: " << message;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
      EXPECT_NE(std::string(error.what()).find(message), std::string::npos) << error.what();
    }
  };
  EXPECT_NO_THROW(attend(block, cache.view(), spans));
  for (const int64_t head_dim : {0, 4, 60, 264}) {
    KvLayerView kv = cache.view();
    kv.head_dim = head_dim;
    expect_refused(block, kv, spans, "head_dim");
  }
  AttentionBlock odd = block;
  odd.n_heads = 3;
  expect_refused(odd, cache.view(), spans, "3 heads");
  odd = block;
  odd.q_stride = 100;
  expect_refused(odd, cache.view(), spans, "stride");
  KvLayerView unfit = cache.view();
  unfit.type = KvType::kQ8_0;
  unfit.head_dim = 40;
  expect_refused(block, unfit, spans, "q8_0");
  unfit = cache.view();
  unfit.row_step = 0;
  expect_refused(block, unfit, spans, "side by side");
  expect_refused(block, cache.view(), {{{80, 90}, {{0, 101}}}}, "100 rows");
  expect_refused(block, cache.view(), {{{80, 90}, {{10, 30}, {20, 90}}}}, "begin at 30");
  expect_refused(block, cache.view(), {{{80, 90}, {{-3, 30}}}}, "begin at 0");
  expect_refused(block, cache.view(), {{{80, 90}, {{}, {}}}}, "no rows");
  expect_refused(block, cache.view(), {{{80, 90}, {{81, 90}}}}, "no rows");
  expect_refused(block, cache.view(), {{{80, 85}, {{0, 85}}}}, "spans end at 85");
  expect_refused(block, cache.view(), {{{80, 91}, {{0, 91}}}}, "end by 90");
  expect_refused(block, cache.view(), {{{80, 84}, {{0, 84}}}, {{85, 90}, {{0, 90}}}},
                 "begin at 84");
}

}  // namespace
}  // namespace chunkllm

#include "kernels/attention.h"

#include <gtest/gtest.h>
#include <omp.h>

#include <cfloat>
#include <cmath>
#include <limits>
#include <numeric>
#include <string>
#include <vector>

#include "base/bf16.h"
#include "base/error.h"
#include "base/random.h"
#include "kernels/compare.h"
#include "kernels/ref/attention.h"

namespace chunkllm {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

struct Shape {
  int64_t n_heads = 4;
  int64_t n_kv_heads = 2;
  int64_t head_dim = 64;
  KvType type = KvType::kF32;
};

std::vector<Shape> all_shapes() {
  std::vector<Shape> shapes;
  for (const KvType type : {KvType::kF32, KvType::kBf16}) {
    for (const int64_t group : {1, 2, 3, 4, 8}) shapes.push_back({2 * group, 2, 32, type});
    for (const int64_t head_dim : {8, 40, 48, 64, 128, 256}) shapes.push_back({4, 2, head_dim, type});
    shapes.push_back({9, 3, 24, type});
    shapes.push_back({5, 1, 64, type});
  }
  return shapes;
}

std::string describe(const Shape& shape) {
  return fmt::format("{} heads, {} KV heads, head_dim {}, {}", shape.n_heads, shape.n_kv_heads,
                     shape.head_dim, shape.type == KvType::kF32 ? "f32" : "bf16");
}

// Rows exactly as many as the cache holds, so that a sanitizer sees reads past the last.
class Cache {
 public:
  Cache(const Shape& shape, int64_t n_rows, uint64_t seed, float magnitude = 1.0f)
      : shape_(shape), n_rows_(n_rows) {
    Rng rng(seed);
    for (int64_t i = 0; i < shape.n_kv_heads * n_rows * shape.head_dim; ++i) {
      push(keys_, magnitude * static_cast<float>(rng.normal()));
      push(values_, static_cast<float>(rng.normal() + 0.5));
    }
  }

  KvLayerView view() const {
    KvLayerView kv;
    kv.type = shape_.type;
    kv.keys = shape_.type == KvType::kF32 ? static_cast<const void*>(keys_.f32.data())
                                          : static_cast<const void*>(keys_.bf16.data());
    kv.values = shape_.type == KvType::kF32 ? static_cast<const void*>(values_.f32.data())
                                            : static_cast<const void*>(values_.bf16.data());
    kv.n_kv_heads = shape_.n_kv_heads;
    kv.capacity = n_rows_;
    kv.head_dim = shape_.head_dim;
    return kv;
  }

  void set_key(int64_t kv_head, int64_t row, int64_t i, float value) {
    set(keys_, (kv_head * n_rows_ + row) * shape_.head_dim + i, value);
  }
  void set_value(int64_t kv_head, int64_t row, int64_t i, float value) {
    set(values_, (kv_head * n_rows_ + row) * shape_.head_dim + i, value);
  }

  // The largest norm of a key.
  double key_norm() const {
    double largest = 0;
    for (int64_t row = 0; row < shape_.n_kv_heads * n_rows_; ++row) {
      double square = 0;
      for (int64_t i = 0; i < shape_.head_dim; ++i) {
        const auto at = static_cast<size_t>(row * shape_.head_dim + i);
        const double x = shape_.type == KvType::kF32 ? keys_.f32[at] : to_float(keys_.bf16[at]);
        square += x * x;
      }
      largest = std::max(largest, square);
    }
    return std::sqrt(largest);
  }

 private:
  struct Rows {
    std::vector<float> f32;
    std::vector<Bf16> bf16;
  };
  void push(Rows& rows, float value) {
    if (shape_.type == KvType::kF32) {
      rows.f32.push_back(value);
    } else {
      rows.bf16.push_back(to_bf16(value));
    }
  }
  void set(Rows& rows, int64_t at, float value) {
    if (shape_.type == KvType::kF32) {
      rows.f32[static_cast<size_t>(at)] = value;
    } else {
      rows.bf16[static_cast<size_t>(at)] = to_bf16(value);
    }
  }

  Shape shape_;
  int64_t n_rows_;
  Rows keys_;
  Rows values_;
};

// Queries for the positions [first, first + n_tokens), with some floats between tokens.
class Queries {
 public:
  Queries(const Shape& shape, int64_t first, int64_t n_tokens, uint64_t seed)
      : shape_(shape), first_(first), n_tokens_(n_tokens), stride_(shape.n_heads * shape.head_dim + 5) {
    Rng rng(seed);
    for (int64_t i = 0; i < n_tokens * stride_; ++i) q_.push_back(static_cast<float>(rng.normal()));
  }

  float* data() { return q_.data(); }
  int64_t stride() const { return stride_; }

  // The tokens [begin, end) of these, without outputs.
  AttentionBlock block(int64_t begin, int64_t end) const {
    AttentionBlock block;
    block.q = q_.data() + begin * stride_;
    block.q_stride = stride_;
    block.first_position = first_ + begin;
    block.n_tokens = end - begin;
    block.n_heads = shape_.n_heads;
    block.scale = 1.0f / std::sqrt(static_cast<float>(shape_.head_dim));
    return block;
  }
  AttentionBlock block() const { return block(0, n_tokens_); }

  // The largest norm of a head's query.
  double norm() const {
    double largest = 0;
    for (int64_t token = 0; token < n_tokens_; ++token) {
      for (int64_t head = 0; head < shape_.n_heads; ++head) {
        const auto begin = q_.begin() + token * stride_ + head * shape_.head_dim;
        largest = std::max(largest, std::inner_product(begin, begin + shape_.head_dim, begin, 0.0));
      }
    }
    return std::sqrt(largest);
  }

 private:
  Shape shape_;
  int64_t first_;
  int64_t n_tokens_;
  int64_t stride_;
  std::vector<float> q_;
};

struct Output {
  std::vector<float> out;
  std::vector<float> log_sum_exp;
};

// Runs attend() into guarded arrays.
Output run(AttentionBlock block, const KvLayerView& kv, const std::vector<AttentionSpan>& spans) {
  test::GuardedArray out(block.n_tokens * block.n_heads * kv.head_dim);
  test::GuardedArray log_sum_exp(block.n_tokens * block.n_heads);
  block.out = out.data();
  block.log_sum_exp = log_sum_exp.data();
  attend(block, kv, spans);
  EXPECT_TRUE(out.guards_intact());
  EXPECT_TRUE(log_sum_exp.guards_intact());
  return {out.values(), log_sum_exp.values()};
}

// Rounding of a score is some eps |q| |k|, and makes an error of that size in every weight; the sums of
// weights and values add their own.
double tolerance(const Cache& cache, const Queries& queries, float scale) {
  const double score_bound = scale * queries.norm() * cache.key_norm();
  return FLT_EPSILON * (8 + 2 * score_bound);
}

void expect_reference(const Cache& cache, const Queries& queries,
                      const std::vector<AttentionSpan>& spans) {
  const AttentionBlock block = queries.block();
  const Output actual = run(block, cache.view(), spans);
  const ref::AttentionResult expected = ref::attend(block, cache.view(), spans);
  const double limit = tolerance(cache, queries, block.scale);
  test::expect_close(actual.out, expected.out, limit);
  for (size_t i = 0; i < expected.log_sum_exp.size(); ++i) {
    // An absolute error of the scores' size is an absolute error of their logarithm.
    EXPECT_NEAR(actual.log_sum_exp[i], expected.log_sum_exp[i], 4 * limit);
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

std::vector<AttentionSpan> dense(int64_t first, int64_t n_tokens) {
  return {{{first, first + n_tokens}, {{0, first + n_tokens}}}};
}

// Sets the number of threads for a scope.
class Threads {
 public:
  explicit Threads(int n) : before_(omp_get_max_threads()) { omp_set_num_threads(n); }
  ~Threads() { omp_set_num_threads(before_); }
  Threads(const Threads&) = delete;
  Threads& operator=(const Threads&) = delete;

 private:
  int before_;
};

TEST(Attend, DenseBlockEqualsReference) {
  for (const Shape& shape : all_shapes()) {
    SCOPED_TRACE(describe(shape));
    const Cache cache(shape, 230, 1);
    expect_reference(cache, Queries(shape, 130, 100, 2), dense(130, 100));
  }
}

TEST(Attend, FirstBlockIsCausal) {
  for (const Shape& shape : all_shapes()) {
    SCOPED_TRACE(describe(shape));
    const Cache cache(shape, 90, 1);
    expect_reference(cache, Queries(shape, 0, 90, 2), dense(0, 90));
  }
}

TEST(Attend, RandomSpansEqualReference) {
  Rng rng(7);
  for (const Shape& shape : all_shapes()) {
    for (int round = 0; round < 3; ++round) {
      SCOPED_TRACE(describe(shape));
      const int64_t first = rng.below(400);
      const int64_t n_tokens = 1 + rng.below(90);
      const Cache cache(shape, first + n_tokens, rng.next());
      expect_reference(cache, Queries(shape, first, n_tokens, rng.next()),
                       random_spans(rng, first, n_tokens));
    }
  }
}

TEST(Attend, OneTokenEqualsReference) {
  Rng rng(8);
  for (const Shape& shape : all_shapes()) {
    for (const int64_t n_rows : {1, 2, 5, 63, 64, 65, 700}) {
      SCOPED_TRACE(describe(shape));
      const Cache cache(shape, n_rows, rng.next());
      const Queries queries(shape, n_rows - 1, 1, rng.next());
      expect_reference(cache, queries, dense(n_rows - 1, 1));
      expect_reference(cache, queries, random_spans(rng, n_rows - 1, 1));
    }
  }
}

// Rows enough that they are divided among threads, whatever the number of queries.
TEST(Attend, DividedRowsEqualReference) {
  for (const int n_threads : {1, 3, 8}) {
    const Threads threads(n_threads);
    for (const KvType type : {KvType::kF32, KvType::kBf16}) {
      const Shape shape{6, 2, 48, type};
      const Cache cache(shape, 2500, 3);
      for (const int64_t n_tokens : {1, 2, 30}) {
        SCOPED_TRACE(fmt::format("{} threads, {} tokens", n_threads, n_tokens));
        const int64_t first = 2500 - n_tokens;
        expect_reference(cache, Queries(shape, first, n_tokens, 4), dense(first, n_tokens));
      }
    }
  }
}

TEST(Attend, AnySplitOfRangesEqualsTheWhole) {
  Rng rng(9);
  const Shape shape{6, 2, 48, KvType::kBf16};
  const Cache cache(shape, 900, 5);
  for (const int64_t n_tokens : {1, 50}) {
    const int64_t first = 900 - n_tokens;
    const Queries queries(shape, first, n_tokens, 6);
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
  for (const Shape& shape : {Shape{4, 2, 64, KvType::kF32}, Shape{8, 1, 32, KvType::kBf16}}) {
    constexpr int64_t kFirst = 77;
    constexpr int64_t kTokens = 120;
    const Cache cache(shape, kFirst + kTokens, 11);
    const Queries queries(shape, kFirst, kTokens, 12);
    const std::vector<AttentionSpan> spans = random_spans(rng, kFirst, kTokens);
    const auto run_by = [&](int64_t block_size) {
      Output all;
      for (int64_t begin = 0; begin < kTokens; begin += block_size) {
        const int64_t end = std::min(kTokens, begin + block_size);
        std::vector<AttentionSpan> part;
        for (AttentionSpan span : spans) {
          span.queries.begin = std::max(span.queries.begin, kFirst + begin);
          span.queries.end = std::min(span.queries.end, kFirst + end);
          if (!span.queries.empty()) part.push_back(span);
        }
        const Output output = run(queries.block(begin, end), cache.view(), part);
        all.out.insert(all.out.end(), output.out.begin(), output.out.end());
        all.log_sum_exp.insert(all.log_sum_exp.end(), output.log_sum_exp.begin(),
                               output.log_sum_exp.end());
      }
      return all;
    };
    const Output one_by_one = run_by(1);
    const double limit = 2 * tolerance(cache, queries, queries.block().scale);
    for (const int64_t block_size : {2, 7, 32, 120}) {
      const Output blocks = run_by(block_size);
      test::expect_close(blocks.out, one_by_one.out, limit);
      test::expect_close(blocks.log_sum_exp, one_by_one.log_sum_exp, limit);
    }
  }
}

// What one row holds is what comes out, exactly but for the division.
TEST(Attend, OneRowIsItsValue) {
  const Shape shape{4, 2, 64, KvType::kF32};
  const Cache cache(shape, 10, 13);
  for (const int64_t n_tokens : {1, 5}) {
    const Queries queries(shape, 10 - n_tokens, n_tokens, 14);
    const Output output =
        run(queries.block(), cache.view(), {{{10 - n_tokens, 10}, {{}, {2, 3}, {}}}});
    for (int64_t i = 0; i < n_tokens * 4 * 64; ++i) {
      const int64_t kv_head = i / 64 % 4 / 2;
      const auto value = static_cast<float>(
          ref::cached(cache.view(), cache.view().values, kv_head, 2, i % 64));
      EXPECT_NEAR(output.out[static_cast<size_t>(i)], value, FLT_EPSILON * std::abs(value));
    }
  }
}

TEST(Attend, LargeScores) {
  for (const KvType type : {KvType::kF32, KvType::kBf16}) {
    for (const int64_t n_tokens : {1, 40}) {
      const Shape shape{4, 2, 64, type};
      const Cache cache(shape, 300, 15, 1e3f);
      expect_reference(cache, Queries(shape, 300 - n_tokens, n_tokens, 16),
                       dense(300 - n_tokens, n_tokens));
    }
  }
}

// All scores are far below zero, as far as 1e4, and equal: the maximum must be theirs.
TEST(Attend, EqualScoresGiveTheMean) {
  const Shape shape{2, 2, 16, KvType::kF32};
  for (const float score : {0.0f, 1e4f, -1e4f}) {
    for (const int64_t n_tokens : {1, 9}) {
      Cache cache(shape, 133, 17);
      Queries queries(shape, 133 - n_tokens, n_tokens, 18);
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
  const Shape shape{4, 2, 32, KvType::kF32};
  for (const KvType type : {KvType::kF32, KvType::kBf16}) {
    for (const char what : {'q', 'k', 'v', 'i'}) {
      SCOPED_TRACE(what);
      Shape typed = shape;
      typed.type = type;
      for (const int64_t n_tokens : {1, 40}) {
        const int64_t first = 150 - n_tokens;
        const int64_t at = n_tokens == 1 ? 70 : 130;  // the row; seen by KV head 1's queries
        Cache cache(typed, 150, 19);
        Queries queries(typed, first, n_tokens, 20);
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
                                         : sees && i % 32 == 7;
          EXPECT_EQ(!std::isfinite(output.out[static_cast<size_t>(i)]), hit)
              << "token " << token << " head " << head << " element " << i % 32;
        }
      }
    }
  }
}

// Rows that no query may read hold NaN, and so does the rest of the cache.
TEST(Attend, UnlistedRowsAreNotRead) {
  const Shape shape{4, 2, 64, KvType::kF32};
  Cache cache(shape, 200, 21);
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
    const Queries queries(shape, 175 - n_tokens, n_tokens, 22);
    const Output output = run(queries.block(), cache.view(), {{{175 - n_tokens, 175}, rows}});
    for (const float value : output.out) EXPECT_TRUE(std::isfinite(value));
  }
}

TEST(Attend, LogSumExpIsOptional) {
  const Shape shape;
  const Cache cache(shape, 60, 23);
  for (const int64_t n_tokens : {1, 30}) {
    const Queries queries(shape, 60 - n_tokens, n_tokens, 24);
    const Output both = run(queries.block(), cache.view(), dense(60 - n_tokens, n_tokens));
    AttentionBlock block = queries.block();
    std::vector<float> out(both.out.size());
    block.out = out.data();
    attend(block, cache.view(), dense(60 - n_tokens, n_tokens));
    EXPECT_EQ(out, both.out);
  }
}

TEST(Attend, RefusesWhatItCannotDo) {
  const Shape shape;
  const Cache cache(shape, 100, 25);
  const Queries queries(shape, 80, 10, 26);
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
  expect_refused(block, cache.view(), {{{80, 90}, {{0, 101}}}}, "100 rows");
  expect_refused(block, cache.view(), {{{80, 90}, {{10, 30}, {20, 90}}}}, "begin at 30");
  expect_refused(block, cache.view(), {{{80, 90}, {{-3, 30}}}}, "begin at 0");
  expect_refused(block, cache.view(), {{{80, 90}, {{}, {}}}}, "no rows");
  expect_refused(block, cache.view(), {{{80, 90}, {{81, 90}}}}, "no rows");
  expect_refused(block, cache.view(), {{{80, 85}, {{0, 85}}}}, "spans end at 85");
  expect_refused(block, cache.view(), {{{80, 91}, {{0, 91}}}}, "end by 90");
  expect_refused(block, cache.view(), {{{80, 84}, {{0, 84}}}, {{85, 90}, {{0, 90}}}}, "begin at 84");
}

// Masses and what they are computed from.
struct MassCase {
  MassCase(const Shape& shape, std::vector<int64_t> positions_, int64_t n_rows, uint64_t seed)
      : cache(shape, n_rows, seed), positions(std::move(positions_)) {
    Rng rng(seed + 1);
    const auto n = static_cast<int64_t>(positions.size());
    for (int64_t i = 0; i < n * shape.n_heads * shape.head_dim; ++i) {
      q.push_back(static_cast<float>(rng.normal()));
    }
    log_sum_exp.resize(static_cast<size_t>(n * shape.n_heads));
    std::vector<float> out(q.size());
    for (int64_t i = 0; i < n; ++i) {
      AttentionBlock block;
      block.q_stride = shape.n_heads * shape.head_dim;
      block.q = q.data() + i * block.q_stride;
      block.first_position = positions[static_cast<size_t>(i)];
      block.n_tokens = 1;
      block.n_heads = shape.n_heads;
      block.scale = 0.2f;
      block.out = out.data();
      block.log_sum_exp = log_sum_exp.data() + i * shape.n_heads;
      attend(block, cache.view(), dense(block.first_position, 1));
    }
    query.q = q.data();
    query.log_sum_exp = log_sum_exp.data();
    query.positions = positions;
    query.n_heads = shape.n_heads;
    query.scale = 0.2f;
  }

  std::vector<float> run(const std::vector<Range>& chunks) const {
    test::GuardedArray mass(static_cast<int64_t>(positions.size() * chunks.size()));
    chunk_attention_mass(query, cache.view(), chunks, mass.data());
    EXPECT_TRUE(mass.guards_intact());
    return mass.values();
  }

  Cache cache;
  std::vector<int64_t> positions;
  std::vector<float> q;
  std::vector<float> log_sum_exp;
  ChunkMassQuery query;
};

std::vector<Range> random_chunks(Rng& rng, int64_t begin, int64_t end, int64_t largest) {
  std::vector<Range> chunks;
  while (begin < end) {
    const int64_t next = std::min(end, begin + 1 + rng.below(largest));
    chunks.push_back({begin, next});
    begin = next;
  }
  return chunks;
}

TEST(ChunkAttentionMass, EqualsReference) {
  Rng rng(30);
  for (const Shape& shape : all_shapes()) {
    SCOPED_TRACE(describe(shape));
    std::vector<int64_t> positions;
    for (int64_t p = rng.below(20); p < 300; p += 1 + rng.below(12)) positions.push_back(p);
    const MassCase masses(shape, positions, 300, rng.next());
    std::vector<Range> chunks = random_chunks(rng, 4, 300, 90);
    chunks.erase(chunks.begin() + static_cast<std::ptrdiff_t>(chunks.size() / 2));
    chunks.insert(chunks.begin() + 1, Range{});
    test::expect_close(masses.run(chunks),
                       ref::chunk_attention_mass(masses.query, masses.cache.view(), chunks), 1e-5);
  }
}

TEST(ChunkAttentionMass, OfAllChunksSumsToOne) {
  Rng rng(31);
  for (const int n_threads : {1, 4}) {
    const Threads threads(n_threads);
    const MassCase masses({4, 2, 64, KvType::kBf16}, {0, 5, 63, 64, 1000, 5998, 5999}, 6000, 32);
    const std::vector<Range> chunks = random_chunks(rng, 0, 6000, 48);
    const std::vector<float> mass = masses.run(chunks);
    for (size_t i = 0; i < masses.positions.size(); ++i) {
      double sum = 0;
      for (size_t j = 0; j < chunks.size(); ++j) {
        const float m = mass[i * chunks.size() + j];
        EXPECT_GE(m, 0.0f);
        if (chunks[j].begin > masses.positions[i]) {
          EXPECT_EQ(m, 0.0f);
        }
        sum += m;
      }
      EXPECT_NEAR(sum, 1.0, 1e-5);
    }
  }
}

// A block of neighbours gives each query what it gets alone.
TEST(ChunkAttentionMass, DoesNotDependOnOtherQueries) {
  Rng rng(33);
  std::vector<int64_t> positions(200);
  std::iota(positions.begin(), positions.end(), 700);
  MassCase masses({4, 2, 32, KvType::kF32}, positions, 900, 34);
  const std::vector<Range> chunks = random_chunks(rng, 0, 900, 30);
  const std::vector<float> together = masses.run(chunks);
  for (const size_t i : {0u, 99u, 199u}) {
    ChunkMassQuery alone = masses.query;
    alone.positions = std::span<const int64_t>(positions).subspan(i, 1);
    alone.q += i * 4 * 32;
    alone.log_sum_exp += i * 4;
    std::vector<float> mass(chunks.size());
    chunk_attention_mass(alone, masses.cache.view(), chunks, mass.data());
    const std::vector<float> same(together.begin() + static_cast<std::ptrdiff_t>(i * chunks.size()),
                                  together.begin() +
                                      static_cast<std::ptrdiff_t>((i + 1) * chunks.size()));
    test::expect_close(mass, same, 4 * FLT_EPSILON);
  }
}

TEST(ChunkAttentionMass, NanArrives) {
  MassCase masses({4, 2, 32, KvType::kF32}, {50, 80}, 100, 35);
  masses.cache.set_key(1, 60, 3, kNan);
  const std::vector<float> mass = masses.run({{0, 30}, {55, 65}, {70, 75}});
  for (const size_t i : {0u, 1u, 2u, 3u, 5u}) EXPECT_TRUE(std::isfinite(mass[i]));
  EXPECT_TRUE(std::isnan(mass[4]));
}

TEST(ChunkAttentionMass, RefusesWhatItCannotDo) {
  MassCase masses({4, 2, 32, KvType::kF32}, {50, 80}, 100, 36);
  std::vector<float> mass(4);
  const std::vector<Range> beyond{{0, 101}};
  const std::vector<Range> crossing{{0, 30}, {20, 40}};
  EXPECT_THROW(chunk_attention_mass(masses.query, masses.cache.view(), beyond, mass.data()), Error);
  EXPECT_THROW(chunk_attention_mass(masses.query, masses.cache.view(), crossing, mass.data()), Error);
  const std::vector<int64_t> descending{80, 50};
  masses.query.positions = descending;
  const std::vector<Range> chunks{{0, 30}};
  EXPECT_THROW(chunk_attention_mass(masses.query, masses.cache.view(), chunks, mass.data()), Error);
}

}  // namespace
}  // namespace chunkllm

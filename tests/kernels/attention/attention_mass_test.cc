#include <gtest/gtest.h>

#include <cfloat>
#include <cmath>
#include <limits>
#include <numeric>
#include <span>
#include <vector>

#include "base/error.h"
#include "base/random.h"
#include "kernels/attention/attention.h"
#include "kernels/attention/attention_cases.h"
#include "kernels/attention/ref.h"
#include "kernels/compare.h"

namespace chunkllm {
namespace {

using test::all_shapes;
using test::AttentionShape;
using test::dense;
using test::describe;
using test::RandomCache;
using test::Threads;

// Masses and what they are computed from.
struct MassCase {
  MassCase(const AttentionShape& shape, std::vector<int64_t> positions_, int64_t n_rows,
           uint64_t seed)
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

  RandomCache cache;
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
  for (const AttentionShape& shape : all_shapes()) {
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
    const std::vector<float> same(
        together.begin() + static_cast<std::ptrdiff_t>(i * chunks.size()),
        together.begin() + static_cast<std::ptrdiff_t>((i + 1) * chunks.size()));
    test::expect_close(mass, same, 4 * FLT_EPSILON);
  }
}

TEST(ChunkAttentionMass, NanArrives) {
  MassCase masses({4, 2, 32, KvType::kF32}, {50, 80}, 100, 35);
  masses.cache.set_key(1, 60, 3, std::numeric_limits<float>::quiet_NaN());
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
  EXPECT_THROW(chunk_attention_mass(masses.query, masses.cache.view(), crossing, mass.data()),
               Error);
  const std::vector<int64_t> descending{80, 50};
  masses.query.positions = descending;
  const std::vector<Range> chunks{{0, 30}};
  EXPECT_THROW(chunk_attention_mass(masses.query, masses.cache.view(), chunks, mass.data()), Error);
}

}  // namespace
}  // namespace chunkllm

// Attention over dense blocks, over chunk-like spans and of one token: GFLOP/s counted as
// 4 * head_dim operations for each (query, head, row), and "share" of the product
// peak of the level in use, measured at the begin with as many threads; GB/s of cached rows read
// for one token. Checks results first. CHUNKLLM_ISA and --benchmark_filter choose what is run.
#include <benchmark/benchmark.h>
#include <fmt/core.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <new>
#include <utility>
#include <vector>

#include "base/random.h"
#include "base/threads.h"
#include "kernels/attention/attention.h"
#include "kernels/attention/kv_rows.h"
#include "kernels/attention/ref.h"
#include "kernels/machine/isa.h"
#include "kernels/machine/peaks.h"

namespace chunkllm {
namespace {

struct Shape {
  int64_t n_heads;
  int64_t n_kv_heads;
  int64_t head_dim;
};

constexpr Shape kSmall{4, 2, 64};     // a model of some millions of parameters
constexpr Shape kQwen{14, 2, 64};     // Qwen2.5 0.5B
constexpr Shape kQwen15{12, 2, 128};  // Qwen2.5 1.5B
constexpr Shape kLlama{32, 8, 64};    // Llama 3.2 1B
constexpr Shape kWide{32, 8, 128};    // Llama 3.1 8B

// Aligned as the pages of a KV cache are.
template <typename T>
struct PageAllocator {
  using value_type = T;
  static constexpr std::align_val_t kPage{4096};
  T* allocate(size_t n) { return static_cast<T*>(::operator new(n * sizeof(T), kPage)); }
  void deallocate(T* p, size_t) { ::operator delete(p, kPage); }
  friend bool operator==(const PageAllocator&, const PageAllocator&) { return true; }
};
using Bytes = std::vector<std::byte, PageAllocator<std::byte>>;

// A cache of random rows and queries for its end.
struct Layer {
  Layer(const Shape& shape_, KvType type, int64_t n_rows, int64_t n_tokens_)
      : shape(shape_), n_tokens(n_tokens_) {
    Rng rng(1);
    std::vector<float> row(static_cast<size_t>(shape.head_dim));
    const int64_t row_bytes = kv_row_bytes(type, shape.head_dim);
    for (Bytes* rows : {&keys, &values}) {
      rows->resize(static_cast<size_t>(shape.n_kv_heads * n_rows * row_bytes));
      for (int64_t r = 0; r < shape.n_kv_heads * n_rows; ++r) {
        for (float& x : row) x = static_cast<float>(rng.uniform() * 2 - 1);
        round_kv_rows(type, row.data(), shape.head_dim, 1, shape.head_dim,
                      rows->data() + r * row_bytes);
      }
    }
    const auto n_q = static_cast<size_t>(n_tokens * shape.n_heads * shape.head_dim);
    for (size_t i = 0; i < n_q; ++i) q.push_back(static_cast<float>(rng.normal()));
    out.resize(n_q);
    log_sum_exp.resize(static_cast<size_t>(n_tokens * shape.n_heads));
    kv = {keys.data(), values.data(), type, shape.n_kv_heads, n_rows, shape.head_dim};
    block.q = q.data();
    block.q_stride = shape.n_heads * shape.head_dim;
    block.first_position = n_rows - n_tokens;
    block.n_tokens = n_tokens;
    block.n_heads = shape.n_heads;
    block.scale = 0.125f;
    block.out = out.data();
    block.log_sum_exp = log_sum_exp.data();
  }

  Shape shape;
  int64_t n_tokens;
  Bytes keys;
  Bytes values;
  std::vector<float> q;
  std::vector<float> out;
  std::vector<float> log_sum_exp;
  KvLayerView kv;
  AttentionBlock block;
};

std::vector<AttentionSpan> dense_span(const AttentionBlock& block) {
  const int64_t end = block.first_position + block.n_tokens;
  return {{{block.first_position, end}, {{0, end}}}};
}

// Spans of some 24 queries, each over `n_ranges` ranges of some `n_rows` rows together, the last of
// them ending with the span's own tokens.
std::vector<AttentionSpan> chunk_spans(const AttentionBlock& block, int64_t n_ranges,
                                       int64_t n_rows) {
  Rng rng(2);
  std::vector<AttentionSpan> spans;
  const int64_t end = block.first_position + block.n_tokens;
  for (int64_t begin = block.first_position; begin < end; begin += 24) {
    AttentionSpan span{{begin, std::min(begin + 24, end)}, {}};
    const int64_t local = begin - 64;
    const int64_t stride = local / n_ranges;
    const int64_t size = n_rows / n_ranges;
    for (int64_t i = 0; i < n_ranges; ++i) {
      const int64_t row = i * stride + rng.below(stride - size);
      append_merged(span.rows, {row, row + size});
    }
    append_merged(span.rows, {local, span.queries.end});
    spans.push_back(span);
  }
  return spans;
}

// Rows that each query sees, summed.
int64_t count_pairs(const std::vector<AttentionSpan>& spans) {
  int64_t n_pairs = 0;
  for (const AttentionSpan& span : spans) {
    for (int64_t t = span.queries.begin; t < span.queries.end; ++t) {
      n_pairs += count_below(span.rows, t + 1);
    }
  }
  return n_pairs;
}

// Values are below 1: with bf16 rows, queries and weights may be rounded to bf16 too.
void check(const Layer& layer, const std::vector<AttentionSpan>& spans) {
  const double tolerance = layer.kv.type == KvType::kF32 ? 1e-5 : 4e-3;
  attend(layer.block, layer.kv, spans);
  const ref::AttentionResult expected = ref::attend(layer.block, layer.kv, spans);
  for (size_t i = 0; i < layer.out.size(); ++i) {
    if (!(std::abs(layer.out[i] - expected.out[i]) < tolerance)) {
      fmt::print(stderr, "error: output {} is {}, expected {}\n", i, layer.out[i], expected.out[i]);
      std::exit(1);
    }
  }
}

void check_all() {
  for (const KvType type : {KvType::kF32, KvType::kBf16, KvType::kF16, KvType::kQ8_0}) {
    const Layer blocks(kSmall, type, 700, 50);
    check(blocks, dense_span(blocks.block));
    check(blocks, chunk_spans(blocks.block, 8, 192));
    const Layer one(kSmall, type, 3000, 1);
    check(one, dense_span(one.block));
  }
}

// Operations a second that the level in use can do for rows of this type.
double peak(KvType type, int n_threads) {
  static std::map<std::pair<ProductType, int>, double> peaks;
  const bool f32 = type == KvType::kF32 || !bf16_products_available();
  const ProductType products = f32 ? ProductType::kF32 : ProductType::kBf16;
  const auto [found, is_new] = peaks.try_emplace({products, n_threads});
  if (is_new) found->second = product_peak(products, n_threads);
  return found->second;
}

void report(benchmark::State& state, const Layer& layer, const std::vector<AttentionSpan>& spans) {
  const int64_t pairs = count_pairs(spans) * layer.shape.n_heads;
  const double operations = static_cast<double>(4 * pairs * layer.shape.head_dim);
  state.counters["share"] = benchmark::Counter(operations / peak(layer.kv.type, current_threads()),
                                               benchmark::Counter::kIsIterationInvariantRate);
  state.counters["GFLOP/s"] =
      benchmark::Counter(static_cast<double>(4 * pairs * layer.shape.head_dim) * 1e-9,
                         benchmark::Counter::kIsIterationInvariantRate);
}

void run_spans(benchmark::State& state, const Layer& layer, const std::vector<AttentionSpan>& spans,
               int n_threads) {
  set_threads(n_threads);
  attend(layer.block, layer.kv, spans);
  for (auto _ : state) attend(layer.block, layer.kv, spans);
  report(state, layer, spans);
}

void dense(benchmark::State& state, Shape shape, KvType type) {
  const Layer layer(shape, type, state.range(0) + 512, 512);
  run_spans(state, layer, dense_span(layer.block), static_cast<int>(state.range(1)));
}

void chunks(benchmark::State& state, Shape shape, KvType type) {
  const Layer layer(shape, type, state.range(0) + 480, 480);
  run_spans(state, layer, chunk_spans(layer.block, 80, 1984), static_cast<int>(state.range(1)));
}

void token(benchmark::State& state, Shape shape, KvType type) {
  const Layer layer(shape, type, state.range(0), 1);
  run_spans(state, layer, dense_span(layer.block), static_cast<int>(state.range(1)));
  state.counters["GB/s"] =
      benchmark::Counter(static_cast<double>(layer.keys.size() + layer.values.size()) * 1e-9,
                         benchmark::Counter::kIsIterationInvariantRate);
}

// One token over `n_rows` rows chosen from a long cache.
void token_chunks(benchmark::State& state, Shape shape, KvType type) {
  const Layer layer(shape, type, 32768, 1);
  const auto spans = chunk_spans(layer.block, 80, state.range(0) - 64);
  run_spans(state, layer, spans, static_cast<int>(state.range(1)));
}

void mass(benchmark::State& state, Shape shape, KvType type) {
  const int64_t n_queries = state.range(1);
  const Layer layer(shape, type, state.range(0), n_queries);
  set_threads(static_cast<int>(state.range(2)));
  const auto spans = dense_span(layer.block);
  attend(layer.block, layer.kv, spans);
  std::vector<Range> ranges;
  for (int64_t row = 0; row < state.range(0); row += 24) {
    ranges.push_back({row, std::min(row + 24, state.range(0))});
  }
  std::vector<int64_t> positions;
  for (int64_t i = 0; i < n_queries; ++i) positions.push_back(layer.block.first_position + i);
  ChunkMassQuery query;
  query.q = layer.q.data();
  query.log_sum_exp = layer.log_sum_exp.data();
  query.positions = positions;
  query.n_heads = shape.n_heads;
  query.scale = layer.block.scale;
  std::vector<float> masses(positions.size() * ranges.size());
  chunk_attention_mass(query, layer.kv, ranges, masses.data());
  for (auto _ : state) chunk_attention_mass(query, layer.kv, ranges, masses.data());
  const int64_t pairs = count_pairs(spans) * shape.n_heads;
  state.counters["GFLOP/s"] =
      benchmark::Counter(static_cast<double>(2 * pairs * shape.head_dim) * 1e-9,
                         benchmark::Counter::kIsIterationInvariantRate);
}

BENCHMARK_CAPTURE(dense, small_f32, kSmall, KvType::kF32)
    ->ArgsProduct({{0, 8192, 32768}, {1, 2}})
    ->ArgNames({"depth", "threads"})
    ->UseRealTime();
BENCHMARK_CAPTURE(dense, small_bf16, kSmall, KvType::kBf16)
    ->ArgsProduct({{0, 8192, 32768}, {1, 2}})
    ->ArgNames({"depth", "threads"})
    ->UseRealTime();
BENCHMARK_CAPTURE(dense, llama_bf16, kLlama, KvType::kBf16)
    ->ArgsProduct({{0, 4096, 16384}, {1, 2}})
    ->ArgNames({"depth", "threads"})
    ->UseRealTime();
BENCHMARK_CAPTURE(dense, wide_bf16, kWide, KvType::kBf16)
    ->ArgsProduct({{4096, 16384}, {1, 2}})
    ->ArgNames({"depth", "threads"})
    ->UseRealTime();
BENCHMARK_CAPTURE(chunks, small_f32, kSmall, KvType::kF32)
    ->ArgsProduct({{32768}, {1, 2}})
    ->ArgNames({"depth", "threads"})
    ->UseRealTime();
BENCHMARK_CAPTURE(chunks, small_bf16, kSmall, KvType::kBf16)
    ->ArgsProduct({{32768}, {1, 2}})
    ->ArgNames({"depth", "threads"})
    ->UseRealTime();
BENCHMARK_CAPTURE(chunks, llama_bf16, kLlama, KvType::kBf16)
    ->ArgsProduct({{32768}, {1, 2}})
    ->ArgNames({"depth", "threads"})
    ->UseRealTime();
BENCHMARK_CAPTURE(chunks, wide_bf16, kWide, KvType::kBf16)
    ->ArgsProduct({{32768}, {1, 2}})
    ->ArgNames({"depth", "threads"})
    ->UseRealTime();
BENCHMARK_CAPTURE(token, small_f32, kSmall, KvType::kF32)
    ->ArgsProduct({{2048, 120000}, {1, 2}})
    ->ArgNames({"rows", "threads"})
    ->UseRealTime();
BENCHMARK_CAPTURE(token, small_bf16, kSmall, KvType::kBf16)
    ->ArgsProduct({{2048, 120000}, {1, 2}})
    ->ArgNames({"rows", "threads"})
    ->UseRealTime();
BENCHMARK_CAPTURE(token, qwen_f32, kQwen, KvType::kF32)
    ->ArgsProduct({{2048, 32768}, {1, 2}})
    ->ArgNames({"rows", "threads"})
    ->UseRealTime();
BENCHMARK_CAPTURE(token, qwen_bf16, kQwen, KvType::kBf16)
    ->ArgsProduct({{2048, 32768}, {1, 2}})
    ->ArgNames({"rows", "threads"})
    ->UseRealTime();
BENCHMARK_CAPTURE(token, qwen15_bf16, kQwen15, KvType::kBf16)
    ->ArgsProduct({{2048, 32768}, {1, 2}})
    ->ArgNames({"rows", "threads"})
    ->UseRealTime();
BENCHMARK_CAPTURE(token, llama_bf16, kLlama, KvType::kBf16)
    ->ArgsProduct({{2048, 120000}, {1, 2}})
    ->ArgNames({"rows", "threads"})
    ->UseRealTime();
BENCHMARK_CAPTURE(token, llama_f16, kLlama, KvType::kF16)
    ->ArgsProduct({{120000}, {1, 2}})
    ->ArgNames({"rows", "threads"})
    ->UseRealTime();
BENCHMARK_CAPTURE(token, llama_q8_0, kLlama, KvType::kQ8_0)
    ->ArgsProduct({{120000}, {1, 2}})
    ->ArgNames({"rows", "threads"})
    ->UseRealTime();
BENCHMARK_CAPTURE(dense, llama_q8_0, kLlama, KvType::kQ8_0)
    ->ArgsProduct({{4096}, {1, 2}})
    ->ArgNames({"depth", "threads"})
    ->UseRealTime();
BENCHMARK_CAPTURE(token_chunks, small_bf16, kSmall, KvType::kBf16)
    ->ArgsProduct({{2048}, {1, 2}})
    ->ArgNames({"rows", "threads"})
    ->UseRealTime();
BENCHMARK_CAPTURE(mass, small_bf16, kSmall, KvType::kBf16)
    ->ArgsProduct({{8192, 120000}, {8, 256}, {1, 2}})
    ->ArgNames({"rows", "queries", "threads"})
    ->UseRealTime();

}  // namespace
}  // namespace chunkllm

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  chunkllm::active_isa();
  chunkllm::check_all();
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}

// Dense products: GFLOP/s of a prefill block, GB/s of packed weights read by a decode step.
#include <benchmark/benchmark.h>

#include <cmath>
#include <vector>

#include "base/random.h"
#include "base/threads.h"
#include "kernels/linear.h"
#include "kernels/ref/linear.h"

namespace chunkllm {
namespace {

std::vector<float> random_values(int64_t n, uint64_t seed) {
  Rng rng(seed);
  std::vector<float> values(static_cast<size_t>(n));
  for (float& value : values) value = static_cast<float>(rng.uniform() - 0.5);
  return values;
}

// Whether the first and last outputs of the first and last row are right.
bool is_right(const std::vector<float>& x, const std::vector<float>& weight,
              const std::vector<float>& y, int64_t n_tokens, int64_t n_in, int64_t n_out,
              ComputeType type) {
  for (const int64_t t : {int64_t{0}, n_tokens - 1}) {
    for (const int64_t o : {int64_t{0}, n_out - 1}) {
      const double expected =
          ref::linear(x.data() + t * n_in, weight.data() + o * n_in, 1, n_in, 1, type)[0];
      const double limit = 1e-5 * std::sqrt(static_cast<double>(n_in));
      if (!(std::abs(y[t * n_out + o] - expected) <= limit)) return false;
    }
  }
  return true;
}

// Arguments: n_out, n_in, n_tokens.
void run_linear(benchmark::State& state, ComputeType type) {
  const int64_t n_out = state.range(0);
  const int64_t n_in = state.range(1);
  const int64_t n_tokens = state.range(2);
  if (type == ComputeType::kBf16 && !bf16_products_available()) {
    state.SkipWithError("no bfloat16 products at this level");
    return;
  }
  const auto weight = random_values(n_out * n_in, 1);
  const auto x = random_values(n_tokens * n_in, 2);
  const MatrixView part{DType::kF32, weight.data(), n_out, n_in};
  const Linear linear(std::span<const MatrixView>(&part, 1), type);
  std::vector<float> y(static_cast<size_t>(n_tokens * n_out));
  linear(x.data(), n_tokens, y.data());
  if (!is_right(x, weight, y, n_tokens, n_in, n_out, type)) {
    state.SkipWithError("wrong result");
    return;
  }
  for (auto _ : state) {
    linear(x.data(), n_tokens, y.data());
    benchmark::DoNotOptimize(y.data());
  }
  const auto rate = benchmark::Counter::kIsIterationInvariantRate;
  state.counters["GFLOP/s"] = {2e-9 * static_cast<double>(n_tokens * n_out * n_in), rate};
  state.counters["GB/s"] = {1e-9 * static_cast<double>(linear.size_bytes()), rate};
}

void shapes(benchmark::internal::Benchmark* bench) {
  bench->ArgNames({"n_out", "n_in", "n_tokens"})->UseRealTime()->Unit(benchmark::kMicrosecond);
  for (const int64_t n_tokens : {1, 512}) {
    for (const auto& [n_out, n_in] : std::vector<std::pair<int64_t, int64_t>>{{512, 256},
                                                                              {1536, 256},
                                                                              {256, 768},
                                                                              {4096, 256},
                                                                              {3072, 2048},
                                                                              {16384, 2048},
                                                                              {2048, 8192}}) {
      bench->Args({n_out, n_in, n_tokens});
    }
  }
}

BENCHMARK_CAPTURE(run_linear, bf16, ComputeType::kBf16)->Apply(shapes);
BENCHMARK_CAPTURE(run_linear, f32, ComputeType::kF32)->Apply(shapes);

// Making a Linear: reading and packing a bfloat16 checkpoint's matrix.
void pack(benchmark::State& state) {
  const std::vector<uint16_t> weight(4096 * 2048, 0x3f80);
  const MatrixView part{DType::kBf16, weight.data(), 4096, 2048};
  const auto type = bf16_products_available() ? ComputeType::kBf16 : ComputeType::kF32;
  const std::vector<float> x(2048, 1.0f);
  std::vector<float> y(4096);
  Linear(std::span<const MatrixView>(&part, 1), type)(x.data(), 1, y.data());
  if (y.front() != 2048.0f || y.back() != 2048.0f) {
    state.SkipWithError("wrong result");
    return;
  }
  for (auto _ : state) {
    const Linear linear(std::span<const MatrixView>(&part, 1), type);
    benchmark::DoNotOptimize(linear.size_bytes());
  }
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(weight.size()) * 2);
}
BENCHMARK(pack)->UseRealTime()->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace chunkllm

int main(int argc, char** argv) {
  chunkllm::set_threads(chunkllm::usable_cores());
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}

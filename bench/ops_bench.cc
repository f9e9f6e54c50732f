// The small operations between the dense products, at one token and at a prefill block of 512.
#include <benchmark/benchmark.h>

#include <cmath>
#include <vector>

#include "base/bf16.h"
#include "base/random.h"
#include "base/threads.h"
#include "kernels/ops/ops.h"
#include "kernels/ops/ref.h"

namespace chunkllm {
namespace {

std::vector<float> random_values(int64_t n, uint64_t seed) {
  Rng rng(seed);
  std::vector<float> values(static_cast<size_t>(n));
  for (float& value : values) value = static_cast<float>(rng.normal());
  return values;
}

// Marks the run as failed unless every element is within 1e-5 of the reference.
bool check(benchmark::State& state, const std::vector<float>& actual,
           const std::vector<double>& expected) {
  for (size_t i = 0; i < expected.size(); ++i) {
    if (!(std::abs(actual[i] - expected[i]) <= 1e-5 * (1 + std::abs(expected[i])))) {
      state.SkipWithError("wrong result");
      return false;
    }
  }
  return true;
}

void set_bytes(benchmark::State& state, int64_t n_bytes) {
  state.SetBytesProcessed(state.iterations() * n_bytes);
}

// Arguments of all: n_tokens, row length.
void run_rms_norm(benchmark::State& state) {
  const int64_t n_tokens = state.range(0);
  const int64_t d_model = state.range(1);
  const auto x = random_values(n_tokens * d_model, 1);
  const auto weight = random_values(d_model, 2);
  std::vector<float> y(x.size());
  rms_norm(x.data(), weight.data(), n_tokens, d_model, 1e-5f, y.data());
  if (!check(state, y, ref::rms_norm(x.data(), weight.data(), n_tokens, d_model, 1e-5f))) return;
  for (auto _ : state) {
    rms_norm(x.data(), weight.data(), n_tokens, d_model, 1e-5f, y.data());
    benchmark::DoNotOptimize(y.data());
  }
  set_bytes(state, 8 * n_tokens * d_model);
}

void run_silu_mul(benchmark::State& state) {
  const int64_t n_tokens = state.range(0);
  const int64_t d_ff = state.range(1);
  const auto x = random_values(2 * n_tokens * d_ff, 3);
  std::vector<float> y(static_cast<size_t>(n_tokens * d_ff));
  silu_mul(x.data(), n_tokens, d_ff, y.data());
  if (!check(state, y, ref::silu_mul(x.data(), n_tokens, d_ff))) return;
  for (auto _ : state) {
    silu_mul(x.data(), n_tokens, d_ff, y.data());
    benchmark::DoNotOptimize(y.data());
  }
  set_bytes(state, 12 * n_tokens * d_ff);
}

void run_rope_rotate(benchmark::State& state) {
  constexpr int64_t kHeadDim = 64;
  const int64_t n_tokens = state.range(0);
  const int64_t row = state.range(1);
  const int64_t n_heads = row / kHeadDim;
  const auto x = random_values(n_tokens * row, 4);
  const std::vector<float> frequencies(kHeadDim / 2, 0.37f);
  std::vector<float> cosines(static_cast<size_t>(n_tokens * kHeadDim / 2));
  std::vector<float> sines = cosines;
  rope_table(0, n_tokens, frequencies.data(), kHeadDim, 1.0f, cosines.data(), sines.data());
  std::vector<float> y = x;
  rope_rotate(y.data(), n_tokens, n_heads, kHeadDim, row, cosines.data(), sines.data());
  if (!check(state, y,
             ref::rope_rotate(x.data(), n_tokens, n_heads, kHeadDim, row, cosines.data(),
                              sines.data()))) {
    return;
  }
  for (auto _ : state) {
    rope_rotate(y.data(), n_tokens, n_heads, kHeadDim, row, cosines.data(), sines.data());
    benchmark::DoNotOptimize(y.data());
  }
  set_bytes(state, 8 * n_tokens * row);
}

void run_rope_table(benchmark::State& state) {
  const int64_t n_tokens = state.range(0);
  const int64_t half = state.range(1) / 2;
  const std::vector<float> frequencies(static_cast<size_t>(half), 0.37f);
  std::vector<float> cosines(static_cast<size_t>(n_tokens * half));
  std::vector<float> sines = cosines;
  rope_table(100000, n_tokens, frequencies.data(), 2 * half, 1.0f, cosines.data(), sines.data());
  const float angle = static_cast<float>(100000 + n_tokens - 1) * 0.37f;
  if (!check(state, {cosines.back(), sines.back()},
             {std::cos(double{angle}), std::sin(double{angle})})) {
    return;
  }
  for (auto _ : state) {
    rope_table(100000, n_tokens, frequencies.data(), 2 * half, 1.0f, cosines.data(), sines.data());
    benchmark::DoNotOptimize(cosines.data());
  }
  set_bytes(state, 8 * n_tokens * half);
}

void run_add_to(benchmark::State& state) {
  const int64_t n = state.range(0) * state.range(1);
  const auto x = random_values(n, 5);
  std::vector<float> y(x.size(), 1.0f);
  add_to(x.data(), n, y.data());
  std::vector<double> expected(x.begin(), x.end());
  for (double& value : expected) value += 1.0;
  if (!check(state, y, expected)) return;
  for (auto _ : state) {
    add_to(x.data(), n, y.data());
    benchmark::DoNotOptimize(y.data());
  }
  set_bytes(state, 12 * n);
}

void run_round_to_bf16(benchmark::State& state) {
  const int64_t n = state.range(0) * state.range(1);
  const auto x = random_values(n, 6);
  std::vector<uint16_t> y(x.size());
  round_to_bf16(x.data(), n, y.data());
  for (int64_t i = 0; i < n; ++i) {
    if (y[i] != to_bf16(x[i]).bits) {
      state.SkipWithError("wrong result");
      return;
    }
  }
  for (auto _ : state) {
    round_to_bf16(x.data(), n, y.data());
    benchmark::DoNotOptimize(y.data());
  }
  set_bytes(state, 6 * n);
}

void shapes(benchmark::internal::Benchmark* bench) {
  bench->ArgNames({"n_tokens", "row"})->UseRealTime()->Unit(benchmark::kMicrosecond);
  for (const int64_t n_tokens : {1, 512}) {
    for (const int64_t row : {256, 2048}) bench->Args({n_tokens, row});
  }
}

BENCHMARK(run_rms_norm)->Apply(shapes);
BENCHMARK(run_silu_mul)->Apply(shapes);
BENCHMARK(run_rope_rotate)->Apply(shapes);
BENCHMARK(run_rope_table)->Args({1, 64})->Args({512, 64})->UseRealTime();
BENCHMARK(run_add_to)->Apply(shapes);
BENCHMARK(run_round_to_bf16)->Apply(shapes);

}  // namespace
}  // namespace chunkllm

int main(int argc, char** argv) {
  chunkllm::set_threads(chunkllm::usable_cores());
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}

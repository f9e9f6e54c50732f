// Dense products: GFLOP/s of a prefill block, GB/s of packed weights read by a decode step, and
// both as a share of what the machine can do, measured in the same run (kernels/machine/peaks.h):
// column "share", of the product peak for blocks, of the memory bandwidth for a single token.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/half.h"
#include "base/random.h"
#include "base/threads.h"
#include "kernels/linear/linear.h"
#include "kernels/linear/quant_cases.h"
#include "kernels/linear/ref.h"
#include "kernels/machine/peaks.h"

namespace chunkllm {
namespace {

std::vector<float> random_values(int64_t n, uint64_t seed) {
  Rng rng(seed);
  std::vector<float> values(static_cast<size_t>(n));
  for (float& value : values) value = static_cast<float>(rng.uniform() - 0.5);
  return values;
}

// A matrix of random content, its scales small powers of two.
std::vector<std::byte> random_matrix(DType dtype, int64_t n_elements) {
  if (dtype == DType::kF32) {
    const auto values = random_values(n_elements, 1);
    const auto bytes = std::as_bytes(std::span(values));
    return {bytes.begin(), bytes.end()};
  }
  std::vector<std::byte> bytes(static_cast<size_t>(dtype_row_bytes(dtype, n_elements)));
  Rng rng(1);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(rng.below(256));
  const uint16_t d = float_to_half(0x1p-9f);
  const auto scale = std::as_bytes(std::span(&d, 1));
  const auto& halves =
      std::ranges::find(test::quant_types(), dtype, &test::QuantType::dtype)->halves;
  for (size_t block = 0; block < bytes.size(); block += dtype_block_bytes(dtype)) {
    for (const int64_t at : halves) std::ranges::copy(scale, bytes.begin() + block + at);
    if (halves.empty()) bytes[block] = std::byte{120};
  }
  return bytes;
}

// Bytes per second and floating-point operations per second of all threads, at the level in use.
double memory_peak() {
  static const double bandwidth = memory_read_bandwidth(current_threads());
  return bandwidth;
}
double flops_peak(Precision precision) {
  const auto measure = [](ProductType type) { return product_peak(type, current_threads()); };
  if (precision.products == ProductType::kBf16) {
    static const double peak = measure(ProductType::kBf16);
    return peak;
  }
  static const double peak = measure(ProductType::kF32);
  return peak;
}

// Whether the first and last outputs of the first and last row are right.
bool is_right(const std::vector<float>& x, const MatrixView& weights, const std::vector<float>& y,
              int64_t n_tokens, Precision precision) {
  const int64_t n_in = weights.n_cols;
  const bool quantized = is_quantized(weights.dtype);
  std::vector<float> row(static_cast<size_t>(n_in));
  for (const int64_t o : {int64_t{0}, weights.n_rows - 1}) {
    const auto* bytes = static_cast<const std::byte*>(weights.data);
    convert_to_float(weights.dtype, bytes + dtype_row_bytes(weights.dtype, o * n_in), n_in,
                     row.data());
    for (const int64_t t : {int64_t{0}, n_tokens - 1}) {
      std::vector<float> input(x.begin() + t * n_in, x.begin() + (t + 1) * n_in);
      const bool int8 =
          quantized && (precision.int8_inputs == Int8Inputs::kAlways ||
                        (precision.int8_inputs == Int8Inputs::kFewTokens && n_tokens == 1));
      if (int8) input = ref::rounded_to_int8(input.data(), n_in);
      const double expected =
          ref::linear(input.data(), row.data(), 1, n_in, 1, int8 ? kF32Precision : precision)[0];
      const double limit = 1e-5 * std::sqrt(static_cast<double>(n_in));
      if (!(std::abs(y[t * weights.n_rows + o] - expected) <= limit)) return false;
    }
  }
  return true;
}

// Arguments: n_out, n_in, n_tokens.
void run_linear(benchmark::State& state, DType dtype, Precision precision) {
  const int64_t n_out = state.range(0);
  const int64_t n_in = state.range(1);
  const int64_t n_tokens = state.range(2);
  if (precision.products == ProductType::kBf16 && !bf16_products_available()) {
    state.SkipWithError("no bfloat16 products at this level");
    return;
  }
  const auto weights = random_matrix(dtype, n_out * n_in);
  const auto x = random_values(n_tokens * n_in, 2);
  const MatrixView part{dtype, weights.data(), n_out, n_in};
  const Linear linear(std::span<const MatrixView>(&part, 1), precision);
  std::vector<float> y(static_cast<size_t>(n_tokens * n_out));
  linear(x.data(), n_tokens, y.data());
  if (!is_right(x, part, y, n_tokens, precision)) {
    state.SkipWithError("wrong result");
    return;
  }
  const double peak = n_tokens == 1 ? memory_peak() : flops_peak(precision);
  for (auto _ : state) {
    linear(x.data(), n_tokens, y.data());
    benchmark::DoNotOptimize(y.data());
  }
  const auto rate = benchmark::Counter::kIsIterationInvariantRate;
  const auto flops = 2.0 * static_cast<double>(n_tokens * n_out * n_in);
  const auto bytes = static_cast<double>(linear.size_bytes());
  state.counters["GFLOP/s"] = {1e-9 * flops, rate};
  state.counters["GB/s"] = {1e-9 * bytes, rate};
  state.counters["share"] = {(n_tokens == 1 ? bytes : flops) / peak, rate};
}

constexpr std::pair<int64_t, int64_t> kSmallShapes[] = {
    {512, 256}, {1536, 256}, {256, 768}, {4096, 256}};
constexpr std::pair<int64_t, int64_t> kLargeShapes[] = {{3072, 2048}, {16384, 2048}, {2048, 8192}};

void register_rows() {
  const auto add = [](DType dtype, Precision precision, const std::string& name, bool small) {
    auto* bench = benchmark::RegisterBenchmark(
        name.c_str(), [=](benchmark::State& state) { run_linear(state, dtype, precision); });
    bench->ArgNames({"n_out", "n_in", "n_tokens"})->UseRealTime()->Unit(benchmark::kMicrosecond);
    for (const int64_t n_tokens : {1, 512}) {
      for (const auto& [n_out, n_in] : kSmallShapes) {
        if (small) bench->Args({n_out, n_in, n_tokens});
      }
      for (const auto& [n_out, n_in] : kLargeShapes) bench->Args({n_out, n_in, n_tokens});
    }
  };
  add(DType::kF32, kBf16Precision, "bf16", true);
  add(DType::kF32, kF32Precision, "f32", true);
  const auto fast = bf16_products_available() ? kBf16Precision : kInt8Precision;
  for (const auto& [dtype, halves] : test::quant_types()) {
    add(dtype, fast, std::string(dtype_name(dtype)), false);
  }
  add(DType::kQ4_0, kF32Precision, "Q4_0 in float32", false);
}

// Making a Linear: reading and packing a checkpoint's matrix.
void run_pack(benchmark::State& state, DType dtype) {
  constexpr int64_t kOut = 4096;
  constexpr int64_t kIn = 2048;
  const auto weights = random_matrix(dtype, kOut * kIn);
  const MatrixView part{dtype, weights.data(), kOut, kIn};
  const auto precision = bf16_products_available() ? kBf16Precision : kF32Precision;
  const auto x = random_values(kIn, 3);
  std::vector<float> y(kOut);
  Linear(std::span<const MatrixView>(&part, 1), precision)(x.data(), 1, y.data());
  if (!is_right(x, part, y, 1, precision)) {
    state.SkipWithError("wrong result");
    return;
  }
  for (auto _ : state) {
    const Linear linear(std::span<const MatrixView>(&part, 1), precision);
    benchmark::DoNotOptimize(linear.size_bytes());
  }
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(weights.size()));
}
BENCHMARK_CAPTURE(run_pack, f32, DType::kF32)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(run_pack, q8_0, DType::kQ8_0)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(run_pack, q4_k, DType::kQ4K)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(run_pack, q6_k, DType::kQ6K)->UseRealTime()->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace chunkllm

int main(int argc, char** argv) {
  chunkllm::set_threads(chunkllm::usable_cores());
  chunkllm::register_rows();
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}

#include "kernels/machine/peaks.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>

#include "base/error.h"
#include "base/memory.h"
#include "base/thread_pool.h"
#include "base/timer.h"
#include "kernels/machine/isa.h"
#include "kernels/machine/kernel_set.h"

namespace chunkllm {
namespace {

constexpr double kSeconds = 0.25;

// The most work a second of passes that repeat for kSeconds; work() does `amount` of it.
template <typename Work>
double best_rate(double amount, const Work& work) {
  double best = 0;
  const Timer whole;
  do {
    const Timer pass;
    work();
    best = std::max(best, amount / pass.seconds());
  } while (whole.seconds() < kSeconds);
  return best;
}

// Reads at one word a cache line: the loads' number does not matter, the lines' does.
uint64_t read_lines(const std::byte* data, int64_t n_bytes) {
  constexpr int64_t kLine = 64;
  constexpr int64_t kAhead = 4096;
  uint64_t sums[4] = {};
  for (int64_t at = 0; at < n_bytes; at += 4 * kLine) {
    for (int64_t i = 0; i < 4; ++i) {
      const std::byte* line = data + at + i * kLine;
      __builtin_prefetch(line + kAhead);
      uint64_t word = 0;
      std::memcpy(&word, line, sizeof(word));
      sums[i] += word;
    }
  }
  return sums[0] + sums[1] + sums[2] + sums[3];
}

float portable_rounds(int64_t rounds) {
  std::array<float, 32> sums{};
  float y = 0.25f;
  for (int64_t round = 0; round < rounds; ++round) {
    asm volatile("" : "+x"(y));
    for (float& sum : sums) sum += 0.5f * y;
  }
  float all = 0;
  for (const float sum : sums) all += sum;
  return all;
}

double run_peak(const ProductPeak& peak, int n_threads) {
  std::atomic<float> sum = 0;
  const double flops = peak.flops * static_cast<double>(peak.rounds * n_threads);
  return best_rate(flops, [&] {
    parallel_for(n_threads, 1, [&](int64_t, int64_t, int) { sum += peak.run(peak.rounds); });
  });
}

}  // namespace

double memory_read_bandwidth(int n_threads, int64_t n_bytes_asked) {
  constexpr int64_t kMostBytes = int64_t{256} << 20;
  constexpr int64_t kStep = 256;  // of read_lines()
  const int64_t wanted = std::clamp(n_bytes_asked, kStep * n_threads, kMostBytes);
  const int64_t part = wanted / n_threads / kStep * kStep;
  const ReservedBuffer buffer(part * n_threads, Pages::kLarge);
  std::atomic<uint64_t> sum = 0;
  parallel_for(n_threads, 1, [&](int64_t i, int64_t, int) {
    std::memset(buffer.data() + i * part, static_cast<int>(i), static_cast<size_t>(part));
  });
  const auto n_bytes = static_cast<double>(part * n_threads);
  return best_rate(n_bytes, [&] {
    parallel_for(n_threads, 1, [&](int64_t i, int64_t, int) {
      sum += read_lines(buffer.data() + i * part, part);
    });
  });
}

double product_peak(ProductType type, int n_threads) {
  const KernelSet& kernels = active_kernels();
  const auto table = type == ProductType::kF32 ? kernels.f32_peak : kernels.bf16_peak;
  if (table == nullptr) {
    fail(ErrorCode::kUnsupported, "the peak of {} products cannot be measured: {} has none",
         product_type_name(type), active_isa());
  }
  return run_peak(table(), n_threads);
}

double int8_peak(int n_threads) {
  const KernelSet& kernels = active_kernels();
  return run_peak(kernels.int8_peak != nullptr ? kernels.int8_peak() : kernels.f32_peak(),
                  n_threads);
}

namespace portable {

ProductPeak f32_peak() { return {.run = portable_rounds, .rounds = 300'000, .flops = 32 * 2.0}; }

}  // namespace portable

}  // namespace chunkllm

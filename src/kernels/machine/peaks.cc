#include "kernels/machine/peaks.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>

#include "base/error.h"
#include "base/memory.h"
#include "base/thread_pool.h"
#include "base/timer.h"

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

}  // namespace

double memory_read_bandwidth(int n_threads) {
  constexpr int64_t kBytes = int64_t{256} << 20;
  const ReservedBuffer buffer(kBytes, Pages::kLarge);
  const int64_t part = kBytes / n_threads / 256 * 256;
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

double product_peak(Isa isa, int n_threads) {
  if (isa > active_isa()) {
    fail(ErrorCode::kUnsupported, "the peak of {} cannot be measured: this process uses {}",
         isa_name(isa), isa_name(active_isa()));
  }
  struct Peak {
    int64_t rounds;  // about 2 ms
    double flops;    // of one round
  };
  const auto peak = [isa]() -> Peak {
    switch (isa) {
      case Isa::kAmx:
        return {60'000, 4 * 2.0 * 16 * 16 * 32};
      case Isa::kAvx512Bf16:
        return {200'000, 16 * 2.0 * 32};
      case Isa::kAvx512:
        return {400'000, 16 * 2.0 * 16};
      case Isa::kAvx2:
        return {500'000, 12 * 2.0 * 8};
      case Isa::kScalar:
        break;
    }
    return {300'000, 32 * 2.0};
  }();
  std::atomic<float> sum = 0;
  const double flops = peak.flops * static_cast<double>(peak.rounds * n_threads);
  return best_rate(flops, [&] {
    parallel_for(n_threads, 1, [&](int64_t, int64_t, int) {
      switch (isa) {
        case Isa::kAmx:
          amx::tile_rounds(peak.rounds);
          break;
        case Isa::kAvx512Bf16:
          sum += avx512::bf16_dot_rounds(peak.rounds);
          break;
        case Isa::kAvx512:
          sum += avx512::multiply_add_rounds(peak.rounds);
          break;
        case Isa::kAvx2:
          sum += avx2::multiply_add_rounds(peak.rounds);
          break;
        case Isa::kScalar:
          sum += portable_rounds(peak.rounds);
      }
    });
  });
}

}  // namespace chunkllm

// A small random generator whose sequence is the same on every machine.
#pragma once

#include <cmath>
#include <cstdint>
#include <numbers>
#include <utility>
#include <vector>

namespace chunkllm {

// SplitMix64 (Steele, Lea and Flood, 2014). Not for cryptography.
class Rng {
 public:
  explicit Rng(uint64_t seed = 0) : state_(seed) {}

  uint64_t next() {
    uint64_t z = (state_ += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
  // Uniform in [0, 1), with 53 random bits.
  double uniform() { return static_cast<double>(next() >> 11) * 0x1p-53; }
  // Uniform in [0, n); n must be positive.
  int64_t below(int64_t n) {
    return static_cast<int64_t>((Wide{next()} * static_cast<Wide>(n)) >> 64);
  }
  // Standard normal, by Box and Muller's method.
  double normal() {
    const double radius = std::sqrt(-2.0 * std::log(1.0 - uniform()));
    return radius * std::cos(2.0 * std::numbers::pi * uniform());
  }

 private:
  __extension__ using Wide = unsigned __int128;

  uint64_t state_;
};

// Puts a list into random order (Fisher and Yates).
template <typename T>
void shuffle(Rng& rng, std::vector<T>& list) {
  for (size_t i = list.size(); i > 1; --i) {
    std::swap(list[i - 1], list[static_cast<size_t>(rng.below(static_cast<int64_t>(i)))]);
  }
}

}  // namespace chunkllm

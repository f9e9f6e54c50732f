// The algorithm of quant_dot.h, written once over a small vector type V that each instruction set
// supplies. Included by one file an instruction set, inside its own unnamed namespace.
//
// V has Bytes (16 lanes of four unsigned bytes), Ints and Floats (16 lanes), and
//   load(p), low_nibbles(b), high_nibbles(b)                         Bytes
//   or_bit<kShift>(b, high): b | bit kShift of each byte of `high`, moved to bit 4; or_two_bits the
//     same with two bits, kShift and kShift + 1
//   dot(sum, weights, x): sum + the dot products of each lane's bytes with the four int8 at x;
//     eight_bit_dot: the same where the bytes are q + 128 and may use all bits; it multiplies
//     (q + 128 - kEightBitOffset)
//   broadcast(i), to_float(ints)
//   zero(), broadcast(f), half(p), unsigned_bytes(p), signed_bytes(p) (16 each, as Floats), add,
//   multiply, multiply_add(a, b, c) = a b + c, store(p, f)
//   prefetch(p)

// Far enough ahead of the loads that memory answers in time, across the page ends that stop the
// hardware's own prefetching.
constexpr int64_t kPrefetchBytes = 4096;

// Integers of group kGroup of a block; `low` and `high` are the block's parts of the unit.
template <class V, DType kType, int kGroup>
inline typename V::Bytes integers(const uint8_t* low, const uint8_t* high) {
  using Format = QuantFormat<kType>;
  if constexpr (Format::kBits == 8) {
    return V::load(low + kGroup * kQuantVectorBytes);
  } else {
    const auto both = V::load(low + kGroup % 4 * kQuantVectorBytes);
    const auto nibbles = kGroup < 4 ? V::low_nibbles(both) : V::high_nibbles(both);
    if constexpr (Format::kBits == 5) {
      return V::template or_bit<kGroup>(nibbles, V::load(high));
    } else if constexpr (Format::kBits == 6) {
      return V::template or_two_bits<kGroup % 4 * 2>(
          nibbles, V::load(high + kGroup / 4 * kQuantVectorBytes));
    } else {
      return nibbles;
    }
  }
}

// Adds the products of groups [kGroup, kEnd) to sums[t]; x + t * x_stride is row t of the block.
template <class V, DType kType, int kTokens, int kGroup, int kEnd>
inline void dot_groups(const uint8_t* low, const uint8_t* high, const int8_t* x, int64_t x_stride,
                       typename V::Ints* sums) {
  if constexpr (kGroup < kEnd) {
    const auto weights = integers<V, kType, kGroup>(low, high);
    for (int t = 0; t < kTokens; ++t) {
      const int8_t* four = x + t * x_stride + 4 * kGroup;
      if constexpr (QuantFormat<kType>::kBits == 8) {
        sums[t] = V::eight_bit_dot(sums[t], weights, four);
      } else {
        sums[t] = V::dot(sums[t], weights, four);
      }
    }
    dot_groups<V, kType, kTokens, kGroup + 1, kEnd>(low, high, x, x_stride, sums);
  }
}

template <class V, DType kType, int kTokens>
void dot_rows(const uint8_t* unit, int64_t n_units, const Int8Rows& x, float* y, int64_t y_stride) {
  using Format = QuantFormat<kType>;
  using Floats = typename V::Floats;
  constexpr int kOffset = Format::kBits == 8 ? V::kEightBitOffset : Format::kOffset;
  constexpr int64_t kLowBlock = Format::kLowBytes / Format::kBlocks;
  const int64_t x_stride = x.n_blocks * kQuantBlock;
  Floats totals[kTokens];
  for (int t = 0; t < kTokens; ++t) totals[t] = V::zero();
  for (int64_t u = 0; u < n_units; ++u, unit += Format::kUnitBytes) {
    for (int64_t at = 0; at < Format::kUnitBytes; at += 64) V::prefetch(unit + at + kPrefetchBytes);
    Floats scaled[kTokens];  // kSuper: sums over the unit, still to be multiplied by d
    Floats mins[kTokens];
    for (int t = 0; t < kTokens; ++t) scaled[t] = mins[t] = V::zero();
    for (int64_t b = 0; b < Format::kBlocks; ++b) {
      const int64_t block = u * Format::kBlocks + b;
      const uint8_t* low = unit + b * kLowBlock;
      const uint8_t* high = unit + Format::kHigh + b * Format::kHighBlock;
      const int8_t* values = x.values + block * kQuantBlock;
      const float* x_scale = x.scales + block;
      const int32_t* x_sums = x.sums + 2 * block;
      const auto offset = [&](int t, int half) {
        const int32_t* sums = x_sums + 2 * t * x.n_blocks;
        const int32_t sum = half < 0 ? sums[0] + sums[1] : sums[half];
        return V::broadcast(-kOffset * sum);
      };
      if constexpr (kType == DType::kQ6K) {
        typename V::Ints first[kTokens], second[kTokens];
        for (int t = 0; t < kTokens; ++t) first[t] = offset(t, 0), second[t] = offset(t, 1);
        dot_groups<V, kType, kTokens, 0, 4>(low, high, values, x_stride, first);
        dot_groups<V, kType, kTokens, 4, 8>(low, high, values, x_stride, second);
        const uint8_t* scales = unit + Format::kScales + 32 * b;
        const Floats scale0 = V::signed_bytes(scales);
        const Floats scale1 = V::signed_bytes(scales + 16);
        for (int t = 0; t < kTokens; ++t) {
          const Floats both = V::multiply_add(V::to_float(first[t]), scale0,
                                              V::multiply(V::to_float(second[t]), scale1));
          scaled[t] = V::multiply_add(both, V::broadcast(x_scale[t * x.n_blocks]), scaled[t]);
        }
      } else {
        typename V::Ints sums[kTokens];
        for (int t = 0; t < kTokens; ++t) {
          sums[t] = kOffset == 0 ? V::broadcast(int32_t{0}) : offset(t, -1);
        }
        dot_groups<V, kType, kTokens, 0, 8>(low, high, values, x_stride, sums);
        const Floats scale = Format::kSuper ? V::unsigned_bytes(unit + Format::kScales + 16 * b)
                                            : V::half(unit + Format::kD + 32 * b);
        for (int t = 0; t < kTokens; ++t) {
          const Floats factor = V::multiply(scale, V::broadcast(x_scale[t * x.n_blocks]));
          Floats& target = Format::kSuper ? scaled[t] : totals[t];
          target = V::multiply_add(V::to_float(sums[t]), factor, target);
        }
        if constexpr (Format::kHasMin) {
          const Floats min = V::unsigned_bytes(unit + Format::kMins + 16 * b);
          for (int t = 0; t < kTokens; ++t) {
            const int32_t* row = x_sums + 2 * t * x.n_blocks;
            const float sum = x_scale[t * x.n_blocks] * static_cast<float>(row[0] + row[1]);
            mins[t] = V::multiply_add(min, V::broadcast(sum), mins[t]);
          }
        }
      }
    }
    if constexpr (Format::kSuper) {
      const Floats d = V::half(unit + Format::kD);
      for (int t = 0; t < kTokens; ++t) totals[t] = V::multiply_add(scaled[t], d, totals[t]);
    }
    if constexpr (Format::kHasMin) {
      const Floats minus_dmin = V::multiply(V::half(unit + Format::kDmin), V::broadcast(-1.0f));
      for (int t = 0; t < kTokens; ++t) totals[t] = V::multiply_add(mins[t], minus_dmin, totals[t]);
    }
  }
  for (int t = 0; t < kTokens; ++t) V::store(y + t * y_stride, totals[t]);
}

template <class V, DType kType>
void dot_panel(const uint8_t* panel, int64_t n_units, const Int8Rows& x, int64_t n_tokens, float* y,
               int64_t y_stride) {
  if (n_tokens == 1) return dot_rows<V, kType, 1>(panel, n_units, x, y, y_stride);
  if (n_tokens == 2) return dot_rows<V, kType, 2>(panel, n_units, x, y, y_stride);
  if (n_tokens == 3) return dot_rows<V, kType, 3>(panel, n_units, x, y, y_stride);
  dot_rows<V, kType, 4>(panel, n_units, x, y, y_stride);
}

template <class V>
constexpr QuantDotKernels dot_kernels() {
  return {dot_panel<V, DType::kQ8_0>, dot_panel<V, DType::kQ4_0>, dot_panel<V, DType::kQ4K>,
          dot_panel<V, DType::kQ5K>, dot_panel<V, DType::kQ6K>};
}

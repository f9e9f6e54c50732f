// The algorithm of dot.h, written once over a small vector type V that each instruction set
// supplies. Included by one file an instruction set, inside its own unnamed namespace.
//
// V has Bytes (16 lanes of four unsigned bytes), Ints and Floats (16 lanes), and
//   load(p)                                                          Bytes
//   take<kShift, kMask>(b): bits of each byte, shifted right
//   insert<kFrom, kTo, kMask>(b, high): b | the bits kMask of each byte of `high`, from bit kFrom
//     on, moved to bit kTo
//   look_up(book, codes): the codebook's numbers plus 128
//   dot(sum, weights, x): sum + the dot products of each lane's bytes, at most 63, with the four
//     int8 at x; eight_bit_dot: the same where the bytes are q + 128 and may use all bits; it
//     multiplies q + kEightBitOffset
//   kHasPairs: whether it adds products of pairs in Pairs, 32 lanes of 16 bits, as well, and has
//     pairs(weights, x), add(pairs, pairs), dot(sum, pairs): sum + each lane's two pairs
//   broadcast(i), to_float(ints)
//   zero(), broadcast(f), half(p), bfloat(p), unsigned_bytes(p), signed_bytes(p), low_nibbles(p),
//     high_nibbles(p) (16 each, as Floats), multiply, multiply_add(a, b, c) = a b + c, store(p, f)
//   prefetch(p), store(p, bytes)
//   kUnpacks: whether codes are unpacked once for many rows

// Far enough ahead of the loads that memory answers in time, across the page ends that stop the
// hardware's own prefetching.
constexpr int64_t kPrefetchBytes = 4096;

// The bits of group kGroup in a plane of kBits bits, low in their bytes.
template <class V, int kBits, int kGroup>
inline typename V::Bytes plane_bits(const uint8_t* plane) {
  constexpr int kMask = (1 << kBits) - 1;
  if constexpr (kBits == 8) {
    return V::load(plane + kGroup * kQuantVectorBytes);
  } else if constexpr (kBits == 4) {
    return V::template take<kGroup / 4 * 4, kMask>(V::load(plane + kGroup % 4 * kQuantVectorBytes));
  } else {
    return V::template take<kGroup % 4 * 2, kMask>(V::load(plane + kGroup / 4 * kQuantVectorBytes));
  }
}

// Numbers of group kGroup of a block; `low` and `high` are the block's parts of the unit.
template <class V, int kIndex, int kGroup>
inline typename V::Bytes numbers(const uint8_t* low, const uint8_t* high) {
  using Unit = UnitLayout<kIndex>;
  const auto bits = plane_bits<V, Unit::kLowBits, kGroup>(low);
  if constexpr (Unit::kHighBits == 1) {
    return V::template insert<kGroup, Unit::kLowBits, 1>(bits, V::load(high));
  } else if constexpr (Unit::kHighBits == 2) {
    return V::template insert<kGroup % 4 * 2, Unit::kLowBits, 3>(
        bits, V::load(high + kGroup / 4 * kQuantVectorBytes));
  } else if constexpr (Unit::kCodes.has_codebook) {
    constexpr Codebook kBook = Unit::kCodes.codebook;
    return V::look_up(kBook, bits);
  } else {
    return bits;
  }
}

// The same, or where the codes of a block are unpacked (`low` is where) those.
template <class V, int kIndex, int kGroup, bool kUnpacked>
inline typename V::Bytes codes_of(const uint8_t* low, const uint8_t* high) {
  if constexpr (kUnpacked) {
    return V::load(low + kGroup * kQuantVectorBytes);
  } else {
    return numbers<V, kIndex, kGroup>(low, high);
  }
}

// Whether numbers need all eight bits: they are signed and 128 is added.
template <int kIndex>
constexpr bool kEightBits =
    UnitLayout<kIndex>::kCodes.bits == 8 || UnitLayout<kIndex>::kCodes.has_codebook;

// Groups whose products of pairs 16 bits can add: codes are at most 2^bits - 1, inputs 127.
template <int kIndex>
constexpr int kPairGroups = 32767 / (2 * 127 * ((1 << UnitLayout<kIndex>::kCodes.bits) - 1));

// Adds the products of groups [kGroup, kEnd) to pairs[t], or begins with them.
template <class V, int kIndex, int kTokens, bool kUnpacked, int kGroup, int kEnd,
          bool kFirst = true>
[[gnu::always_inline]] inline void pair_groups(const uint8_t* low, const uint8_t* high,
                                               const int8_t* x, int64_t x_stride,
                                               typename V::Pairs* pairs) {
  if constexpr (kGroup < kEnd) {
    const auto weights = codes_of<V, kIndex, kGroup, kUnpacked>(low, high);
    for (int t = 0; t < kTokens; ++t) {
      const auto products = V::pairs(weights, x + t * x_stride + 4 * kGroup);
      pairs[t] = kFirst ? products : V::add(pairs[t], products);
    }
    pair_groups<V, kIndex, kTokens, kUnpacked, kGroup + 1, kEnd, false>(low, high, x, x_stride,
                                                                        pairs);
  }
}

// Adds the products of groups [kGroup, kEnd) to sums[t]; x + t * x_stride is row t of the block.
template <class V, int kIndex, int kTokens, bool kUnpacked, int kGroup, int kEnd>
[[gnu::always_inline]] inline void dot_groups(const uint8_t* low, const uint8_t* high,
                                              const int8_t* x, int64_t x_stride,
                                              typename V::Ints* sums) {
  if constexpr (kGroup < kEnd && V::kHasPairs && !kEightBits<kIndex>) {
    constexpr int kNext = kEnd - kGroup < kPairGroups<kIndex> ? kEnd : kGroup + kPairGroups<kIndex>;
    typename V::Pairs pairs[kTokens];
    pair_groups<V, kIndex, kTokens, kUnpacked, kGroup, kNext>(low, high, x, x_stride, pairs);
    for (int t = 0; t < kTokens; ++t) sums[t] = V::dot(sums[t], pairs[t]);
    dot_groups<V, kIndex, kTokens, kUnpacked, kNext, kEnd>(low, high, x, x_stride, sums);
  } else if constexpr (kGroup < kEnd) {
    const auto weights = codes_of<V, kIndex, kGroup, kUnpacked>(low, high);
    for (int t = 0; t < kTokens; ++t) {
      const int8_t* four = x + t * x_stride + 4 * kGroup;
      if constexpr (kEightBits<kIndex>) {
        sums[t] = V::eight_bit_dot(sums[t], weights, four);
      } else {
        sums[t] = V::dot(sums[t], weights, four);
      }
    }
    dot_groups<V, kIndex, kTokens, kUnpacked, kGroup + 1, kEnd>(low, high, x, x_stride, sums);
  }
}

// The scale that a block or sub-block has besides the unit's; `at` counts blocks or sub-blocks.
template <class V, int kIndex>
inline typename V::Floats inner_scale(const uint8_t* unit, int64_t at) {
  using Unit = UnitLayout<kIndex>;
  [[maybe_unused]] const uint8_t* bytes = unit + Unit::kScales + 16 * at;
  constexpr ScaleKind kKind = Unit::kCodes.scale;
  if constexpr (kKind == ScaleKind::kHalf) {
    return V::half(unit + Unit::kD + 32 * at);
  } else if constexpr (kKind == ScaleKind::kBf16) {
    return V::bfloat(unit + Unit::kD + 32 * at);
  } else if constexpr (kKind == ScaleKind::kUnsigned) {
    return V::unsigned_bytes(bytes);
  } else if constexpr (kKind == ScaleKind::kNibble) {
    return V::low_nibbles(bytes);
  } else {
    static_assert(kKind == ScaleKind::kSigned);
    return V::signed_bytes(bytes);
  }
}

template <class V, int kIndex>
inline typename V::Floats inner_min(const uint8_t* unit, int64_t at) {
  using Unit = UnitLayout<kIndex>;
  if constexpr (!Unit::kSuper) {
    return V::half(unit + Unit::kDmin + 32 * at);
  } else if constexpr (Unit::kHasMinBytes) {
    return V::unsigned_bytes(unit + Unit::kMins + 16 * at);
  } else {
    return V::high_nibbles(unit + Unit::kScales + 16 * at);
  }
}

// `codes` are looked at with kUnpacked alone.
template <class V, int kIndex, int kTokens, bool kUnpacked = false>
void dot_rows(const uint8_t* unit, int64_t n_units, const Int8Rows& x, float* y, int64_t y_stride,
              [[maybe_unused]] const uint8_t* codes = nullptr) {
  using Unit = UnitLayout<kIndex>;
  using Floats = typename V::Floats;
  constexpr int kOffset = kEightBits<kIndex> ? V::kEightBitOffset : Unit::kCodes.offset;
  constexpr int kSubs = Unit::kSubBlocks;
  const int64_t x_stride = x.n_blocks * kQuantBlock;
  Floats totals[kTokens];
  for (int t = 0; t < kTokens; ++t) totals[t] = V::zero();
  for (int64_t u = 0; u < n_units; ++u, unit += Unit::kUnitBytes) {
    if constexpr (!kUnpacked) {
      for (int64_t at = 0; at < Unit::kUnitBytes; at += 64) V::prefetch(unit + at + kPrefetchBytes);
    }
    Floats scaled[kTokens];  // kSuper: sums over the unit, still to be multiplied by d
    Floats mins[kTokens];
    for (int t = 0; t < kTokens; ++t) scaled[t] = mins[t] = V::zero();
    for (int64_t b = 0; b < Unit::kBlocks; ++b) {
      const int64_t block = u * Unit::kBlocks + b;
      const uint8_t* low =
          kUnpacked ? codes + block * kUnpackedBlockBytes : unit + b * Unit::kLowBlock;
      const uint8_t* high = unit + Unit::kHigh + b * Unit::kHighBlock;
      const int8_t* values = x.values + block * kQuantBlock;
      const float* x_scale = x.scales + block;
      const int32_t* x_sums = x.sums + 2 * block;
      // The sum of a sub-block's inputs.
      const auto input_sum = [&](int t, int sub) {
        const int32_t* sums = x_sums + 2 * t * x.n_blocks;
        return kSubs == 1 ? sums[0] + sums[1] : sums[sub];
      };
      typename V::Ints sums[kSubs][kTokens];
      for (int sub = 0; sub < kSubs; ++sub) {
        for (int t = 0; t < kTokens; ++t) {
          sums[sub][t] = V::broadcast(kOffset == 0 ? 0 : -kOffset * input_sum(t, sub));
        }
      }
      dot_groups<V, kIndex, kTokens, kUnpacked, 0, 8 / kSubs>(low, high, values, x_stride, sums[0]);
      if constexpr (kSubs == 2) {
        dot_groups<V, kIndex, kTokens, kUnpacked, 4, 8>(low, high, values, x_stride, sums[1]);
        const Floats scale0 = inner_scale<V, kIndex>(unit, 2 * b);
        const Floats scale1 = inner_scale<V, kIndex>(unit, 2 * b + 1);
        for (int t = 0; t < kTokens; ++t) {
          const Floats both = V::multiply_add(V::to_float(sums[0][t]), scale0,
                                              V::multiply(V::to_float(sums[1][t]), scale1));
          scaled[t] = V::multiply_add(both, V::broadcast(x_scale[t * x.n_blocks]), scaled[t]);
        }
      } else {
        const Floats scale = inner_scale<V, kIndex>(unit, b);
        for (int t = 0; t < kTokens; ++t) {
          const Floats factor = V::multiply(scale, V::broadcast(x_scale[t * x.n_blocks]));
          Floats& target = Unit::kSuper ? scaled[t] : totals[t];
          target = V::multiply_add(V::to_float(sums[0][t]), factor, target);
        }
      }
      if constexpr (Unit::kHasMin) {
        for (int sub = 0; sub < kSubs; ++sub) {
          const Floats min = inner_min<V, kIndex>(unit, kSubs * b + sub);
          for (int t = 0; t < kTokens; ++t) {
            const float sum = x_scale[t * x.n_blocks] * static_cast<float>(input_sum(t, sub));
            Floats& target = Unit::kSuper ? mins[t] : totals[t];
            target = V::multiply_add(min, V::broadcast(sum), target);
          }
        }
      }
    }
    if constexpr (Unit::kSuper) {
      const Floats d = V::half(unit + Unit::kD);
      for (int t = 0; t < kTokens; ++t) totals[t] = V::multiply_add(scaled[t], d, totals[t]);
      if constexpr (Unit::kHasMin) {
        const Floats minus_dmin = V::multiply(V::half(unit + Unit::kDmin), V::broadcast(-1.0f));
        for (int t = 0; t < kTokens; ++t) {
          totals[t] = V::multiply_add(mins[t], minus_dmin, totals[t]);
        }
      }
    }
  }
  for (int t = 0; t < kTokens; ++t) V::store(y + t * y_stride, totals[t]);
}

template <class V, int kIndex>
void dot_panel(const uint8_t* panel, int64_t n_units, const Int8Rows& x, int64_t n_tokens, float* y,
               int64_t y_stride) {
  if (n_tokens == 1) return dot_rows<V, kIndex, 1>(panel, n_units, x, y, y_stride);
  if (n_tokens == 2) return dot_rows<V, kIndex, 2>(panel, n_units, x, y, y_stride);
  if (n_tokens == 3) return dot_rows<V, kIndex, 3>(panel, n_units, x, y, y_stride);
  dot_rows<V, kIndex, 4>(panel, n_units, x, y, y_stride);
}

template <class V, int kIndex, int kGroup = 0>
[[gnu::always_inline]] inline void unpack_block(const uint8_t* low, const uint8_t* high,
                                                uint8_t* codes) {
  if constexpr (kGroup < kQuantGroups) {
    V::store(codes + kGroup * kQuantVectorBytes, numbers<V, kIndex, kGroup>(low, high));
    unpack_block<V, kIndex, kGroup + 1>(low, high, codes);
  }
}

template <class V, int kIndex>
void unpack_panel(const uint8_t* unit, int64_t n_units, uint8_t* codes) {
  using Unit = UnitLayout<kIndex>;
  for (int64_t u = 0; u < n_units; ++u, unit += Unit::kUnitBytes) {
    for (int64_t b = 0; b < Unit::kBlocks; ++b, codes += kUnpackedBlockBytes) {
      unpack_block<V, kIndex>(unit + b * Unit::kLowBlock, unit + Unit::kHigh + b * Unit::kHighBlock,
                              codes);
    }
  }
}

template <class V, int kIndex>
void dot_unpacked(const uint8_t* panel, const uint8_t* codes, int64_t n_units, const Int8Rows& x,
                  float* y, int64_t y_stride) {
  dot_rows<V, kIndex, kMaxDotTokens, true>(panel, n_units, x, y, y_stride, codes);
}

template <class V, int kIndex>
constexpr QuantDot quant_dot_of() {
  if constexpr (V::kUnpacks && UnitLayout<kIndex>::kCodes.bits < 8) {
    return {dot_panel<V, kIndex>, unpack_panel<V, kIndex>, dot_unpacked<V, kIndex>};
  } else {
    return {dot_panel<V, kIndex>};
  }
}

template <class V, int... kIndex>
const QuantDot* dot_kernels(std::integer_sequence<int, kIndex...> /*rows*/) {
  static constexpr QuantDot kKernels[] = {quant_dot_of<V, layout_index(kIndex)>()...};
  return kKernels;
}

template <class V>
const QuantDot* dot_kernels() {
  return dot_kernels<V>(std::make_integer_sequence<int, kNumQuantFormats>());
}

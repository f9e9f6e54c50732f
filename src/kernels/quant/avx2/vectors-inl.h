// The vector type of dot-inl.h with AVX2: the 16 lanes are two vectors of 8. Included by the files
// of this instruction set and of those that build on it, inside their own unnamed namespaces.

struct Avx2 {
  template <class Vector>
  struct Two {
    Vector lower;  // outputs 0..7
    Vector upper;  // 8..15
  };
  using Bytes = Two<__m256i>;
  using Ints = Two<__m256i>;
  using Pairs = Two<__m256i>;
  using Floats = Two<__m256>;
  static constexpr int kEightBitOffset = 0;
  static constexpr bool kHasPairs = true;
  static constexpr bool kUnpacks = true;

  static Bytes load(const uint8_t* p) {
    const auto* vectors = reinterpret_cast<const __m256i*>(p);
    return {_mm256_loadu_si256(vectors), _mm256_loadu_si256(vectors + 1)};
  }
  template <int kShift, int kMask>
  static Bytes take(Bytes b) {
    return mask(move<kShift, 0>(b), kMask);
  }
  template <int kFrom, int kTo, int kMask>
  static Bytes insert(Bytes b, Bytes high) {
    return either(b, mask(move<kFrom, kTo>(high), kMask << kTo));
  }
  static Bytes look_up(const Codebook& book, Bytes codes) {
    const auto* values = reinterpret_cast<const __m128i*>(book.values);
    const __m256i table = _mm256_xor_si256(_mm256_broadcastsi128_si256(_mm_loadu_si128(values)),
                                           _mm256_set1_epi8(static_cast<char>(0x80)));
    return {_mm256_shuffle_epi8(table, codes.lower), _mm256_shuffle_epi8(table, codes.upper)};
  }

  // No pair of products leaves 16 bits: weights are at most 63, inputs at most 127.
  static Pairs pairs(Bytes weights, const int8_t* x) {
    const __m256i four = broadcast_word(x);
    return {_mm256_maddubs_epi16(weights.lower, four), _mm256_maddubs_epi16(weights.upper, four)};
  }
  static Pairs add(Pairs a, Pairs b) {
    return {add_now(a.lower, b.lower), add_now(a.upper, b.upper)};
  }
  static Ints dot(Ints sum, Pairs pairs) {
    return {add_pairs(sum.lower, pairs.lower), add_pairs(sum.upper, pairs.upper)};
  }
  // |q| times x with the sign of q: at most 128 x 127 twice, which 16 bits hold.
  static Ints eight_bit_dot(Ints sum, Bytes weights, const int8_t* x) {
    const __m256i four = broadcast_word(x);
    const auto products = [four](__m256i biased) {
      const __m256i q = _mm256_xor_si256(biased, _mm256_set1_epi8(static_cast<char>(0x80)));
      return _mm256_maddubs_epi16(_mm256_abs_epi8(q), _mm256_sign_epi8(four, q));
    };
    return {add_pairs(sum.lower, products(weights.lower)),
            add_pairs(sum.upper, products(weights.upper))};
  }

  static Ints broadcast(int32_t value) {
    return {_mm256_set1_epi32(value), _mm256_set1_epi32(value)};
  }
  static Floats broadcast(float value) { return {_mm256_set1_ps(value), _mm256_set1_ps(value)}; }
  static Floats zero() { return broadcast(0.0f); }
  static Floats to_float(Ints ints) {
    return {_mm256_cvtepi32_ps(ints.lower), _mm256_cvtepi32_ps(ints.upper)};
  }
  static Floats half(const uint8_t* p) {
    const auto* eights = reinterpret_cast<const __m128i*>(p);
    return {_mm256_cvtph_ps(_mm_loadu_si128(eights)), _mm256_cvtph_ps(_mm_loadu_si128(eights + 1))};
  }
  static Floats bfloat(const uint8_t* p) {
    const auto widen = [](const uint8_t* eight) {
      const __m128i bits = _mm_loadu_si128(reinterpret_cast<const __m128i*>(eight));
      return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
    };
    return {widen(p), widen(p + 16)};
  }
  static Floats low_nibbles(const uint8_t* p) {
    const __m256i low = _mm256_set1_epi32(15);
    return to_float({_mm256_and_si256(_mm256_cvtepu8_epi32(eight(p)), low),
                     _mm256_and_si256(_mm256_cvtepu8_epi32(eight(p + 8)), low)});
  }
  static Floats high_nibbles(const uint8_t* p) {
    return to_float({_mm256_srli_epi32(_mm256_cvtepu8_epi32(eight(p)), 4),
                     _mm256_srli_epi32(_mm256_cvtepu8_epi32(eight(p + 8)), 4)});
  }
  static Floats unsigned_bytes(const uint8_t* p) {
    return to_float({_mm256_cvtepu8_epi32(eight(p)), _mm256_cvtepu8_epi32(eight(p + 8))});
  }
  static Floats signed_bytes(const uint8_t* p) {
    return to_float({_mm256_cvtepi8_epi32(eight(p)), _mm256_cvtepi8_epi32(eight(p + 8))});
  }
  static Floats multiply(Floats a, Floats b) {
    return {_mm256_mul_ps(a.lower, b.lower), _mm256_mul_ps(a.upper, b.upper)};
  }
  static Floats multiply_add(Floats a, Floats b, Floats c) {
    return {_mm256_fmadd_ps(a.lower, b.lower, c.lower), _mm256_fmadd_ps(a.upper, b.upper, c.upper)};
  }
  static void store(float* p, Floats values) {
    _mm256_storeu_ps(p, values.lower);
    _mm256_storeu_ps(p + 8, values.upper);
  }
  static void store(uint8_t* p, Bytes bytes) {
    auto* vectors = reinterpret_cast<__m256i*>(p);
    _mm256_storeu_si256(vectors, bytes.lower);
    _mm256_storeu_si256(vectors + 1, bytes.upper);
  }
  static void prefetch(const uint8_t* p) {
    _mm_prefetch(reinterpret_cast<const char*>(p), _MM_HINT_T0);
  }
  static __m256i broadcast_word(const int8_t* x) {
    return _mm256_set1_epi32(*reinterpret_cast<const Word*>(x));
  }

 private:
  using Word [[gnu::may_alias, gnu::aligned(1)]] = int32_t;

  static __m128i eight(const uint8_t* p) {
    return _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p));
  }
  // GCC puts off additions to where sums are used, and has no registers for all that waits for
  // them.
  static __m256i add_now(__m256i a, __m256i b) {
    __m256i sum = _mm256_add_epi16(a, b);
    __asm__("" : "+x"(sum));
    return sum;
  }
  static __m256i add_pairs(__m256i sum, __m256i sixteen_bit) {
    sum = _mm256_add_epi32(sum, _mm256_madd_epi16(sixteen_bit, _mm256_set1_epi16(1)));
    __asm__("" : "+x"(sum));
    return sum;
  }
  static Bytes mask(Bytes b, int bits) {
    const __m256i all = _mm256_set1_epi8(static_cast<char>(bits));
    return {_mm256_and_si256(b.lower, all), _mm256_and_si256(b.upper, all)};
  }
  static Bytes either(Bytes a, Bytes b) {
    return {_mm256_or_si256(a.lower, b.lower), _mm256_or_si256(a.upper, b.upper)};
  }
  // Bit kFrom of each byte moved to bit kTo; bits of neighbours come along.
  template <int kFrom, int kTo>
  static Bytes move(Bytes b) {
    if constexpr (kFrom < kTo) {
      return {_mm256_slli_epi16(b.lower, kTo - kFrom), _mm256_slli_epi16(b.upper, kTo - kFrom)};
    } else if constexpr (kFrom > kTo) {
      return {_mm256_srli_epi16(b.lower, kFrom - kTo), _mm256_srli_epi16(b.upper, kFrom - kTo)};
    } else {
      return b;
    }
  }
};

// Attention on AMX tiles. A step of the pipeline weighs the scores of one group of columns on the
// vector units while the tile unit multiplies the scores of the next group and adds the values of
// the one before.
#include "kernels/attention/avx512_bf16/bf16_tile-inl.h"

namespace chunkllm {
namespace {

constexpr int kTileBytes = 64;     // of a row of a tile register
constexpr int kTileElements = 32;  // bf16 numbers of that
constexpr int kParts = 8;          // of the rows: so often tile products stand between vector work
constexpr int kPartRows = kKvTileRows / kParts;

struct AmxScratch {
  GroupStates states;
  PackedTile tiles[2];
  float* scores[2];
  uint32_t* pairs[2];

  static int64_t n_floats(int64_t n_columns, int64_t head_dim) {
    return GroupStates::n_floats(n_columns, head_dim) +
           2 * (PackedTile::n_floats(head_dim) + kScoreFloats + kPairWords);
  }
  AmxScratch(int64_t n_columns, int64_t head_dim, float* from) : states(n_columns, head_dim, from) {
    for (int i = 0; i < 2; ++i) {
      scores[i] = take_floats(from, kScoreFloats);
      pairs[i] = reinterpret_cast<uint32_t*>(take_floats(from, kPairWords));
      tiles[i].take_scratch(head_dim, from);
    }
  }
};

// The eight tile registers of a thread, all 16 rows of 64 bytes. oneDNN configures them its own way
// in between, so an item configures them anew.
class TileRegisters {
 public:
  TileRegisters() {
    struct alignas(64) {
      uint8_t palette = 1;
      uint8_t start_row = 0;
      uint8_t reserved[14] = {};
      uint16_t row_bytes[16] = {kTileBytes, kTileBytes, kTileBytes, kTileBytes,
                                kTileBytes, kTileBytes, kTileBytes, kTileBytes};
      uint8_t n_rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
    } config;
    compiler_barrier();
    _tile_loadconfig(&config);
  }
  ~TileRegisters() { _tile_release(); }
  TileRegisters(const TileRegisters&) = delete;
  TileRegisters& operator=(const TileRegisters&) = delete;

  // GCC's tile loads do not tell that they read memory.
  __attribute__((always_inline)) static void compiler_barrier() { asm volatile("" ::: "memory"); }
};

// The products of a step, cut into pieces of two tile products that vector work can stand between:
// the scores of one unit and, by turns with them, the values of another. Either may have no tile.
// Sums are stored some products after they are complete, for the tile unit to have work meanwhile.
class TileProducts {
 public:
  TileProducts(const GroupStates& states, const Unit& scored, const Unit& weighed)
      : head_dim_(states.head_dim),
        scored_(scored),
        weighed_(weighed),
        q_(states.q + scored.group * kGroup * head_dim_ / 2),
        out_(states.out + weighed.group * kGroup * head_dim_),
        n_pieces_(head_dim_ / 8) {}

  // Does the share of the pieces that part `part` of `n_parts` has.
  CHUNKLLM_ALWAYS_INLINE void run_part(int64_t part, int64_t n_parts) {
    for (const int64_t end = (part + 1) * n_pieces_ / n_parts; next_ < end; ++next_) {
      TileRegisters::compiler_barrier();
      if (next_ % 2 == 0) {
        if (scored_.tile != nullptr) score_piece();
      } else {
        if (weighed_.tile != nullptr) value_piece(next_ / 2);
      }
    }
    if (next_ < n_pieces_) return;
    if (scored_.tile != nullptr) store_scores(1);
    if (weighed_.tile != nullptr) store_values(n_pieces_ / 2 - 1);
  }

 private:
  static constexpr int64_t kWordsATile = kGroup * kGroup;

  // Scores of half of the rows over 32 of head_dim, in the registers 4 and 5.
  CHUNKLLM_ALWAYS_INLINE void score_piece() {
    if (score_at_ == head_dim_) {
      store_scores(0);
      score_at_ = 0;
      score_half_ = 1;
    }
    const int64_t at = score_at_;
    const int64_t half = score_half_;
    const int64_t stride = head_dim_ * 2;
    score_at_ += kTileElements;
    if (at == 0) {
      _tile_zero(4);
      _tile_zero(5);
    }
    _tile_loadd(7, q_ + at / 2 * kGroup, kTileBytes);
    _tile_loadd(6, scored_.tile->keys[2 * half] + at, stride);
    _tile_dpbf16ps(4, 6, 7);
    _tile_loadd(6, scored_.tile->keys[2 * half + 1] + at, stride);
    _tile_dpbf16ps(5, 6, 7);
  }

  CHUNKLLM_ALWAYS_INLINE void store_scores(int64_t half) {
    float* to = scored_.scores + 2 * half * kWordsATile;
    _tile_stored(4, to, kTileBytes);
    _tile_stored(5, to + kWordsATile, kTileBytes);
  }

  // Outputs of 32 of head_dim over half of the rows, in the registers 0 and 1, or 2 and 3. Pieces
  // take turns between the pairs of registers where head_dim has two.
  CHUNKLLM_ALWAYS_INLINE void value_piece(int64_t piece) {
    const Place place = place_of(piece);
    if (piece >= 2 && place_of(piece - 1).half == 1) store_values(piece - 1);
    const uint16_t* values =
        weighed_.tile->transposed_values + (place.half * head_dim_ + place.at) * kTileElements;
    float* out = out_ + place.at * kGroup;
    if (place.odd) {
      if (place.half == 0) {
        _tile_loadd(2, out, kTileBytes);
        _tile_loadd(3, out + kWordsATile, kTileBytes);
      }
      _tile_loadd(7, weighed_.pairs + place.half * kWordsATile, kTileBytes);
      _tile_loadd(6, values, kTileBytes);
      _tile_dpbf16ps(2, 6, 7);
      _tile_loadd(6, values + kGroup * kTileElements, kTileBytes);
      _tile_dpbf16ps(3, 6, 7);
    } else {
      if (place.half == 0) {
        _tile_loadd(0, out, kTileBytes);
        _tile_loadd(1, out + kWordsATile, kTileBytes);
      }
      _tile_loadd(7, weighed_.pairs + place.half * kWordsATile, kTileBytes);
      _tile_loadd(6, values, kTileBytes);
      _tile_dpbf16ps(0, 6, 7);
      _tile_loadd(6, values + kGroup * kTileElements, kTileBytes);
      _tile_dpbf16ps(1, 6, 7);
    }
  }

  CHUNKLLM_ALWAYS_INLINE void store_values(int64_t piece) {
    const Place place = place_of(piece);
    float* out = out_ + place.at * kGroup;
    if (place.odd) {
      _tile_stored(2, out, kTileBytes);
      _tile_stored(3, out + kWordsATile, kTileBytes);
    } else {
      _tile_stored(0, out, kTileBytes);
      _tile_stored(1, out + kWordsATile, kTileBytes);
    }
  }

  // What a piece of the values is about.
  struct Place {
    int64_t at;    // the first of its head_dim
    int64_t half;  // of the rows
    bool odd;      // which pair of registers
  };
  Place place_of(int64_t piece) const {
    const int64_t block = piece / 4 * 64;  // of head_dim: both pairs of registers
    if (block + 64 <= head_dim_) return {block + piece % 2 * 32, piece / 2 % 2, piece % 2 == 1};
    return {block, piece % 2, false};
  }

  int64_t head_dim_;
  Unit scored_;
  Unit weighed_;
  const uint32_t* q_;
  float* out_;
  int64_t n_pieces_;
  int64_t next_ = 0;
  int64_t score_at_ = 0;  // of head_dim
  int64_t score_half_ = 0;
};

// Hands out the units of an item: tile after tile, and of each tile the groups that see any of it.
class Units {
 public:
  Units(AmxScratch& scratch, const KvHeadView& kv, RowCursor rows, int64_t first_position)
      : scratch_(scratch),
        kv_(kv),
        rows_(rows),
        first_position_(first_position),
        prefetcher_(kv, next_tile_, scratch.states.n_groups) {
    next_tile_.fill(rows_);
  }

  bool at_end() const { return group_ >= scratch_.states.n_groups && next_tile_.n_rows == 0; }
  // Whether next() will overwrite the tile before the current one.
  bool crosses() const { return group_ >= scratch_.states.n_groups; }

  Unit next() {
    if (crosses()) {
      tile_ ^= 1;
      pack_tile(next_tile_, kv_, first_position_, scratch_.tiles[tile_]);
      next_tile_.fill(rows_);
      group_ = 0;
      prefetcher_.restart();
      const int32_t first = scratch_.tiles[tile_].rows.positions[0];
      while (scratch_.states.last_position(group_) < first) ++group_;
    }
    prefetcher_.step();
    buffer_ ^= 1;
    return {&scratch_.tiles[tile_], group_++, scratch_.scores[buffer_], scratch_.pairs[buffer_]};
  }

 private:
  AmxScratch& scratch_;
  const KvHeadView& kv_;
  RowCursor rows_;
  int64_t first_position_;
  RowTile next_tile_;
  TilePrefetcher prefetcher_;  // of next_tile_
  int tile_ = 0;
  int buffer_ = 0;
  int64_t group_ = INT64_MAX;
};

// The unit, if its values are still to be added.
Unit values_of(const GroupStates& states, const Unit& unit) {
  return unit.tile == nullptr || needs_care(states, unit) ? Unit{} : unit;
}

// Weighs the scores of `unit` between the tile products.
void weigh_unit(const GroupStates& states, float scale, const Unit& unit, TileProducts& products) {
  Rescaling rescaling;
  prepare_scores(states, scale, unit, rescaling);
  const __m512 scales = _mm512_set1_ps(scale);
  const __m512 references = _mm512_load_ps(states.max + unit.group * kGroup);
  __m512 sums = _mm512_setzero_ps();
#pragma GCC unroll 1
  for (int part = 0; part < kParts; ++part) {
    products.run_part(part, kParts);
    sums = weigh_rows<kPartRows>(unit.scores + part * kPartRows * kGroup, scales, references, sums,
                                 unit.pairs + part * kPartRows / 2 * kGroup);
  }
  finish_weights(states, scale, unit, sums, rescaling);
}

size_t scratch_floats(int64_t n_tokens, int64_t n_heads, int64_t head_dim) {
  return static_cast<size_t>(AmxScratch::n_floats(n_tokens * n_heads, head_dim));
}

void attend(const QueryTile& query, int64_t first_position, const KvHeadView& kv, RowCursor rows,
            const AttentionTarget& target, float* floats) {
  AmxScratch scratch(query.n_tokens * query.n_heads, kv.head_dim, floats);
  const GroupStates& states = scratch.states;
  const float scale = begin_groups(query, first_position, states);
  const TileRegisters registers;
  Units units(scratch, kv, rows, first_position);
  Unit before;
  Unit unit;
  Unit after;
  if (!units.at_end()) {
    after = units.next();
    TileProducts(states, after, {}).run_part(0, 1);
  }
  while (after.tile != nullptr) {
    before = unit;
    unit = after;
    after = {};
    if (!units.at_end()) {
      if (units.crosses() && before.tile != unit.tile) {
        TileProducts(states, {}, values_of(states, before)).run_part(0, 1);
        before = {};
      }
      after = units.next();
    }
    TileProducts products(states, after, values_of(states, before));
    weigh_unit(states, scale, unit, products);
  }
  if (unit.tile != nullptr) TileProducts(states, {}, values_of(states, unit)).run_part(0, 1);
  finish_groups(states, query.n_heads, target);
}

}  // namespace

namespace amx {

AttentionTileKernel attention_tile_kernel() { return {scratch_floats, attend, kTileColumns}; }

}  // namespace amx
}  // namespace chunkllm

// Attention of blocks of queries, or of one, over lists of ranges of cached rows.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "base/enum_names.h"
#include "base/quant/blocks.h"
#include "base/range.h"

namespace chunkllm {

// kF16 is binary16. A row of kQ8_0 is head_dim / 32 blocks of base/quant/blocks.h, so head_dim must
// be a multiple of 32.
enum class KvType { kF32, kBf16, kF16, kQ8_0 };
template <>
inline constexpr auto kEnumNames<KvType> = std::to_array<EnumName<KvType>>({{KvType::kBf16, "bf16"},
                                                                            {KvType::kF16, "f16"},
                                                                            {KvType::kF32, "f32"},
                                                                            {KvType::kQ8_0,
                                                                             "q8_0"}});

// The most elements of a head.
inline constexpr int64_t kMaxHeadDim = 256;

// Whether rows of head_dim elements can be cached as this type.
inline bool kv_type_fits(KvType type, int64_t head_dim) {
  return type != KvType::kQ8_0 || head_dim % kSmallBlock == 0;
}

// Bytes of one cached row of one KV head, keys or values.
int64_t kv_row_bytes(KvType type, int64_t head_dim);

// One layer's cached keys and values; row = position. A view: whoever owns the cache owns the rows.
struct KvLayerView {
  const void* keys = nullptr;    // [n_kv_heads, capacity] rows of head_dim elements
  const void* values = nullptr;  // [n_kv_heads, capacity] rows of head_dim elements
  KvType type = KvType::kF32;
  int64_t n_kv_heads = 0;
  int64_t capacity = 0;
  int64_t head_dim = 0;
  // Rows from one position of a head to its next. Where it is not 1, the rows of all heads lie side
  // by side: keys and values are [capacity, row_step] rows, of which the first n_kv_heads count.
  int64_t row_step = 1;

  // Which row, from `keys` or `values` on, holds a position of a KV head.
  int64_t row_of(int64_t kv_head, int64_t position) const {
    return row_step == 1 ? kv_head * capacity + position : position * row_step + kv_head;
  }
};

// Rows beside the cache's, each of which stands for several: `log_weights[r]` is added to the score
// of row r, so that it counts like e^log_weights[r] rows. As many KV heads of the same size as the
// cache; float32. A view.
struct WeightedRows {
  const float* keys = nullptr;         // [n_kv_heads, n_rows, head_dim]
  const float* values = nullptr;       // [n_kv_heads, n_rows, head_dim]
  const float* log_weights = nullptr;  // [n_rows], natural log
  int64_t n_rows = 0;
};

// Consecutive queries that attend to the same rows. The query at position t attends to the rows r
// <= t of `rows`, of which every query must have at least one, and to all of `weighted`.
struct AttentionSpan {
  Range queries;            // positions
  std::vector<Range> rows;  // positions, ascending and disjoint, not beyond the last query
  Range weighted = {};      // of the weighted rows; none
  // The rows are those of this one query in whatever block it is: the span is not what a block's
  // end left of a longer one.
  bool alone = false;
};

// Queries of a block that are few: unless it is of a text, each gets the same bits as in a block of
// its own.
inline constexpr int64_t kFewQueries = 16;

// The queries of a block and where results go.
struct AttentionBlock {
  const float* q = nullptr;  // [n_tokens, n_heads, head_dim], row t at q + t * q_stride
  int64_t q_stride = 0;      // floats
  int64_t first_position = 0;
  int64_t n_tokens = 0;
  int64_t n_heads = 0;  // a multiple of n_kv_heads; head h reads KV head h / (n_heads / n_kv_heads)
  float scale = 1.0f;   // of the dot products, usually 1 / sqrt(head_dim)
  // Queries of a text that is read: each gets the same bits of `out` however it is cut into blocks,
  // unless rows hold what is not finite.
  bool of_text = false;
  float* out = nullptr;  // [n_tokens, n_heads, head_dim], contiguous
  float* log_sum_exp =
      nullptr;  // [n_tokens, n_heads] or null: natural log of the softmax's denominator
};

// out[t, h] = sum_r softmax_r(scale q[t, h] . k[r]) v[r] over the rows of the span that holds t.
// The spans cover the block's tokens once, in order. Scores, softmax and sums are float32; cached
// rows are widened exactly. On units that multiply bf16 numbers only, and unless rows are float32,
// blocks of a text and of more than kFewQueries round queries, rows and weights to bf16. Running
// softmax over tiles of rows (arXiv 2112.05682, 2205.14135); what one query gets does not depend on
// which other queries share its call: not at all where all calls are of a text, up to rounding on
// units for bf16, or all have kFewQueries or fewer, and else up to rounding. NaN and infinities
// reach the queries that attend to them and no others. Uses all threads; for few queries the rows
// are divided among them. Allocates nothing once warm; the work space belongs to the calling
// thread, and any thread may call. Throws Error (kInvalidArgument) if head_dim is no multiple of 8
// up to 256 or does not fit the rows' type, if the heads cannot share the KV heads, and on spans or
// rows that do not fit.
void attend(const AttentionBlock& block, const KvLayerView& kv,
            std::span<const AttentionSpan> spans, const WeightedRows& weighted = {});

// The attention that chunks receive, never storing a row of n probabilities:
//   mass[i, j] = mean_h sum_{r in chunks[j], r <= positions[i]}
//                       exp(scale q[i, h] . k[r] - log_sum_exp[i, h])
// q [n_queries, n_heads, head_dim] contiguous, log_sum_exp [n_queries, n_heads] as attend() gives
// it for these queries, `positions` ascending [n_queries], `chunks` ascending and disjoint
// [n_chunks], mass [n_queries, n_chunks]. Uses all threads; allocates and throws as attend()
// does.
struct ChunkMassQuery {
  const float* q = nullptr;
  const float* log_sum_exp = nullptr;
  std::span<const int64_t> positions;
  int64_t n_heads = 0;
  float scale = 1.0f;
};
void chunk_attention_mass(const ChunkMassQuery& query, const KvLayerView& kv,
                          std::span<const Range> chunks, float* mass);

}  // namespace chunkllm

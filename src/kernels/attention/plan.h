// How attention is cut into pieces of work for threads. Plans are made anew for each call and can
// be inspected; the memory they take is kept.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/attention/attention.h"
#include "kernels/attention/rows.h"

namespace chunkllm {

// Some consecutive queries of one span, those of their heads that share a KV head, over some rows.
struct AttentionItem {
  int64_t first_token = 0;  // within the block
  int64_t n_tokens = 0;
  int64_t kv_head = 0;
  RowCursor rows;
  bool weighted = false;          // the rows are those beside the cache's
  bool alone = false;             // AttentionSpan::alone
  const Range* beside = nullptr;  // such rows that the queries attend to as well; null in a plan
  int64_t cost = 0;               // in units that only compare
  int64_t group = -1;             // index of the MergeGroup this is a part of; -1: it is the whole
  int64_t first_state = 0;        // of n_tokens * heads-a-KV-head states, if it is a part
};

// Queries whose rows are shared among several items; their states lie one item after the other.
struct MergeGroup {
  int64_t first_token = 0;
  int64_t n_tokens = 0;
  int64_t kv_head = 0;
  int64_t first_state = 0;
  int64_t n_parts = 0;
};

struct AttentionPlan {
  std::vector<AttentionItem> items;  // most costly first
  std::vector<MergeGroup> groups;
  int64_t n_states = 0;         // (token, head) states that await merging
  int64_t max_tile_tokens = 0;  // most tokens of an item
  bool parallel = false;        // whether the work is worth more than one thread
  bool few = false;             // kFewQueries or fewer, and not of a text
};

// Rows of a query in tiles are summed in pieces of so many, one after the other or each on a thread
// of its own: by nothing but their number, so that neither the block nor the threads matter.
inline constexpr int64_t kPieceRows = 4096;

// Plans attend() in items of at most `tile_columns` (token, head) columns, or one token; where
// queries are few, in those that have the same parts of rows as each would alone. Arguments
// are checked already. `spans` must outlive the plan.
void plan_attention(const AttentionBlock& block, const KvLayerView& kv,
                    std::span<const AttentionSpan> spans, int64_t tile_columns, int n_threads,
                    AttentionPlan& plan);

// Some consecutive queries and chunks of chunk_attention_mass(), over all heads.
struct MassItem {
  int64_t first_query = 0;
  int64_t n_queries = 0;
  size_t first_chunk = 0;
  size_t n_chunks = 0;
  int64_t cost = 0;
};

struct MassPlan {
  std::vector<MassItem> items;  // most costly first
  int64_t max_tile_queries = 0;
  bool parallel = false;
};

void plan_chunk_mass(const ChunkMassQuery& query, const KvLayerView& kv,
                     std::span<const Range> chunks, int n_threads, MassPlan& plan);

}  // namespace chunkllm

#include "kernels/attention/plan.h"

#include <algorithm>
#include <limits>

namespace chunkllm {
namespace {

// (token, head) columns of a tile of queries are halved down to these, so that every thread finds
// work.
constexpr int64_t kMinTileColumns = 48;
// Columns of a tile of chunk_attention_mass().
constexpr int64_t kMassColumns = 192;
// Items a thread should find, so that none waits long for the last.
constexpr int64_t kItemsPerThread = 4;
// A part of a list of rows is not worth less than this.
constexpr int64_t kMinPartRows = 256;
// Multiply-adds below which waking other threads takes longer than the work.
constexpr int64_t kSerialCost = 256 * 1024;

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Multiply-adds of a tile, in whole vectors of columns; packing a row costs like some columns more,
// and loading one query's rows like some heads more.
int64_t tile_cost(int64_t n_tokens, int64_t n_heads, int64_t n_rows, int64_t head_dim) {
  const int64_t columns = n_tokens == 1 ? n_heads + 4 : ceil_div(n_tokens * n_heads, 16) * 16 + 8;
  return columns * (n_rows + 16) * head_dim;
}

int64_t tokens_per_tile(int64_t columns, int64_t n_heads) {
  return std::max<int64_t>(1, columns / n_heads);
}

template <typename Item>
void sort_by_cost(std::vector<Item>& items) {
  std::ranges::sort(items, [](const Item& a, const Item& b) { return a.cost > b.cost; });
}

// Cuts the cached rows of `whole` into parts of so many that other threads can take, adds these to
// the plan, and the rows beside the cache's as one more.
void add_parts(const AttentionItem& whole, int64_t part_rows, int64_t n_heads, int64_t head_dim,
               AttentionPlan& plan) {
  MergeGroup group{whole.first_token, whole.n_tokens, whole.kv_head, plan.n_states, 0};
  const auto add = [&](const RowCursor& rows, int64_t cost) -> AttentionItem& {
    AttentionItem& item = plan.items.emplace_back(whole);
    item.rows = rows;
    item.cost = cost;
    item.beside = nullptr;
    item.group = static_cast<int64_t>(plan.groups.size());
    item.first_state = plan.n_states;
    plan.n_states += whole.n_tokens * n_heads;
    ++group.n_parts;
    return item;
  };
  RowCursor rest = whole.rows;
  while (rest.n_rows > 0) {
    RowCursor rows = rest;
    rows.n_rows = std::min(part_rows, rest.n_rows);
    rest.skip(rows.n_rows);
    add(rows, whole.cost / whole.rows.n_rows * rows.n_rows);
  }
  if (whole.beside != nullptr) {
    const int64_t n_rows = whole.beside->size();
    add({whole.beside, whole.beside->begin, n_rows},
        tile_cost(whole.n_tokens, n_heads, n_rows, head_dim))
        .weighted = true;
  }
  plan.groups.push_back(group);
}

// Adds an item of these tokens of a span for each KV head. Returns what they cost.
int64_t add_items(const AttentionBlock& block, const KvLayerView& kv, const AttentionSpan& span,
                  Range queries, AttentionPlan& plan) {
  AttentionItem item;
  item.first_token = queries.begin - block.first_position;
  item.n_tokens = queries.size();
  item.alone = span.alone;
  item.rows = rows_until(span.rows, queries.end - 1);
  item.beside = span.weighted.empty() ? nullptr : &span.weighted;
  item.cost =
      tile_cost(item.n_tokens, block.n_heads / kv.n_kv_heads, item.rows.n_rows, kv.head_dim);
  plan.max_tile_tokens = std::max(plan.max_tile_tokens, item.n_tokens);
  for (item.kv_head = 0; item.kv_head < kv.n_kv_heads; ++item.kv_head) plan.items.push_back(item);
  return item.cost * kv.n_kv_heads;
}

// Cuts items whose part_rows(item) is less than their rows.
template <typename PartRows>
void cut_items(int64_t n_heads, int64_t head_dim, const PartRows& part_rows, AttentionPlan& plan) {
  const size_t n_whole = plan.items.size();
  for (size_t i = 0; i < n_whole; ++i) {
    const AttentionItem item = plan.items[i];
    const int64_t n_rows = std::min(part_rows(item), item.rows.n_rows);
    if (n_rows == item.rows.n_rows && item.beside == nullptr) continue;
    add_parts(item, n_rows, n_heads, head_dim, plan);
    plan.items[i].n_tokens = 0;
  }
  std::erase_if(plan.items, [](const AttentionItem& item) { return item.n_tokens == 0; });
  if (plan.parallel) sort_by_cost(plan.items);
}

// How the rows of one query are cut where queries are few: by nothing but their number, into at
// least as many parts as threads want of it alone.
class FewParts {
 public:
  FewParts(const AttentionBlock& block, const KvLayerView& kv, int n_threads)
      : n_heads_(block.n_heads / kv.n_kv_heads),
        n_kv_heads_(kv.n_kv_heads),
        head_dim_(kv.head_dim),
        wanted_(n_threads > 1 ? ceil_div(kItemsPerThread * n_threads, kv.n_kv_heads) : 1) {}

  // At least n_rows: they stay whole.
  int64_t part_rows(int64_t n_rows) const {
    if (wanted_ == 1 || tile_cost(1, n_heads_, n_rows, head_dim_) * n_kv_heads_ <= kSerialCost) {
      return kAllRows;
    }
    int64_t rows = kMinPartRows;
    while (ceil_div(n_rows, 2 * rows) >= wanted_) rows *= 2;
    return rows < n_rows ? rows : kAllRows;
  }

 private:
  static constexpr int64_t kAllRows = std::numeric_limits<int64_t>::max();
  int64_t n_heads_;
  int64_t n_kv_heads_;
  int64_t head_dim_;
  int64_t wanted_;
};

// Queries that share an item are cut alike; a part of which one sees nothing leaves no trace in its
// sums.
void plan_few(const AttentionBlock& block, const KvLayerView& kv,
              std::span<const AttentionSpan> spans, int n_threads, AttentionPlan& plan) {
  const FewParts parts(block, kv, n_threads);
  int64_t total_cost = 0;
  for (const AttentionSpan& span : spans) {
    Range queries{span.queries.begin, span.queries.begin};
    int64_t part_rows = 0;
    while (queries.end < span.queries.end) {
      const int64_t next = parts.part_rows(rows_until(span.rows, queries.end).n_rows);
      if (!queries.empty() && next != part_rows) {
        total_cost += add_items(block, kv, span, queries, plan);
        queries.begin = queries.end;
      }
      part_rows = next;
      ++queries.end;
    }
    total_cost += add_items(block, kv, span, queries, plan);
  }
  plan.parallel = n_threads > 1 && total_cost > kSerialCost;
  cut_items(
      block.n_heads / kv.n_kv_heads, kv.head_dim,
      [&](const AttentionItem& item) { return parts.part_rows(item.rows.n_rows); }, plan);
}

}  // namespace

void plan_attention(const AttentionBlock& block, const KvLayerView& kv,
                    std::span<const AttentionSpan> spans, int64_t tile_columns, int n_threads,
                    AttentionPlan& plan) {
  plan.items.clear();
  plan.groups.clear();
  plan.n_states = 0;
  plan.max_tile_tokens = 0;
  plan.few = block.n_tokens <= kFewQueries && !block.of_text;
  if (plan.few) return plan_few(block, kv, spans, n_threads, plan);
  const int64_t n_heads = block.n_heads / kv.n_kv_heads;
  const int64_t wanted = n_threads > 1 ? kItemsPerThread * n_threads : 1;

  int64_t tile_tokens = 1;
  for (int64_t columns = tile_columns; columns >= kMinTileColumns; columns /= 2) {
    tile_tokens = tokens_per_tile(columns, n_heads);
    int64_t n_tiles = 0;
    for (const AttentionSpan& span : spans) n_tiles += ceil_div(span.queries.size(), tile_tokens);
    if (n_tiles * kv.n_kv_heads >= wanted) break;
  }

  int64_t total_cost = 0;
  for (const AttentionSpan& span : spans) {
    for (int64_t position = span.queries.begin; position < span.queries.end;
         position += tile_tokens) {
      const Range queries{position, std::min(position + tile_tokens, span.queries.end)};
      total_cost += add_items(block, kv, span, queries, plan);
    }
  }
  plan.parallel = n_threads > 1 && total_cost > kSerialCost;

  const int64_t fair_cost = plan.parallel ? total_cost / wanted : total_cost;
  const auto part_rows = [&](const AttentionItem& item) {
    const bool is_shared = plan.parallel && item.cost >= 2 * fair_cost;
    return is_shared || item.beside != nullptr ? kPieceRows : item.rows.n_rows;
  };
  cut_items(n_heads, kv.head_dim, part_rows, plan);
}

void plan_chunk_mass(const ChunkMassQuery& query, const KvLayerView& kv,
                     std::span<const Range> chunks, int n_threads, MassPlan& plan) {
  plan.items.clear();
  plan.max_tile_queries = 0;
  const int64_t n_heads = query.n_heads / kv.n_kv_heads;
  const int64_t n_queries = static_cast<int64_t>(query.positions.size());
  const int64_t tile_queries = tokens_per_tile(kMassColumns, n_heads);

  int64_t total_cost = 0;
  for (int64_t first = 0; first < n_queries; first += tile_queries) {
    MassItem item;
    item.first_query = first;
    item.n_queries = std::min(tile_queries, n_queries - first);
    item.n_chunks = chunks.size();
    const auto last = static_cast<size_t>(first + item.n_queries - 1);
    const int64_t n_rows = rows_until(chunks, query.positions[last]).n_rows;
    item.cost = tile_cost(item.n_queries, query.n_heads, n_rows, kv.head_dim);
    plan.max_tile_queries = std::max(plan.max_tile_queries, item.n_queries);
    total_cost += item.cost;
    plan.items.push_back(item);
  }
  plan.parallel = n_threads > 1 && total_cost > kSerialCost;
  if (!plan.parallel) return;

  // Columns of chunks are divided: each mass is written by one thread.
  const int64_t fair_cost = total_cost / (kItemsPerThread * n_threads);
  const size_t n_whole = plan.items.size();
  for (size_t i = 0; i < n_whole; ++i) {
    const MassItem whole = plan.items[i];
    const auto last = static_cast<size_t>(whole.first_query + whole.n_queries - 1);
    const int64_t n_rows = rows_until(chunks, query.positions[last]).n_rows;
    const int64_t n_parts = std::min(whole.cost / fair_cost, n_rows / kMinPartRows);
    if (n_parts < 2) continue;
    const int64_t part_rows = ceil_div(n_rows, n_parts);
    size_t begin = 0;
    int64_t part = 0;
    for (size_t chunk = 0; chunk < chunks.size(); ++chunk) {
      part += std::max<int64_t>(0, chunks[chunk].size());
      if (part < part_rows && chunk + 1 < chunks.size()) continue;
      MassItem item = whole;
      item.first_chunk = begin;
      item.n_chunks = chunk + 1 - begin;
      item.cost = whole.cost / n_parts;
      plan.items.push_back(item);
      begin = chunk + 1;
      part = 0;
    }
    plan.items[i].n_queries = 0;
  }
  std::erase_if(plan.items, [](const MassItem& item) { return item.n_queries == 0; });
  sort_by_cost(plan.items);
}

}  // namespace chunkllm

#include "kernels/attention/attention.h"

#include <atomic>
#include <cmath>
#include <limits>
#include <memory>
#include <new>
#include <numbers>

#include "base/error.h"
#include "base/scratch.h"
#include "base/thread_pool.h"
#include "base/threads.h"
#include "kernels/attention/kernels.h"
#include "kernels/attention/plan.h"

namespace chunkllm {
namespace {

// A position that no row is behind.
constexpr int64_t kBehindAllRows = std::numeric_limits<int32_t>::max();

// What a calling thread keeps from one call to the next, for itself and the threads it starts.
struct Workspace {
  AttentionPlan plan;
  MassPlan mass_plan;
  std::vector<int> parts_to_come;  // of each merge group
  std::vector<float> log_weights;  // of weighted rows, in units of log 2
  Scratch<float> kernels;          // a part for each thread
  Scratch<float> states;           // [n_states, head_dim + 2]: outputs, then maxima, then sums
};

Workspace& workspace() {
  static thread_local Workspace workspace;
  return workspace;
}

// Runs make() where memory may be asked for, and names the lack of it.
template <typename Make>
auto with_memory(const Make& make) {
  try {
    return make();
  } catch (const std::bad_alloc&) {
    fail(ErrorCode::kMemory, "no memory for the work space of attention; use fewer threads");
  }
}

// Calls run(index, scratch) for each index below n_items, the next one going to whichever thread is
// free, or all on the calling thread. `scratch` has `scratch_floats` floats for each thread.
template <typename Run>
void share(int64_t n_items, bool parallel, size_t scratch_floats, float* scratch, const Run& run) {
  parallel_for(n_items, parallel ? 1 : n_items, [&](int64_t begin, int64_t end, int thread) {
    float* own = scratch + static_cast<size_t>(thread) * scratch_floats;
    for (int64_t i = begin; i < end; ++i) run(i, own);
  });
}

// Rounded so that no two threads write to one line of cache.
size_t round_to_lines(size_t n_floats) { return (n_floats + 31) / 32 * 32; }

void check_kv(const KvLayerView& kv, int64_t n_heads) {
  if (kv.head_dim < 8 || kv.head_dim > kMaxHeadDim || kv.head_dim % 8 != 0) {
    fail(ErrorCode::kInvalidArgument,
         "attention: head_dim {} is not supported; it must be a multiple of 8, at most {}",
         kv.head_dim, kMaxHeadDim);
  }
  if (!kv_type_fits(kv.type, kv.head_dim)) {
    fail(ErrorCode::kInvalidArgument,
         "attention: rows of {} elements are no whole blocks of q8_0; use another KV type",
         kv.head_dim);
  }
  if (kv.n_kv_heads < 1 || n_heads < 1 || n_heads % kv.n_kv_heads != 0) {
    fail(ErrorCode::kInvalidArgument,
         "attention: {} heads cannot share {} KV heads; give a multiple of them", n_heads,
         kv.n_kv_heads);
  }
  if (kv.row_step != 1 && kv.row_step < kv.n_kv_heads) {
    fail(ErrorCode::kInvalidArgument,
         "attention: rows of {} KV heads do not fit side by side into {}", kv.n_kv_heads,
         kv.row_step);
  }
  if (kv.capacity < 0 || kv.capacity > std::numeric_limits<int32_t>::max()) {
    fail(ErrorCode::kInvalidArgument,
         "attention: a cache of {} rows is not supported; at most 2^31 - 1", kv.capacity);
  }
}

void check_positions(int64_t first, int64_t last) {
  if (first < 0 || last >= std::numeric_limits<int32_t>::max()) {
    fail(ErrorCode::kInvalidArgument,
         "attention: query positions {} to {} are not supported; they must be from 0 to 2^31 - 2",
         first, last);
  }
}

// Checks that ranges ascend within the cache; returns the first row, or the capacity if there is
// none.
int64_t check_ranges(std::span<const Range> ranges, int64_t capacity, const char* what) {
  int64_t first = capacity;
  int64_t end = 0;
  for (const Range& range : ranges) {
    if (range.empty()) continue;
    if (range.begin < end || range.end > capacity) {
      fail(ErrorCode::kInvalidArgument,
           "attention: {} [{}, {}) must begin at {} or later and end within the cache's {} rows",
           what, range.begin, range.end, end, capacity);
    }
    first = std::min(first, range.begin);
    end = range.end;
  }
  return first;
}

void check_block(const AttentionBlock& block, const KvLayerView& kv,
                 std::span<const AttentionSpan> spans, int64_t n_weighted) {
  check_kv(kv, block.n_heads);
  const int64_t end = block.first_position + block.n_tokens;
  check_positions(block.first_position, end - 1);
  if (block.q_stride < block.n_heads * kv.head_dim) {
    fail(ErrorCode::kInvalidArgument, "attention: rows of {} heads of {} do not fit a stride of {}",
         block.n_heads, kv.head_dim, block.q_stride);
  }
  int64_t next = block.first_position;
  for (const AttentionSpan& span : spans) {
    if (span.queries.begin != next || span.queries.empty() || span.queries.end > end) {
      fail(ErrorCode::kInvalidArgument,
           "attention: span [{}, {}) must begin at {}, hold a query and end by {}",
           span.queries.begin, span.queries.end, next, end);
    }
    next = span.queries.end;
    if (span.alone && span.queries.size() > 1) {
      fail(ErrorCode::kInvalidArgument, "attention: span [{}, {}) is said to be of one query",
           span.queries.begin, span.queries.end);
    }
    const int64_t first_row = check_ranges(span.rows, kv.capacity, "rows");
    if (first_row >= kv.capacity || first_row > span.queries.begin) {
      fail(ErrorCode::kInvalidArgument, "attention: the query at {} has no rows; give it its own",
           span.queries.begin);
    }
    check_ranges({&span.weighted, 1}, n_weighted, "weighted rows");
  }
  if (next != end) {
    fail(ErrorCode::kInvalidArgument, "attention: spans end at {}, the block's queries at {}", next,
         end);
  }
}

// The kernel for tiles of queries over such rows.
const AttentionTileKernel& tile_kernel_of(const AttentionKernels& kernels, const KvLayerView& kv) {
  const bool pairs = kernels.bf16_tile.attend != nullptr && kv.type != KvType::kF32;
  return pairs && kv.head_dim % 32 == 0 ? kernels.bf16_tile : kernels.tile;
}

KvHeadView head_view(const KvLayerView& kv, int64_t kv_head) {
  const int64_t row_bytes = kv_row_bytes(kv.type, kv.head_dim);
  const int64_t offset_bytes = kv.row_of(kv_head, 0) * row_bytes;
  return {.keys = static_cast<const char*>(kv.keys) + offset_bytes,
          .values = static_cast<const char*>(kv.values) + offset_bytes,
          .type = kv.type,
          .head_dim = kv.head_dim,
          .step_bytes = kv.row_step * row_bytes};
}

// `log_weights` in units of log 2.
KvHeadView head_view(const WeightedRows& rows, int64_t head_dim, int64_t kv_head,
                     const float* log_weights) {
  const int64_t offset = kv_head * rows.n_rows * head_dim;
  return {.keys = rows.keys + offset,
          .values = rows.values + offset,
          .type = KvType::kF32,
          .head_dim = head_dim,
          .step_bytes = kv_row_bytes(KvType::kF32, head_dim),
          .log_weights = log_weights};
}

// The running softmax of one query over parts of its rows, one after the other: sums and outputs
// count 2^(their maximum - the largest maximum). A part whose rows are all in the future has the
// sum 0 and changes nothing. Not inlined: compilers may contract each copy's sums in a way of its
// own.
struct MergedState {
  float max = kNoMaximum;
  float sum = 0.0f;

  // `out` [head_dim] is what the parts before left, anything before the first.
  [[gnu::noinline]] void add(float part_max, float part_sum, const float* __restrict part,
                             int64_t head_dim, float* __restrict out) {
    if (sum == 0.0f) std::fill_n(out, head_dim, 0.0f);
    const float highest = std::max(max, part_max);
    const float kept = std::exp2(max - highest);
    const float weight = std::exp2(part_max - highest);
    for (int64_t i = 0; i < head_dim; ++i) out[i] = kept * out[i] + weight * part[i];
    sum = kept * sum + weight * part_sum;
    max = highest;
  }

  // As the kernels finish a query whose rows are no parts.
  [[gnu::noinline]] void finish(int64_t head_dim, float* __restrict out, float* log_sum_exp) const {
    const float factor = 1.0f / sum;
    for (int64_t i = 0; i < head_dim; ++i) out[i] *= factor;
    if (log_sum_exp != nullptr) *log_sum_exp = max * std::numbers::ln2_v<float> + std::log(sum);
  }
};

// Merges the states of one group into the block's output.
void merge_parts(const AttentionBlock& block, const MergeGroup& group, int64_t n_heads,
                 int64_t head_dim, const float* states, const float* maxima, const float* sums) {
  const int64_t n_columns = group.n_tokens * n_heads;
  for (int64_t column = 0; column < n_columns; ++column) {
    const int64_t head = (group.first_token + column / n_heads) * block.n_heads +
                         group.kv_head * n_heads + column % n_heads;
    float* out = block.out + head * head_dim;
    MergedState merged;
    for (int64_t part = 0; part < group.n_parts; ++part) {
      const int64_t state = group.first_state + column + part * n_columns;
      merged.add(maxima[state], sums[state], states + state * head_dim, head_dim, out);
    }
    merged.finish(head_dim, out, block.log_sum_exp == nullptr ? nullptr : block.log_sum_exp + head);
  }
}

// What pieces of one item's rows need: the state of the last one, and those merged so far.
class PieceStates {
 public:
  static int64_t n_floats(int64_t n_columns, int64_t head_dim) {
    return n_columns * (head_dim + 4);
  }
  PieceStates(int64_t n_columns, int64_t head_dim, float* from)
      : n_columns_(n_columns),
        head_dim_(head_dim),
        out_(from),
        max_(out_ + n_columns * head_dim),
        sum_(max_ + n_columns),
        merged_(reinterpret_cast<MergedState*>(sum_ + n_columns)) {
    static_assert(sizeof(MergedState) == 2 * sizeof(float));
    std::uninitialized_fill_n(merged_, n_columns, MergedState{});
  }

  AttentionTarget target(int64_t n_heads) const {
    AttentionTarget target;
    target.out = out_;
    target.out_stride = n_heads * head_dim_;
    target.max = max_;
    target.sum = sum_;
    return target;
  }
  // Calls out_of(column) for where each column's output is.
  template <typename OutOf>
  void merge(const OutOf& out_of) {
    for (int64_t c = 0; c < n_columns_; ++c) {
      merged_[c].add(max_[c], sum_[c], out_ + c * head_dim_, head_dim_, out_of(c));
    }
  }
  const MergedState& merged(int64_t column) const { return merged_[column]; }

 private:
  int64_t n_columns_;
  int64_t head_dim_;
  float* out_;  // [n_columns, head_dim]
  float* max_;
  float* sum_;
  MergedState* merged_;
};

}  // namespace

void attend(const AttentionBlock& block, const KvLayerView& kv,
            std::span<const AttentionSpan> spans, const WeightedRows& weighted) {
  if (block.n_tokens == 0 && spans.empty()) return;
  check_block(block, kv, spans, weighted.n_rows);
  const AttentionKernels& kernels = attention_kernels();
  const AttentionTileKernel& tile_kernel = tile_kernel_of(kernels, kv);
  Workspace& work = workspace();
  AttentionPlan& plan = work.plan;
  const int64_t n_heads = block.n_heads / kv.n_kv_heads;
  const int64_t head_dim = kv.head_dim;

  float* scratch = nullptr;
  float* states = nullptr;
  size_t kernel_floats = 0;
  size_t scratch_floats = 0;
  with_memory([&] {
    plan_attention(block, kv, spans, tile_kernel.columns, current_threads(), plan);
    const int n_threads = plan.parallel ? current_threads() : 1;
    kernel_floats = round_to_lines(std::max(
        {kernels.token.scratch_floats(plan.few ? plan.max_tile_tokens : 1, n_heads, head_dim),
         kernels.tile.scratch_floats(plan.max_tile_tokens, n_heads, head_dim),
         tile_kernel.scratch_floats(plan.max_tile_tokens, n_heads, head_dim)}));
    scratch_floats = kernel_floats + round_to_lines(static_cast<size_t>(PieceStates::n_floats(
                                         plan.max_tile_tokens * n_heads, head_dim)));
    scratch =
        work.kernels.get(static_cast<int64_t>(n_threads) * static_cast<int64_t>(scratch_floats));
    states = work.states.get(plan.n_states * (head_dim + 2));
    work.parts_to_come.resize(plan.groups.size());
    for (size_t i = 0; i < plan.groups.size(); ++i) {
      work.parts_to_come[i] = static_cast<int>(plan.groups[i].n_parts);
    }
    work.log_weights.resize(static_cast<size_t>(weighted.n_rows));
  });
  for (int64_t r = 0; r < weighted.n_rows; ++r) {
    work.log_weights[static_cast<size_t>(r)] = weighted.log_weights[r] * kLog2E;
  }
  const float* log_weights = work.log_weights.data();  // the calling thread's, for all
  float* maxima = states + plan.n_states * head_dim;
  float* sums = maxima + plan.n_states;
  std::vector<int>& parts_to_come = work.parts_to_come;

  const auto run = [&](int64_t index, float* own_scratch) {
    const AttentionItem& item = plan.items[static_cast<size_t>(index)];
    const int64_t head = item.first_token * block.n_heads + item.kv_head * n_heads;
    QueryTile query;
    query.q = block.q + item.first_token * block.q_stride + item.kv_head * n_heads * head_dim;
    query.q_stride = block.q_stride;
    query.n_tokens = item.n_tokens;
    query.n_heads = n_heads;
    query.scale = block.scale * kLog2E;
    AttentionTarget target;
    if (item.group < 0) {
      target.out = block.out + head * head_dim;
      target.out_stride = block.n_heads * head_dim;
      if (block.log_sum_exp != nullptr) target.log_sum_exp = block.log_sum_exp + head;
      target.log_sum_exp_stride = block.n_heads;
    } else {
      target.out = states + item.first_state * head_dim;
      target.out_stride = n_heads * head_dim;
      target.max = maxima + item.first_state;
      target.sum = sums + item.first_state;
    }
    const KvHeadView kv_head = item.weighted
                                   ? head_view(weighted, head_dim, item.kv_head, log_weights)
                                   : head_view(kv, item.kv_head);
    const int64_t first_position =
        item.weighted ? kBehindAllRows - item.n_tokens : block.first_position + item.first_token;
    const auto attend_rows = [&](const RowCursor& rows, const AttentionTarget& to) {
      if (plan.few || item.alone) {
        kernels.token.attend(query, first_position, kv_head, rows, to, own_scratch);
      } else {
        (item.weighted ? kernels.tile : tile_kernel)
            .attend(query, first_position, kv_head, rows, to, own_scratch);
      }
    };
    if (item.group < 0 && !plan.few && item.rows.n_rows > kPieceRows) {
      const auto head_of = [&](int64_t column) {
        return head + column / n_heads * block.n_heads + column % n_heads;
      };
      PieceStates pieces(item.n_tokens * n_heads, head_dim, own_scratch + kernel_floats);
      for (RowCursor rest = item.rows; rest.n_rows > 0;) {
        RowCursor piece = rest;
        piece.n_rows = std::min(kPieceRows, rest.n_rows);
        rest.skip(piece.n_rows);
        attend_rows(piece, pieces.target(n_heads));
        pieces.merge([&](int64_t column) { return block.out + head_of(column) * head_dim; });
      }
      for (int64_t c = 0; c < item.n_tokens * n_heads; ++c) {
        pieces.merged(c).finish(
            head_dim, block.out + head_of(c) * head_dim,
            block.log_sum_exp == nullptr ? nullptr : block.log_sum_exp + head_of(c));
      }
      return;
    }
    attend_rows(item.rows, target);
    if (item.group < 0) return;
    // Whoever finishes the last part merges them all.
    const auto group = static_cast<size_t>(item.group);
    std::atomic_ref<int> to_come(parts_to_come[group]);
    if (to_come.fetch_sub(1, std::memory_order_acq_rel) == 1) {
      merge_parts(block, plan.groups[group], n_heads, head_dim, states, maxima, sums);
    }
  };
  share(static_cast<int64_t>(plan.items.size()), plan.parallel, scratch_floats, scratch, run);
}

void chunk_attention_mass(const ChunkMassQuery& query, const KvLayerView& kv,
                          std::span<const Range> chunks, float* mass) {
  if (query.positions.empty() || chunks.empty()) return;
  check_kv(kv, query.n_heads);
  check_ranges(chunks, kv.capacity, "chunk");
  check_positions(query.positions.front(), query.positions.back());
  if (!std::ranges::is_sorted(query.positions)) {
    fail(ErrorCode::kInvalidArgument, "attention: positions of queries must ascend");
  }
  const MassTileKernel& kernel = attention_kernels().mass;
  Workspace& work = workspace();
  MassPlan& plan = work.mass_plan;
  const int64_t n_heads = query.n_heads / kv.n_kv_heads;

  float* scratch = nullptr;
  size_t scratch_floats = 0;
  with_memory([&] {
    plan_chunk_mass(query, kv, chunks, current_threads(), plan);
    const int n_threads = plan.parallel ? current_threads() : 1;
    scratch_floats =
        round_to_lines(kernel.scratch_floats(plan.max_tile_queries, n_heads, kv.head_dim));
    scratch =
        work.kernels.get(static_cast<int64_t>(n_threads) * static_cast<int64_t>(scratch_floats));
  });

  const auto n_chunks = static_cast<int64_t>(chunks.size());
  const auto run = [&](int64_t index, float* own_scratch) {
    const MassItem& item = plan.items[static_cast<size_t>(index)];
    MassTask task;
    task.query.q_stride = query.n_heads * kv.head_dim;
    task.query.n_tokens = item.n_queries;
    task.query.n_heads = n_heads;
    task.query.scale = query.scale * kLog2E;
    task.positions = query.positions.data() + item.first_query;
    task.log_sum_exp_stride = query.n_heads;
    task.chunks = chunks.subspan(item.first_chunk, item.n_chunks);
    task.weight = 1.0f / static_cast<float>(query.n_heads);
    task.mass = mass + item.first_query * n_chunks + static_cast<int64_t>(item.first_chunk);
    task.mass_stride = n_chunks;
    for (int64_t i = 0; i < item.n_queries; ++i) {
      std::fill_n(task.mass + i * n_chunks, item.n_chunks, 0.0f);
    }
    for (int64_t kv_head = 0; kv_head < kv.n_kv_heads; ++kv_head) {
      const int64_t head = item.first_query * query.n_heads + kv_head * n_heads;
      task.query.q = query.q + head * kv.head_dim;
      task.log_sum_exp = query.log_sum_exp + head;
      kernel.add(task, head_view(kv, kv_head), own_scratch);
    }
  };
  share(static_cast<int64_t>(plan.items.size()), plan.parallel, scratch_floats, scratch, run);
}

}  // namespace chunkllm

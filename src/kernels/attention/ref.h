// Attention by the definition, one query, head and row after the other, in double precision. For
// tests and benchmarks.
#pragma once

#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

#include "base/bf16.h"
#include "base/half.h"
#include "kernels/attention/attention.h"

namespace chunkllm::ref {

// Element i of row `row` of a KV head; `data` is KvLayerView::keys or values.
inline double cached(const KvLayerView& kv, const void* data, int64_t kv_head, int64_t row,
                     int64_t i) {
  const void* from =
      static_cast<const char*>(data) + kv.row_of(kv_head, row) * kv_row_bytes(kv.type, kv.head_dim);
  switch (kv.type) {
    case KvType::kF32:
      return static_cast<const float*>(from)[i];
    case KvType::kBf16:
      return to_float(static_cast<const Bf16*>(from)[i]);
    case KvType::kF16:
      return half_to_float(static_cast<const uint16_t*>(from)[i]);
    case KvType::kQ8_0: {
      const BlockQ8_0& block = static_cast<const BlockQ8_0*>(from)[i / kSmallBlock];
      return double{half_to_float(block.d)} * block.q[static_cast<size_t>(i % kSmallBlock)];
    }
  }
  return 0;
}

// All rows of a KV head, [capacity, head_dim].
inline std::vector<double> cached_rows(const KvLayerView& kv, const void* data, int64_t kv_head) {
  std::vector<double> rows;
  for (int64_t row = 0; row < kv.capacity; ++row) {
    for (int64_t i = 0; i < kv.head_dim; ++i) rows.push_back(cached(kv, data, kv_head, row, i));
  }
  return rows;
}

// scale q . k for q, k [head_dim].
inline double score(const float* q, float scale, const double* k, int64_t head_dim) {
  double sum = 0;
  for (int64_t i = 0; i < head_dim; ++i) sum += q[i] * k[i];
  return scale * sum;
}

struct AttentionResult {
  std::vector<double> out;          // [n_tokens, n_heads, head_dim]
  std::vector<double> log_sum_exp;  // [n_tokens, n_heads]
  double largest_score = 0;         // of all |scores|
};

inline AttentionResult attend(const AttentionBlock& block, const KvLayerView& kv,
                              std::span<const AttentionSpan> spans,
                              const WeightedRows& weighted = {}) {
  AttentionResult result;
  // The weighted rows lie behind those of the cache.
  std::vector<std::vector<double>> keys;
  std::vector<std::vector<double>> values;
  for (int64_t kv_head = 0; kv_head < kv.n_kv_heads; ++kv_head) {
    keys.push_back(cached_rows(kv, kv.keys, kv_head));
    values.push_back(cached_rows(kv, kv.values, kv_head));
    const int64_t n = weighted.n_rows * kv.head_dim;
    keys.back().insert(keys.back().end(), weighted.keys + kv_head * n,
                       weighted.keys + (kv_head + 1) * n);
    values.back().insert(values.back().end(), weighted.values + kv_head * n,
                         weighted.values + (kv_head + 1) * n);
  }
  for (const AttentionSpan& span : spans) {
    for (int64_t position = span.queries.begin; position < span.queries.end; ++position) {
      for (int64_t head = 0; head < block.n_heads; ++head) {
        const auto kv_head = static_cast<size_t>(head / (block.n_heads / kv.n_kv_heads));
        const float* q =
            block.q + (position - block.first_position) * block.q_stride + head * kv.head_dim;
        std::vector<int64_t> rows;
        std::vector<double> weights;
        double max = -HUGE_VAL;
        const auto add_row = [&](int64_t row, double log_weight) {
          rows.push_back(row);
          weights.push_back(
              score(q, block.scale, keys[kv_head].data() + row * kv.head_dim, kv.head_dim) +
              log_weight);
          max = std::fmax(max, weights.back());
          result.largest_score = std::fmax(result.largest_score, std::abs(weights.back()));
        };
        for (const Range& range : span.rows) {
          for (int64_t row = range.begin; row < range.end && row <= position; ++row) {
            add_row(row, 0.0);
          }
        }
        for (int64_t row = span.weighted.begin; row < span.weighted.end; ++row) {
          add_row(kv.capacity + row, weighted.log_weights[row]);
        }
        double sum = 0;
        std::vector<double> out(static_cast<size_t>(kv.head_dim), 0.0);
        for (size_t r = 0; r < rows.size(); ++r) {
          const double weight = std::exp(weights[r] - max);
          sum += weight;
          const double* value = values[kv_head].data() + rows[r] * kv.head_dim;
          for (int64_t i = 0; i < kv.head_dim; ++i)
            out[static_cast<size_t>(i)] += weight * value[i];
        }
        for (const double value : out) result.out.push_back(value / sum);
        result.log_sum_exp.push_back(max + std::log(sum));
      }
    }
  }
  return result;
}

// [n_queries, n_chunks]
inline std::vector<double> chunk_attention_mass(const ChunkMassQuery& query, const KvLayerView& kv,
                                                std::span<const Range> chunks) {
  std::vector<double> mass;
  std::vector<std::vector<double>> keys;
  for (int64_t kv_head = 0; kv_head < kv.n_kv_heads; ++kv_head) {
    keys.push_back(cached_rows(kv, kv.keys, kv_head));
  }
  for (size_t i = 0; i < query.positions.size(); ++i) {
    for (const Range& chunk : chunks) {
      double sum = 0;
      for (int64_t head = 0; head < query.n_heads; ++head) {
        const int64_t at = static_cast<int64_t>(i) * query.n_heads + head;
        const auto kv_head = static_cast<size_t>(head / (query.n_heads / kv.n_kv_heads));
        for (int64_t row = chunk.begin; row < chunk.end && row <= query.positions[i]; ++row) {
          const double* key = keys[kv_head].data() + row * kv.head_dim;
          sum += std::exp(score(query.q + at * kv.head_dim, query.scale, key, kv.head_dim) -
                          query.log_sum_exp[at]);
        }
      }
      mass.push_back(sum / static_cast<double>(query.n_heads));
    }
  }
  return mass;
}

}  // namespace chunkllm::ref

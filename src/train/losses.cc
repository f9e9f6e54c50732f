#include "train/losses.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "base/error.h"
#include "base/thread_pool.h"
#include "kernels/linear/sgemm.h"

namespace chunkllm {
namespace {

void check_inputs(const SelectionInputs& in) {
  if (in.n_queries < 0 || in.n_chunks < 0 || in.n_heads < 1 || in.adapter_dim < 1) {
    fail(ErrorCode::kInvalidArgument,
         "selection loss: {} queries, {} chunks, {} heads and adapter_dim {} are no sizes",
         in.n_queries, in.n_chunks, in.n_heads, in.adapter_dim);
  }
  if (!in.log_tokens.empty() && std::ssize(in.log_tokens) != in.n_chunks) {
    fail(ErrorCode::kInvalidArgument, "selection loss: lengths of {} chunks come with {} chunks",
         in.log_tokens.size(), in.n_chunks);
  }
  if (std::ssize(in.eligible) != in.n_queries || std::ssize(in.weights) != in.n_queries) {
    fail(ErrorCode::kInvalidArgument,
         "selection loss: {} queries come with {} eligible ranges and {} weights; one each is "
         "needed",
         in.n_queries, in.eligible.size(), in.weights.size());
  }
  if (!in.distance_features.empty() &&
      (std::ssize(in.positions) != in.n_queries || std::ssize(in.chunk_ends) != in.n_chunks)) {
    fail(ErrorCode::kInvalidArgument,
         "selection loss: {} positions and {} chunk ends come with {} queries and {} chunks",
         in.positions.size(), in.chunk_ends.size(), in.n_queries, in.n_chunks);
  }
  for (int64_t i = 0; i < in.n_queries; ++i) {
    const Range range = in.eligible[i];
    if (!range.empty() && (range.begin < 0 || range.end > in.n_chunks)) {
      fail(ErrorCode::kInvalidArgument,
           "selection loss: query {} may select chunks [{}, {}), but there are only {}", i,
           range.begin, range.end, in.n_chunks);
    }
    if (!(in.weights[i] >= 0.0f) || !std::isfinite(in.weights[i])) {
      fail(ErrorCode::kInvalidArgument,
           "selection loss: query {} has weight {}; weights are finite and not negative", i,
           in.weights[i]);
    }
  }
}

// How many queries a thread takes at a time.
int64_t queries_a_piece(int64_t n_chunks) {
  constexpr int64_t kPieceElements = 8192;
  return std::max<int64_t>(1, kPieceElements / std::max<int64_t>(n_chunks, 1));
}

// The eligible teacher mass of each query.
std::vector<double> teacher_masses(const SelectionInputs& in) {
  std::vector<double> masses(in.n_queries, 0.0);
  const auto mass_of = [&](int64_t i) {
    const float* row = in.teacher + i * in.n_chunks;
    bool usable = true;
    double mass = 0.0;
    for (int64_t j = in.eligible[i].begin; j < in.eligible[i].end; ++j) {
      usable = usable && row[j] >= 0.0f && std::isfinite(row[j]);
      mass += double{row[j]};
    }
    return usable ? mass : std::numeric_limits<double>::quiet_NaN();
  };
  parallel_for(in.n_queries, queries_a_piece(in.n_chunks), [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) masses[i] = mass_of(i);
  });
  for (int64_t i = 0; i < in.n_queries; ++i) {
    if (std::isnan(masses[i])) {
      fail(ErrorCode::kData,
           "selection loss: the teacher of query {} has a mass that is negative or not finite", i);
    }
  }
  return masses;
}

struct QueryLoss {
  double kl = 0.0;
  double entropy = 0.0;
};

// Work space of query_loss(), kept from one query to the next.
struct QueryScratch {
  std::vector<float> greatest;               // [n_heads]
  std::vector<double> sums, shares, taught;  // [n_heads]
  std::vector<float> masses;                 // [n_heads, n], as shares of the head's greatest
};

// One query over its n eligible chunks. `heads` holds each head's scores, which are replaced by
// gradient_scale times the gradient of KL by them; log_tokens may be null. Returns KL and the
// teacher's entropy. `mixture`, where it is not null, receives the scores of all heads as one.
QueryLoss query_loss(const float* teacher, double mass, const float* log_tokens, int64_t n,
                     double gradient_scale, std::span<float* const> heads, float* mixture,
                     QueryScratch& scratch) {
  const size_t n_heads = heads.size();
  scratch.greatest.assign(n_heads, -std::numeric_limits<float>::infinity());
  scratch.sums.assign(n_heads, 0.0);
  scratch.shares.assign(n_heads, 0.0);
  scratch.taught.assign(n_heads, 0.0);
  scratch.masses.resize(n_heads * static_cast<size_t>(n));
  const auto masses_of = [&](size_t h) { return scratch.masses.data() + h * size_t(n); };
  for (size_t h = 0; h < n_heads; ++h) {
    float* scores = heads[h];
    float& greatest = scratch.greatest[h];
    for (int64_t j = 0; j < n; ++j) {
      if (log_tokens != nullptr) scores[j] += log_tokens[j];
      if (!(scores[j] <= greatest)) greatest = scores[j];  // a NaN stays
    }
    for (int64_t j = 0; j < n; ++j) {
      masses_of(h)[j] = std::exp(scores[j] - greatest);
      scratch.sums[h] += double{masses_of(h)[j]};
    }
  }

  // The logarithm of n_heads times the mixture at chunk j, and each head's share of it.
  const auto mix = [&](int64_t j) {
    constexpr double kRepresentable = 1e-30;
    double sum = 0.0;
    for (size_t h = 0; h < n_heads; ++h) {
      scratch.shares[h] = double{masses_of(h)[j]} / scratch.sums[h];
      sum += scratch.shares[h];
    }
    double log_scale = 0.0;
    if (!(sum > kRepresentable)) {
      const auto log_of = [&](size_t h) {
        return double{heads[h][j]} - double{scratch.greatest[h]} - std::log(scratch.sums[h]);
      };
      log_scale = log_of(0);
      for (size_t h = 1; h < n_heads; ++h) log_scale = std::max(log_scale, log_of(h));
      sum = 0.0;
      for (size_t h = 0; h < n_heads; ++h) {
        scratch.shares[h] = std::exp(log_of(h) - log_scale);
        sum += scratch.shares[h];
      }
    }
    for (double& share : scratch.shares) share /= sum;
    return log_scale + std::log(sum);
  };
  const double log_heads = std::log(static_cast<double>(n_heads));
  QueryLoss loss;
  for (int64_t j = 0; j < n; ++j) {
    const double target = double{teacher[j]} / mass;
    if (target > 0.0 || mixture != nullptr) {
      const double log_p = mix(j) - log_heads;
      if (target > 0.0) {
        loss.kl += target * (std::log(target) - log_p);
        loss.entropy -= target * std::log(target);
      }
      if (mixture != nullptr) {
        mixture[j] = static_cast<float>(log_p) - (log_tokens != nullptr ? log_tokens[j] : 0.0f);
      }
    }
    for (size_t h = 0; h < n_heads; ++h) {
      const double taught = target > 0.0 ? target * scratch.shares[h] : 0.0;
      scratch.taught[h] += taught;
      heads[h][j] = static_cast<float>(taught);
    }
  }
  for (size_t h = 0; h < n_heads; ++h) {
    const double scale = scratch.taught[h] / scratch.sums[h];
    for (int64_t j = 0; j < n; ++j) {
      const double difference = double{masses_of(h)[j]} * scale - double{heads[h][j]};
      heads[h][j] = static_cast<float>(gradient_scale * difference);
    }
  }
  return loss;
}

// The chunks that any query of [rows.begin, rows.end) may select, as one range.
Range covered_columns(const SelectionInputs& in, Range rows) {
  Range columns{in.n_chunks, 0};
  for (int64_t i = rows.begin; i < rows.end; ++i) {
    if (in.eligible[i].empty()) continue;
    columns.begin = std::min(columns.begin, in.eligible[i].begin);
    columns.end = std::max(columns.end, in.eligible[i].end);
  }
  return columns;
}

// The feature of an eligible chunk's distance.
float feature_of(const SelectionInputs& in, int64_t query, int64_t chunk) {
  const int64_t distance =
      in.positions[static_cast<size_t>(query)] + 1 - in.chunk_ends[static_cast<size_t>(chunk)];
  return in.distance_features[static_cast<size_t>(distance)];
}

// Adds weight times the feature of each eligible chunk to its score in a tile's row.
void add_distances(const SelectionInputs& in, int64_t query, float weight, float* row) {
  const Range eligible = in.eligible[static_cast<size_t>(query)];
  for (int64_t j = eligible.begin; j < eligible.end; ++j)
    row[j] += weight * feature_of(in, query, j);
}

// What the gradient by the scores says of that weight.
float distance_gradient(const SelectionInputs& in, int64_t query, const float* d_row) {
  const Range eligible = in.eligible[static_cast<size_t>(query)];
  double sum = 0;
  for (int64_t j = eligible.begin; j < eligible.end; ++j) {
    sum += double{d_row[j]} * double{feature_of(in, query, j)};
  }
  return static_cast<float>(sum);
}

}  // namespace

BceResult bce_with_logits(std::span<const float> logits, std::span<const uint8_t> labels,
                          std::span<float> d_logits) {
  if (labels.size() != logits.size() || (!d_logits.empty() && d_logits.size() != logits.size())) {
    fail(ErrorCode::kInvalidArgument,
         "boundary loss: {} logits come with {} labels and room for {} gradients", logits.size(),
         labels.size(), d_logits.size());
  }
  const double scale = logits.empty() ? 0.0 : 1.0 / static_cast<double>(logits.size());
  double sum = 0.0;
  for (size_t t = 0; t < logits.size(); ++t) {
    if (labels[t] > 1) {
      fail(ErrorCode::kInvalidArgument, "boundary loss: label {} of token {} is neither 0 nor 1",
           labels[t], t);
    }
    const double x = double{logits[t]};
    const double label = static_cast<double>(labels[t]);
    const double small = std::exp(-std::abs(x));  // in [0, 1], whatever the logit
    sum += std::max(x, 0.0) - x * label + std::log1p(small);
    if (!d_logits.empty()) {
      const double probability = (x >= 0.0 ? 1.0 : small) / (1.0 + small);
      d_logits[t] = static_cast<float>(scale * (probability - label));
    }
  }
  return {sum * scale};
}

SelectionResult selection_loss(const SelectionInputs& in, const SelectionOutputs& out,
                               int64_t max_scratch_bytes) {
  check_inputs(in);
  const std::vector<double> masses = teacher_masses(in);
  const auto is_used = [&](int64_t i) { return masses[i] > 0.0 && in.weights[i] > 0.0f; };
  SelectionResult result;
  for (int64_t i = 0; i < in.n_queries; ++i) {
    if (!is_used(i)) continue;
    ++result.n_used;
    result.weight_sum += double{in.weights[i]};
  }

  const int64_t dim = in.adapter_dim;
  const auto n_heads = static_cast<size_t>(in.n_heads);
  const int64_t stride = in.n_heads * dim;
  const bool has_distances = !in.distance_features.empty();
  const double score_scale = 1.0 / std::sqrt(static_cast<double>(dim));
  if (out.d_q_hat) std::fill_n(out.d_q_hat, in.n_queries * stride, 0.0f);
  if (out.d_chunk_keys) std::fill_n(out.d_chunk_keys, in.n_chunks * stride, 0.0f);
  if (out.scores) {
    std::fill_n(out.scores, in.n_queries * in.n_chunks, -std::numeric_limits<float>::infinity());
  }
  if (in.n_chunks == 0) return result;

  const int64_t row_bytes = in.n_heads * in.n_chunks * static_cast<int64_t>(sizeof(float));
  const int64_t tile_rows =
      std::clamp<int64_t>(max_scratch_bytes / row_bytes, 1, std::max<int64_t>(in.n_queries, 1));
  std::vector<std::vector<float>> tiles(n_heads, std::vector<float>(tile_rows * in.n_chunks));
  std::vector<QueryLoss> losses(in.n_queries);
  for (int64_t first = 0; first < in.n_queries; first += tile_rows) {
    const Range rows{first, std::min(first + tile_rows, in.n_queries)};
    const Range columns = covered_columns(in, rows);
    if (columns.empty()) continue;
    const int64_t width = columns.size();
    // Where a head's row of a query begins in its tile, by chunk.
    const auto row_of = [&](size_t h, int64_t i) {
      return tiles[h].data() + (i - rows.begin) * width - columns.begin;
    };
    const auto weight_of_distance = [&](size_t h, int64_t i) {
      return i * stride + (static_cast<int64_t>(h) + 1) * dim - 1;
    };
    const auto for_rows = [&](const auto& body) {
      parallel_for(rows.size(), queries_a_piece(width), [&](int64_t begin, int64_t end, int) {
        for (int64_t i = rows.begin + begin; i < rows.begin + end; ++i) body(i);
      });
    };

    for (size_t h = 0; h < n_heads; ++h) {
      const int64_t head = static_cast<int64_t>(h) * dim;
      sgemm({.transpose_b = true, .m = rows.size(), .n = width, .k = dim},
            static_cast<float>(score_scale), in.q_hat + rows.begin * stride + head, stride,
            in.chunk_keys + columns.begin * stride + head, stride, 0.0f, tiles[h].data(), width);
      if (!has_distances) continue;
      for_rows([&](int64_t i) {
        const float weight = in.q_hat[weight_of_distance(h, i)];
        add_distances(in, i, static_cast<float>(score_scale) * weight, row_of(h, i));
      });
    }

    // Scores become gradients; of queries that are not used, 0.
    const auto finish_row = [&](int64_t i, std::vector<float*>& heads, QueryScratch& scratch) {
      const Range eligible = in.eligible[i];
      float* scores = out.scores ? out.scores + i * in.n_chunks + eligible.begin : nullptr;
      for (size_t h = 0; h < n_heads; ++h) heads[h] = row_of(h, i) + eligible.begin;
      if (!eligible.empty() && (is_used(i) || scores)) {
        // One head's scores are its own, without a constant.
        if (scores && n_heads == 1) std::copy_n(heads[0], eligible.size(), scores);
        const QueryLoss loss =
            query_loss(in.teacher + i * in.n_chunks + eligible.begin, is_used(i) ? masses[i] : 1.0,
                       in.log_tokens.empty() ? nullptr : in.log_tokens.data() + eligible.begin,
                       eligible.size(), double{in.weights[i]} / result.weight_sum * score_scale,
                       heads, n_heads == 1 ? nullptr : scores, scratch);
        if (is_used(i)) losses[i] = loss;
      }
      const Range kept = is_used(i) ? eligible : Range{columns.end, columns.end};
      for (size_t h = 0; h < n_heads; ++h) {
        float* row = row_of(h, i);
        std::fill(row + columns.begin, row + kept.begin, 0.0f);
        std::fill(row + kept.end, row + columns.end, 0.0f);
      }
    };
    parallel_for(rows.size(), queries_a_piece(width), [&](int64_t begin, int64_t end, int) {
      std::vector<float*> heads(n_heads);
      QueryScratch scratch;
      for (int64_t i = rows.begin + begin; i < rows.begin + end; ++i) finish_row(i, heads, scratch);
    });

    for (size_t h = 0; h < n_heads; ++h) {
      const int64_t head = static_cast<int64_t>(h) * dim;
      if (out.d_q_hat) {
        sgemm({.m = rows.size(), .n = dim, .k = width}, 1.0f, tiles[h].data(), width,
              in.chunk_keys + columns.begin * stride + head, stride, 0.0f,
              out.d_q_hat + rows.begin * stride + head, stride);
      }
      if (out.d_q_hat && has_distances) {
        for_rows([&](int64_t i) {
          out.d_q_hat[weight_of_distance(h, i)] = distance_gradient(in, i, row_of(h, i));
        });
      }
      if (out.d_chunk_keys) {
        sgemm({.transpose_a = true, .m = width, .n = dim, .k = rows.size()}, 1.0f, tiles[h].data(),
              width, in.q_hat + rows.begin * stride + head, stride, 1.0f,
              out.d_chunk_keys + columns.begin * stride + head, stride);
      }
    }
  }
  if (out.d_chunk_keys && has_distances) {
    for (int64_t j = 0; j < in.n_chunks * in.n_heads; ++j) {
      out.d_chunk_keys[(j + 1) * dim - 1] = 0.0f;
    }
  }
  if (result.n_used == 0) return result;

  double weighted_sum = 0.0;
  for (int64_t i = 0; i < in.n_queries; ++i) {
    if (!is_used(i)) continue;
    weighted_sum += double{in.weights[i]} * losses[i].kl;
    result.mean_kl += losses[i].kl;
    result.teacher_entropy += losses[i].entropy;
  }
  result.loss = weighted_sum / result.weight_sum;
  result.mean_kl /= static_cast<double>(result.n_used);
  result.teacher_entropy /= static_cast<double>(result.n_used);
  return result;
}

}  // namespace chunkllm

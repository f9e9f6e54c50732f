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
  if (in.n_queries < 0 || in.n_chunks < 0 || in.adapter_dim < 1) {
    fail(ErrorCode::kInvalidArgument,
         "selection loss: {} queries, {} chunks and adapter_dim {} are no sizes", in.n_queries,
         in.n_chunks, in.adapter_dim);
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

// One query over its n eligible chunks: returns KL and the teacher's entropy, and replaces the
// scores by gradient_scale * (softmax(scores) - teacher / mass).
QueryLoss query_loss(const float* teacher, double mass, int64_t n, double gradient_scale,
                     float* scores) {
  const float max_score = *std::max_element(scores, scores + n);
  double cross = 0.0;
  double entropy = 0.0;
  double exp_sum = 0.0;
  for (int64_t j = 0; j < n; ++j) {
    const float shifted = scores[j] - max_score;
    const double target = double{teacher[j]} / mass;
    if (target > 0.0) {
      cross -= target * double{shifted};
      entropy -= target * std::log(target);
    }
    scores[j] = std::exp(shifted);
    exp_sum += double{scores[j]};
  }
  for (int64_t j = 0; j < n; ++j) {
    const double difference = double{scores[j]} / exp_sum - double{teacher[j]} / mass;
    scores[j] = static_cast<float>(gradient_scale * difference);
  }
  return {cross + std::log(exp_sum) - entropy, entropy};
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

// Copies the scores of one tile, `tile` [rows, columns], to where the caller wants them.
void store_scores(const SelectionInputs& in, Range rows, Range columns, const float* tile,
                  float* scores) {
  for (int64_t i = rows.begin; i < rows.end; ++i) {
    const Range eligible = in.eligible[i];
    if (eligible.empty()) continue;
    const float* row = tile + (i - rows.begin) * columns.size() - columns.begin;
    std::copy(row + eligible.begin, row + eligible.end, scores + i * in.n_chunks + eligible.begin);
  }
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
  const bool has_distances = !in.distance_features.empty();
  const double score_scale = 1.0 / std::sqrt(static_cast<double>(dim));
  if (out.d_q_hat) std::fill_n(out.d_q_hat, in.n_queries * dim, 0.0f);
  if (out.d_chunk_keys) std::fill_n(out.d_chunk_keys, in.n_chunks * dim, 0.0f);
  if (out.scores) {
    std::fill_n(out.scores, in.n_queries * in.n_chunks, -std::numeric_limits<float>::infinity());
  }
  if (in.n_chunks == 0) return result;

  const int64_t row_bytes = in.n_chunks * static_cast<int64_t>(sizeof(float));
  const int64_t tile_rows =
      std::clamp<int64_t>(max_scratch_bytes / row_bytes, 1, std::max<int64_t>(in.n_queries, 1));
  std::vector<float> tile(tile_rows * in.n_chunks);
  std::vector<QueryLoss> losses(in.n_queries);
  for (int64_t first = 0; first < in.n_queries; first += tile_rows) {
    const Range rows{first, std::min(first + tile_rows, in.n_queries)};
    const Range columns = covered_columns(in, rows);
    if (columns.empty()) continue;
    const float* q_hat = in.q_hat + rows.begin * dim;
    const float* keys = in.chunk_keys + columns.begin * dim;
    const int64_t width = columns.size();

    sgemm({.transpose_b = true, .m = rows.size(), .n = width, .k = dim},
          static_cast<float>(score_scale), q_hat, dim, keys, dim, 0.0f, tile.data(), width);
    // Row of a query in the tile, by chunk.
    const auto row_of = [&](int64_t i) {
      return tile.data() + (i - rows.begin) * width - columns.begin;
    };
    if (has_distances) {
      parallel_for(rows.size(), queries_a_piece(width), [&](int64_t begin, int64_t end, int) {
        for (int64_t i = rows.begin + begin; i < rows.begin + end; ++i) {
          const float weight = in.q_hat[(i + 1) * dim - 1];
          add_distances(in, i, static_cast<float>(score_scale) * weight, row_of(i));
        }
      });
    }
    if (out.scores) store_scores(in, rows, columns, tile.data(), out.scores);

    const auto finish_row = [&](int64_t i) {
      float* row = tile.data() + (i - rows.begin) * width;
      if (!is_used(i)) {
        std::fill_n(row, width, 0.0f);
        return;
      }
      const Range eligible = in.eligible[i];
      float* scores = row + (eligible.begin - columns.begin);
      losses[i] =
          query_loss(in.teacher + i * in.n_chunks + eligible.begin, masses[i], eligible.size(),
                     double{in.weights[i]} / result.weight_sum * score_scale, scores);
      std::fill(row, scores, 0.0f);
      std::fill(scores + eligible.size(), row + width, 0.0f);
    };
    parallel_for(rows.size(), queries_a_piece(width), [&](int64_t begin, int64_t end, int) {
      for (int64_t i = begin; i < end; ++i) finish_row(rows.begin + i);
    });

    if (out.d_q_hat) {
      sgemm({.m = rows.size(), .n = dim, .k = width}, 1.0f, tile.data(), width, keys, dim, 0.0f,
            out.d_q_hat + rows.begin * dim, dim);
    }
    if (out.d_q_hat && has_distances) {
      parallel_for(rows.size(), queries_a_piece(width), [&](int64_t begin, int64_t end, int) {
        for (int64_t i = rows.begin + begin; i < rows.begin + end; ++i) {
          out.d_q_hat[(i + 1) * dim - 1] = distance_gradient(in, i, row_of(i));
        }
      });
    }
    if (out.d_chunk_keys) {
      sgemm({.transpose_a = true, .m = width, .n = dim, .k = rows.size()}, 1.0f, tile.data(), width,
            q_hat, dim, 1.0f, out.d_chunk_keys + columns.begin * dim, dim);
    }
  }
  if (out.d_chunk_keys && has_distances) {
    for (int64_t j = 0; j < in.n_chunks; ++j) out.d_chunk_keys[(j + 1) * dim - 1] = 0.0f;
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

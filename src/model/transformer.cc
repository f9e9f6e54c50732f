#include "model/transformer.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "kernels/ops/ops.h"

namespace chunkllm {
namespace {

void activate(Activation activation, const float* gate_up, int64_t n_tokens, int64_t d_ff,
              float* y) {
  switch (activation) {
    case Activation::kSilu:
      return silu_mul(gate_up, n_tokens, d_ff, y);
    case Activation::kGeluTanh:
      return gelu_tanh_mul(gate_up, n_tokens, d_ff, y);
  }
}

}  // namespace

void FullRows::begin_block(Range positions, std::span<const int32_t>) {
  span_.queries = positions;
  span_.rows.assign(1, {0, positions.end});
}

std::span<const AttentionSpan> FullRows::rows(const LayerInput&) { return {&span_, 1}; }

// The first tokens, whose window is all there is, are one span; each of the others is its own.
std::span<const AttentionSpan> WindowRows::rows(Range positions) {
  const int64_t whole_end = std::clamp(window_, positions.begin, positions.end);
  const auto n_spans =
      static_cast<size_t>((whole_end > positions.begin ? 1 : 0) + positions.end - whole_end);
  if (spans_.size() < n_spans) spans_.resize(n_spans);
  size_t next = 0;
  if (whole_end > positions.begin) {
    spans_[next].queries = {positions.begin, whole_end};
    spans_[next].alone = false;
    spans_[next++].rows.assign(1, {0, whole_end});
  }
  for (int64_t t = whole_end; t < positions.end; ++t) {
    spans_[next].queries = {t, t + 1};
    spans_[next].alone = true;
    spans_[next++].rows.assign(1, {t + 1 - window_, t + 1});
  }
  return {spans_.data(), n_spans};
}

void TransformerScratch::reserve(const ModelConfig& c, int64_t max_tokens) {
  const auto make_room = [max_tokens](std::vector<float>& rows, int64_t row_size) {
    const auto n = static_cast<size_t>(max_tokens * row_size);
    if (rows.size() < n) rows.resize(n);
  };
  make_room(x, c.d_model);
  make_room(qkv, c.q_dim() + 2 * c.kv_dim());
  make_room(attended, c.q_dim());
  make_room(log_sum_exp, c.n_heads);
  make_room(gate_up, 2 * c.d_ff);
  make_room(ffn, c.d_ff);
  make_room(delta, c.d_model);
}

Transformer::Transformer(const ModelWeights& weights, int64_t max_block_tokens,
                         int64_t max_waiting_tokens, std::shared_ptr<TransformerScratch> scratch)
    : weights_(weights),
      max_block_tokens_(max_block_tokens),
      max_waiting_tokens_(max_waiting_tokens),
      rotation_(make_rotation(config().rope)),
      window_rows_(config().window),
      scratch_(std::move(scratch)) {
  const ModelConfig& c = weights.config;
  const int64_t max_tokens = max_block_tokens + max_waiting_tokens;
  if (c.window > 0) sliding_rotation_ = make_rotation(c.sliding_rope);
  h_.resize(static_cast<size_t>(max_tokens * c.d_model));
  if (!scratch_) scratch_ = std::make_shared<TransformerScratch>();
  scratch_->reserve(c, max_tokens);
  logits_.resize(static_cast<size_t>(c.n_vocab));
}

int64_t Transformer::workspace_bytes(const ModelConfig& c, int64_t max_block_tokens,
                                     int64_t max_waiting_tokens) {
  const int64_t per_token = 3 * c.d_model + 2 * c.q_dim() + 2 * c.kv_dim() + c.n_heads +
                            3 * c.d_ff + (c.window > 0 ? 2 : 1) * c.head_dim;
  return ((max_block_tokens + max_waiting_tokens) * per_token + c.n_vocab) * 4;
}

void Transformer::forward(std::span<const int32_t> tokens, int64_t first_position, KvCache& cache,
                          RowSelector& selector, bool of_text) {
  forward_layers(tokens, first_position, config().n_layers, cache, selector, of_text);
}

void Transformer::forward_layers(std::span<const int32_t> tokens, int64_t first_position,
                                 int64_t n_layers, KvCache& cache, RowSelector& selector,
                                 bool of_text) {
  const auto n_tokens = static_cast<int64_t>(tokens.size());
  if (n_tokens > max_block_tokens_) {
    fail(ErrorCode::kInvalidArgument, "a block of {} tokens exceeds the work space's {}", n_tokens,
         max_block_tokens_);
  }
  const Range positions{first_position, first_position + n_tokens};
  const int64_t n_before = rows_before(first_position);
  SequenceRows rows{positions, &cache, &selector, of_text};
  in_batch_ = false;
  float* h = h_.data() + n_before * config().d_model;
  embed(tokens, h);
  rotate_to({&rows, 1});
  selector.begin_block(positions, tokens);
  run_layer(0, {&rows, 1}, h);
  in_stream_ = {first_position - n_before, positions.end};
  done_ = n_layers > 1 ? selector.ready(positions) : positions;
  done_row_ = done_.begin - in_stream_.begin;
  if (done_.empty()) return;
  rows.positions = done_;
  if (done_ != positions) rotate_to({&rows, 1});
  h = h_.data() + done_row_ * config().d_model;
  for (int64_t layer = 1; layer < n_layers; ++layer) run_layer(layer, {&rows, 1}, h);
}

void Transformer::forward_batch(std::span<const int32_t> tokens,
                                std::span<const SequenceRows> sequences) {
  const auto n_tokens = static_cast<int64_t>(tokens.size());
  if (tokens.size() != sequences.size() || n_tokens > max_block_tokens_) {
    fail(ErrorCode::kInvalidArgument,
         "a batch of {} tokens for {} sequences; the work space has room for {}", n_tokens,
         sequences.size(), max_block_tokens_);
  }
  in_batch_ = true;
  done_ = in_stream_ = {0, n_tokens};  // rows, here
  done_row_ = 0;
  embed(tokens, h_.data());
  rotate_to(sequences);
  for (size_t s = 0; s < sequences.size(); ++s) {
    sequences[s].selector->begin_block(sequences[s].positions, tokens.subspan(s, 1));
  }
  run_layer(0, sequences, h_.data());
  for (const SequenceRows& sequence : sequences) {
    if (sequence.selector->ready(sequence.positions) != sequence.positions) {
      fail(ErrorCode::kInvalidArgument, "a token of a batch cannot wait for others");
    }
  }
  for (int64_t layer = 1; layer < config().n_layers; ++layer) {
    run_layer(layer, sequences, h_.data());
  }
}

// The rows that wait for a block at this position, moved to the front of the stream.
int64_t Transformer::rows_before(int64_t first_position) {
  const Range waiting{done_.end, in_stream_.end};
  if (waiting.empty() || waiting.end != first_position) return 0;
  if (waiting.size() > max_waiting_tokens_) {
    fail(ErrorCode::kInvalidArgument,
         "{} tokens wait for a block, and the work space has room for {}", waiting.size(),
         max_waiting_tokens_);
  }
  const float* rows = h_.data() + (waiting.begin - in_stream_.begin) * config().d_model;
  std::copy(rows, rows + waiting.size() * config().d_model, h_.data());
  return waiting.size();
}

void Transformer::run_layer(int64_t layer, std::span<const SequenceRows> sequences, float* h) {
  const LayerWeights& w = weights_.layers[static_cast<size_t>(layer)];
  int64_t n_tokens = 0;
  for (const SequenceRows& sequence : sequences) n_tokens += sequence.positions.size();
  attention_half(w, layer, sequences, n_tokens, h);
  ffn_half(w, n_tokens, h);
  for (const SequenceRows& sequence : sequences) {
    sequence.selector->layer_done(layer, sequence.positions, h);
    h += sequence.positions.size() * config().d_model;
  }
}

void Transformer::multiply(const Linear& w, const float* x, int64_t n_tokens, float* y) const {
  const int64_t part = in_batch_ ? std::min(n_tokens, w.tokens_as_alone()) : n_tokens;
  for (int64_t t = 0; t < n_tokens; t += part) {
    w(x + t * w.n_in(), std::min(part, n_tokens - t), y + t * w.n_out());
  }
}

Transformer::Rotation Transformer::make_rotation(const RopeConfig& rope) const {
  const auto n =
      static_cast<size_t>((max_block_tokens_ + max_waiting_tokens_) * config().head_dim / 2);
  return {.inverse_frequencies = rope_inverse_frequencies(rope, config().head_dim),
          .scale = static_cast<float>(rope.attention_factor),
          .cos = std::vector<float>(n),
          .sin = std::vector<float>(n)};
}

void Transformer::rotate_to(std::span<const SequenceRows> sequences) {
  for (Rotation* r : {&rotation_, &sliding_rotation_}) {
    if (r->cos.empty()) continue;
    int64_t row = 0;
    for (const SequenceRows& sequence : sequences) {
      const Range positions = sequence.positions;
      const int64_t offset = row * config().head_dim / 2;
      rope_table(positions.begin, positions.size(), r->inverse_frequencies.data(),
                 config().head_dim, r->scale, r->cos.data() + offset, r->sin.data() + offset);
      row += positions.size();
    }
  }
}

// h = scale * embedding rows
void Transformer::embed(std::span<const int32_t> tokens, float* h) {
  const int64_t d_model = config().d_model;
  const MatrixView& table = weights_.embedding;
  for (size_t t = 0; t < tokens.size(); ++t) {
    if (tokens[t] < 0 || tokens[t] >= config().n_vocab) {
      fail(ErrorCode::kData, "token id {} is outside the model's vocabulary of {}", tokens[t],
           config().n_vocab);
    }
    const int64_t row_bytes = dtype_row_bytes(table.dtype, d_model);
    convert_to_float(table.dtype, static_cast<const std::byte*>(table.data) + tokens[t] * row_bytes,
                     d_model, h + static_cast<int64_t>(t) * d_model);
    if (config().embedding_scale == 1.0f) continue;
    for (int64_t i = 0; i < d_model; ++i) {
      h[static_cast<int64_t>(t) * d_model + i] *= config().embedding_scale;
    }
  }
}

// h += W_o attention(norm(h))
void Transformer::attention_half(const LayerWeights& w, int64_t layer,
                                 std::span<const SequenceRows> sequences, int64_t n_tokens,
                                 float* h) {
  const ModelConfig& c = config();
  const int64_t stride = c.q_dim() + 2 * c.kv_dim();
  float* q = scratch_->qkv.data();
  float* k = q + c.q_dim();

  rms_norm(h, w.attention_norm.data(), n_tokens, c.d_model, c.rms_norm_epsilon, scratch_->x.data());
  multiply(w.qkv, scratch_->x.data(), n_tokens, scratch_->qkv.data());
  if (c.qk_norm) {
    rms_norm_heads(q, w.q_norm.data(), n_tokens, c.n_heads, c.head_dim, stride, c.rms_norm_epsilon);
    rms_norm_heads(k, w.k_norm.data(), n_tokens, c.n_kv_heads, c.head_dim, stride,
                   c.rms_norm_epsilon);
  }
  const Rotation& r = c.slides(layer) ? sliding_rotation_ : rotation_;
  rope_rotate(q, n_tokens, c.n_heads, c.head_dim, stride, r.cos.data(), r.sin.data());
  rope_rotate(k, n_tokens, c.n_kv_heads, c.head_dim, stride, r.cos.data(), r.sin.data());
  int64_t row = 0;
  for (const SequenceRows& sequence : sequences) {
    attend_in(sequence, layer, row);
    row += sequence.positions.size();
  }
  multiply(w.output, scratch_->attended.data(), n_tokens, scratch_->delta.data());
  add_to_stream(w.post_attention_norm, n_tokens, h);
}

void Transformer::attend_in(const SequenceRows& sequence, int64_t layer, int64_t first_row) {
  const ModelConfig& c = config();
  const auto& [positions, cache, selector, of_text] = sequence;
  const int64_t stride = c.q_dim() + 2 * c.kv_dim();
  const float* q = scratch_->qkv.data() + first_row * stride;
  const float* k = q + c.q_dim();
  const float* v = k + c.kv_dim();
  cache->store(layer, positions.begin, positions.size(), k, v, stride);

  const LayerInput input{.layer = layer,
                         .positions = positions,
                         .x = scratch_->x.data() + first_row * c.d_model,
                         .q = q,
                         .q_stride = stride,
                         .n_heads = c.n_heads,
                         .scale = c.attention_scale(),
                         .kv = cache->layer(layer)};
  float* log_sum_exp = selector->wants_log_sum_exp()
                           ? scratch_->log_sum_exp.data() + first_row * c.n_heads
                           : nullptr;
  const bool slides = c.slides(layer);
  const std::span<const AttentionSpan> spans =
      slides ? window_rows_.rows(positions) : selector->rows(input);
  cache->will_read(layer, spans);
  attend({.q = q,
          .q_stride = stride,
          .first_position = positions.begin,
          .n_tokens = positions.size(),
          .n_heads = c.n_heads,
          .scale = c.attention_scale(),
          .of_text = of_text,
          .out = scratch_->attended.data() + first_row * c.q_dim(),
          .log_sum_exp = log_sum_exp},
         input.kv, spans, slides ? WeightedRows{} : selector->weighted_rows());
  selector->attention_done(input, log_sum_exp);
}

// h += W_down (activation(W_gate x) * W_up x), x = norm(h)
void Transformer::ffn_half(const LayerWeights& w, int64_t n_tokens, float* h) {
  const ModelConfig& c = config();
  rms_norm(h, w.ffn_norm.data(), n_tokens, c.d_model, c.rms_norm_epsilon, scratch_->x.data());
  multiply(w.gate_up, scratch_->x.data(), n_tokens, scratch_->gate_up.data());
  activate(c.activation, scratch_->gate_up.data(), n_tokens, c.d_ff, scratch_->ffn.data());
  multiply(w.down, scratch_->ffn.data(), n_tokens, scratch_->delta.data());
  add_to_stream(w.post_ffn_norm, n_tokens, h);
}

// h += delta, normalised where the family does that
void Transformer::add_to_stream(const std::vector<float>& norm, int64_t n_tokens, float* h) {
  const ModelConfig& c = config();
  if (!norm.empty()) {
    rms_norm(scratch_->delta.data(), norm.data(), n_tokens, c.d_model, c.rms_norm_epsilon,
             scratch_->delta.data());
  }
  add_to(scratch_->delta.data(), n_tokens * c.d_model, h);
}

std::span<const float> Transformer::logits(int64_t index) {
  logits({index, index + 1}, logits_.data());
  return logits_;
}

void Transformer::logits(Range indices, float* out) {
  const ModelConfig& c = config();
  rms_norm(hidden() + indices.begin * c.d_model, weights_.final_norm.data(), indices.size(),
           c.d_model, c.rms_norm_epsilon, scratch_->x.data());
  multiply(weights_.lm_head, scratch_->x.data(), indices.size(), out);
}

}  // namespace chunkllm

// The forward pass of a decoder-only Transformer over a KV cache.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "kernels/attention/attention.h"
#include "model/kv_cache.h"
#include "model/weights.h"

namespace chunkllm {

// What a layer has when it asks which rows to attend to: the block's keys and values are already
// stored.
struct LayerInput {
  int64_t layer = 0;
  Range positions;           // of the block
  const float* x = nullptr;  // [n_tokens, d_model], normalised: what q_proj and k_proj read
  const float* q =
      nullptr;  // [n_tokens, n_heads, head_dim] after rotary embedding, rows q_stride apart
  int64_t q_stride = 0;  // floats
  int64_t n_heads = 0;
  float scale = 1.0f;  // of the dot products
  KvLayerView kv;
};

// Decides which cached rows each token attends to, in the layers that do not slide over a window of
// their own. The model knows nothing else about it. Calls come in the order of the passes and,
// within a block, of the layers; on one thread.
class RowSelector {
 public:
  virtual ~RowSelector() = default;

  // A block of tokens is about to run at these positions.
  virtual void begin_block(Range positions, std::span<const int32_t> tokens) = 0;

  // The rows for the block's tokens in this layer, which does not slide, as attend() wants them;
  // valid until the next call.
  virtual std::span<const AttentionSpan> rows(const LayerInput& input) = 0;

  // The weighted rows that these spans refer to; valid as long as they are.
  virtual WeightedRows weighted_rows() const { return {}; }

  // The layer's attention is done. log_sum_exp [n_tokens, n_heads] if wants_log_sum_exp(), else
  // null.
  virtual void attention_done(const LayerInput& /*input*/, const float* /*log_sum_exp*/) {}
  virtual bool wants_log_sum_exp() const { return false; }

  // The layer's output, the residual stream [n_tokens, d_model], at the positions it ran.
  virtual void layer_done(int64_t /*layer*/, Range /*positions*/, const float* /*hidden*/) {}

  // Asked after the first layer of the block at `positions`: the positions that the other layers
  // run now. They begin where these stopped before; what is left of the block waits.
  virtual Range ready(Range positions) { return positions; }
};

// Attends to everything.
class FullRows : public RowSelector {
 public:
  void begin_block(Range positions, std::span<const int32_t> tokens) override;
  std::span<const AttentionSpan> rows(const LayerInput& input) override;

 private:
  AttentionSpan span_;
};

// Attends to the last `window` tokens, the current one included.
class WindowRows {
 public:
  explicit WindowRows(int64_t window) : window_(window) {}
  // As RowSelector::rows().
  std::span<const AttentionSpan> rows(Range positions);

 private:
  int64_t window_;
  std::vector<AttentionSpan> spans_;
};

// One sequence's share of a pass: the tokens at `positions`, where their keys and values go and who
// chooses what they attend to.
struct SequenceRows {
  Range positions;
  KvCache* cache = nullptr;
  RowSelector* selector = nullptr;
  bool of_text = false;  // AttentionBlock::of_text
};

// What a pass needs beside the residual stream; nothing in it outlives the pass, so that
// Transformers whose passes never overlap may share one.
struct TransformerScratch {
  // Makes room for blocks of so many tokens.
  void reserve(const ModelConfig& config, int64_t max_tokens);

  std::vector<float> x;            // [max_tokens, d_model], normalised
  std::vector<float> qkv;          // [max_tokens, q_dim + 2 kv_dim]
  std::vector<float> attended;     // [max_tokens, q_dim]
  std::vector<float> log_sum_exp;  // [max_tokens, n_heads]
  std::vector<float> gate_up;      // [max_tokens, 2 d_ff]
  std::vector<float> ffn;          // [max_tokens, d_ff]
  std::vector<float> delta;        // [max_tokens, d_model], added to the stream
};

// Runs blocks of tokens. Owns the residual stream, not the weights, which must outlive it and may
// be shared with other Transformers as long as one thread runs at a time.
class Transformer {
 public:
  // `max_block_tokens` bounds the tokens of one forward(), `max_waiting_tokens` those that may wait
  // behind the first layer, and both the work space. Without a scratch it has one of its own.
  Transformer(const ModelWeights& weights, int64_t max_block_tokens, int64_t max_waiting_tokens = 0,
              std::shared_ptr<TransformerScratch> scratch = nullptr);

  // Runs `tokens` (at most max_block_tokens) at `first_position`, whose rows before it are in the
  // cache, through the first layer, and what the selector says is ready through the others, whose
  // output it leaves in hidden(). First-layer outputs that wait are kept for the next call, if that
  // begins where this one ends. `of_text`: the tokens are of a text that is read; attention gives
  // each the same bits however the text is cut into blocks, else each of a few the same as alone.
  // Throws Error (kData) for an id outside the vocabulary, (kInvalidArgument) beyond the cache.
  void forward(std::span<const int32_t> tokens, int64_t first_position, KvCache& cache,
               RowSelector& selector, bool of_text = false);

  // The same through the first `n_layers` layers only.
  void forward_layers(std::span<const int32_t> tokens, int64_t first_position, int64_t n_layers,
                      KvCache& cache, RowSelector& selector, bool of_text = false);

  // Runs the next token of each of several sequences, at most max_block_tokens of them, whose
  // tokens before it all ran, through all layers, and leaves the outputs in hidden() in that order.
  // What a sequence gets does not depend on the others: it is, bit for bit, what forward() gives
  // its token. Throws Error as forward() does, and for a token that its selector lets wait.
  void forward_batch(std::span<const int32_t> tokens, std::span<const SequenceRows> sequences);

  // [n_tokens, d_model] of the last forward() at the positions done(), before the final norm.
  const float* hidden() const { return h_.data() + done_row_ * config().d_model; }
  Range done() const { return done_; }

  // Logits [n_vocab] of token `index` of hidden(); valid until the next call.
  std::span<const float> logits(int64_t index);
  // Logits [indices.size(), n_vocab] of tokens of hidden(), written to `out`.
  void logits(Range indices, float* out);

  const ModelConfig& config() const { return weights_.config; }

  // Bytes of work space for a model of this shape.
  static int64_t workspace_bytes(const ModelConfig& config, int64_t max_block_tokens,
                                 int64_t max_waiting_tokens = 0);

 private:
  // cos and sin of a block's positions for one kind of layer.
  struct Rotation {
    std::vector<float> inverse_frequencies;  // [head_dim / 2]
    float scale = 1.0f;
    std::vector<float> cos, sin;  // [max_tokens, head_dim / 2]
  };
  Rotation make_rotation(const RopeConfig& rope) const;
  int64_t rows_before(int64_t first_position);
  void embed(std::span<const int32_t> tokens, float* h);
  void rotate_to(std::span<const SequenceRows> sequences);
  void run_layer(int64_t layer, std::span<const SequenceRows> sequences, float* h);
  void attention_half(const LayerWeights& w, int64_t layer, std::span<const SequenceRows> sequences,
                      int64_t n_tokens, float* h);
  // Attention of one sequence, whose tokens are the rows of the work space from first_row on.
  void attend_in(const SequenceRows& sequence, int64_t layer, int64_t first_row);
  void ffn_half(const LayerWeights& w, int64_t n_tokens, float* h);
  // y = x W^T. In a batch each token's result is the one it would have alone.
  void multiply(const Linear& w, const float* x, int64_t n_tokens, float* y) const;
  void add_to_stream(const std::vector<float>& norm, int64_t n_tokens, float* h);

  const ModelWeights& weights_;
  int64_t max_block_tokens_;
  int64_t max_waiting_tokens_;
  Rotation rotation_;          // of layers that attend to everything
  Rotation sliding_rotation_;  // of those that slide
  WindowRows window_rows_;
  bool in_batch_ = false;  // the rows of h_ belong to several sequences
  Range in_stream_;        // positions of the rows of h_, the last of which may wait
  Range done_;             // of those that are done in all layers
  int64_t done_row_ = 0;   // the first of these in h_
  std::vector<float> h_;   // [max_tokens, d_model], the residual stream; the sum of both bounds
  std::shared_ptr<TransformerScratch> scratch_;
  std::vector<float> logits_;  // [n_vocab]
};

}  // namespace chunkllm

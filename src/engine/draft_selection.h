// What a policy would attend to in a sequence that runs with full attention: what drafts of its
// next tokens attend to (self-speculation; docs/cli.md, "Exact").
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "engine/forwarding_rows.h"
#include "model/config.h"
#include "select/policy.h"

namespace chunkllm {

// Follows a sequence. What layers see of a pass is kept until its tokens are known to stay, and
// only then shown to the policy: what drafts are wrong about leaves no trace in it. For policies
// that read no more than the inputs of layers and the first one's output, as `chunk` does. One
// thread at a time.
class DraftSelection {
 public:
  // Blocks of the sequence have at most `block_tokens`.
  DraftSelection(std::unique_ptr<SelectionPolicy> policy, const ModelConfig& config,
                 int64_t block_tokens);

  // As SelectionPolicy::add_prompt().
  void add_prompt(Range positions, std::span<const int64_t> prompt_ends);

  // Hands a pass to `full`, and keeps what layers see. May be used until the next call.
  RowSelector& recorder(RowSelector& full);

  // All that the sequence has are `tokens`, and they stay. Their passes were recorded.
  void follow(std::span<const int32_t> tokens);

  // The sequence was cut to `tokens`. False if what is kept does not reach back so far: the object
  // is of no further use.
  bool truncate(std::span<const int32_t> tokens);

  // Whether drafts would attend to few enough rows to be worth it: half of them or fewer.
  bool is_sparse() const;

  // For a token after those that were followed and after others that a draft added, whose rows the
  // cache has: the rows that the last of the followed ones attended to, and all since.
  RowSelector& rows() { return rows_; }

  // Bytes of what is kept of the passes, foretold.
  static int64_t foretold_bytes(const ModelConfig& config, int64_t block_tokens);

 private:
  class Recorder : public ForwardingRows {
   public:
    Recorder(DraftSelection& to, RowSelector& full) : ForwardingRows(full), to_(to) {}
    std::span<const AttentionSpan> rows(const LayerInput& input) override;
    void layer_done(int64_t layer, Range positions, const float* hidden) override;

   private:
    DraftSelection& to_;
  };

  class Rows : public RowSelector {
   public:
    explicit Rows(const DraftSelection& from) : from_(from) {}
    void begin_block(Range, std::span<const int32_t>) override {}
    std::span<const AttentionSpan> rows(const LayerInput& input) override;

   private:
    const DraftSelection& from_;
    AttentionSpan span_;
  };

  // Rows [n, d_model] of consecutive positions from first_ on.
  using Kept = std::vector<float>;
  void keep(Kept& kept, Range positions, const float* x);
  const float* kept_at(const Kept& kept, int64_t position) const;
  // Where the policy goes on, or what it will ask for again.
  int64_t next_needed(std::span<const int32_t> tokens);
  void show(int64_t layer, Range positions);
  void drop_until(int64_t position);

  std::unique_ptr<SelectionPolicy> policy_;
  const ModelConfig& config_;
  int64_t block_tokens_;
  int64_t first_ = 0;                       // position of the first row that is kept
  std::vector<Kept> inputs_;                // [n_layers]; of layers that slide none
  Kept hidden_;                             // after the first layer
  int64_t n_followed_ = 0;                  // tokens
  int64_t n_announced_ = 0;                 // up to the end of the last prompt
  std::vector<std::vector<Range>> chosen_;  // [n_layers] rows of the last token that was followed
  std::optional<Recorder> recorder_;
  Rows rows_;
};

}  // namespace chunkllm

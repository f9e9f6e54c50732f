// One sequence on an engine: its KV cache, its policy's state, and the passes over it.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "base/cancel.h"
#include "engine/draft_selection.h"
#include "engine/engine.h"
#include "engine/mass_audit.h"
#include "model/transformer.h"
#include "select/registry.h"

namespace chunkllm {

struct SessionOptions {
  const PolicyEntry* policy = &full_policy();
  SelectionSettings selection;
  int64_t ctx = 0;  // tokens the KV cache can hold
  KvType kv_type = KvType::kF32;
  KvStorage kv_storage;
  int64_t block_tokens = 512;              // most tokens of one prefill pass
  std::string_view ctx_options = "--ctx";  // what the user sets `ctx` with, for messages
  int64_t audit_every = 0;                 // refreshes between samples of missed mass; 0: none;
                                           // beside a policy for drafts there are none
  // Beside `full`: the policy, made from adapters, whose choice drafts attend to; null: none.
  const PolicyEntry* draft_policy = nullptr;

  // The one that chooses, be it for drafts.
  const PolicyEntry& choosing_policy() const {
    return draft_policy != nullptr ? *draft_policy : *policy;
  }
};

// What was attended, counted over the passes that yield a token.
struct RetentionCount {
  int64_t n_passes = 0;
  double retention_sum = 0;       // of the mean over layers of rows attended / rows visible
  double bytes_attended_sum = 0;  // of the keys and values attended to, all layers

  RetentionCount& operator+=(const RetentionCount& other) {
    n_passes += other.n_passes;
    retention_sum += other.retention_sum;
    bytes_attended_sum += other.bytes_attended_sum;
    return *this;
  }
  double kv_retention() const {
    return n_passes > 0 ? retention_sum / static_cast<double>(n_passes) : 0;
  }
  double kv_bytes_attended() const {
    return n_passes > 0 ? bytes_attended_sum / static_cast<double>(n_passes) : 0;
  }
};

// What the tokens of prompts attended to, counted over tokens and layers.
struct PrefillCount {
  double rows_attended = 0;
  double rows_visible = 0;

  PrefillCount& operator+=(const PrefillCount& other) {
    rows_attended += other.rows_attended;
    rows_visible += other.rows_visible;
    return *this;
  }
  double retention() const { return rows_visible > 0 ? rows_attended / rows_visible : 1.0; }
};

// Refers to an engine with loaded weights, which must outlive it. One thread at a time.
class Session {
 public:
  using Progress = std::function<void(int64_t n_done, int64_t n_tokens)>;

  // Throws Error (kMemory) with the numbers if the machine has less than the session needs, or
  // (kInvalidArgument). Sessions that one thread runs may share a scratch.
  Session(const Engine& engine, const SessionOptions& options,
          std::shared_ptr<TransformerScratch> scratch = nullptr);

  // Appends prompt tokens and leaves the logits of the last one. `prompt_ends` are indices into
  // `tokens`, ascending: the last tokens before an answer. `answers`, ranges of indices, ascending
  // and disjoint, are earlier answers that are replayed: they attend as they did when they were
  // generated, and a prompt begins anew after each. Text that is an answer as a whole attends by
  // the rules of generated tokens alone, so that no token knows of later ones. A prompt may come in
  // several calls: while its last token is no prompt end it is unfinished, and its last tokens may
  // wait. Throws Error (kInvalidArgument) if there are no tokens, or more than fit; (kInterrupted)
  // when cancelled, after which the tokens that did not run wait.
  void prefill(std::span<const int32_t> tokens, std::span<const int64_t> prompt_ends,
               const Progress& progress = {}, const CancelToken* cancel = nullptr,
               std::span<const Range> answers = {});

  // Takes in a prompt as prefill() does, and runs nothing of it yet.
  void begin_prefill(std::span<const int32_t> tokens, std::span<const int64_t> prompt_ends,
                     std::span<const Range> answers = {});
  // Runs the next block of the tokens that wait, of at most `most_tokens` or as few as the policy
  // can do with, and returns whether there was one.
  bool run_some_waiting(int64_t most_tokens);

  // Takes in a generated token, which whoever calls runs in a batch (engine/decode_batch.h) before
  // anything else is done here. There are no logits here then. Throws Error (kInvalidArgument)
  // while tokens wait, or for a session that drafts.
  SequenceRows begin_decode(int32_t token);

  // Logits [positions.size(), n_vocab] of the tokens at these positions; valid during the call.
  using OnLogits = std::function<void(Range positions, std::span<const float> logits)>;

  // Appends text whose likelihood is wanted: all its tokens count as generated ones, so that no
  // token knows of later ones, and run in blocks all the same. Gives the logits of the tokens from
  // position `first` on, in pieces of a bounded size and in order, and counts what these tokens
  // attended to. Throws Error as prefill() does.
  void score(std::span<const int32_t> tokens, int64_t first, const OnLogits& on_logits,
             RetentionCount& count, const Progress& progress = {},
             const CancelToken* cancel = nullptr);

  // Appends generated tokens in one pass, one at least and no more than a block holds, and leaves
  // the logits of each; a prompt that had no end is finished.
  void decode(std::span<const int32_t> tokens);
  void decode(int32_t token) { decode({&token, 1}); }

  // Whether draft() is worth it: there is a policy for drafts, and it leaves out half of what is
  // there or more. Brings it up to the last token.
  bool can_draft();
  // Logits [n_vocab] of the last of `drafted`, which follow the sequence's own tokens; the others
  // ran so before. All layers attend by the choice that the policy for drafts made last. Changes
  // nothing of the sequence, but for logits(). Throws Error as decode() does.
  std::span<const float> draft(std::span<const int32_t> drafted);
  // From now on can_draft() is false, and nothing is kept for it.
  void stop_drafting() { drafting_.reset(); }

  // Forgets all tokens from `n_tokens` on. Where the policy's state cannot be made again there, the
  // tokens of the last chunk wait, to run with what comes next. The logits are those of no token
  // until the next pass.
  void rewind(int64_t n_tokens);
  // The same, and runs of the tokens that wait those that can.
  void truncate(int64_t n_tokens);

  // Runs what can run of the tokens that wait, block by block.
  void run_waiting(const Progress& progress = {}, const CancelToken* cancel = nullptr);

  // How a token came in: what the policy was told of it, and must be told when it runs again.
  enum class Origin : uint8_t { kGenerated, kPrompt, kPromptEnd };

  // One a token of a prefill. Throws Error (kInvalidArgument) for answers that are no such ranges.
  static std::vector<Origin> origins_of(int64_t n_tokens, std::span<const int64_t> prompt_ends,
                                        std::span<const Range> answers);

  // Throws Error (kInvalidArgument) if so many tokens are more than the context.
  void check_fits(int64_t n_tokens) const;

  // Fills an empty session with a prefix that another one computed: tokens, their origins and the
  // policy's state, from which the session then rewinds to `n_tokens`. Returns n_done(), for which
  // `store_rows` must put keys and values into cache(). Throws Error (kData) for a state that no
  // sequence of these tokens has; the session is then of no further use.
  int64_t restore(std::span<const int32_t> tokens, std::span<const Origin> origins,
                  const PolicyState& state, int64_t n_tokens,
                  const std::function<void(KvCache& cache, int64_t n_tokens)>& store_rows);

  // Logits [n_vocab] of the token that so many of the last pass follow; valid until the next call.
  // Throws Error (kInvalidArgument) while tokens wait, or where the last pass was a batch's.
  std::span<const float> logits(int64_t n_behind = 0);

  // Tokens that ran through all layers; the others wait.
  int64_t n_done() const { return policy_->n_done(); }
  int64_t n_tokens() const { return static_cast<int64_t>(tokens_.size()); }
  std::span<const int32_t> tokens() const { return tokens_; }
  std::span<const Origin> origins() const { return origins_; }  // one a token
  const SessionOptions& options() const { return options_; }
  const Engine& engine() const { return engine_; }
  SelectionPolicy& policy() { return *policy_; }
  const SelectionPolicy& policy() const { return *policy_; }
  const KvCache& cache() const { return cache_; }

  // What selections missed so far, of the samples that the options ask for; null without.
  const MissedMassReport* missed_mass() const { return audit_ ? &audit_->report() : nullptr; }
  // Of all prompt tokens that were run.
  const PrefillCount& prefill_count() const { return prefill_count_; }
  // Adds the last pass to `count`.
  void count_pass(RetentionCount& count) const;
  int64_t kv_bytes_stored() const { return n_tokens() * cache_.bytes_per_position(); }
  int64_t kv_bytes_resident() const { return cache_.resident_bytes(n_tokens()); }

 private:
  std::unique_ptr<SelectionPolicy> made_policy(const PolicyEntry& policy,
                                               const SelectionSettings& settings) const;
  void check_ids(std::span<const int32_t> tokens) const;
  // Takes in tokens that then wait, and tells the policy of them.
  void append(std::span<const int32_t> tokens, std::span<const Origin> origins);
  void announce(Range positions);
  // Runs one block of the tokens that wait, asking `selector`, and returns its positions; empty if
  // there is none.
  Range run_block(RowSelector& selector, const CancelToken* cancel) {
    return run_block(selector, cancel, needs_.least_tokens);
  }
  Range run_block(RowSelector& selector, const CancelToken* cancel, int64_t most_tokens);
  void count_prompt_rows(Range done, int64_t rows_attended);

  const Engine& engine_;
  SessionOptions options_;
  BlockNeeds needs_;
  int64_t least_block_;  // tokens that the policy's blocks must have room for
  KvCache cache_;
  Transformer transformer_;
  std::vector<int32_t> special_ids_;
  std::unique_ptr<SelectionPolicy> policy_;
  std::optional<MassAudit> audit_;
  std::optional<AuditedRows> audited_rows_;  // of the token that runs in a batch
  std::unique_ptr<DraftSelection> drafting_;
  std::vector<int32_t> tokens_;
  std::vector<Origin> origins_;
  int64_t text_end_ = 0;  // tokens before it came in as a text, not one after the other
  PrefillCount prefill_count_;
  bool ran_last_ = true;  // the last pass was the session's own
};

}  // namespace chunkllm

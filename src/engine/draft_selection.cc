#include "engine/draft_selection.h"

#include <algorithm>
#include <utility>

namespace chunkllm {
namespace {

// Rows behind the policy that stay, so that a sequence may be cut a little: more than a chunk.
constexpr int64_t kTailTokens = 256;

// Behind a block lie at most two tails (DraftSelection::drop_until()) and what waits.
int64_t most_kept(int64_t block_tokens) { return block_tokens + 3 * kTailTokens; }

}  // namespace

DraftSelection::DraftSelection(std::unique_ptr<SelectionPolicy> policy, const ModelConfig& config,
                               int64_t block_tokens)
    : policy_(std::move(policy)),
      config_(config),
      block_tokens_(block_tokens),
      inputs_(static_cast<size_t>(config.n_layers)),
      chosen_(static_cast<size_t>(config.n_layers)),
      rows_(*this) {}

void DraftSelection::add_prompt(Range positions, std::span<const int64_t> prompt_ends) {
  policy_->add_prompt(positions, prompt_ends);
  n_announced_ = positions.end;
}

RowSelector& DraftSelection::recorder(RowSelector& full) { return recorder_.emplace(*this, full); }

std::span<const AttentionSpan> DraftSelection::Recorder::rows(const LayerInput& input) {
  to_.keep(to_.inputs_[static_cast<size_t>(input.layer)], input.positions, input.x);
  return ForwardingRows::rows(input);
}

void DraftSelection::Recorder::layer_done(int64_t layer, Range positions, const float* hidden) {
  if (layer == 0) to_.keep(to_.hidden_, positions, hidden);
  ForwardingRows::layer_done(layer, positions, hidden);
}

void DraftSelection::keep(Kept& kept, Range positions, const float* x) {
  kept.reserve(static_cast<size_t>(most_kept(block_tokens_) * config_.d_model));
  // A pass at positions that ran before stands in for them.
  kept.resize(static_cast<size_t>((positions.begin - first_) * config_.d_model));
  kept.insert(kept.end(), x, x + positions.size() * config_.d_model);
}

const float* DraftSelection::kept_at(const Kept& kept, int64_t position) const {
  return kept.data() + (position - first_) * config_.d_model;
}

void DraftSelection::show(int64_t layer, Range positions) {
  if (config_.slides(layer)) return;
  const auto at = static_cast<size_t>(layer);
  LayerInput input;
  input.layer = layer;
  input.positions = positions;
  input.x = kept_at(inputs_[at], positions.begin);
  input.n_heads = config_.n_heads;
  const std::span<const AttentionSpan> spans = policy_->rows(input);
  if (!spans.empty()) chosen_[at].assign(spans.back().rows.begin(), spans.back().rows.end());
}

void DraftSelection::follow(std::span<const int32_t> tokens) {
  for (Range block; !(block = policy_->next_block(tokens, block_tokens_)).empty();) {
    policy_->begin_block(
        block, tokens.subspan(static_cast<size_t>(block.begin), static_cast<size_t>(block.size())));
    show(0, block);
    policy_->layer_done(0, block, kept_at(hidden_, block.begin));
    const Range run = policy_->ready(block);
    if (run.empty()) continue;
    for (int64_t layer = 1; layer < config_.n_layers; ++layer) show(layer, run);
  }
  n_followed_ = std::ssize(tokens);
  drop_until(next_needed(tokens) - kTailTokens);
}

int64_t DraftSelection::next_needed(std::span<const int32_t> tokens) {
  return std::min(policy_->n_done(), policy_->next_block(tokens, block_tokens_).begin);
}

// Moving what stays is paid for by a good many tokens.
void DraftSelection::drop_until(int64_t position) {
  if (position < first_ + kTailTokens) return;
  const int64_t n_floats = (position - first_) * config_.d_model;
  for (Kept& kept : inputs_) {
    if (!kept.empty()) kept.erase(kept.begin(), kept.begin() + n_floats);
  }
  hidden_.erase(hidden_.begin(), hidden_.begin() + n_floats);
  first_ = position;
}

bool DraftSelection::truncate(std::span<const int32_t> tokens) {
  const int64_t n = std::ssize(tokens);
  if (n >= std::max(n_followed_, n_announced_)) return true;  // the next pass cuts what ran since
  policy_->truncate(n);
  n_followed_ = std::min(n_followed_, n);
  n_announced_ = std::min(n_announced_, n);
  const int64_t needed = next_needed(tokens);
  if (needed >= first_) return true;
  if (needed < n) return false;
  for (Kept& kept : inputs_) kept.clear();
  hidden_.clear();
  first_ = n;
  return true;
}

bool DraftSelection::is_sparse() const {
  int64_t attended = 0;
  int64_t visible = 0;
  for (int64_t layer = 0; layer < config_.n_layers; ++layer) {
    if (config_.slides(layer)) continue;
    attended += policy_->rows_attended(layer);
    visible += n_followed_;
  }
  return policy_->n_done() == n_followed_ && 2 * attended <= visible;
}

std::span<const AttentionSpan> DraftSelection::Rows::rows(const LayerInput& input) {
  const std::vector<Range>& chosen = from_.chosen_[static_cast<size_t>(input.layer)];
  span_.queries = input.positions;
  span_.rows.assign(chosen.begin(), chosen.end());
  append_merged(span_.rows, {from_.n_followed_, input.positions.end});
  return {&span_, 1};
}

int64_t DraftSelection::foretold_bytes(const ModelConfig& config, int64_t block_tokens) {
  return (config.n_layers + 1) * most_kept(block_tokens) * config.d_model * 4;
}

}  // namespace chunkllm

#include "engine/session.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/error.h"
#include "engine/session_memory.h"

namespace chunkllm {
namespace {

constexpr int64_t kMostLogits = int64_t{1} << 24;  // that score() holds at once: 64 MiB

// Hands everything on to a policy, and counts what the tokens from a position on attend to.
class ScoredRows : public ForwardingRows {
 public:
  ScoredRows(RowSelector& policy, const ModelConfig& config, int64_t first, int64_t row_bytes)
      : ForwardingRows(policy), config_(config), first_(first), row_bytes_(row_bytes) {}

  std::span<const AttentionSpan> rows(const LayerInput& input) override {
    const std::span<const AttentionSpan> spans = ForwardingRows::rows(input);
    for (const AttentionSpan& span : spans) {
      for (int64_t t = std::max(span.queries.begin, first_); t < span.queries.end; ++t) {
        int64_t n_rows = 0;
        for (const Range& rows : span.rows) {
          n_rows += std::max<int64_t>(0, std::min(rows.end, t + 1) - rows.begin);
        }
        add(static_cast<double>(n_rows + span.weighted.size()), t);
      }
    }
    return spans;
  }

  // Of the positions from `first` to `n_tokens`, all of which ran.
  RetentionCount count(int64_t n_tokens) {
    // A layer that slides attends to all that it can see, and asks nobody.
    for (int64_t layer = 0; layer < config_.n_layers; ++layer) {
      if (!config_.slides(layer)) continue;
      for (int64_t t = first_; t < n_tokens; ++t) {
        const auto visible = static_cast<double>(config_.rows_visible(layer, t + 1));
        count_.retention_sum += 1.0;
        count_.bytes_attended_sum += visible * static_cast<double>(row_bytes_);
      }
    }
    count_.n_passes = n_tokens - first_;
    count_.retention_sum /= static_cast<double>(config_.n_layers);
    return count_;
  }

 private:
  void add(double n_rows, int64_t t) {
    count_.retention_sum += n_rows / static_cast<double>(t + 1);
    count_.bytes_attended_sum += n_rows * static_cast<double>(row_bytes_);
  }

  const ModelConfig& config_;
  int64_t first_;
  int64_t row_bytes_;
  RetentionCount count_;  // until count() the sum over layers, too
};

// Of the policy whose choice drafts attend to: what the sequence itself attends to is everything.
SelectionSettings settings_for_drafts(SelectionSettings settings) {
  settings.prefill = PrefillKind::kFull;
  settings.remainder = false;
  return settings;
}

// Throws before anything of the session is allocated.
const SessionOptions& checked(const Engine& engine, const SessionOptions& options) {
  require_adapter(*options.policy, engine.adapters());
  if (options.draft_policy != nullptr) {
    require_adapter(*options.draft_policy, engine.adapters());
    if (options.policy->selects() || !options.draft_policy->needs_adapter()) {
      fail(ErrorCode::kInvalidArgument, "policy '{}' makes no drafts for '{}'",
           options.draft_policy->name, options.policy->name);
    }
  }
  require_session_memory(engine, options);
  return options;
}

int64_t least_block(const Engine& engine, SessionOptions options) {
  options.block_tokens = 1;
  return block_needs(engine, options).least_tokens;
}

}  // namespace

Session::Session(const Engine& engine, const SessionOptions& options,
                 std::shared_ptr<TransformerScratch> scratch)
    : engine_(engine),
      options_(checked(engine, options)),
      needs_(block_needs(engine, options)),
      least_block_(least_block(engine, options)),
      cache_(engine.config(), options.ctx, options.kv_type, options.kv_storage),
      transformer_(engine.weights(), needs_.least_tokens, needs_.waiting_tokens,
                   std::move(scratch)),
      special_ids_(engine.special_ids()),
      policy_(made_policy(*options.policy, options.selection)) {
  if (options.draft_policy == nullptr && options.audit_every > 0) {
    audit_.emplace(*policy_, engine.config(), options.audit_every);
  }
  if (options.draft_policy != nullptr) {
    drafting_ = std::make_unique<DraftSelection>(
        made_policy(*options.draft_policy, settings_for_drafts(options.selection)), engine.config(),
        needs_.least_tokens);
  }
  tokens_.reserve(static_cast<size_t>(options.ctx));
  origins_.reserve(static_cast<size_t>(options.ctx));
}

std::unique_ptr<SelectionPolicy> Session::made_policy(const PolicyEntry& policy,
                                                      const SelectionSettings& settings) const {
  return make_policy(policy, {.model = &engine_.config(),
                              .adapter = adapter_for(policy, engine_.adapters()),
                              .settings = settings,
                              .special_ids = special_ids_,
                              .token_marks = engine_.token_marks()});
}

void Session::check_fits(int64_t n_tokens) const {
  if (n_tokens <= options_.ctx) return;
  fail(ErrorCode::kInvalidArgument, "{} tokens do not fit the context of {}; use a larger {}",
       n_tokens, options_.ctx, options_.ctx_options);
}

// Before the policy hears of them: a refused token leaves the state as it was.
void Session::check_ids(std::span<const int32_t> tokens) const {
  for (const int32_t token : tokens) {
    if (token < 0 || token >= engine_.config().n_vocab) {
      fail(ErrorCode::kData,
           "token id {} is outside the model's vocabulary of {}; is the tokenizer its own?", token,
           engine_.config().n_vocab);
    }
  }
}

void Session::append(std::span<const int32_t> tokens, std::span<const Origin> origins) {
  const int64_t begin = n_tokens();
  tokens_.insert(tokens_.end(), tokens.begin(), tokens.end());
  origins_.insert(origins_.end(), origins.begin(), origins.end());
  announce({begin, n_tokens()});
}

Range Session::run_block(RowSelector& selector, const CancelToken* cancel, int64_t most_tokens) {
  const Range block = policy_->next_block(tokens_, most_tokens);
  if (block.empty()) return block;
  if (cancel != nullptr) cancel->check();
  ran_last_ = true;
  const int64_t n_done_before = n_done();
  const int64_t rows_before = policy_->prompt_rows_attended();
  const auto tokens = std::span(tokens_).subspan(static_cast<size_t>(block.begin),
                                                 static_cast<size_t>(block.size()));
  const bool of_text = block.begin < text_end_;
  if (audit_) {
    AuditedRows audited(selector, *audit_, n_done_before);
    transformer_.forward(tokens, block.begin, cache_, audited, of_text);
  } else if (drafting_) {
    drafting_->follow(std::span(tokens_).first(static_cast<size_t>(block.begin)));
    transformer_.forward(tokens, block.begin, cache_, drafting_->recorder(selector), of_text);
  } else {
    transformer_.forward(tokens, block.begin, cache_, selector, of_text);
  }
  count_prompt_rows({n_done_before, n_done()}, policy_->prompt_rows_attended() - rows_before);
  return block;
}

void Session::run_waiting(const Progress& progress, const CancelToken* cancel) {
  int64_t n_run = 0;
  for (Range block; !(block = run_block(*policy_, cancel)).empty();) {
    n_run += block.size();
    if (progress) progress(n_run, n_run + n_tokens() - block.end);
  }
}

void Session::count_prompt_rows(Range done, int64_t rows_attended) {
  const ModelConfig& config = engine_.config();
  const bool selects = options_.policy->selects();
  prefill_count_.rows_attended += static_cast<double>(rows_attended);
  for (int64_t t = done.begin; t < done.end; ++t) {
    if (origins_[static_cast<size_t>(t)] == Origin::kGenerated) continue;
    for (int64_t layer = 0; layer < config.n_layers; ++layer) {
      const auto visible = static_cast<double>(config.rows_visible(layer, t + 1));
      prefill_count_.rows_visible += visible;
      // A layer that slides attends to all that it can see.
      if (!selects || config.slides(layer)) prefill_count_.rows_attended += visible;
    }
  }
}

// Runs of prompt tokens, each with the prompt ends in it; answers in between are not announced.
void Session::announce(Range positions) {
  const auto origin = [&](int64_t t) { return origins_[static_cast<size_t>(t)]; };
  for (int64_t begin = positions.begin; begin < positions.end;) {
    int64_t end = begin;
    std::vector<int64_t> prompt_ends;
    for (; end < positions.end && origin(end) != Origin::kGenerated; ++end) {
      if (origin(end) == Origin::kPromptEnd) prompt_ends.push_back(end);
    }
    if (end > begin) {
      policy_->add_prompt({begin, end}, prompt_ends);
      if (drafting_) drafting_->add_prompt({begin, end}, prompt_ends);
    }
    begin = std::max(end, begin + 1);
  }
}

void Session::prefill(std::span<const int32_t> tokens, std::span<const int64_t> prompt_ends,
                      const Progress& progress, const CancelToken* cancel,
                      std::span<const Range> answers) {
  begin_prefill(tokens, prompt_ends, answers);
  run_waiting(progress, cancel);
}

void Session::begin_prefill(std::span<const int32_t> tokens, std::span<const int64_t> prompt_ends,
                            std::span<const Range> answers) {
  const auto n = static_cast<int64_t>(tokens.size());
  if (n == 0) fail(ErrorCode::kInvalidArgument, "the prompt is empty; give at least one token");
  check_fits(n_tokens() + n);
  check_ids(tokens);
  if (!std::ranges::is_sorted(prompt_ends) ||
      (!prompt_ends.empty() && (prompt_ends.front() < 0 || prompt_ends.back() >= n))) {
    fail(ErrorCode::kInvalidArgument, "prompt ends must be ascending indices into the {} tokens",
         n);
  }
  append(tokens, origins_of(n, prompt_ends, answers));
  text_end_ = n_tokens();
}

bool Session::run_some_waiting(int64_t most_tokens) {
  return !run_block(*policy_, nullptr, std::clamp(most_tokens, least_block_, needs_.least_tokens))
              .empty();
}

SequenceRows Session::begin_decode(int32_t token) {
  if (n_done() < n_tokens() || drafting_) {
    fail(ErrorCode::kInvalidArgument,
         "a session joins a batch when all its tokens ran and it drafts none");
  }
  check_fits(n_tokens() + 1);
  check_ids({&token, 1});
  append({&token, 1}, std::array{Origin::kGenerated});
  ran_last_ = false;
  const Range block = policy_->next_block(tokens_, needs_.least_tokens);
  RowSelector* selector = policy_.get();
  if (audit_) selector = &audited_rows_.emplace(*policy_, *audit_, block.begin);
  return {block, &cache_, selector};
}

std::vector<Session::Origin> Session::origins_of(int64_t n_tokens,
                                                 std::span<const int64_t> prompt_ends,
                                                 std::span<const Range> answers) {
  std::vector<Origin> origins(static_cast<size_t>(n_tokens), Origin::kPrompt);
  int64_t last_end = 0;
  for (const Range& answer : answers) {
    if (answer.begin < last_end || answer.end < answer.begin || answer.end > n_tokens) {
      fail(ErrorCode::kInvalidArgument,
           "answers must be ascending, disjoint ranges of the {} tokens", n_tokens);
    }
    std::fill(origins.begin() + answer.begin, origins.begin() + answer.end, Origin::kGenerated);
    last_end = answer.end;
  }
  for (const int64_t end : prompt_ends) origins[static_cast<size_t>(end)] = Origin::kPromptEnd;
  return origins;
}

void Session::decode(std::span<const int32_t> tokens) {
  check_fits(n_tokens() + std::ssize(tokens));
  check_ids(tokens);
  append(tokens, std::vector<Origin>(tokens.size(), Origin::kGenerated));
  run_waiting();
}

bool Session::can_draft() {
  if (!drafting_) return false;
  drafting_->follow(tokens_);
  return drafting_->is_sparse();
}

std::span<const float> Session::draft(std::span<const int32_t> drafted) {
  check_fits(n_tokens() + std::ssize(drafted));
  check_ids(drafted);
  transformer_.forward(drafted.last(1), n_tokens() + std::ssize(drafted) - 1, cache_,
                       drafting_->rows());
  return transformer_.logits(0);
}

void Session::score(std::span<const int32_t> tokens, int64_t first, const OnLogits& on_logits,
                    RetentionCount& count, const Progress& progress, const CancelToken* cancel) {
  const auto n = static_cast<int64_t>(tokens.size());
  check_fits(n_tokens() + n);
  check_ids(tokens);
  append(tokens, std::vector<Origin>(tokens.size(), Origin::kGenerated));
  text_end_ = n_tokens();
  const ModelConfig& config = engine_.config();
  const auto n_vocab = static_cast<int64_t>(config.n_vocab);
  const int64_t piece = std::max<int64_t>(1, kMostLogits / n_vocab);
  std::vector<float> logits(static_cast<size_t>(std::min(piece, needs_.least_tokens) * n_vocab));
  ScoredRows selector(*policy_, config, first, cache_.bytes_per_position() / config.n_layers);
  int64_t n_run = 0;
  for (Range block; !(block = run_block(selector, cancel)).empty();) {
    const Range done = transformer_.done();
    for (int64_t t = std::max(done.begin, first); t < done.end;) {
      const Range part{t, std::min({done.end, t + piece, t + needs_.least_tokens})};
      transformer_.logits({part.begin - done.begin, part.end - done.begin}, logits.data());
      on_logits(part, std::span(logits).first(static_cast<size_t>(part.size() * n_vocab)));
      t = part.end;
    }
    n_run += block.size();
    if (progress) progress(n_run, n_run + n_tokens() - block.end);
  }
  count += selector.count(n_tokens());
}

void Session::truncate(int64_t n_tokens) {
  rewind(n_tokens);
  run_waiting();
}

void Session::rewind(int64_t n_tokens) {
  if (n_tokens < 0 || n_tokens > this->n_tokens()) {
    fail(ErrorCode::kInvalidArgument, "cannot go back to {} tokens; the sequence has {}", n_tokens,
         this->n_tokens());
  }
  policy_->truncate(n_tokens);
  tokens_.resize(static_cast<size_t>(n_tokens));
  origins_.resize(static_cast<size_t>(n_tokens));
  text_end_ = std::min(text_end_, n_tokens);
  if (drafting_ && !drafting_->truncate(tokens_)) drafting_.reset();
}

int64_t Session::restore(std::span<const int32_t> tokens, std::span<const Origin> origins,
                         const PolicyState& state, int64_t n_tokens,
                         const std::function<void(KvCache&, int64_t)>& store_rows) {
  if (!tokens_.empty() || origins.size() != tokens.size()) {
    fail(ErrorCode::kInvalidArgument,
         "only an empty session can take in a saved prefix, with an origin a token");
  }
  check_ids(tokens);
  tokens_.assign(tokens.begin(), tokens.end());
  origins_.assign(origins.begin(), origins.end());
  text_end_ = this->n_tokens();
  drafting_.reset();  // what layers saw of the prefix is not saved
  announce({0, this->n_tokens()});
  policy_->restore(tokens, state);
  rewind(n_tokens);
  check_fits(n_tokens);
  store_rows(cache_, n_done());
  return n_done();
}

std::span<const float> Session::logits(int64_t n_behind) {
  if (n_done() < n_tokens()) {
    fail(ErrorCode::kInvalidArgument,
         "{} of {} tokens wait: there are no logits before the prompt has its end",
         n_tokens() - n_done(), n_tokens());
  }
  if (!ran_last_) {
    fail(ErrorCode::kInvalidArgument,
         "the logits of a batch are where it ran, not in its sessions");
  }
  return transformer_.logits(transformer_.done().size() - 1 - n_behind);
}

void Session::count_pass(RetentionCount& count) const {
  const ModelConfig& config = engine_.config();
  int64_t rows = 0;
  double retention = 0.0;
  for (int64_t layer = 0; layer < config.n_layers; ++layer) {
    // A layer that slides attends to all that it can see.
    const int64_t visible = config.rows_visible(layer, n_tokens());
    const int64_t attended = config.slides(layer) ? visible : policy_->rows_attended(layer);
    rows += attended;
    retention += static_cast<double>(attended) / static_cast<double>(visible);
  }
  ++count.n_passes;
  count.retention_sum += retention / static_cast<double>(config.n_layers);
  const int64_t row_bytes = cache_.bytes_per_position() / config.n_layers;
  count.bytes_attended_sum += static_cast<double>(rows) * static_cast<double>(row_bytes);
}

}  // namespace chunkllm

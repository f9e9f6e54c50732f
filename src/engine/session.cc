#include "engine/session.h"

#include <algorithm>

#include "base/error.h"
#include "base/memory.h"

namespace chunkllm {

SessionMemory session_memory(const ModelConfig& config, const AdapterConfig* adapter,
                             const SessionOptions& options) {
  constexpr int64_t kTokensPerChunk = 16;
  SessionMemory memory;
  memory.kv_bytes = options.ctx * kv_bytes_per_position(config, options.kv_type);
  memory.workspace_bytes = Transformer::workspace_bytes(config, options.block_tokens);
  if (options.policy == PolicyKind::kChunk && adapter != nullptr) {
    const int64_t n_selecting =
        adapter->n_layers - static_cast<int64_t>(adapter->backbone_layers.size());
    memory.chunk_index_bytes =
        options.ctx / kTokensPerChunk * n_selecting * 2 * adapter->adapter_dim * 4;
  }
  return memory;
}

void require_session_memory(const Engine& engine, const SessionOptions& options) {
  if (options.ctx < 1) {
    fail(ErrorCode::kInvalidArgument, "--ctx {} must be at least 1", options.ctx);
  }
  const bool smallest =
      options.kv_type == KvType::kQ8_0 || !kv_type_fits(KvType::kQ8_0, engine.config().head_dim);
  const char* advice = smallest ? "try a smaller --ctx" : "try --kv-type q8_0 or a smaller --ctx";
  const std::string cache = fmt::format("the KV cache at {} tokens", options.ctx);
  const int64_t session_bytes =
      session_memory(engine.config(), engine.adapter() ? &engine.adapter()->config : nullptr,
                     options)
          .total_bytes();
  require_memory(session_bytes, cache, advice);
  if (engine.has_weights()) return;
  require_memory(session_bytes + engine.weights_bytes(), "the weights and " + cache, advice);
}

namespace {

// Throws before anything of the session is allocated.
const SessionOptions& checked(const Engine& engine, const SessionOptions& options) {
  require_session_memory(engine, options);
  return options;
}

}  // namespace

Session::Session(const Engine& engine, const SessionOptions& options)
    : engine_(engine),
      options_(checked(engine, options)),
      cache_(engine.config(), options.ctx, options.kv_type),
      transformer_(engine.weights(), options.block_tokens),
      policy_(
          make_policy(options.policy, options.selection, engine.adapter(), engine.special_ids())) {
  tokens_.reserve(static_cast<size_t>(options.ctx));
  origins_.reserve(static_cast<size_t>(options.ctx));
}

void Session::check_fits(int64_t n_tokens) const {
  if (n_tokens <= options_.ctx) return;
  fail(ErrorCode::kInvalidArgument, "{} tokens do not fit the context of {}; use a larger --ctx",
       n_tokens, options_.ctx);
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

void Session::run(std::span<const int32_t> tokens) {
  transformer_.forward(tokens, n_tokens(), cache_, *policy_);
  tokens_.insert(tokens_.end(), tokens.begin(), tokens.end());
  last_block_tokens_ = static_cast<int64_t>(tokens.size());
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
    if (end > begin) policy_->add_prompt({begin, end}, prompt_ends);
    begin = std::max(end, begin + 1);
  }
}

void Session::prefill(std::span<const int32_t> tokens, std::span<const int64_t> prompt_ends,
                      const Progress& progress, const CancelToken* cancel,
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
  const std::vector<Origin> origins = origins_of(n, prompt_ends, answers);
  for (int64_t done = 0; done < n;) {
    if (cancel != nullptr) cancel->check();
    const int64_t end = std::min(n, done + options_.block_tokens);
    const Range positions{n_tokens(), n_tokens() + end - done};
    origins_.insert(origins_.end(), origins.begin() + done, origins.begin() + end);
    announce(positions);
    run(tokens.subspan(static_cast<size_t>(done), static_cast<size_t>(end - done)));
    done = end;
    if (progress) progress(done, n);
  }
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

void Session::decode(int32_t token) {
  check_fits(n_tokens() + 1);
  check_ids({&token, 1});
  run({&token, 1});
  origins_.push_back(Origin::kGenerated);
}

void Session::truncate(int64_t n_tokens) {
  if (n_tokens < 0 || n_tokens > this->n_tokens()) {
    fail(ErrorCode::kInvalidArgument, "cannot go back to {} tokens; the sequence has {}", n_tokens,
         this->n_tokens());
  }
  const std::vector<int32_t> tokens(tokens_.begin(), tokens_.begin() + n_tokens);
  const std::vector<Origin> origins(origins_.begin(), origins_.begin() + n_tokens);
  for (auto i = static_cast<size_t>(rewind(n_tokens)); i < tokens.size(); ++i) {
    if (origins[i] == Origin::kGenerated) {
      decode(tokens[i]);
    } else {
      const int64_t end = 0;
      const bool is_end = origins[i] == Origin::kPromptEnd;
      prefill({&tokens[i], 1}, {&end, is_end ? size_t{1} : size_t{0}});
    }
  }
}

int64_t Session::rewind(int64_t n_tokens) {
  if (n_tokens < 0 || n_tokens > this->n_tokens()) {
    fail(ErrorCode::kInvalidArgument, "cannot go back to {} tokens; the sequence has {}", n_tokens,
         this->n_tokens());
  }
  const int64_t restored = policy_->truncate(n_tokens);
  tokens_.resize(static_cast<size_t>(restored));
  origins_.resize(static_cast<size_t>(restored));
  return restored;
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
  announce({0, this->n_tokens()});
  policy_->restore(tokens, state);
  const int64_t restored = rewind(n_tokens);
  check_fits(this->n_tokens());
  store_rows(cache_, restored);
  return restored;
}

std::span<const float> Session::logits() { return transformer_.logits(last_block_tokens_ - 1); }

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

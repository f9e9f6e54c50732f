// What the commands that answer prompts share: their options, and the session they run.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cli/common.h"
#include "cli/prompt_source.h"
#include "engine/generate.h"

namespace chunkllm::cli {

// The options of `generate` and `chat` alike.
struct CompletionArgs {
  EngineArgs engine;
  SelectionArgs selection;
  std::string policy;
  std::optional<KvType> kv_type;
  KvStorageArgs kv_storage;
  ChatFormat chat_format;
  int64_t ctx = 0;  // 0: as needed
  bool ignore_eos = false;
  bool exact = false;
  int64_t audit_every = 0;  // 0: none
  GenerateOptions generate;
};
void add_completion_options(CLI::App& app, CompletionArgs& args);
// Those of the engine and of what tokens attend to alone.
void add_policy_options(CLI::App& app, CompletionArgs& args);

// --audit.
CLI::Option* add_audit_option(CLI::App& app, CompletionArgs& args);

// The name, beside those of the policies, that leaves the choice to settle_policy().
inline constexpr char kAutoPolicy[] = "auto";

// The engine, without its weights, and all else that follows from the options. Throws Error
// (kInvalidArgument) for options that cannot be used, before anything is read.
struct Completer {
  Engine engine;
  SessionOptions session;    // but for ctx
  GenerateOptions generate;  // ends and bans filled in
  bool auto_policy = false;  // settle_policy() has to choose
};
std::unique_ptr<Completer> open_completer(const CompletionArgs& args);

// Chooses between `full` and the default policy if --policy auto asks for it, for contexts of
// `n_tokens`, by what is faster on this machine with this model, and says so on stderr. The weights
// must be loaded, and the session's context must be settled.
void settle_policy(Completer& completer, int64_t n_tokens);

// Warns on stderr of a --ctx beyond the positions that the model was made for.
void warn_of_long_ctx(int64_t ctx, const ModelConfig& config);

}  // namespace chunkllm::cli

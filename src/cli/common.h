// What all commands share: options, the terminal, interruption and how errors end the program.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/cancel.h"
#include "base/timer.h"
#include "engine/engine.h"
#include "kernels/attention/attention.h"
#include "select/settings.h"

namespace chunkllm::cli {

// The most tokens that any option may ask for: positions have 31 bits.
inline constexpr int64_t kMaxTokens = int64_t{1} << 30;

// --model, --adapter, --dtype, --threads.
struct EngineArgs {
  std::string model;
  std::string adapter;
  std::string dtype = "auto";
  int threads = 0;  // 0: usable_cores()
};
void add_engine_options(CLI::App& app, EngineArgs& args, bool with_adapter);
// Sets the number of threads, then opens the engine without its weights.
Engine open_engine(const EngineArgs& args);

// --kv-budget, --kv-budget-min, --top-k-chunks, --window, --sink, --refresh, --prefill.
struct SelectionArgs {
  std::optional<std::string> kv_budget;
  std::optional<int64_t> kv_budget_min;
  std::optional<int64_t> top_k_chunks;
  std::optional<int64_t> window;
  std::optional<int64_t> sink;
  std::string refresh = "prompt-end";
  std::string prefill = "chunk";
};
void add_selection_options(CLI::App& app, SelectionArgs& args);
// Throws Error (kInvalidArgument) for impossible values or combinations.
SelectionSettings to_settings(const SelectionArgs& args);

// "full", "chunk"; an empty name is `fallback`. Throws Error (kInvalidArgument) that lists
// `choices`.
PolicyKind parse_policy(const std::string& name, PolicyKind fallback, const char* choices);
const char* policy_name(PolicyKind kind);

// --kv-type bf16|f32; empty: bf16 with bf16 products, else f32.
void add_kv_type_option(CLI::App& app, std::string& kv_type);
KvType parse_kv_type(const std::string& name, Precision precision);
const char* kv_type_name(KvType type);

// Ctrl-C sets this token; a second one ends the program at once.
CancelToken& interrupt_token();
// Whether it was SIGTERM: the program is to end, whatever it can go on with.
bool termination_requested();

// A bar with rate and time left on stderr, from the third second on and only on a terminal. The
// destructor removes it.
class ProgressBar {
 public:
  ProgressBar(std::string label, std::string unit);
  ~ProgressBar();
  void update(int64_t n_done, int64_t n_total);

 private:
  std::string label_;
  std::string unit_;
  Timer timer_;
  double last_drawn_seconds_ = 0;
  bool drawn_ = false;
};

// The subcommands; each adds itself to `app` and runs when the parsed command line names it.
void add_generate_command(CLI::App& app);
void add_chat_command(CLI::App& app);
void add_inspect_command(CLI::App& app);
void add_bench_command(CLI::App& app);
void add_train_command(CLI::App& app);
void add_quantize_command(CLI::App& app);

}  // namespace chunkllm::cli

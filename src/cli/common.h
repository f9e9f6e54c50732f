// What all commands share: options, the terminal, interruption and how errors end the program.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/cancel.h"
#include "base/enum_names.h"
#include "base/timer.h"
#include "cli/selection_options.h"
#include "engine/engine.h"
#include "kernels/attention/attention.h"
#include "model/kv_cache.h"
#include "select/registry.h"

namespace chunkllm::cli {

// The most tokens that any option may ask for: positions have 31 bits.
inline constexpr int64_t kMaxTokens = int64_t{1} << 30;

// The value of --adapter that keeps adapters from being looked for.
inline constexpr char kNoAdapter[] = "none";

// --model.
void add_model_option(CLI::App& app, std::string& model);

// --model, --adapter, --dtype, --threads.
struct EngineArgs {
  std::string model;
  std::vector<std::string> adapters;  // empty: those that are found; kNoAdapter alone: none
  DtypeChoice dtype = DtypeChoice::kAuto;
  int threads = 0;  // 0: usable_cores()
  bool no_pack_cache = false;
};
void add_engine_options(CLI::App& app, EngineArgs& args, bool with_adapter);
// Sets the number of threads, then opens the engine without its weights.
Engine open_engine(const EngineArgs& args);
// Loads its weights, keeps a packed copy of them for the next time, and says on stderr if it made
// one or why there is none.
void load_weights(Engine& engine);
// Looks for the adapters of the engine's model that `policies` need, or without policies for those
// of the default, if the options name none, and says on stderr what it takes and what it skips.
void find_adapters_if_not_named(const EngineArgs& args,
                                std::span<const PolicyEntry* const> policies, Engine& engine);
// policy_for(), and says on stderr what takes the policy's place and where adapters were looked
// for. Throws Error as require_adapter() does.
const PolicyEntry& policy_or_substitute(const EngineArgs& args, const PolicyEntry& policy,
                                        const Engine& engine);

// An option whose values are the names of an enum. A name that is none ends in Error
// (kInvalidArgument) with the list.
template <typename E>
CLI::Option* add_enum_option(CLI::App& app, const std::string& flags, E& value,
                             const std::string& help) {
  const std::string flag = flags.substr(flags.rfind(',') + 1);
  return app
      .add_option_function<std::string>(
          flags, [&value, flag](const std::string& name) { value = parse_enum<E>(flag, name); },
          help)
      ->type_name(enum_list<E>("|", "|"));
}

// Throws Error (kInvalidArgument) for impossible combinations.
SelectionSettings to_settings(const SelectionArgs& args);

// Says on stderr which of the settings that the user gave none of these policies reads.
void note_unread_settings(const SelectionArgs& args, std::span<const PolicyEntry* const> policies);

// Says on stderr where a budget in tokens is no more than what policies that choose chunks attend
// to anyway.
void note_small_budget(const KvBudget& budget, const SelectionSettings& settings,
                       std::span<const PolicyEntry* const> policies, const AdapterSet& adapters);

// Throws Error (kIo, kInvalidArgument for a folder) that names the option unless a file can be made
// at `path`: what would fail after the work is refused before it.
void check_output_file(std::string_view option, const std::string& path);
// The same of a folder, which need not be there yet.
void check_output_folder(std::string_view option, const std::string& path);

// Warns on stderr if `what`, an option or several, asks for more positions than a model was made
// for.
void warn_of_positions(const std::string& what, int64_t n_tokens, int64_t max_positions);

// --dtype auto|bf16|f32.
void add_dtype_option(CLI::App& app, DtypeChoice& dtype);

// --kv-type; not given: bf16, and f32 with --dtype f32.
void add_kv_type_option(CLI::App& app, std::optional<KvType>& kv_type);
KvType kv_type_or_default(std::optional<KvType> kv_type, Precision precision);

// --kv-resident-mib, --kv-dir.
struct KvStorageArgs {
  int64_t resident_mib = 0;  // 0: not in a file
  std::string folder;
};
void add_kv_storage_options(CLI::App& app, KvStorageArgs& args);
// Throws Error (kInvalidArgument, kIo) for a folder without a limit, or one that cannot be used.
KvStorage to_kv_storage(const KvStorageArgs& args);

// Ctrl-C sets this token, from a thread that does nothing else; called first by main(), before
// there are other threads, which inherit that these signals are blocked. A second one ends the
// program at once, but for the files it has begun to write, which it removes.
CancelToken& interrupt_token();
// Whether it was SIGTERM: the program is to end, whatever it can go on with.
bool termination_requested();

// While one exists an interrupt ends the program at once, with exit code 130: for work that has
// written nothing yet and looks at no token.
class EndsAtOnce {
 public:
  EndsAtOnce();
  ~EndsAtOnce();
  EndsAtOnce(const EndsAtOnce&) = delete;
  EndsAtOnce& operator=(const EndsAtOnce&) = delete;
};

// "2m05s", "3h07m".
std::string format_duration(double seconds);

// A bar with rate and time left on stderr, from the third second on and only on a terminal. The
// destructor clears it.
class ProgressBar {
 public:
  ProgressBar(std::string label, std::string unit);
  ~ProgressBar();
  void update(int64_t n_done, int64_t n_total);
  // Removes it until the next update.
  void clear();

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
void add_serve_command(CLI::App& app);
void add_inspect_command(CLI::App& app);
void add_bench_command(CLI::App& app);
void add_eval_command(CLI::App& app);
void add_train_command(CLI::App& app);
void add_quantize_command(CLI::App& app);
void add_tokenize_command(CLI::App& app);

}  // namespace chunkllm::cli

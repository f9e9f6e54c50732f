#include "cli/common.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <set>
#include <system_error>
#include <thread>

#include "base/atomic_file.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/program_files.h"
#include "base/threads.h"
#include "cli/options.h"
#include "engine/adapter_search.h"
#include "kernels/machine/isa.h"

namespace chunkllm::cli {
namespace {

CancelToken g_interrupt;
std::atomic<bool> g_terminated = false;
std::atomic<bool> g_ends_at_once = false;

// Waits for SIGINT and SIGTERM, which all threads have blocked.
void watch_signals(sigset_t signals) {
  while (true) {
    int signal = 0;
    if (::sigwait(&signals, &signal) != 0) continue;
    if (g_interrupt.requested() || g_ends_at_once) {
      remove_unfinished_files();
      ::_exit(130);
    }
    if (signal == SIGTERM) g_terminated = true;
    g_interrupt.request();
  }
}

constexpr double kQuietSeconds = 2.0;
constexpr double kRedrawSeconds = 0.2;

// Relative to the current folder if it lies there.
std::string from_here(const std::filesystem::path& path) {
  std::error_code error;
  const std::filesystem::path here = std::filesystem::current_path(error);
  const std::filesystem::path relative = path.lexically_relative(here);
  return error || relative.empty() || *relative.begin() == ".." ? path.string() : relative.string();
}

}  // namespace

void add_model_option(CLI::App& app, std::string& model) {
  app.add_option("-m,--model", model, "Folder of a Hugging Face checkpoint, or GGUF file")
      ->required()
      ->type_name("DIR|FILE")
      ->check(not_empty("name a folder or a GGUF file"));
}

void add_engine_options(CLI::App& app, EngineArgs& args, bool with_adapter) {
  add_model_option(app, args.model);
  if (with_adapter) {
    add_texts(app, "--adapter", args.adapters,
              fmt::format("Folder of trained adapters, or a second one if one has sentence chunks "
                          "and one fixed ones; {}: without them (default: those of the model that "
                          "are found)",
                          kNoAdapter))
        ->type_name(fmt::format("DIR|{}", kNoAdapter))
        ->check(not_empty(fmt::format("name a folder; --adapter {} runs without", kNoAdapter)));
  }
  add_dtype_option(app, args.dtype);
  app.add_option("-t,--threads", args.threads, "Threads; default: the cores this process may use")
      ->transform(whole_number(1, 4096));
  app.add_flag("--no-pack-cache", args.no_pack_cache,
               "Neither use nor keep a packed copy of a quantised model's weights");
}

Engine open_engine(const EngineArgs& args) {
  active_isa();
  set_threads(args.threads > 0 ? args.threads : usable_cores());
  EngineOptions options;
  options.model = args.model;
  const bool names_none = std::ranges::find(args.adapters, kNoAdapter) != args.adapters.end();
  if (names_none && args.adapters.size() > 1) {
    fail(ErrorCode::kInvalidArgument, "--adapter {} stands alone: leave it out beside others",
         kNoAdapter);
  }
  if (!names_none) options.adapters.assign(args.adapters.begin(), args.adapters.end());
  options.dtype = args.dtype;
  const std::filesystem::path cache = user_cache_folder();
  if (!args.no_pack_cache && !cache.empty()) options.packed_copies.path = cache / "chunkllm/packed";
  return Engine(options);
}

void load_weights(Engine& engine) {
  engine.load_weights();
  interrupt_token().check();
  std::string note;
  try {
    if (!engine.keep_packed_copy()) return;
    const PackedWeights& copy = *engine.weights().copy;
    note = fmt::format("a packed copy of the model ({}) is kept in {}, so that it loads faster",
                       format_bytes(copy.size_bytes()), copy.path().parent_path().string());
  } catch (const Error& error) {
    note = fmt::format("no packed copy of the model is kept: {}", error.what());
  }
  std::fputs(fmt::format("note: {}; --no-pack-cache: none\n", note).c_str(), stderr);
}

void find_adapters_if_not_named(const EngineArgs& args,
                                std::span<const PolicyEntry* const> policies, Engine& engine) {
  if (!args.adapters.empty()) return;
  const std::vector<std::filesystem::path> folders = adapter_folders();
  std::set<std::string> passed_over;
  std::set<AdapterKind> tried;
  // Whether there is one now.
  const auto find = [&](AdapterKind kind) {
    if (!tried.insert(kind).second) return engine.adapters().of(kind) != nullptr;
    const std::filesystem::path found =
        find_adapter(engine, kind, folders, [&](const std::string& reason) {
          if (!passed_over.insert(reason).second) return;
          std::fputs(fmt::format("note: an adapter is passed over: {}\n", reason).c_str(), stderr);
        });
    if (found.empty()) return false;
    std::fputs(fmt::format("adapter: {}\n", from_here(found)).c_str(), stderr);
    return true;
  };
  if (policies.empty()) {
    for (const EnumName<AdapterKind>& kind : kEnumNames<AdapterKind>) {
      if (find(kind.value)) return;
    }
  }
  for (const PolicyEntry* policy : policies) {
    for (const AdapterKind kind : policy->adapters) {
      if (find(kind)) break;
    }
  }
}

const PolicyEntry& policy_or_substitute(const EngineArgs& args, const PolicyEntry& policy,
                                        const Engine& engine) {
  const PolicyEntry& runs = policy_for(policy, engine.adapters());
  require_adapter(runs, engine.adapters());
  if (&runs == &policy) return policy;
  std::string why = "--adapter " + std::string(kNoAdapter);
  if (args.adapters.empty()) {
    std::vector<std::string> folders;
    for (const std::filesystem::path& folder : adapter_folders()) {
      folders.push_back(from_here(folder));
    }
    why = folders.empty() ? "CHUNKLLM_ADAPTERS is empty"
                          : fmt::format("looked in {}; --adapter or CHUNKLLM_ADAPTERS names others",
                                        fmt::join(folders, ", "));
  }
  std::fputs(fmt::format("note: there is no adapter of this model, which policy {} needs ({}); {} "
                         "takes its place\n",
                         policy.name, why, runs.name)
                 .c_str(),
             stderr);
  return runs;
}

SelectionSettings to_settings(const SelectionArgs& args) {
  check_settings(args.settings, args.given);
  return args.settings;
}

void note_unread_settings(const SelectionArgs& args, std::span<const PolicyEntry* const> policies) {
  std::vector<std::string_view> flags;
  for (const SettingEntry& entry : setting_entries()) {
    const bool is_given = std::ranges::find(args.given, entry.setting) != args.given.end();
    const bool is_read = std::ranges::any_of(
        policies, [&](const PolicyEntry* policy) { return policy->reads(entry.setting); });
    if (is_given && !is_read) flags.push_back(entry.flag);
  }
  if (flags.empty()) return;
  std::vector<std::string_view> names;
  for (const PolicyEntry* policy : policies) names.push_back(policy->name);
  std::fputs(fmt::format("note: {} {} no effect under policy {}\n", fmt::join(flags, ", "),
                         flags.size() == 1 ? "has" : "have", fmt::join(names, " or "))
                 .c_str(),
             stderr);
}

void note_small_budget(const KvBudget& budget, const SelectionSettings& settings,
                       std::span<const PolicyEntry* const> policies, const AdapterSet& adapters) {
  if (budget.fraction || budget.top_k_chunks) return;
  for (const PolicyEntry* policy : policies) {
    if (!policy->reads(Setting::kTopKChunks)) continue;
    const SelectionSettings all = settings_with_defaults(settings, adapter_for(*policy, adapters));
    const int64_t sink = all.sink.value_or(kDefaultSink);
    const int64_t window = all.window.value_or(kDefaultWindow);
    if (budget.n_tokens > sink + window) continue;
    std::fputs(
        fmt::format("note: --kv-budget {} leaves nothing to choose under policy {}: the first "
                    "{} tokens and the last {} are always attended\n",
                    budget.n_tokens, policy->name, sink, window)
            .c_str(),
        stderr);
  }
}

void check_output_file(std::string_view option, const std::string& path) {
  std::error_code error;
  if (std::filesystem::is_directory(path, error)) {
    fail(ErrorCode::kInvalidArgument, "{} {} is a folder; name a file", option, path);
  }
  try {
    check_writable_file(path);
  } catch (const Error& e) {
    fail(e.code(), "{}: {}", option, e.what());
  }
}

void check_output_folder(std::string_view option, const std::string& path) {
  try {
    check_writable_folder(path);
  } catch (const Error& e) {
    fail(e.code(), "{}: {}", option, e.what());
  }
}

void warn_of_positions(const std::string& what, int64_t n_tokens, int64_t max_positions) {
  if (n_tokens <= max_positions) return;
  std::fputs(fmt::format("warning: {} {} is beyond the {} positions the model was made for\n", what,
                         n_tokens, max_positions)
                 .c_str(),
             stderr);
}

void add_dtype_option(CLI::App& app, DtypeChoice& dtype) {
  add_enum_option(app, "--dtype", dtype,
                  "Type of the dense products: auto (bf16 where the processor has it), bf16, f32 "
                  "(default: auto)");
}

void add_kv_type_option(CLI::App& app, std::optional<KvType>& kv_type) {
  app.add_option_function<std::string>(
         "--kv-type",
         [&kv_type](const std::string& name) { kv_type = parse_enum<KvType>("--kv-type", name); },
         "Type of cached keys and values (default: bf16; with --dtype f32: f32)")
      ->type_name(enum_list<KvType>("|", "|"));
}

KvType kv_type_or_default(std::optional<KvType> kv_type, Precision precision) {
  return kv_type.value_or(precision == kF32Precision ? KvType::kF32 : KvType::kBf16);
}

void add_kv_storage_options(CLI::App& app, KvStorageArgs& args) {
  app.add_option("--kv-resident-mib", args.resident_mib,
                 "Keep keys and values in a file and at most so many MiB of a context in memory "
                 "(default: all in memory)")
      ->transform(whole_number(1, 1 << 30));
  app.add_option("--kv-dir", args.folder,
                 "Folder for that file, on a fast disk (default: chunkllm/kv in the user's cache "
                 "folder)")
      ->type_name("DIR")
      ->check(not_empty("name a folder, or leave it out"));
}

KvStorage to_kv_storage(const KvStorageArgs& args) {
  if (args.resident_mib == 0) {
    if (args.folder.empty()) return {};
    fail(ErrorCode::kInvalidArgument,
         "--kv-dir is for a cache of which a part is in memory; give --kv-resident-mib, too");
  }
  KvStorage storage{.resident_bytes = args.resident_mib << 20, .folder = args.folder};
  if (args.folder.empty()) {
    const std::filesystem::path user_folder = user_cache_folder();
    if (user_folder.empty()) {
      fail(ErrorCode::kInvalidArgument,
           "there is no home folder for the file of --kv-resident-mib;"
           " name one with --kv-dir");
    }
    storage.folder = user_folder / "chunkllm" / "kv";
  }
  check_output_folder("--kv-dir", storage.folder.string());
  return storage;
}

CancelToken& interrupt_token() {
  static const bool installed = [] {
    // No handler: oneDNN's float32 products keep data where its frame would go, and the heap is
    // corrupted after a signal in the midst of one.
    sigset_t signals;
    ::sigemptyset(&signals);
    for (const int signal : {SIGINT, SIGTERM}) {
      std::signal(signal, SIG_DFL);  // one that is ignored would never arrive
      ::sigaddset(&signals, signal);
    }
    ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
    try {
      std::thread(watch_signals, signals).detach();
    } catch (const std::system_error&) {
      ::pthread_sigmask(SIG_UNBLOCK, &signals, nullptr);  // they end the program, as by default
    }
    return true;
  }();
  (void)installed;
  return g_interrupt;
}

bool termination_requested() { return g_terminated; }

EndsAtOnce::EndsAtOnce() {
  interrupt_token();
  g_ends_at_once = true;
}

EndsAtOnce::~EndsAtOnce() { g_ends_at_once = false; }

std::string format_duration(double seconds) {
  const auto total = std::llround(seconds);
  if (total >= 3600) return fmt::format("{}h{:02}m", total / 3600, total / 60 % 60);
  return fmt::format("{}m{:02}s", total / 60, total % 60);
}

ProgressBar::ProgressBar(std::string label, std::string unit)
    : label_(std::move(label)), unit_(std::move(unit)) {}

ProgressBar::~ProgressBar() { clear(); }

void ProgressBar::clear() {
  if (drawn_) std::fputs("\r\033[K", stderr);
  drawn_ = false;
}

void ProgressBar::update(int64_t n_done, int64_t n_total) {
  const double seconds = timer_.seconds();
  if (seconds < kQuietSeconds || seconds - last_drawn_seconds_ < kRedrawSeconds) return;
  if (::isatty(STDERR_FILENO) == 0 || n_done <= 0 || n_total <= 0) return;
  last_drawn_seconds_ = seconds;
  drawn_ = true;
  constexpr int64_t kWidth = 24;
  const int64_t filled = std::clamp<int64_t>(n_done * kWidth / n_total, 0, kWidth);
  const double rate = static_cast<double>(n_done) / seconds;
  const double left = static_cast<double>(n_total - n_done) / rate;
  const std::string line =
      fmt::format("\r\033[K{} [{}{}] {:3.0f}%  {:.0f} {}/s  {} left", label_,
                  std::string(static_cast<size_t>(filled), '#'),
                  std::string(static_cast<size_t>(kWidth - filled), ' '),
                  100.0 * static_cast<double>(n_done) / static_cast<double>(n_total), rate, unit_,
                  format_duration(left));
  std::fputs(line.c_str(), stderr);
  std::fflush(stderr);
}

}  // namespace chunkllm::cli

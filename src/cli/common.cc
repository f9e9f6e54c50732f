#include "cli/common.h"

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <csignal>
#include <cstdio>

#include "base/error.h"
#include "base/threads.h"
#include "cli/options.h"
#include "kernels/machine/isa.h"

namespace chunkllm::cli {
namespace {

CancelToken g_interrupt;  // a signal handler can reach nothing else
volatile std::sig_atomic_t g_terminated = 0;

void on_interrupt(int signal) {
  if (g_interrupt.requested()) ::_exit(130);
  if (signal == SIGTERM) g_terminated = 1;
  g_interrupt.request();
}

constexpr double kQuietSeconds = 2.0;
constexpr double kRedrawSeconds = 0.2;

std::string format_duration(double seconds) {
  const auto total = std::llround(seconds);
  if (total >= 3600) return fmt::format("{}h{:02}m", total / 3600, total / 60 % 60);
  return fmt::format("{}m{:02}s", total / 60, total % 60);
}

void parse_refresh(const std::string& text, SelectionSettings& settings) {
  constexpr std::string_view kEveryPrefix = "every:";
  if (text == "prompt-end") {
    settings.refresh = RefreshKind::kPromptEnd;
  } else if (text == "boundary") {
    settings.refresh = RefreshKind::kBoundary;
  } else if (text.starts_with(kEveryPrefix)) {
    settings.refresh = RefreshKind::kEvery;
    const char* begin = text.data() + kEveryPrefix.size();
    const char* end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(begin, end, settings.refresh_every);
    if (error != std::errc() || stop != end || settings.refresh_every < 1) {
      fail(ErrorCode::kInvalidArgument, "--refresh {}: N in every:N must be a number above 0",
           text);
    }
  } else {
    fail(ErrorCode::kInvalidArgument, "--refresh {}: must be prompt-end, boundary or every:N",
         text);
  }
}

}  // namespace

void add_engine_options(CLI::App& app, EngineArgs& args, bool with_adapter) {
  app.add_option("-m,--model", args.model, "Folder of a Hugging Face checkpoint, or GGUF file")
      ->required()
      ->type_name("DIR|FILE");
  if (with_adapter) {
    app.add_option("--adapter", args.adapter, "Folder of trained adapters")->type_name("DIR");
  }
  app.add_option("--dtype", args.dtype,
                 "Type of the dense products: auto (bf16 where the processor has it), bf16, f32")
      ->check(CLI::IsMember({"auto", "bf16", "f32"}))
      ->capture_default_str();
  app.add_option("-t,--threads", args.threads, "Threads; default: the cores this process may use")
      ->transform(whole_number(1, 4096));
}

Engine open_engine(const EngineArgs& args) {
  active_isa();
  set_threads(args.threads > 0 ? args.threads : usable_cores());
  EngineOptions options;
  options.model = args.model;
  options.adapter = args.adapter;
  options.dtype = args.dtype == "bf16"  ? DtypeChoice::kBf16
                  : args.dtype == "f32" ? DtypeChoice::kF32
                                        : DtypeChoice::kAuto;
  return Engine(options);
}

void add_selection_options(CLI::App& app, SelectionArgs& args) {
  const CLI::Validator tokens = whole_number(1, int64_t{1} << 40);
  app.add_option("--kv-budget", args.kv_budget,
                 "Tokens attended at a refresh, or with a point a fraction of those so far "
                 "(default: 2048)")
      ->type_name("N|0.x");
  app.add_option(
         "--kv-budget-min", args.kv_budget_min,
         "Least tokens of a fractional budget (default: max(256, sink + window + 2 max_chunk))")
      ->transform(tokens);
  app.add_option("--top-k-chunks", args.top_k_chunks, "Chunks selected, instead of --kv-budget")
      ->transform(tokens);
  app.add_option("--window", args.window, "Tokens of the local range (default: the adapter's)")
      ->transform(tokens);
  app.add_option("--sink", args.sink, "First tokens always attended (default: the adapter's)")
      ->transform(whole_number(0, int64_t{1} << 40));
  app.add_option(
         "--refresh", args.refresh,
         "When the selection is renewed: prompt-end (boundaries and prompt ends), boundary, "
         "every:N tokens")
      ->capture_default_str();
  app.add_option(
         "--prefill", args.prefill,
         "chunk: prompt tokens attend to selections; full: to everything before the prompt end")
      ->check(CLI::IsMember({"chunk", "full"}))
      ->capture_default_str();
}

SelectionSettings to_settings(const SelectionArgs& args) {
  SelectionSettings settings;
  if (args.top_k_chunks && args.kv_budget) {
    fail(ErrorCode::kInvalidArgument,
         "--kv-budget and --top-k-chunks exclude each other; give one");
  }
  if (args.kv_budget) settings.budget = KvBudget::parse(*args.kv_budget);
  if (args.kv_budget_min && !settings.budget.fraction) {
    fail(ErrorCode::kInvalidArgument,
         "--kv-budget-min is for a fractional --kv-budget such as 0.1; give one or leave it out");
  }
  settings.budget.min_tokens = args.kv_budget_min;
  settings.budget.top_k_chunks = args.top_k_chunks;
  settings.window = args.window;
  settings.sink = args.sink;
  parse_refresh(args.refresh, settings);
  settings.prefill = args.prefill == "full" ? PrefillKind::kFull : PrefillKind::kChunk;
  return settings;
}

PolicyKind parse_policy(const std::string& name, PolicyKind fallback, const char* choices) {
  if (name.empty()) return fallback;
  if (name == "full") return PolicyKind::kFull;
  if (name == "chunk") return PolicyKind::kChunk;
  fail(ErrorCode::kInvalidArgument, "--policy {}: must be {}", name, choices);
}

const char* policy_name(PolicyKind kind) {
  switch (kind) {
    case PolicyKind::kFull:
      return "full";
    case PolicyKind::kChunk:
      return "chunk";
  }
  fail(ErrorCode::kInvalidArgument, "there is no selection policy of number {}",
       static_cast<int>(kind));
}

void add_kv_type_option(CLI::App& app, std::string& kv_type) {
  app.add_option("--kv-type", kv_type,
                 "Type of cached keys and values: bf16, f16, f32, q8_0 (default: that of the dense "
                 "products)")
      ->check(CLI::IsMember({"bf16", "f16", "f32", "q8_0"}));
}

KvType parse_kv_type(const std::string& name, Precision precision) {
  if (name.empty()) return precision.products == ProductType::kBf16 ? KvType::kBf16 : KvType::kF32;
  for (const KvType type : {KvType::kF32, KvType::kF16, KvType::kQ8_0}) {
    if (name == kv_type_name(type)) return type;
  }
  return KvType::kBf16;
}

const char* kv_type_name(KvType type) {
  switch (type) {
    case KvType::kF32:
      return "f32";
    case KvType::kBf16:
      return "bf16";
    case KvType::kF16:
      return "f16";
    case KvType::kQ8_0:
      return "q8_0";
  }
  return "?";
}

CancelToken& interrupt_token() {
  static const bool installed = [] {
    struct sigaction action {};
    action.sa_handler = on_interrupt;
    action.sa_flags = SA_RESTART;
    ::sigaction(SIGINT, &action, nullptr);
    ::sigaction(SIGTERM, &action, nullptr);
    return true;
  }();
  (void)installed;
  return g_interrupt;
}

bool termination_requested() { return g_terminated != 0; }

ProgressBar::ProgressBar(std::string label, std::string unit)
    : label_(std::move(label)), unit_(std::move(unit)) {}

ProgressBar::~ProgressBar() {
  if (drawn_) std::fputs("\r\033[K", stderr);
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

// chunkllm bench: speed by policy, length and depth, in the manner of llama-bench.

#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstdio>
#include <limits>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/threads.h"
#include "cli/bench_table.h"
#include "cli/common.h"
#include "cli/options.h"
#include "data/synthetic.h"
#include "engine/session.h"
#include "engine/session_memory.h"
#include "formats/gguf.h"
#include "formats/gguf_types.h"
#include "kernels/machine/isa.h"
#include "kernels/machine/peaks.h"
#include "measure/random_adapter.h"
#include "measure/synthetic_context.h"

namespace chunkllm::cli {
namespace {

struct BenchArgs {
  EngineArgs engine;
  SelectionArgs selection;
  std::optional<KvType> kv_type;
  KvStorageArgs kv_storage;
  std::vector<std::string> policies;
  std::vector<int64_t> prompt_lengths{512};
  std::vector<int64_t> generate_lengths{32};
  std::vector<int64_t> depths{0};
  int64_t repetitions = 3;
  int64_t seed = 1;
  bool synthetic = false;
  std::string output = "md";
};

using Row = nlohmann::ordered_json;

// What this machine can do at most, and what is measured against it.
struct Limits {
  double bytes_per_second = 0;  // read again and again, as many as the weights have, all threads
  double flops = 0;             // of the products' type, all threads
  double weight_flops = 0;      // of most weights' products where tokens are many, all threads
};

Limits measure_limits(const Engine& engine) {
  const int n_threads = current_threads();
  const Precision precision = engine.precision();
  const bool int8 =
      precision.int8_inputs == Int8Inputs::kAlways && is_quantized(engine.weights().main_type());
  const double flops = product_peak(precision.products, n_threads);
  return {.bytes_per_second = memory_read_bandwidth(n_threads, engine.weights().packed_bytes()),
          .flops = flops,
          .weight_flops = int8 ? int8_peak(n_threads) : flops};
}

// What the products read: of a quantised file its kind as it says itself ("Q4_K_M", whatever type
// most of it has), or else the type of most of it; of others the type of the products.
std::string weights_name(const Engine& engine) {
  const DType type = engine.weights().main_type();
  if (!is_quantized(type)) return std::string(product_type_name(engine.precision().products));
  std::string name(dtype_name(type));
  if (is_gguf_file(engine.options().model)) {
    const GgufFile file(engine.options().model);
    const auto kind =
        gguf_file_type_name(file.integer_or("general.file_type", 0, 1 << 16, 1 << 16));
    if (!kind.empty()) name = kind;
  }
  std::ranges::transform(name, name.begin(),
                         [](char c) { return static_cast<char>(std::tolower(c)); });
  return name;
}

// "trained", "random", or "none" where the policy needs none.
std::string_view adapter_name(const Engine& engine, const PolicyEntry& policy) {
  for (const AdapterKind kind : policy.adapters) {
    if (engine.adapters().of(kind) == nullptr) continue;
    return engine.adapter_folder(kind).empty() ? "random" : "trained";
  }
  return "none";
}

// Text of whole sentences where there is a tokenizer, so that chunks end as they do in prose.
std::vector<int32_t> make_tokens(const Engine& engine, int64_t n_tokens, int64_t seed) {
  Rng rng(static_cast<uint64_t>(seed));
  std::vector<int32_t> ids;
  while (static_cast<int64_t>(ids.size()) < n_tokens) {
    if (engine.has_tokenizer()) {
      const std::vector<int32_t> more =
          engine.tokenizer().encode(make_text(rng, 4 * n_tokens),
                                    {.add_special_tokens = ids.empty(), .parse_special = false});
      ids.insert(ids.end(), more.begin(), more.end());
    } else {
      ids.push_back(static_cast<int32_t>(rng.below(engine.config().n_vocab)));
    }
  }
  ids.resize(static_cast<size_t>(n_tokens));
  return ids;
}

class Bench {
 public:
  Bench(const Engine& engine, const BenchArgs& args, const SessionOptions& options,
        const Limits& limits)
      : args_(args), limits_(limits), session_(engine, options) {
    tokens_ = make_tokens(engine, options.ctx, args.seed);
  }

  std::vector<Row> run(const CancelToken& cancel) {
    std::vector<Row> rows;
    std::vector<int64_t> depths =
        args_.depths;  // ascending, so that each fill ends with a prompt end
    std::ranges::sort(depths);
    for (const int64_t depth : depths) {
      fill(depth, cancel);
      for (const int64_t n : args_.prompt_lengths) {
        if (n > 0) rows.push_back(measure(fmt::format("pp{}", n), depth, n, true, cancel));
      }
      for (const int64_t n : args_.generate_lengths) {
        if (n > 0) rows.push_back(measure(fmt::format("tg{}", n), depth, n, false, cancel));
      }
    }
    return rows;
  }

 private:
  std::span<const int32_t> tokens(int64_t begin, int64_t n) const {
    return std::span(tokens_).subspan(static_cast<size_t>(begin), static_cast<size_t>(n));
  }

  // Brings the session to `depth` tokens, the last of them a prompt end.
  void fill(int64_t depth, const CancelToken& cancel) {
    if (args_.synthetic && depth > 0) {
      session_.rewind(0);
      fill_with_noise(session_, depth, static_cast<uint64_t>(args_.seed));
    }
    const int64_t missing = depth - session_.n_tokens();
    if (missing == 0) return;
    ProgressBar bar(fmt::format("depth {}", depth), "tokens");
    const int64_t end = missing - 1;
    session_.prefill(
        tokens(session_.n_tokens(), missing), {&end, 1},
        [&](int64_t done, int64_t total) { bar.update(done, total); }, &cancel);
  }

  Row measure(const std::string& test, int64_t depth, int64_t n, bool prefill,
              const CancelToken& cancel) {
    RetentionCount retention;
    std::vector<double> rates;
    for (int64_t i = -1; i < args_.repetitions; ++i) {  // the first run warms up and is not counted
      if (i < 0 && prefill && depth + n > kLongRun) continue;
      const Timer timer;
      if (prefill) {
        const int64_t end = n - 1;
        session_.prefill(tokens(depth, n), {&end, 1}, {}, &cancel);
        session_.count_pass(retention);
      } else {
        for (int64_t t = 0; t < n; ++t) {
          cancel.check();
          session_.decode(tokens_[static_cast<size_t>(depth + t)]);
          session_.count_pass(retention);
          session_.logits();
        }
      }
      if (i >= 0) rates.push_back(static_cast<double>(n) / timer.seconds());
      session_.truncate(depth);
    }
    double mean = 0;
    for (const double rate : rates) mean += rate / static_cast<double>(rates.size());
    double variance = 0;
    for (const double rate : rates) variance += (rate - mean) * (rate - mean);
    const double n_free = static_cast<double>(std::max<size_t>(rates.size(), 2) - 1);
    const double limit = prefill ? prefill_limit(depth, n, retention) : decode_limit(retention);
    const Engine& engine = session_.engine();
    const std::string model = std::filesystem::path(args_.engine.model).filename().string();
    const PolicyEntry& policy = *session_.options().policy;
    return {{"model", model.empty() ? args_.engine.model : model},
            {"weights", weights_name(engine)},
            {"products", product_type_name(engine.precision().products)},
            {"int8_decode", engine.precision().int8_inputs != Int8Inputs::kNone},
            {"int8_prefill", engine.precision().int8_inputs == Int8Inputs::kAlways},
            {"kv_type", enum_name(session_.options().kv_type)},
            {"policy", policy.name},
            {"adapter", adapter_name(engine, policy)},
            {"threads", current_threads()},
            {"isa", active_isa()},
            {"test", test},
            {"depth", depth},
            {"fill", depth == 0        ? "none"
                     : args_.synthetic ? "synthetic"
                                       : "text"},
            {"tokens_per_second", mean},
            {"stddev", std::sqrt(variance / n_free)},
            {"kv_retention", retention.kv_retention()},
            {"limit_tokens_per_second", limit},
            {"share_of_limit", mean / limit}};
  }

  // Tokens a second if the weights and the attended rows were read at the pace of the memory, or of
  // the cache that holds the weights.
  double decode_limit(const RetentionCount& retention) const {
    const auto weights = static_cast<double>(session_.engine().weights().packed_bytes());
    return limits_.bytes_per_second / (weights + retention.kv_bytes_attended());
  }

  // Tokens a second if all products, those of attention included, ran at the peak. Under
  // a policy that selects all tokens are taken to attend to as many rows as the last one.
  double prefill_limit(int64_t depth, int64_t n, const RetentionCount& retention) const {
    const ModelConfig& c = session_.engine().config();
    const int64_t n_embeddings = (c.tied_embeddings ? 1 : 2) * c.n_vocab * c.d_model;
    const auto n_weights =
        static_cast<double>(session_.engine().weights().n_parameters() - n_embeddings);
    const double n_visible = static_cast<double>(depth) + static_cast<double>(n + 1) / 2;
    const double n_rows = session_.options().policy->selects()
                              ? retention.kv_retention() * static_cast<double>(depth + n)
                              : n_visible;
    const auto attention = static_cast<double>(4 * c.n_layers * c.q_dim()) * n_rows;
    return 1 / (2 * n_weights / limits_.weight_flops + attention / limits_.flops);
  }

  static constexpr int64_t kLongRun = 16384;  // tokens from which prefill is warm enough by itself

  const BenchArgs& args_;
  const Limits& limits_;
  Session session_;
  std::vector<int32_t> tokens_;
};

void run(const BenchArgs& args) {
  SessionOptions options;
  options.ctx_options = "-p, -n or -d";
  options.selection = to_settings(args.selection);
  options.kv_storage = to_kv_storage(args.kv_storage);
  const CancelToken& cancel = interrupt_token();
  Engine engine = open_engine(args.engine);
  options.kv_type = kv_type_or_default(args.kv_type, engine.precision());
  const int64_t longest = std::max(*std::ranges::max_element(args.prompt_lengths),
                                   *std::ranges::max_element(args.generate_lengths));
  if (longest < 1) fail(ErrorCode::kInvalidArgument, "nothing to measure; give -p or -n above 0");
  options.ctx = *std::ranges::max_element(args.depths) + longest;
  std::vector<const PolicyEntry*> policies;
  for (const std::string& name : args.policies) policies.push_back(&policy_named(name));
  find_adapters_if_not_named(args.engine, policies, engine);
  if (policies.empty()) {
    policies.push_back(&full_policy());
    const PolicyEntry& best = default_policy(engine.adapters());
    if (best.selects()) policies.push_back(&best);
  }
  note_unread_settings(args.selection, policies);
  warn_of_positions("-d with -p or -n", options.ctx, engine.config().max_positions);
  require_session_memory(engine, options);
  load_weights(engine);
  for (const PolicyEntry* policy : policies) {
    if (!policy->needs_adapter() || adapter_for(*policy, engine.adapters()) != nullptr) continue;
    Rng rng(static_cast<uint64_t>(args.seed));
    engine.use_adapter(make_random_adapter(engine.weights(), kMeanSentenceTokens, rng),
                       policy->adapters.front());
  }

  const Limits limits = measure_limits(engine);
  std::fputs(fmt::format("this machine, {} threads, {}: reads {:.1f} GB/s, multiplies at {:.0f} "
                         "GFLOP/s{}\n",
                         current_threads(), active_isa(), limits.bytes_per_second * 1e-9,
                         limits.flops * 1e-9,
                         limits.weight_flops > limits.flops
                             ? fmt::format(", bytes at {:.0f} GOP/s", limits.weight_flops * 1e-9)
                             : "")
                 .c_str(),
             stderr);
  std::vector<Row> rows;
  for (const PolicyEntry* policy : policies) {
    options.policy = policy;
    const std::vector<Row> more = Bench(engine, args, options, limits).run(cancel);
    rows.insert(rows.end(), more.begin(), more.end());
  }
  print_table(rows, args.output);
}

}  // namespace

void add_bench_command(CLI::App& app) {
  auto args = std::make_shared<BenchArgs>();
  const int64_t longest = kMaxTokens / 4;
  CLI::App* command = app.add_subcommand("bench", "Measure prefill and decode speed");
  add_engine_options(*command, args->engine, true);
  add_words(
      *command, "--policy", args->policies,
      "A list of " + policy_help() +
          " (default: full, and chunk or fixed with adapters); without an adapter a random one is "
          "used, which ends a chunk every 24 tokens")
      ->type_name("NAME,...");
  add_selection_options(*command, args->selection);
  add_kv_type_option(*command, args->kv_type);
  add_kv_storage_options(*command, args->kv_storage);
  add_whole_numbers(*command, "-p", args->prompt_lengths, 0, longest,
                    "Prompt tokens, a list; 0: no prefill test");
  add_whole_numbers(*command, "-n", args->generate_lengths, 0, longest,
                    "Generated tokens, a list; 0: no decode test");
  add_whole_numbers(*command, "-d", args->depths, 0, longest,
                    "Tokens in the KV cache before the test, a list");
  command->add_flag("--synthetic", args->synthetic,
                    "Fill the KV cache with made-up rows instead of running the tokens before");
  command->add_option("-r", args->repetitions, "Repetitions of each test")
      ->transform(whole_number(1, 1000))
      ->capture_default_str();
  command->add_option("-s,--seed", args->seed, "Seed of the text that is measured on")
      ->transform(whole_number(0, std::numeric_limits<int64_t>::max()))
      ->capture_default_str();
  command->add_option("-o", args->output, "md, csv or json")
      ->check(CLI::IsMember({"md", "csv", "json"}))
      ->capture_default_str();
  command->callback([args] { run(*args); });
}

}  // namespace chunkllm::cli

#include "cli/completion.h"

#include <cstdio>
#include <limits>

#include "base/error.h"
#include "cli/options.h"
#include "engine/stop_strings.h"
#include "measure/crossover.h"

namespace chunkllm::cli {
namespace {

void add_sampling_options(CLI::App& app, CompletionArgs& args) {
  SamplingOptions& sampling = args.generate.sampling;
  app.add_option("--temperature,--temp", sampling.temperature, "0: always the likeliest token")
      ->transform(decimal_number())
      ->capture_default_str();
  app.add_option("--top-p", sampling.top_p, "Keep the fewest tokens of this probability")
      ->transform(decimal_number())
      ->capture_default_str();
  app.add_option("--top-k", sampling.top_k, "Keep this many likeliest tokens; 0: all")
      ->transform(whole_number(0, kMaxTokens))
      ->capture_default_str();
  app.add_option("--min-p", sampling.min_p,
                 "Keep tokens at least this share as likely as the likeliest")
      ->transform(decimal_number())
      ->capture_default_str();
  app.add_option("--repeat-penalty", sampling.repeat_penalty,
                 "Makes tokens seen lately less likely; 1: off")
      ->transform(decimal_number())
      ->capture_default_str();
  app.add_option("--repeat-last-n", sampling.repeat_last_n,
                 "Tokens back that --repeat-penalty looks; 0: none, -1: all")
      ->transform(whole_number(-1, kMaxTokens))
      ->capture_default_str();
  app.add_option("-s,--seed", sampling.seed, "Seed of the random choice")
      ->transform(whole_number(0, std::numeric_limits<int64_t>::max()))
      ->capture_default_str();
}

}  // namespace

void add_policy_options(CLI::App& app, CompletionArgs& args) {
  add_engine_options(app, args.engine, true);
  app.add_option(
         "--policy", args.policy,
         "What tokens attend to: " + policy_help() + ", or " + kAutoPolicy +
             ", which measures what is faster (default: chunk or fixed with adapters of that "
             "kind, named or found, else full)")
      ->check(not_empty("name a policy, or leave it out"));
  add_selection_options(app, args.selection);
  add_kv_type_option(app, args.kv_type);
  add_kv_storage_options(app, args.kv_storage);
}

void add_completion_options(CLI::App& app, CompletionArgs& args) {
  add_policy_options(app, args);
  add_chat_format_options(app, args.chat_format);
  app.add_option("-n,--max-tokens", args.generate.max_tokens, "Most tokens to generate")
      ->transform(whole_number(1, kMaxTokens))
      ->capture_default_str();
  add_texts(app, "--stop", args.generate.stops,
            "Text that ends the answer and is not shown; may be given several times")
      ->type_name("TEXT");
  app.add_flag(
      "--exact", args.exact,
      "The answer of full attention, faster: tokens that followed the last ones before, or that "
      "the default policy guesses, are checked several at once");
  app.add_flag("--ignore-eos", args.ignore_eos, "Never choose a token that ends the answer");
  add_sampling_options(app, args);
}

CLI::Option* add_audit_option(CLI::App& app, CompletionArgs& args) {
  return app
      .add_option(
          "--audit", args.audit_every,
          "At every N-th refresh, also compute the full attention of one layer in turn, and "
          "say what share of it the selection missed")
      ->transform(whole_number(1, kMaxTokens));
}

std::unique_ptr<Completer> open_completer(const CompletionArgs& args) {
  const SelectionSettings settings = to_settings(args.selection);
  const Sampler check_sampling(args.generate.sampling);
  const StopStrings check_stops(args.generate.stops);
  check_chat_format(args.chat_format);
  if (args.exact && !args.policy.empty() && args.policy != full_policy().name) {
    fail(ErrorCode::kInvalidArgument,
         "--exact gives the answer of full attention, not of --policy {}; leave one out",
         args.policy);
  }
  const KvStorage kv_storage = to_kv_storage(args.kv_storage);
  auto completer = std::make_unique<Completer>(Completer{open_engine(args.engine), {}, {}, false});
  Engine& engine = completer->engine;
  completer->auto_policy = args.policy == kAutoPolicy;
  const PolicyEntry* named = nullptr;
  if (args.exact) {
    named = &full_policy();
  } else if (!args.policy.empty() && !completer->auto_policy) {
    named = &policy_named(args.policy, kAutoPolicy);
  }
  // Those of the default where nothing is named, and for the drafts of --exact.
  const bool is_named = named != nullptr && !args.exact;
  find_adapters_if_not_named(args.engine, {&named, is_named ? size_t{1} : size_t{0}}, engine);
  if (named != nullptr) {
    completer->session.policy = &policy_or_substitute(args.engine, *named, engine);
  } else {
    completer->session.policy = &default_policy(engine.adapters());
  }
  const PolicyEntry& best = default_policy(engine.adapters());
  if (args.exact && best.needs_adapter()) completer->session.draft_policy = &best;
  const PolicyEntry* chooses = &completer->session.choosing_policy();
  note_unread_settings(args.selection, {&chooses, 1});
  note_small_budget(settings.budget, settings, {&chooses, 1}, engine.adapters());
  completer->session.selection = settings;
  completer->session.kv_type = kv_type_or_default(args.kv_type, engine.precision());
  completer->session.kv_storage = kv_storage;
  completer->session.audit_every = args.audit_every;
  completer->generate = args.generate;
  completer->generate.drafts = args.exact;
  completer->generate.ignores_turn_end = args.ignore_eos;
  if (args.ignore_eos) {
    completer->generate.sampling.banned_ids = engine.eos_ids();
  } else {
    completer->generate.eos_ids = engine.eos_ids();
  }
  return completer;
}

void settle_policy(Completer& completer, int64_t n_tokens) {
  if (!completer.auto_policy) return;
  const std::string_view best = completer.session.policy->name;
  std::string why = "there is no adapter";
  if (completer.session.policy->needs_adapter()) {
    SessionOptions options = completer.session;
    options.ctx = n_tokens;
    try {
      const Crossover crossover = measure_crossover(completer.engine, options, &interrupt_token());
      if (n_tokens < crossover.n_tokens) completer.session.policy = &full_policy();
      if (n_tokens <= crossover.n_same) {
        why = crossover.n_same == kNeverFaster
                  ? "the budget holds all of any context"
                  : fmt::format("up to {} tokens {} does the same", crossover.n_same, best);
      } else {
        why = crossover.n_tokens == kNeverFaster
                  ? fmt::format("{} is not {:.0f}% faster at any length, measured in {:.1f} s",
                                best, 100 * kLeastGain, crossover.seconds)
                  : fmt::format("{} is {:.0f}% faster or more from {} on, measured in {:.1f} s",
                                best, 100 * kLeastGain, crossover.n_tokens, crossover.seconds);
      }
    } catch (const Error& error) {
      if (error.code() != ErrorCode::kMemory) throw;
      completer.session.policy = &full_policy();
      why = "there is no memory to measure it";
    }
  }
  std::fputs(fmt::format("policy {}: {} for {} tokens; {}\n", kAutoPolicy,
                         completer.session.policy->name, n_tokens, why)
                 .c_str(),
             stderr);
}

void warn_of_long_ctx(int64_t ctx, const ModelConfig& config) {
  warn_of_positions("--ctx", ctx, config.max_positions);
}

}  // namespace chunkllm::cli

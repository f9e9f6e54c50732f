// chunkllm generate: one completion, or one for each line of a file.

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <system_error>

#include "base/error.h"
#include "base/memory.h"
#include "cli/batch.h"
#include "cli/batch_settings.h"
#include "cli/completion.h"
#include "cli/options.h"
#include "cli/sources.h"
#include "engine/prompt_cache.h"
#include "engine/session_memory.h"

namespace chunkllm::cli {
namespace {

struct GenerateArgs {
  CompletionArgs completion;
  PromptSource prompt;
  std::string input;
  std::string output;
  std::string load_cache;
  std::string save_cache;
  bool json = false;
  bool show_chunks = false;
};

// The context to reserve: what the longest prompt and its answer need, up to the model's own limit,
// or what was asked.
int64_t choose_ctx(const Engine& engine, const GenerateArgs& args, int64_t n_prompt,
                   const std::string& which) {
  const CompletionArgs& completion = args.completion;
  warn_of_long_ctx(completion.ctx, engine.config());
  const int64_t ctx = completion.ctx > 0 ? completion.ctx
                                         : std::min(engine.config().max_positions,
                                                    n_prompt + completion.generate.max_tokens);
  if (n_prompt > ctx) {
    fail(ErrorCode::kInvalidArgument,
         "{} has {} tokens and the context {}; shorten it or use a larger --ctx", which, n_prompt,
         ctx);
  }
  return ctx;
}

nlohmann::ordered_json to_json(const GenerateResult& result, const Session& session,
                               double load_seconds, bool exact) {
  nlohmann::ordered_json json;
  json["text"] = result.text;
  json["finish_reason"] = result.finish_reason;
  json["policy"] = session.options().policy->name;
  json["prompt_tokens"] = result.prompt_tokens;
  json["cached_tokens"] = result.cached_tokens;
  json["generated_tokens"] = result.generated_tokens;
  json["load_seconds"] = load_seconds;
  json["prefill_seconds"] = result.prefill_seconds;
  json["decode_seconds"] = result.decode_seconds;
  json["kv_retention"] = result.retention.kv_retention();
  json["prefill_retention"] = result.prefill.retention();
  json["kv_bytes_reserved"] = session.cache().reserved_bytes();
  json["kv_bytes_stored"] = session.kv_bytes_stored();
  json["kv_bytes_resident"] = session.kv_bytes_resident();
  json["kv_bytes_attended"] = result.retention.kv_bytes_attended();
  json["chunks"] = session.policy().n_chunks();
  json["refreshes"] = session.policy().n_refreshes();
  json["peak_rss_bytes"] = peak_rss_bytes();
  if (exact) {
    const auto count = [](const DraftCount& drafts) {
      return nlohmann::ordered_json{{"drafted_tokens", drafts.drafted_tokens},
                                    {"accepted_tokens", drafts.accepted_tokens}};
    };
    json["exact"] = {{"passes", result.retention.n_passes}, {"lookup", count(result.by_lookup)}};
    if (const PolicyEntry* drafts = session.options().draft_policy) {
      json["exact"][std::string(drafts->name)] = count(result.by_policy);
    }
  }
  return json;
}

void report_speed(const GenerateResult& result, std::string_view policy) {
  // Of nothing that ran there is no rate.
  const auto rate = [](int64_t n, double seconds, int digits) {
    return n > 0 && seconds > 0
               ? fmt::format(" ({:.{}f}/s)", static_cast<double>(n) / seconds, digits)
               : "";
  };
  // The first token comes from the prompt's last pass; the others take a decode pass each.
  const int64_t n_decoded = std::max<int64_t>(result.generated_tokens - 1, 0);
  const int64_t n_run = result.prompt_tokens - result.cached_tokens;
  const std::string cached =
      result.cached_tokens > 0 ? fmt::format(" ({} from the cache)", result.cached_tokens) : "";
  std::fputs(
      fmt::format("\n{}: {} prompt tokens{} in {:.2f} s{}, {} generated in {:.2f} s{}, "
                  "{:.1f}% of the KV cache attended, {:.1f}% while reading\n",
                  policy, result.prompt_tokens, cached, result.prefill_seconds,
                  rate(n_run, result.prefill_seconds, 0), result.generated_tokens,
                  result.decode_seconds, rate(n_decoded, result.decode_seconds, 1),
                  100.0 * result.retention.kv_retention(), 100.0 * result.prefill.retention())
          .c_str(),
      stderr);
}

void report_drafts(const GenerateResult& result, const PolicyEntry* policy) {
  const auto accepted = [](const DraftCount& drafts, std::string_view source) {
    return fmt::format(", {} of {} tokens accepted that {} drafted", drafts.accepted_tokens,
                       drafts.drafted_tokens, source);
  };
  std::fputs(
      fmt::format("exact: {} pass{}{}{}\n", result.retention.n_passes,
                  result.retention.n_passes == 1 ? "" : "es", accepted(result.by_lookup, "lookup"),
                  policy != nullptr ? accepted(result.by_policy, policy->name) : "")
          .c_str(),
      stderr);
}

void report_missed_mass(const MissedMassReport& report) {
  const MissedMass& all = report.all;
  const auto worst = std::ranges::max_element(
      report.by_layer, {}, [](const auto& layer) { return layer.second.mean(); });
  const std::string line =
      all.n == 0 ? "audit: no refresh that was looked at left anything out\n"
                 : fmt::format(
                       "audit: {:.2f}% of the attention missed, at most {:.2f}%, in {} "
                       "samples of {} layers; most in layer {}, {:.2f}%\n",
                       100 * all.mean(), 100 * all.max, all.n, report.by_layer.size(), worst->first,
                       100 * worst->second.mean());
  std::fputs(line.c_str(), stderr);
}

GenerateResult complete(Session& session, const Prompt& prompt, GenerateOptions options,
                        bool streams) {
  ProgressBar bar("prompt", "tokens");
  const OnText stream = [&bar](std::string_view text) {
    bar.clear();
    std::fwrite(text.data(), 1, text.size(), stdout);
    std::fflush(stdout);
  };
  options.max_tokens = std::min(options.max_tokens, session.options().ctx - prompt.n_tokens() + 1);
  return generate(
      session, session.engine().tokenizer(), prompt, options, streams ? stream : OnText{},
      [&](int64_t done, int64_t total) { bar.update(done, total); }, &interrupt_token());
}

void run_one(const GenerateArgs& args, Completer& completer) {
  Timer load_timer;
  Engine& engine = completer.engine;
  const Prompt prompt = PromptReader(engine, args.completion.chat_format, args.prompt.chat)
                            .source(args.prompt, interrupt_token());
  completer.session.ctx = choose_ctx(engine, args, prompt.n_tokens(), "the prompt");
  require_session_memory(engine, completer.session);
  load_weights(engine);
  settle_policy(completer, prompt.n_tokens());
  const bool has_sources = args.show_chunks && completer.session.policy->shows_chunks;
  const bool is_audited = args.completion.audit_every > 0 && completer.session.policy->selects();
  const auto note_no_effect = [&](const char* option) {
    std::fputs(fmt::format("note: {} has no effect under policy {}\n", option,
                           completer.session.policy->name)
                   .c_str(),
               stderr);
  };
  if (args.show_chunks && !has_sources) note_no_effect("--show-chunks");
  if (args.completion.audit_every > 0 && !is_audited) note_no_effect("--audit");
  Session session(engine, completer.session);
  if (!args.load_cache.empty()) load_prompt_cache(args.load_cache, prompt, session);
  const double load_seconds = load_timer.seconds();
  const GenerateResult result = complete(session, prompt, completer.generate, !args.json);
  nlohmann::ordered_json sources;
  if (has_sources) sources = sources_at(session, prompt);
  if (args.json) {
    nlohmann::ordered_json json = to_json(result, session, load_seconds, args.completion.exact);
    if (has_sources) json["sources"] = std::move(sources);
    if (is_audited) json["missed_mass"] = missed_mass_json(*session.missed_mass());
    std::puts(json.dump().c_str());
  } else {
    std::puts("");
    report_speed(result, completer.session.policy->name);
    if (args.completion.exact) report_drafts(result, session.options().draft_policy);
    if (is_audited) report_missed_mass(*session.missed_mass());
    if (has_sources) print_sources(sources);
  }
  if (!args.save_cache.empty()) save_prompt_cache(args.save_cache, session);
}

std::vector<BatchItem> read_items(const Engine& engine, const GenerateArgs& args) {
  PromptReader reader(engine, args.completion.chat_format, args.prompt.chat);
  return read_batch(
      args.input,
      {.text = [&](const std::string& text) { return reader.text(text); },
       .messages = [&](const std::vector<ChatMessage>& list) { return reader.messages(list); }});
}

void run_batch(const GenerateArgs& args, Completer& completer) {
  const std::vector<BatchItem> items = read_items(completer.engine, args);
  const auto longest = std::ranges::max_element(
      items, {}, [](const BatchItem& item) { return item.prompt.n_tokens(); });
  completer.session.ctx = choose_ctx(completer.engine, args, longest->prompt.n_tokens(),
                                     fmt::format("{}:{}: the prompt", args.input, longest->line));
  BatchOutput output(args.output, items, batch_settings(args.completion, completer));
  const size_t n_before = output.n_done();
  Timer timer;
  if (n_before < items.size()) {
    require_session_memory(completer.engine, completer.session);
    load_weights(completer.engine);
    if (completer.auto_policy && n_before > 0) {
      // A second measurement might choose otherwise than that of the results that are there.
      completer.session.policy = &policy_named(output.policy());
    } else {
      settle_policy(completer, longest->prompt.n_tokens());
    }
    Session session(completer.engine, completer.session);
    ProgressBar bar("batch", "prompts");
    while (output.n_done() < items.size()) {
      // Each prompt begins with nothing, so that no result depends on where a run was interrupted.
      session.truncate(0);
      try {
        const GenerateResult result =
            complete(session, items[output.n_done()].prompt, completer.generate, false);
        output.append(to_json(result, session, 0.0, args.completion.exact));
      } catch (const Error& error) {
        if (error.code() != ErrorCode::kInterrupted) throw;
        fail(ErrorCode::kInterrupted,
             "interrupted after {} of {} prompts; give the same command to go on", output.n_done(),
             items.size());
      }
      bar.update(static_cast<int64_t>(output.n_done()), static_cast<int64_t>(items.size()));
    }
  }
  if (args.json) {
    nlohmann::ordered_json json;
    json["prompts"] = items.size();
    json["done_before"] = n_before;
    json["seconds"] = timer.seconds();
    json["output"] = args.output;
    std::puts(json.dump().c_str());
    return;
  }
  std::fputs(fmt::format("{} prompts in {:.1f} s, {} done before: {}\n", items.size() - n_before,
                         timer.seconds(), n_before, args.output)
                 .c_str(),
             stderr);
}

void run(const GenerateArgs& args) {
  if (!args.input.empty() && args.output.empty()) {
    fail(ErrorCode::kInvalidArgument, "--input needs --output, the file for the results");
  }
  if (!args.save_cache.empty()) {
    check_output_file("--save-cache", args.save_cache);
    check_cache_target(args.save_cache);
  }
  // A file that is there is continued; BatchOutput says if it cannot be.
  std::error_code error;
  if (!args.output.empty() && !std::filesystem::is_regular_file(args.output, error)) {
    check_output_file("--output", args.output);
  }
  const std::unique_ptr<Completer> completer = open_completer(args.completion);
  if (args.input.empty()) {
    run_one(args, *completer);
  } else {
    run_batch(args, *completer);
  }
}

void add_source_options(CLI::App& command, GenerateArgs& args) {
  auto* source = add_prompt_options(command, args.prompt);
  source
      ->add_option("--input", args.input,
                   "A JSON Lines file, a prompt a line: {\"prompt\"} or {\"messages\"}, and \"id\"")
      ->type_name("FILE")
      ->check(not_empty("name a file"));
  CLI::Option* input = source->get_option("--input");
  command
      .add_option("--output", args.output,
                  "With --input: the file of results, a line each; an interrupted run goes on")
      ->type_name("FILE")
      ->check(not_empty("name a file"))
      ->needs(input);
  command
      .add_option(
          "--load-cache", args.load_cache,
          "A file of --save-cache: the begin of the prompt that it holds does not run again")
      ->type_name("FILE")
      ->check(not_empty("name a file, or leave it out"))
      ->excludes(input);
  command
      .add_option("--save-cache", args.save_cache,
                  "Saves what prompt and answer left in the KV cache")
      ->type_name("FILE")
      ->check(not_empty("name a file, or leave it out"))
      ->excludes(input);
}

}  // namespace

void add_generate_command(CLI::App& app) {
  auto args = std::make_shared<GenerateArgs>();
  CLI::App* command =
      app.add_subcommand("generate", "Complete one prompt, or each of those in a file");
  add_completion_options(*command, args->completion);
  add_source_options(*command, *args);
  command
      ->add_option("-c,--ctx", args->completion.ctx,
                   "Tokens to reserve the KV cache for (default: what prompt and answer need, up "
                   "to the model's limit)")
      ->transform(whole_number(1, kMaxTokens));
  command
      ->add_flag(
          "--show-chunks", args->show_chunks,
          "After the answer, show the chunks that the upper layers chose at the prompt's end")
      ->excludes(command->get_option_group("prompt")->get_option("--input"));
  add_audit_option(*command, args->completion)
      ->excludes(command->get_option_group("prompt")->get_option("--input"));
  command->add_flag("--json", args->json, "Print one JSON object");
  command->callback([args] { run(*args); });
}

}  // namespace chunkllm::cli

// chunkllm serve: an HTTP server that OpenAI's clients speak to.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/error.h"
#include "base/memory.h"
#include "base/program_files.h"
#include "cli/completion.h"
#include "cli/options.h"
#include "serve/scheduler.h"
#include "serve/server.h"

namespace chunkllm::cli {
namespace {

constexpr int64_t kDefaultCtx = 32768;                // where the model can do more
constexpr std::chrono::milliseconds kLastWords{300};  // for the last replies to be sent
constexpr std::chrono::seconds kPatience{10};         // for what runs when the end is asked for

struct ServeArgs {
  CompletionArgs completion;
  serve::ServerOptions server;
  serve::SchedulerOptions scheduler;
  std::string model_name;
  std::string certificate;
  std::string private_key;
  int64_t port = 8080;
  int64_t max_body_mib = 64;
  int64_t time_limit_seconds = 0;  // 0: none
  std::optional<int64_t> cache_ram_mib;
  int64_t cache_disk_mib = 8192;
  std::string cache_folder;
  std::string slot_folder;
};

serve::RequestContext make_context(const ServeArgs& args, const Completer& completer) {
  const Engine& engine = completer.engine;
  engine.tokenizer();  // or else the reason why there is none
  serve::RequestContext context{.engine = engine, .session = completer.session};
  try {
    context.chat_template = open_chat_template(args.completion.chat_format, engine);
  } catch (const Error& error) {
    if (args.completion.chat_format.chat_template) throw;
    context.chat_template_error = error.what();
  }
  context.model_name = args.model_name;
  if (context.model_name.empty()) {
    const std::filesystem::path& path = engine.options().model;
    context.model_name = (path.has_filename() ? path : path.parent_path()).stem().string();
  }
  if (args.time_limit_seconds > 0)
    context.time_limit = std::chrono::seconds(args.time_limit_seconds);
  return context;
}

// Where prefixes are kept, and how much of the memory that slots leave.
serve::PrefixCacheOptions prefix_options(const ServeArgs& args) {
  constexpr int64_t kMostByDefault = int64_t{2} << 30;
  serve::PrefixCacheOptions options;
  options.memory_bytes = args.cache_ram_mib
                             ? *args.cache_ram_mib << 20
                             : std::min(kMostByDefault, available_memory_bytes() / 4);
  options.disk_bytes = args.cache_disk_mib << 20;
  if (args.cache_disk_mib == 0) return options;
  options.folder = args.cache_folder;
  const std::filesystem::path user_folder = user_cache_folder();
  if (options.folder.empty() && !user_folder.empty()) {
    options.folder = user_folder / "chunkllm" / "prefixes";
  }
  return options;
}

// Serves until an interrupt, then lets what runs come to its end for a while.
void serve_until_interrupted(serve::Server& server, serve::Scheduler& scheduler) {
  std::exception_ptr failure;
  std::atomic<bool> has_ended{false};
  std::thread listener([&] {
    try {
      server.run();
    } catch (...) {
      failure = std::current_exception();
    }
    has_ended = true;
  });
  while (!interrupt_token().requested() && !has_ended) {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  if (!has_ended) std::fputs("ending; a second interrupt ends at once\n", stderr);
  scheduler.finish(kPatience);
  if (!has_ended) {
    scheduler.wait_for_end();
    std::this_thread::sleep_for(kLastWords);
  }
  server.stop();
  listener.join();
  if (failure) std::rethrow_exception(failure);
  interrupt_token().check();  // the exit code says that it was one
}

void run(ServeArgs& args) {
  if (args.certificate.empty() != args.private_key.empty()) {
    fail(ErrorCode::kInvalidArgument, "--ssl-cert and --ssl-key go together; give both");
  }
  if (!args.slot_folder.empty()) check_output_folder("--slot-save-path", args.slot_folder);
  if (!args.cache_folder.empty()) check_output_folder("--cache-dir", args.cache_folder);
  const std::unique_ptr<Completer> completer = open_completer(args.completion);
  const ModelConfig& config = completer->engine.config();
  warn_of_long_ctx(args.completion.ctx, config);
  completer->session.ctx =
      args.completion.ctx > 0 ? args.completion.ctx : std::min(kDefaultCtx, config.max_positions);
  args.server.port = static_cast<int>(args.port);
  args.server.certificate = args.certificate;
  args.server.private_key = args.private_key;
  args.server.slot_folder = args.slot_folder;
  args.server.max_body_bytes = args.max_body_mib << 20;
  load_weights(completer->engine);
  settle_policy(*completer, completer->session.ctx);
  args.scheduler.session = completer->session;
  args.scheduler.prefixes = prefix_options(args);
  const serve::RequestContext context = make_context(args, *completer);
  serve::Scheduler scheduler(completer->engine, args.scheduler);
  serve::Server server(context, scheduler, args.server);
  std::fputs(fmt::format("{}: policy {}, {} slots of {} tokens\nlistening at {}\n",
                         context.model_name, completer->session.policy->name,
                         args.scheduler.n_slots, completer->session.ctx, server.address())
                 .c_str(),
             stderr);
  serve_until_interrupted(server, scheduler);
}

void add_cache_options(CLI::App& command, ServeArgs& args) {
  command
      .add_option("--cache-ram-mib", args.cache_ram_mib,
                  "Memory for texts that were read and no slot has, MiB (default: 2048, or a "
                  "quarter of what is free if that is less)")
      ->transform(whole_number(0, 1 << 30));
  command
      .add_option("--cache-disk-mib", args.cache_disk_mib,
                  "Files of them, which the next start finds, MiB; 0: none")
      ->transform(whole_number(0, 1 << 30))
      ->capture_default_str();
  command
      .add_option("--cache-dir", args.cache_folder,
                  "Folder of these files (default: chunkllm/prefixes in the user's cache folder)")
      ->type_name("DIR")
      ->check(not_empty("name a folder, or leave it out"));
  command
      .add_option("--slot-save-path", args.slot_folder,
                  "Folder for POST /slots/ID?action=save (default: slots are not saved)")
      ->type_name("DIR")
      ->check(not_empty("name a folder, or leave it out"));
}

void add_server_options(CLI::App& command, ServeArgs& args) {
  command.add_option("--host", args.server.host, "Address to listen at")
      ->check(not_empty("name an address"))
      ->capture_default_str();
  command.add_option("--port", args.port, "Port to listen at; 0: one that is free")
      ->transform(whole_number(0, 65535))
      ->capture_default_str();
  add_texts(command, "--api-key", args.server.api_keys,
            "Only requests with this key are answered; may be given several times")
      ->type_name("KEY")
      ->check(not_empty("give a key, or leave it out"));
  command.add_option("--ssl-cert", args.certificate, "A PEM file: serve over TLS")
      ->type_name("FILE")
      ->check(not_empty("name a file, or leave it out"));
  command.add_option("--ssl-key", args.private_key, "A PEM file: the certificate's private key")
      ->type_name("FILE")
      ->check(not_empty("name a file, or leave it out"));
  command
      .add_option("--cors-origin", args.server.cors_origin,
                  "Web pages of this origin may ask, or of any with * (default: none but the "
                  "server's own)")
      ->type_name("ORIGIN")
      ->check(not_empty("name an origin, or leave it out"));
  command.add_option("--max-body-mib", args.max_body_mib, "Largest body of a request, MiB")
      ->transform(whole_number(1, 4096))
      ->capture_default_str();
}

}  // namespace

void add_serve_command(CLI::App& app) {
  auto args = std::make_shared<ServeArgs>();
  CLI::App* command =
      app.add_subcommand("serve", "Serve a model over HTTP, to clients of OpenAI's API");
  add_policy_options(*command, args->completion);
  add_audit_option(*command, args->completion);
  add_chat_template_option(*command, args->completion.chat_format);
  command
      ->add_option("-c,--ctx", args->completion.ctx,
                   "Tokens of a sequence, prompt and answer (default: 32768, or the model's limit "
                   "if that is less)")
      ->transform(whole_number(1, kMaxTokens));
  command->add_option("--parallel", args->scheduler.n_slots, "Sequences that run at a time")
      ->transform(whole_number(1, 256))
      ->capture_default_str();
  command
      ->add_option("--max-queued", args->scheduler.max_queued,
                   "Completions that wait for a slot; more are refused")
      ->transform(whole_number(0, 1 << 20))
      ->capture_default_str();
  command
      ->add_option("--time-limit", args->time_limit_seconds,
                   "Seconds after which a request ends in an error; 0: none")
      ->transform(whole_number(0, 1 << 30))
      ->capture_default_str();
  command
      ->add_option("--model-name", args->model_name,
                   "The model's name in replies (default: that of its file)")
      ->check(not_empty("give a name, or leave it out"));
  add_cache_options(*command, *args);
  add_server_options(*command, *args);
  command->callback([args] { run(*args); });
}

}  // namespace chunkllm::cli

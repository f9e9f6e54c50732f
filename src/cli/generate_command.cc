// chunkllm generate: one completion.

#include <poll.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>
#include <limits>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/memory.h"
#include "cli/common.h"
#include "engine/generate.h"

namespace chunkllm::cli {
namespace {

struct GenerateArgs {
  EngineArgs engine;
  SelectionArgs selection;
  std::string policy;
  std::string kv_type;
  std::string prompt;
  std::string prompt_file;
  bool chat = false;
  bool json = false;
  int64_t ctx = 0;
  GenerateOptions generate;
};

// All of standard input. Ctrl-C ends the wait, which a blocking read would not let it.
std::string read_standard_input(const CancelToken& cancel) {
  constexpr int kPollMilliseconds = 100;
  std::string text;
  std::array<char, 65536> buffer;
  while (true) {
    cancel.check();
    pollfd input{STDIN_FILENO, POLLIN, 0};
    if (::poll(&input, 1, kPollMilliseconds) <= 0) continue;
    const ssize_t n = ::read(STDIN_FILENO, buffer.data(), buffer.size());
    if (n == 0) return text;
    if (n > 0) {
      text.append(buffer.data(), static_cast<size_t>(n));
    } else if (errno != EINTR && errno != EAGAIN) {
      fail(ErrorCode::kIo, "cannot read standard input: {}; use --prompt or --prompt-file",
           std::strerror(errno));
    }
  }
}

std::string read_prompt_file(const std::string& path) {
  std::error_code error;
  if (std::filesystem::is_directory(path, error)) {
    fail(ErrorCode::kIo, "{} is a folder; name a text file", path);
  }
  std::ifstream file(path, std::ios::binary);
  if (!file) fail(ErrorCode::kIo, "cannot open {}; check the path", path);
  std::string text{std::istreambuf_iterator<char>(file), {}};
  if (file.bad()) fail(ErrorCode::kIo, "cannot read {}; check the file", path);
  return text;
}

std::string read_prompt(const GenerateArgs& args, const CancelToken& cancel) {
  std::string text = args.prompt;
  std::string source = "the prompt";
  if (args.prompt_file == "-") {
    source = "standard input";
    text = read_standard_input(cancel);
  } else if (!args.prompt_file.empty()) {
    source = args.prompt_file;
    text = read_prompt_file(args.prompt_file);
  }
  if (text.empty()) {
    fail(ErrorCode::kInvalidArgument,
         "the prompt is empty; give text with --prompt, --prompt-file or -");
  }
  if (const auto invalid = find_invalid_utf8(text)) {
    fail(ErrorCode::kData, "{} is not valid UTF-8 at byte {}; convert it to UTF-8", source,
         *invalid);
  }
  return text;
}

ChatPrompt encode_prompt(const Engine& engine, const GenerateArgs& args,
                         const CancelToken& cancel) {
  const std::string text = read_prompt(args, cancel);
  ChatPrompt prompt;
  if (args.chat) {
    prompt = engine.chat_template().encode(engine.tokenizer(), {{"user", text}}, true);
  } else {
    prompt.ids = engine.tokenizer().encode(text, {.add_special_tokens = true});
    prompt.prompt_ends = {static_cast<int64_t>(prompt.ids.size()) - 1};
  }
  return prompt;
}

// The context to reserve: what prompt and answer need, up to the model's own limit, or what was
// asked.
int64_t choose_ctx(const Engine& engine, const GenerateArgs& args, int64_t n_prompt) {
  const int64_t limit = engine.config().max_positions;
  if (args.ctx > limit) {
    std::fprintf(stderr,
                 "warning: --ctx %lld is beyond the %lld positions the model was made for\n",
                 static_cast<long long>(args.ctx), static_cast<long long>(limit));
  }
  const int64_t ctx =
      args.ctx > 0 ? args.ctx : std::min(limit, n_prompt + args.generate.max_tokens);
  if (n_prompt > ctx) {
    fail(ErrorCode::kInvalidArgument,
         "the prompt has {} tokens and the context {}; shorten it or use a larger --ctx", n_prompt,
         ctx);
  }
  return ctx;
}

nlohmann::ordered_json to_json(const GenerateResult& result, const Session& session,
                               PolicyKind policy, double load_seconds,
                               const SelectionPolicy& state) {
  nlohmann::ordered_json json;
  json["text"] = result.text;
  json["finish_reason"] = result.finish_reason;
  json["policy"] = policy_name(policy);
  json["prompt_tokens"] = result.prompt_tokens;
  json["generated_tokens"] = result.generated_tokens;
  json["load_seconds"] = load_seconds;
  json["prefill_seconds"] = result.prefill_seconds;
  json["decode_seconds"] = result.decode_seconds;
  json["kv_retention"] = result.retention.kv_retention();
  json["kv_bytes_reserved"] = session.cache().reserved_bytes();
  json["kv_bytes_stored"] = session.kv_bytes_stored();
  json["kv_bytes_attended"] = result.retention.kv_bytes_attended();
  json["chunks"] = state.n_chunks();
  json["refreshes"] = state.n_refreshes();
  json["peak_rss_bytes"] = peak_rss_bytes();
  return json;
}

void report_speed(const GenerateResult& result, PolicyKind policy) {
  const auto rate = [](int64_t n, double seconds) {
    return seconds > 0 ? static_cast<double>(n) / seconds : 0.0;
  };
  // The first token comes from the prompt's last pass; the others take a decode pass each.
  const int64_t n_decoded = std::max<int64_t>(result.generated_tokens - 1, 0);
  std::fputs(
      fmt::format("\n{}: {} prompt tokens in {:.2f} s ({:.0f}/s), {} generated in {:.2f} s "
                  "({:.1f}/s), {:.1f}% of the KV cache attended\n",
                  policy_name(policy), result.prompt_tokens, result.prefill_seconds,
                  rate(result.prompt_tokens, result.prefill_seconds), result.generated_tokens,
                  result.decode_seconds, rate(n_decoded, result.decode_seconds),
                  100.0 * result.retention.kv_retention())
          .c_str(),
      stderr);
}

void run(const GenerateArgs& args) {
  const SelectionSettings settings = to_settings(args.selection);
  Sampler check_sampling(
      args.generate.sampling);  // refuses impossible options before anything is read
  const CancelToken& cancel = interrupt_token();
  Timer load_timer;
  Engine engine = open_engine(args.engine);
  const PolicyKind policy = parse_policy(
      args.policy, engine.adapter() != nullptr ? PolicyKind::kChunk : PolicyKind::kFull);
  const ChatPrompt prompt = encode_prompt(engine, args, cancel);
  const auto n_prompt = static_cast<int64_t>(prompt.ids.size());

  SessionOptions options;
  options.policy = policy;
  options.selection = settings;
  options.ctx = choose_ctx(engine, args, n_prompt);
  options.kv_type = parse_kv_type(args.kv_type, engine.compute_type());
  GenerateOptions generate_options = args.generate;
  generate_options.max_tokens = std::min(generate_options.max_tokens, options.ctx - n_prompt + 1);
  generate_options.eos_ids = engine.eos_ids();

  engine.load_weights();
  Session session(engine, options);
  const double load_seconds = load_timer.seconds();
  GenerateResult result;
  {
    ProgressBar bar("prompt", "tokens");
    const OnText stream = [](std::string_view text) {
      std::fwrite(text.data(), 1, text.size(), stdout);
      std::fflush(stdout);
    };
    result = generate(
        session, engine.tokenizer(), prompt.ids, prompt.prompt_ends, generate_options,
        args.json ? OnText{} : stream,
        [&](int64_t done, int64_t total) { bar.update(done, total); }, &cancel);
  }
  if (args.json) {
    std::puts(to_json(result, session, policy, load_seconds, session.policy()).dump().c_str());
  } else {
    std::puts("");
    report_speed(result, policy);
  }
}

}  // namespace

void add_generate_command(CLI::App& app) {
  auto args = std::make_shared<GenerateArgs>();
  CLI::App* command = app.add_subcommand("generate", "Complete one prompt");
  add_engine_options(*command, args->engine, true);
  command->add_option(
      "--policy", args->policy,
      "What tokens attend to: full or chunk (default: chunk with an adapter, else full)");
  add_selection_options(*command, args->selection);
  auto* source = command->add_option_group("prompt", "Where the prompt comes from, one of");
  source->add_option("--prompt", args->prompt, "The prompt itself")->type_name("TEXT");
  source
      ->add_option("--prompt-file,prompt-file", args->prompt_file,
                   "A file, or - for standard input")
      ->type_name("FILE");
  source->require_option(1);
  command->add_flag("--chat", args->chat, "The prompt is one user turn of the model's chat format");
  command->add_option("--ctx", args->ctx, "Tokens to reserve the KV cache for (default: as needed)")
      ->check(CLI::Range(int64_t{1}, kMaxTokens));
  add_kv_type_option(*command, args->kv_type);
  command->add_option("--max-tokens", args->generate.max_tokens, "Most tokens to generate")
      ->check(CLI::Range(int64_t{1}, kMaxTokens))
      ->capture_default_str();
  SamplingOptions& sampling = args->generate.sampling;
  command->add_option("--temperature", sampling.temperature, "0: always the likeliest token")
      ->capture_default_str();
  command->add_option("--top-p", sampling.top_p, "Keep the fewest tokens of this probability")
      ->capture_default_str();
  command->add_option("--top-k", sampling.top_k, "Keep this many likeliest tokens; 0: all")
      ->capture_default_str();
  command->add_option("--seed", sampling.seed, "Seed of the random choice")
      ->check(CLI::Range(int64_t{0}, std::numeric_limits<int64_t>::max()))
      ->capture_default_str();
  command->add_flag("--json", args->json, "Print one JSON object");
  command->callback([args] { run(*args); });
}

}  // namespace chunkllm::cli

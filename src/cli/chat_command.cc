// chunkllm chat: a conversation, whose history stays in the KV cache.

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "base/json.h"
#include "cli/completion.h"
#include "cli/line_reader.h"
#include "cli/options.h"
#include "engine/conversation.h"
#include "engine/session_memory.h"
#include "text/utf8.h"

namespace chunkllm::cli {
namespace {

constexpr int64_t kDefaultMaxTokens = 1024;
constexpr int64_t kDefaultCtx = 32768;  // where the model can do more
constexpr const char kBlockMark[] = "\"\"\"";

// What was typed or pasted. A block is a message, whatever it begins with.
struct Input {
  std::string text;
  bool is_block = false;
};

bool is_block_mark(std::string_view line) {
  const size_t last = line.find_last_not_of(" \t");
  return last != line.npos && line.substr(0, last + 1) == kBlockMark;
}

constexpr const char kHelp[] =
    "/help          this list\n"
    "/clear         forget the conversation; the system message stays\n"
    "/system TEXT   set the system message; without TEXT remove it\n"
    "/exit          leave, as Ctrl-D does, or Ctrl-C at the prompt\n"
    "A line that ends in a backslash goes on in the next one. All between two lines of \"\"\" is "
    "one\n"
    "message, even if it begins with /.\n"
    "Ctrl-C stops an answer. What was shown of it stays in the conversation.\n";

void say(const std::string& text) {
  std::fputs(text.c_str(), stderr);
  std::fflush(stderr);
}

class Chat {
 public:
  Chat(const Completer& completer, Session& session, const CompletionArgs& args)
      : options_(completer.generate),
        session_(session),
        conversation_(completer.engine, open_chat_template(args.chat_format, completer.engine)),
        reader_(interrupt_token()),
        shows_prompt_(::isatty(STDIN_FILENO) != 0) {
    conversation_.set_system(args.chat_format.system);
  }

  // Until the input ends or /exit. Throws Error (kData) at the end if nobody sat at a terminal and
  // saw an error.
  void run() {
    if (shows_prompt_) say("/help lists the commands.\n");
    while (true) {
      const std::optional<Input> input = read_input();
      if (!input) break;
      const std::string& text = input->text;
      if (text.find_first_not_of(" \t\n") == std::string::npos) continue;
      ++n_inputs_;
      if (text.front() == '/' && !input->is_block) {
        if (!command(text)) break;
      } else {
        try_answer(text);
      }
    }
    if (shows_prompt_) {
      say("\n");
    } else if (n_failed_ > 0) {
      fail(ErrorCode::kData, "{} of {} messages and commands failed; see the errors above",
           n_failed_, n_inputs_);
    }
  }

 private:
  // One message, perhaps of several lines, or a command; nothing at the end of the input.
  std::optional<Input> read_input() {
    std::optional<std::string> line = read_line("> ");
    if (!line) return std::nullopt;
    std::string text;
    if (is_block_mark(*line)) {
      while ((line = read_line(". ")) && !is_block_mark(*line)) text += *line + "\n";
      if (!text.empty()) text.pop_back();
      return Input{std::move(text), true};
    }
    while (line && line->ends_with('\\')) {
      line->pop_back();
      text += *line + "\n";
      line = read_line(". ");
    }
    return Input{text + line.value_or(""), false};
  }

  std::optional<std::string> read_line(const char* prompt) {
    if (shows_prompt_) say(prompt);
    return reader_.line();
  }

  void say_error(std::string_view what) {
    say(fmt::format("error: {}\n", what));
    ++n_failed_;
  }

  // False for /exit.
  bool command(const std::string& input) {
    const size_t space = std::min(input.find(' '), input.size());
    const std::string name = input.substr(0, space);
    const std::string rest = input.substr(std::min(space + 1, input.size()));
    if (name == "/exit") return false;
    if (name == "/help") {
      say(kHelp);
    } else if (name == "/clear") {
      conversation_.clear();
      say("the conversation begins anew\n");
    } else if (name == "/system") {
      set_system(rest);
    } else {
      say_error(fmt::format("{} is no command; /help lists them", show_text(name)));
    }
    return true;
  }

  void set_system(const std::string& text) {
    if (find_invalid_utf8(text)) {
      say_error("the system message is not valid UTF-8; type it again");
      return;
    }
    conversation_.set_system(text.empty() ? std::nullopt : std::optional(text));
    say(text.empty() ? "no system message\n" : "the system message is set\n");
  }

  // Errors end the turn, not the program: the conversation is then what it was before.
  void try_answer(const std::string& user) {
    try {
      answer(user);
    } catch (const Error& error) {
      if (termination_requested()) throw;
      if (error.code() == ErrorCode::kInterrupted) {
        interrupt_token().reset();
        say("interrupted before the answer; the message is dropped\n");
      } else {
        say_error(error.what());
      }
    }
  }

  void answer(const std::string& user) {
    if (const auto offset = find_invalid_utf8(user)) {
      fail(ErrorCode::kData, "this message is not valid UTF-8 at byte {}; type it again", *offset);
    }
    const Prompt prompt = conversation_.prompt(user);
    const int64_t ctx = session_.options().ctx;
    if (prompt.n_tokens() > ctx) {
      fail(ErrorCode::kInvalidArgument,
           "the conversation would have {} tokens, the context has {}; use /clear, or start with a "
           "larger --ctx",
           prompt.n_tokens(), ctx);
    }
    GenerateOptions options = options_;
    options.max_tokens = std::min(options.max_tokens, ctx - prompt.n_tokens() + 1);
    std::string shown;
    std::optional<GenerateResult> result;
    try {
      ProgressBar bar("prompt", "tokens");
      result = generate(
          session_, session_.engine().tokenizer(), prompt, options,
          [&](std::string_view text) {
            bar.clear();
            std::fwrite(text.data(), 1, text.size(), stdout);
            std::fflush(stdout);
            shown += text;
          },
          [&](int64_t done, int64_t total) { bar.update(done, total); }, &interrupt_token());
    } catch (const Error& error) {
      if (error.code() != ErrorCode::kInterrupted || shown.empty()) throw;
    }
    std::puts("");
    std::fflush(stdout);
    if (termination_requested()) interrupt_token().check();
    interrupt_token().reset();
    const std::vector<int32_t> ids = result ? result->ids : generated_after(prompt.n_tokens());
    conversation_.add(user, shown, ids);
    report(result);
  }

  // What the session generated before an interruption.
  std::vector<int32_t> generated_after(int64_t n_prompt) const {
    const auto ids = session_.tokens().subspan(static_cast<size_t>(n_prompt));
    return {ids.begin(), ids.end()};
  }

  void report(const std::optional<GenerateResult>& result) {
    if (!result) {
      say("[interrupted]\n");
      return;
    }
    say(fmt::format(
        "[{} tokens read in {:.2f} s, {:.1f}% attended, {} generated in {:.2f} s, {:.1f}% of the "
        "KV cache attended{}, {} of {} tokens used{}]\n",
        result->prompt_tokens - result->cached_tokens, result->prefill_seconds,
        100.0 * result->prefill.retention(), result->generated_tokens, result->decode_seconds,
        100.0 * result->retention.kv_retention(),
        options_.drafts ? fmt::format(" in {} passes", result->retention.n_passes) : "",
        session_.n_tokens(), session_.options().ctx,
        result->finish_reason == "length" ? ", cut at its longest" : ""));
  }

  GenerateOptions options_;
  Session& session_;
  Conversation conversation_;
  LineReader reader_;
  bool shows_prompt_;
  int64_t n_inputs_ = 0;  // messages and commands
  int64_t n_failed_ = 0;  // of them
};

void run(const CompletionArgs& args) {
  const std::unique_ptr<Completer> completer = open_completer(args);
  Engine& engine = completer->engine;
  engine.tokenizer();
  // What is missing is said before the weights are read.
  open_chat_template(args.chat_format, engine);
  warn_of_long_ctx(args.ctx, engine.config());
  completer->session.ctx =
      args.ctx > 0 ? args.ctx : std::min(engine.config().max_positions, kDefaultCtx);
  require_session_memory(engine, completer->session);
  load_weights(engine);
  settle_policy(*completer, completer->session.ctx);
  Session session(engine, completer->session);
  Chat(*completer, session, args).run();
}

}  // namespace

void add_chat_command(CLI::App& app) {
  auto args = std::make_shared<CompletionArgs>();
  args->generate.max_tokens = kDefaultMaxTokens;
  CLI::App* command = app.add_subcommand(
      "chat", "Talk with a model; the history stays in the KV cache. /help lists the commands");
  add_completion_options(*command, *args);
  command
      ->add_option("-c,--ctx", args->ctx,
                   "Tokens to reserve the KV cache for (default: the model's limit, at most 32768)")
      ->transform(whole_number(1, kMaxTokens));
  command->callback([args] { run(*args); });
}

}  // namespace chunkllm::cli

// chunkllm tokenize: the tokens of a text or chat, and the text of tokens.

#include <cstdio>
#include <limits>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "cli/options.h"
#include "cli/prompt_source.h"

namespace chunkllm::cli {
namespace {

struct TokenizeArgs {
  EngineArgs engine;
  PromptSource prompt;
  ChatFormat chat_format;
  std::vector<int64_t> ids;
  bool json = false;
};

void print_json(const nlohmann::ordered_json& json) {
  // A token may hold a part of a character.
  std::puts(json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace).c_str());
}

void print_text(const TokenizeArgs& args, const Tokenizer& tokenizer) {
  const std::vector<int32_t> ids(args.ids.begin(), args.ids.end());
  const std::string text = tokenizer.decode(ids);
  if (args.json) {
    print_json({{"ids", ids}, {"text", text}});
  } else {
    std::puts(text.c_str());
  }
}

void print_tokens(const TokenizeArgs& args, const Engine& engine) {
  const Tokenizer& tokenizer = engine.tokenizer();
  const Prompt prompt = PromptReader(engine, args.chat_format, args.prompt.chat)
                            .source(args.prompt, interrupt_token());
  if (args.json) {
    std::vector<std::string> pieces;
    for (const int32_t id : prompt.ids) pieces.emplace_back(tokenizer.token_bytes(id));
    print_json({{"n_tokens", prompt.n_tokens()}, {"ids", prompt.ids}, {"pieces", pieces}});
    return;
  }
  for (const int32_t id : prompt.ids) {
    std::puts(fmt::format("{:>7}  {}", id, show_text(tokenizer.token_bytes(id))).c_str());
  }
  std::fputs(fmt::format("{} tokens\n", prompt.n_tokens()).c_str(), stderr);
}

void run(const TokenizeArgs& args) {
  check_chat_format(args.chat_format);
  if (!args.ids.empty() &&
      (args.prompt.chat || args.chat_format.system || args.chat_format.chat_template)) {
    fail(ErrorCode::kInvalidArgument,
         "--ids turns tokens into text, which no chat format changes; leave out --chat, --system "
         "and --chat-template");
  }
  const Engine engine = open_engine(args.engine);
  if (args.ids.empty()) {
    print_tokens(args, engine);
  } else {
    print_text(args, engine.tokenizer());
  }
}

}  // namespace

void add_tokenize_command(CLI::App& app) {
  auto args = std::make_shared<TokenizeArgs>();
  CLI::App* command =
      app.add_subcommand("tokenize", "Show the tokens of a text or chat, or the text of tokens");
  add_model_option(*command, args->engine.model);
  CLI::Option_group* source = add_prompt_options(*command, args->prompt);
  add_whole_numbers(*source, "--ids", args->ids, 0, std::numeric_limits<int32_t>::max(),
                    "Token ids to turn back into text, a list");
  add_chat_format_options(*command, args->chat_format);
  command->add_flag("--json", args->json, "Print one JSON object");
  command->callback([args] { run(*args); });
}

}  // namespace chunkllm::cli

// chunkllm: one program for training adapters, running models with them, and measuring both.

#include <CLI/CLI.hpp>
#include <algorithm>
#include <csignal>
#include <cstdio>
#include <new>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "cli/command_line.h"
#include "cli/common.h"
#include "cli/options.h"

namespace {

constexpr int kExitFailure = 1;
constexpr int kExitUsage = 2;
constexpr int kExitInterrupted = 130;

// Errors are one line, whatever a file or an argument put into them.
std::string one_line(std::string text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
  }
  return text;
}

int report(const std::string& message, int exit_code) {
  std::fprintf(stderr, "error: %s\n", one_line(message).c_str());
  return exit_code;
}

// The program's end where nothing was wrong: what it printed must have arrived.
int finish() {
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return 0;
  return report("cannot write to standard output; is the disk full?", kExitFailure);
}

// What is wrong with the words of the command line; empty if nothing is that can be seen without
// their values. CLI11 would complain first about what is missing, and in words of its own.
std::string wrong_word(const CLI::App& app, std::span<const std::string> words) {
  if (words.empty()) return "no command is given; see chunkllm --help";
  const std::string& first = words[0];
  const auto commands =
      app.get_subcommands([&](const CLI::App* command) { return command->get_name() == first; });
  const CLI::App* command = commands.empty() ? nullptr : commands.front();
  if (command == nullptr) {
    return app.get_option_no_throw(first) == nullptr
               ? first + " is no command or option of this program; see chunkllm --help"
               : std::string();
  }
  std::set<const CLI::Option*> given;
  for (size_t i = 1; i < words.size(); ++i) {
    const std::string& word = words[i];
    if (!word.starts_with("-") || word == "-" || word == "--") continue;
    // The value may be part of the word: --name=value, -nvalue.
    const bool is_long = word.starts_with("--");
    const std::string name = is_long ? word.substr(0, word.find('=')) : word.substr(0, 2);
    const CLI::Option* option = command->get_option_no_throw(name);
    if (option == nullptr) {
      return word + " is no option of chunkllm " + first + "; see chunkllm " + first + " --help";
    }
    if (option->get_expected_min() == 0) continue;
    const bool takes_one = option->get_multi_option_policy() == CLI::MultiOptionPolicy::Throw;
    if (takes_one && !given.insert(option).second) {
      return option->get_name() + " is given twice; give it once";
    }
    if (name == word) ++i;
  }
  return {};
}

int exit_code_of(chunkllm::ErrorCode code) {
  switch (code) {
    case chunkllm::ErrorCode::kInvalidArgument:
      return kExitUsage;
    case chunkllm::ErrorCode::kInterrupted:
      return kExitInterrupted;
    case chunkllm::ErrorCode::kData:
    case chunkllm::ErrorCode::kUnsupported:
    case chunkllm::ErrorCode::kIo:
    case chunkllm::ErrorCode::kMemory:
      return kExitFailure;
  }
  return kExitFailure;
}

}  // namespace

int main(int argc, char** argv) {
  chunkllm::cli::interrupt_token();  // from here on Ctrl-C ends with a line and 130
  std::signal(SIGXFSZ, SIG_IGN);     // a file that may not grow is an error of the write
  CLI::App app{"chunkllm makes long contexts cheap for language models you already have.",
               "chunkllm"};
  app.set_version_flag("--version", CHUNKLLM_VERSION);
  app.require_subcommand(1);
  chunkllm::cli::add_train_command(app);
  chunkllm::cli::add_generate_command(app);
  chunkllm::cli::add_chat_command(app);
  chunkllm::cli::add_serve_command(app);
  chunkllm::cli::add_eval_command(app);
  chunkllm::cli::add_bench_command(app);
  chunkllm::cli::add_inspect_command(app);
  chunkllm::cli::add_quantize_command(app);
  chunkllm::cli::add_tokenize_command(app);
  try {
    chunkllm::cli::set_command_line(std::vector<std::string>(argv, argv + argc));
    const std::vector<std::string> words(argv + std::min(argc, 1), argv + argc);
    const std::string wrong = wrong_word(app, words);
    if (!wrong.empty()) return report(wrong, kExitUsage);
    app.parse(chunkllm::cli::reversed_words(app, words));
    return finish();
  } catch (const CLI::Success& e) {  // --help and --version
    app.exit(e);
    return finish();
  } catch (const CLI::ParseError& e) {
    const std::vector<CLI::App*> commands = app.get_subcommands();
    const std::string command = commands.empty() ? "" : commands.front()->get_name() + " ";
    return report(fmt::format("{}; see chunkllm {}--help", e.what(), command), kExitUsage);
  } catch (const chunkllm::Error& e) {
    return report(e.what(), exit_code_of(e.code()));
  } catch (const std::bad_alloc&) {
    return report("out of memory; use a smaller model, context or batch", kExitFailure);
  } catch (const std::exception& e) {
    return report(e.what(), kExitFailure);
  }
}

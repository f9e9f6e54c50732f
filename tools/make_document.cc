// The material of script/demo: a long document with facts hidden in it, a prompt for each of them,
// and text to train adapters on. All of it is made from a seed; no data is needed.

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/atomic_file.h"
#include "base/error.h"
#include "base/mapped_file.h"
#include "base/random.h"
#include "base/range.h"
#include "data/facts.h"
#include "data/synthetic.h"
#include "model/config.h"
#include "text/chat/chat_template.h"
#include "text/tokenizer/tokenizer.h"
#include "text/utf8.h"

namespace chunkllm {
namespace {

constexpr int64_t kAnswerTokens = 64;  // of the context, kept free for an answer

constexpr std::string_view kSpace = " \t\r\n";

struct Fact {
  std::string sentence;
  std::string question;
  std::string answer;  // the value alone
};

// A document with hidden facts, all of which are asked for.
struct AskedDocument {
  std::string text;
  std::vector<Fact> facts;
  std::vector<int64_t> offsets;  // byte position of each in the text
};

struct Options {
  std::string model;
  std::string text;
  std::string out;
  int64_t n_tokens = 33000;
  int64_t n_facts = 3;
  int64_t training_bytes = 0;
  uint64_t seed = 1;
};

std::string read_text(const std::filesystem::path& path) {
  const MappedFile file(path);
  const auto* begin = reinterpret_cast<const char*>(file.bytes().data());
  std::string text(begin, begin + file.bytes().size());
  if (const auto offset = find_invalid_utf8(text)) {
    fail(ErrorCode::kData, "{}: byte {} is no valid UTF-8; convert the file to UTF-8 first",
         path.string(), *offset);
  }
  if (text.find_first_not_of(kSpace) == std::string::npos) {
    fail(ErrorCode::kData, "{} holds no text; name a file with some", path.string());
  }
  return text;
}

std::string_view without_trailing_space(std::string_view text) {
  return text.substr(0, text.find_last_not_of(kSpace) + 1);
}

// The first `n_bytes` of `text` or fewer: whole words where there are any, whole characters always.
std::string_view first_words(std::string_view text, size_t n_bytes) {
  if (n_bytes >= text.size()) return text;
  const size_t space = text.find_last_of(kSpace, n_bytes);
  if (space != std::string_view::npos && space > n_bytes / 2) return text.substr(0, space);
  while (n_bytes > 0 && (static_cast<unsigned char>(text[n_bytes]) & 0xc0u) == 0x80u) --n_bytes;
  return text.substr(0, n_bytes);
}

template <typename T, size_t n>
const T& pick(Rng& rng, const T (&list)[n]) {
  return list[rng.below(static_cast<int64_t>(n))];
}

Fact make_magic_number(Rng& rng) {
  const std::string key = make_value(rng, "hyphenated");
  std::string value = make_value(rng, "number7");
  return {
      fmt::format("One of the special magic numbers for {} is: {}.", key, value),
      fmt::format("What is the special magic number for {} mentioned in the provided text?", key),
      std::move(value)};
}

Fact make_attribute(Rng& rng) {
  struct Attribute {
    std::string_view name;
    std::string_view value;  // the rule that makes it
  };
  constexpr Attribute kAttributes[] = {
      {"secret code", "number5"}, {"secret code", "number5"}, {"phone number", "number7"},
      {"room number", "number3"}, {"secret key", "hex8"},     {"birthplace", "city"},
      {"departure time", "time"},
  };
  const Attribute& attribute = pick(rng, kAttributes);
  const std::string person = make_value(rng, "person");
  std::string value = make_value(rng, attribute.value);
  return {fmt::format("The {} of {} is {}.", attribute.name, person, value),
          fmt::format("What is the {} of {}?", attribute.name, person), std::move(value)};
}

Fact make_key_value(Rng& rng) {
  constexpr std::string_view kValues[] = {"number7", "number7", "hex8", "words"};
  const std::string key = make_value(rng, "words");
  std::string value = make_value(rng, pick(rng, kValues));
  return {fmt::format("\"{}\": \"{}\"", key, value),
          fmt::format("What is the value of the key \"{}\"?", key), std::move(value)};
}

// The forms that the small models of the project know best, in turn; neither questions nor answers
// repeat.
std::vector<Fact> make_distinct_facts(Rng& rng, int64_t n) {
  constexpr Fact (*kMakers[])(Rng&) = {make_magic_number, make_attribute, make_key_value};
  std::vector<Fact> facts;
  while (std::ssize(facts) < n) {
    Fact fact = kMakers[facts.size() % std::size(kMakers)](rng);
    const bool repeats = std::ranges::any_of(facts, [&](const Fact& other) {
      return other.question == fact.question || other.answer == fact.answer;
    });
    if (!repeats) facts.push_back(std::move(fact));
  }
  return facts;
}

// The user turn that asks for a fact: document, blank line, question.
std::string user_turn(const AskedDocument& document, const Fact& fact) {
  return document.text + "\n\n" + fact.question;
}

// The document with its questions, sized by the tokens of the whole prompts.
class DocumentMaker {
 public:
  explicit DocumentMaker(const Options& options)
      : options_(options),
        tokenizer_(Tokenizer::from_folder(options.model)),
        template_(ChatTemplate::from_folder(options.model)),
        max_tokens_(read_model_config(options.model).max_positions - kAnswerTokens) {
    if (options.n_tokens > max_tokens_) {
      fail(ErrorCode::kInvalidArgument,
           "--tokens {}: the model's context leaves {} for a prompt; ask for fewer",
           options.n_tokens, max_tokens_);
    }
    Rng rng(options.seed);
    facts_ = make_distinct_facts(rng, options.n_facts);
    state_ = rng;
  }

  // The user's text, or none, followed by as much prose as --tokens asks for. Each try cuts the
  // text, or makes the prose longer, by what the one before was off.
  AskedDocument make(std::string_view own_text) const {
    std::string_view text = own_text;
    int64_t prose_bytes = 0;
    while (true) {
      AskedDocument document = hide(text, prose_bytes);
      const Range tokens = prompt_tokens(document);
      if (tokens.end > max_tokens_ && text.empty()) {
        fail(ErrorCode::kInvalidArgument,
             "--facts {}: they do not fit into the model's context; hide fewer", options_.n_facts);
      }
      if (tokens.end > max_tokens_) {
        const double ratio = static_cast<double>(max_tokens_) / static_cast<double>(tokens.end);
        const auto n_bytes = static_cast<size_t>(static_cast<double>(text.size()) * ratio * 0.999);
        text = first_words(text, std::min(n_bytes, text.size() - 1));
        prose_bytes = 0;
      } else if (tokens.begin < options_.n_tokens) {
        constexpr double kBytesPerToken = 3.3;  // low rather than high: it only costs a try
        const auto missing = static_cast<double>(options_.n_tokens - tokens.begin);
        prose_bytes += static_cast<int64_t>(std::ceil(missing * kBytesPerToken));
      } else {
        return document;
      }
    }
  }

  // Tokens of the shortest and the longest prompt.
  Range prompt_tokens(const AskedDocument& document) const {
    Range range{INT64_MAX, 0};
    for (const Fact& fact : document.facts) {
      const int64_t n =
          std::ssize(template_.encode(tokenizer_, {{"user", user_turn(document, fact)}}, true).ids);
      range = {std::min(range.begin, n), std::max(range.end, n)};
    }
    return range;
  }

 private:
  AskedDocument hide(std::string_view own_text, int64_t prose_bytes) const {
    Rng rng = state_;
    std::string text(without_trailing_space(own_text));
    if (!own_text.empty() && prose_bytes > 0) text += "\n\n";
    text += make_text(rng, prose_bytes);
    text.resize(without_trailing_space(text).size());
    std::vector<std::string> sentences;
    for (const Fact& fact : facts_) sentences.push_back(fact.sentence);
    AskedDocument document{{}, facts_, {}};
    document.text = hide_facts(text, sentences, rng, &document.offsets);
    return document;
  }

  const Options& options_;
  Tokenizer tokenizer_;
  ChatTemplate template_;
  int64_t max_tokens_;  // of a prompt
  std::vector<Fact> facts_;
  Rng state_;
};

void make_document(const Options& options) {
  const DocumentMaker maker(options);
  const std::string own_text = options.text.empty() ? std::string() : read_text(options.text);
  make_writable_folder(options.out);
  const AskedDocument document = maker.make(own_text);
  const std::filesystem::path folder = options.out;
  for (size_t i = 0; i < document.facts.size(); ++i) {
    const Fact& fact = document.facts[i];
    const size_t number = i + 1;
    write_file_atomically(folder / fmt::format("prompt-{}.txt", number), user_turn(document, fact));
    write_file_atomically(folder / fmt::format("question-{}.txt", number), fact.question + "\n");
    write_file_atomically(folder / fmt::format("answer-{}.txt", number), fact.answer + "\n");
    std::puts(fmt::format("fact {}, {:.0f}% into the document: {}", number,
                          100.0 * static_cast<double>(document.offsets[i]) /
                              static_cast<double>(document.text.size()),
                          fact.sentence)
                  .c_str());
  }
  std::puts(fmt::format("{} bytes of text, prompts of {} tokens, in {}", document.text.size(),
                        maker.prompt_tokens(document).end, options.out)
                .c_str());
}

void make_training_text(const Options& options) {
  make_writable_folder(options.out);
  Rng rng(options.seed);
  const std::filesystem::path path = std::filesystem::path(options.out) / "training.txt";
  write_file_atomically(path, make_text(rng, options.training_bytes));
  std::puts(fmt::format("training text in {}", path.string()).c_str());
}

void run(const Options& options) {
  if (options.training_bytes > 0) {
    make_training_text(options);
  } else if (options.model.empty()) {
    fail(ErrorCode::kInvalidArgument, "--model is missing; name the folder of the tokenizer");
  } else {
    make_document(options);
  }
}

int report(const std::string& message, int exit_code) {
  std::fprintf(stderr, "error: %s\n", message.c_str());
  return exit_code;
}

}  // namespace
}  // namespace chunkllm

int main(int argc, char** argv) {
  CLI::App app{"Makes a long document with hidden facts and questions, or text to train on."};
  chunkllm::Options options;
  app.add_option("--model", options.model, "Model folder: tokenizer and longest context")
      ->type_name("DIR");
  app.add_option("--tokens", options.n_tokens, "Least tokens of a prompt")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 40))
      ->capture_default_str();
  app.add_option("--facts", options.n_facts, "Facts to hide and to ask for")
      ->check(CLI::Range(int64_t{1}, int64_t{256}))
      ->capture_default_str();
  app.add_option("--text", options.text,
                 "Own text for the document, followed by made-up prose if it is too short")
      ->type_name("FILE");
  auto* training =
      app.add_option("--training-bytes", options.training_bytes,
                     "Write training.txt of at least this many bytes instead of a document");
  training->check(CLI::Range(int64_t{1}, int64_t{1} << 32));
  app.add_option("--seed", options.seed, "Seed of prose and facts")->capture_default_str();
  app.add_option("--out", options.out, "Folder to write into")->required()->type_name("DIR");
  try {
    app.parse(argc, argv);
    chunkllm::run(options);
    return 0;
  } catch (const CLI::CallForHelp& e) {
    return app.exit(e);
  } catch (const CLI::ParseError& e) {
    return chunkllm::report(std::string(e.what()) + "; see make_document --help", 2);
  } catch (const chunkllm::Error& e) {
    return chunkllm::report(e.what(), e.code() == chunkllm::ErrorCode::kInvalidArgument ? 2 : 1);
  } catch (const std::exception& e) {
    return chunkllm::report(e.what(), 1);
  }
}

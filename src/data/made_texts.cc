#include "data/made_texts.h"

#include <fmt/core.h>

#include <algorithm>
#include <string_view>

#include "data/block_items.h"
#include "data/synthetic.h"
#include "data/task_blocks.h"

namespace chunkllm {
namespace {

using Text = std::string_view;

// Prose whose paragraphs are wrapped at one width, or left as they are.
std::string make_prose(Rng& rng, int64_t n_bytes) {
  const std::string text = make_text(rng, n_bytes);
  if (rng.below(2) == 0) return text;
  const auto width = static_cast<size_t>(50 + rng.below(51));
  std::string wrapped;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find("\n\n", begin), text.size());
    if (!wrapped.empty()) wrapped += "\n\n";
    wrapped += wrap_lines(Text(text).substr(begin, end - begin), width);
    begin = std::min(text.find_first_not_of('\n', end), text.size());
  }
  return wrapped + "\n";
}

std::string make_list(Rng& rng, int64_t n_bytes) {
  const std::vector<std::string> sentences = make_sentences(rng, 3 * n_bytes);
  constexpr Text kBullets[] = {"- ", "* ", "+ ", "• ", "[ ] ", "#"};
  const Text bullet = pick_of(rng, kBullets);
  const bool has_sentences = rng.below(2) == 0;
  std::string text = fmt::format("{}:\n", make_value(rng, "words"));
  size_t next = 0;
  for (int64_t n = 1; std::ssize(text) < n_bytes; ++n) {
    const std::string mark = bullet == "#" ? fmt::format("{}. ", n) : std::string(bullet);
    const std::string entry = has_sentences       ? sentences[next++ % sentences.size()]
                              : rng.below(2) == 0 ? make_value(rng, "phrase")
                                                  : fmt::format("{} {}", make_value(rng, "number3"),
                                                                make_value(rng, "words"));
    text += fmt::format("{}{}{}\n", rng.below(6) == 0 ? "  " : "", mark, entry);
  }
  return text;
}

std::string make_log(Rng& rng, int64_t n_bytes) {
  constexpr Text kLevels[] = {"INFO", "INFO", "INFO", "DEBUG", "WARNING", "ERROR"};
  constexpr Text kEvents[] = {
      "request {k} served in {v} ms", "opened {k}",          "cannot read {k}: no such file",
      "user {k} logged in",           "{k} took {v} ms",     "retrying {k}, attempt {v}",
      "cache miss for key {k}",       "wrote {v} bytes",     "connection to {k} closed",
      "worker {v} started",           "queue length is {v}", "checksum of {k} is {v}"};
  const int64_t style = rng.below(3);
  int64_t second = rng.below(86400);
  const int64_t day = 1 + rng.below(28);
  std::string text;
  while (std::ssize(text) < n_bytes) {
    second += rng.below(20);
    const std::string time =
        fmt::format("{:02}:{:02}:{:02}", second / 3600 % 24, second / 60 % 60, second % 60);
    std::string key = make_value(rng, "words");
    std::ranges::replace(key, ' ', rng.below(2) == 0 ? '.' : '_');
    const std::string event = fill_form(pick_of(rng, kEvents), {}, key, make_value(rng, "number3"));
    const Text level = pick_of(rng, kLevels);
    if (style == 0) {
      text += fmt::format("2024-05-{:02} {} {} {}\n", day, time, level, event);
    } else if (style == 1) {
      text += fmt::format("[{}] {}: {}\n", time, level, event);
    } else {
      text += fmt::format("May {:2} {} host-{} daemon[{}]: {}\n", day, time, second % 7,
                          make_value(rng, "number3"), event);
    }
  }
  return text;
}

bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

// Replaces some words of four letters and more by ones that no lexicon has, so that what is learned
// about the ends of chunks holds for words that are not in it.
std::string with_new_words(Rng& rng, Text text, TextKind kind) {
  constexpr Text kKeywords[] = {"return", "print",   "import", "function", "range",
                                "const",  "include", "stdlib", "stdio",    "define",
                                "printf", "console", "class",  "else",     "while",
                                "void",   "static",  "self",   "this"};
  const int64_t percent = kind == TextKind::kCode ? 12 : 6;
  std::string varied;
  for (size_t begin = 0; begin < text.size();) {
    size_t end = begin;
    while (end < text.size() && is_letter(text[end])) ++end;
    const Text word = text.substr(begin, end - begin);
    const bool is_keyword =
        kind == TextKind::kCode && std::ranges::find(kKeywords, word) != std::end(kKeywords);
    if (word.size() >= 4 && !is_keyword && rng.below(100) < percent) {
      varied += make_word(rng, word[0] <= 'Z');
    } else {
      varied += word;
    }
    if (end < text.size()) varied += text[end];
    begin = end + 1;
  }
  return varied;
}

// One part, in one manner.
std::string make_part(Rng& rng, TextKind kind, int64_t n_bytes) {
  switch (kind) {
    case TextKind::kProse:
      return make_prose(rng, n_bytes);
    case TextKind::kDialogue:
      return make_block(rng, TaskKind::kDialogue, Forms::kTraining, n_bytes, 0).text;
    case TextKind::kCode:
      return make_block(rng, TaskKind::kCode, Forms::kTraining, n_bytes, 0).text;
    case TextKind::kJson:
      return make_block(rng, TaskKind::kJson, Forms::kTraining, n_bytes, 0).text;
    case TextKind::kTable:
      return make_block(rng, TaskKind::kTable, Forms::kTraining, n_bytes, 0).text;
    case TextKind::kList:
      return make_list(rng, n_bytes);
    case TextKind::kLog:
      return make_log(rng, n_bytes);
    case TextKind::kVerse:
      return make_verse(rng, n_bytes);
  }
  return {};
}

}  // namespace

std::string make_word(Rng& rng, bool is_capital) {
  constexpr Text kOnsets[] = {"b",  "br", "c",  "ch", "d", "dr", "f",  "fl", "g", "gr", "h",
                              "j",  "k",  "l",  "m",  "n", "p",  "pl", "qu", "r", "s",  "sh",
                              "st", "t",  "th", "tr", "v", "w",  "y",  "z",  ""};
  constexpr Text kNuclei[] = {"a", "e", "i", "o", "u", "ai", "ea", "ie", "oo", "ou", "au", "y"};
  constexpr Text kCodas[] = {"",   "",   "",    "n",    "r",    "l",  "s",  "t",
                             "m",  "ng", "st",  "ck",   "nd",   "rt", "ph", "x",
                             "sk", "lt", "ble", "tion", "ness", "ed", "ing"};
  std::string word;
  for (int64_t n = 1 + rng.below(3); n > 0; --n) {
    word += pick_of(rng, kOnsets);
    word += pick_of(rng, kNuclei);
    word += pick_of(rng, kCodas);
  }
  if (is_capital && word[0] >= 'a') word[0] = static_cast<char>(word[0] - 'a' + 'A');
  return word;
}

std::string make_text_of(Rng& rng, TextKind kind, int64_t n_bytes) {
  std::string text;
  while (std::ssize(text) < n_bytes) {
    const int64_t most = kind == TextKind::kProse ? 20000 : 4000;
    if (!text.empty()) text += '\n';
    text += with_new_words(rng, make_part(rng, kind, 500 + rng.below(most)), kind);
  }
  return text;
}

std::string make_mixed_text(Rng& rng, int64_t n_bytes) {
  std::string text;
  while (std::ssize(text) < n_bytes) {
    int64_t at = rng.below(100);
    const TextShare* share = std::begin(kTextShares);
    for (; at >= share->percent; ++share) at -= share->percent;
    if (!text.empty()) text += '\n';
    text += with_new_words(rng, make_part(rng, share->kind, 300 + rng.below(2700)), share->kind);
  }
  return text;
}

}  // namespace chunkllm

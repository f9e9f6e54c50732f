#include "cli/command_line.h"

#include <algorithm>
#include <string_view>

namespace chunkllm::cli {
namespace {

std::string g_command_line;

bool is_plain(char c) {
  constexpr std::string_view kPlain = "_-./:,=@%+";
  return ('a' <= c && c <= 'z') || ('A' <= c && c <= 'Z') || ('0' <= c && c <= '9') ||
         kPlain.find(c) != std::string_view::npos;
}

std::string quoted(const std::string& word) {
  if (!word.empty() && std::ranges::all_of(word, is_plain)) return word;
  std::string text = "'";
  for (const char c : word) text += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return text + "'";
}

}  // namespace

std::string shell_words(std::span<const std::string> words) {
  std::string line;
  for (const std::string& word : words) line += (line.empty() ? "" : " ") + quoted(word);
  return line;
}

void set_command_line(std::span<const std::string> words) { g_command_line = shell_words(words); }

const std::string& command_line() { return g_command_line; }

}  // namespace chunkllm::cli

#include "eval/benchmarks/python_text.h"

#include <unicode/uchar.h>

#include "text/utf8.h"

namespace chunkllm {
namespace {

// The runs of characters of a kind, without those between.
template <typename IsKind>
std::vector<std::string_view> runs_of(std::string_view text, const IsKind& is_kind) {
  std::vector<std::string_view> runs;
  size_t begin = 0;
  size_t at = 0;
  const auto end_run = [&] {
    if (at > begin) runs.push_back(text.substr(begin, at - begin));
  };
  while (at < text.size()) {
    const CodePoint c = code_point_at(text, at);
    if (!is_kind(c.value)) {
      end_run();
      begin = at + c.n_bytes;
    }
    at += c.n_bytes;
  }
  end_run();
  return runs;
}

}  // namespace

bool is_python_space(char32_t c) {
  return (c >= 0x1c && c <= 0x1f) || u_isUWhiteSpace(static_cast<UChar32>(c)) != 0;
}

bool is_python_digit(char32_t c) {
  return u_charType(static_cast<UChar32>(c)) == U_DECIMAL_DIGIT_NUMBER;
}

bool is_python_word(char32_t c) {
  return c == U'_' || (U_GET_GC_MASK(static_cast<UChar32>(c)) & (U_GC_L_MASK | U_GC_N_MASK)) != 0;
}

std::string_view python_lstrip(std::string_view text) {
  while (!text.empty()) {
    const CodePoint c = code_point_at(text, 0);
    if (!is_python_space(c.value)) break;
    text.remove_prefix(c.n_bytes);
  }
  return text;
}

std::string_view python_strip(std::string_view text) {
  text = python_lstrip(text);
  while (!text.empty()) {
    const CodePoint c = code_point_before(text, text.size());
    if (!is_python_space(c.value)) break;
    text.remove_suffix(c.n_bytes);
  }
  return text;
}

std::vector<std::string_view> python_split(std::string_view text) {
  return runs_of(text, [](char32_t c) { return !is_python_space(c); });
}

std::vector<std::string_view> split_at(std::string_view text, char separator) {
  std::vector<std::string_view> pieces;
  size_t begin = 0;
  for (size_t at = text.find(separator); at != std::string_view::npos;
       at = text.find(separator, begin)) {
    pieces.push_back(text.substr(begin, at - begin));
    begin = at + 1;
  }
  pieces.push_back(text.substr(begin));
  return pieces;
}

std::vector<std::string_view> find_numbers(std::string_view text) {
  return runs_of(text, is_python_digit);
}

}  // namespace chunkllm

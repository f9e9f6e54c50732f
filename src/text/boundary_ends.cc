#include "text/boundary_ends.h"

#include <unicode/uchar.h>

#include <algorithm>
#include <iterator>

#include "base/error.h"
#include "text/sentences.h"
#include "text/tokenizer/tokenizer.h"
#include "text/utf8.h"

namespace chunkllm {
namespace {

constexpr std::string_view kSpaces = " \t\r\n\v\f";

std::string_view trimmed(std::string_view text) {
  const size_t begin = text.find_first_not_of(kSpaces);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kSpaces) + 1 - begin);
}

int64_t count_characters(std::string_view text) {
  return std::ranges::count_if(text, [](char c) { return begins_character(c); });
}

// Lines without their line ends; "\r\n" and "\n" end one.
std::vector<std::string_view> split_lines(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    lines.push_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return lines;
}

bool is_letter_byte(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
         (static_cast<unsigned char>(c) & 0x80u) != 0;
}

// Whether nearly all of the line is words, spaces and the marks of running text.
bool reads_as_prose(std::string_view line) {
  int64_t n_words = 0;  // bytes of words, and spaces
  int64_t n_foreign = 0;
  char last = ' ';
  for (const char c : line) {
    if (is_letter_byte(c) || c == ' ') {
      ++n_words;
    } else if (std::string_view("=<>{}[]|\\/_#$%^&+~`@").find(c) != std::string_view::npos) {
      ++n_foreign;
    } else if (c == '(' && is_letter_byte(last)) {
      ++n_foreign;  // a call
    }
    last = c;
  }
  const auto n = static_cast<int64_t>(line.size());
  return n_words * 100 >= n * 85 && n_foreign * 100 <= n &&
         line.find(' ') != std::string_view::npos && last != ';' && last != '(';
}

// The character that a line begins with, without quotation marks and brackets that open it.
char32_t first_letter(std::string_view line) {
  for (size_t offset = 0; offset < line.size();) {
    const CodePoint c = code_point_at(line, offset);
    offset += c.n_bytes;
    const auto category = u_charType(static_cast<UChar32>(c.value));
    const bool opens = category == U_START_PUNCTUATION || category == U_INITIAL_PUNCTUATION ||
                       c.value == '"' || c.value == '\'' || c.value == '_' || c.value == '*';
    if (!opens) return c.value;
  }
  return 0;
}

// Whether a line that begins so may go on with the sentence of the line before: not in upper case,
// as verse, lists and speeches begin.
bool continues(std::string_view line) {
  const auto c = static_cast<UChar32>(first_letter(line));
  return u_isalpha(c) && !u_isupper(c) && !u_istitle(c);
}

// Whether the sentence, white space after it left out, ends in a mark that ends sentences.
bool ends_in_mark(std::string_view sentence) {
  size_t end = sentence.size();
  while (end > 0) {
    const auto [c, n_bytes] = code_point_before(sentence, end);
    if (c == '.' || c == '!' || c == '?' || c == 0x2026 || c == 0x3002 || c == 0xff01 ||
        c == 0xff1f) {
      return true;
    }
    const auto category = u_charType(static_cast<UChar32>(c));
    const bool closes = category == U_END_PUNCTUATION || category == U_FINAL_PUNCTUATION ||
                        category == U_INITIAL_PUNCTUATION || c == '"' || c == '\'' || c == '*' ||
                        c == '_';
    if (!closes) return false;
    end -= n_bytes;
  }
  return false;
}

// Whether a sentence found in a line of structured text is one: words, more than two of them, and a
// mark at the end.
bool is_marked_sentence(std::string_view sentence) {
  const auto n_words =
      std::ranges::count_if(sentence, [](char c) { return is_letter_byte(c) || c == ' '; });
  return n_words * 100 >= std::ssize(sentence) * 75 && std::ranges::count(sentence, ' ') >= 2 &&
         ends_in_mark(sentence);
}

// Appends what sentence_ends() finds in text[begin, end): all, or marked sentences only.
void append_sentences(std::string_view text, size_t begin, size_t end, bool marked_only,
                      std::vector<int64_t>& ends) {
  const std::string_view part = text.substr(begin, end - begin);
  size_t from = 0;
  for (const int64_t at : sentence_ends(part)) {
    const auto to = static_cast<size_t>(at);
    if (!marked_only || is_marked_sentence(trimmed(part.substr(from, to - from)))) {
      ends.push_back(static_cast<int64_t>(begin) + at);
    }
    from = to;
  }
}

void append_structured(std::string_view text, size_t begin, size_t end,
                       std::vector<int64_t>& ends) {
  for (size_t at = begin; at < end;) {
    const size_t newline = text.find('\n', at);
    const bool has_newline = newline < end;
    const size_t line_end = has_newline ? newline : end;
    append_sentences(text, at, line_end, true, ends);
    const int64_t last = static_cast<int64_t>(
        has_newline ? newline + 1 : text.substr(0, end).find_last_not_of(kSpaces) + 1);
    if (ends.empty() || ends.back() < last) ends.push_back(last);
    at = has_newline ? newline + 1 : end;
  }
}

// Appends the ends in text[begin, end), a paragraph that begins with a character that is no space;
// the line end after its last line belongs to it.
void append_paragraph(std::string_view text, size_t begin, size_t end, std::vector<int64_t>& ends) {
  const std::string_view paragraph = text.substr(begin, end - begin);
  const bool one_line = trimmed(paragraph).find('\n') == std::string_view::npos;
  if (one_line || is_hard_wrapped(paragraph)) {
    append_sentences(text, begin, end, false, ends);
  } else {
    append_structured(text, begin, end, ends);
  }
}

}  // namespace

bool is_hard_wrapped(std::string_view paragraph) {
  std::vector<std::string_view> lines = split_lines(trimmed(paragraph));
  for (std::string_view& line : lines) line = trimmed(line);
  constexpr size_t kFewestLines = 3;
  constexpr int64_t kNarrowest = 30;
  if (lines.size() < kFewestLines) return false;
  std::vector<int64_t> widths;
  for (const std::string_view line : lines) widths.push_back(count_characters(line));
  const auto n_ends = std::ssize(lines) - 1;
  // The width of nearly the widest line: a few may be wider by accident.
  std::vector<int64_t> sorted(widths.begin(), std::prev(widths.end()));
  const auto at = sorted.begin() + ((std::ssize(sorted) - 1) * 85 + 50) / 100;
  std::nth_element(sorted.begin(), at, sorted.end());
  const int64_t width = *at;
  if (width < kNarrowest) return false;

  // A line is full if it is nearly that wide, or the next word would make it wider.
  int64_t n_full = 0;
  int64_t n_prose = 0;
  for (size_t i = 0; i + 1 < lines.size(); ++i) {
    const std::string_view next = lines[i + 1];
    const int64_t word = count_characters(next.substr(0, std::min(next.find(' '), next.size())));
    const bool is_full = widths[i] * 10 >= width * 8 || widths[i] + 1 + word > width;
    if (is_full && widths[i] * 10 <= width * 12) ++n_full;
    if (reads_as_prose(lines[i])) ++n_prose;
  }
  if (n_full * 2 <= n_ends || n_prose * 2 <= n_ends) return false;

  // As prose, line ends are spaces: which of them end a sentence?
  const std::string_view text = trimmed(paragraph);
  const std::vector<int64_t> sentences = sentence_ends(text);
  int64_t n_inside = 0;
  size_t begin = 0;
  for (size_t i = 0; i + 1 < lines.size(); ++i) {
    const size_t newline = text.find('\n', begin);
    const size_t last = text.substr(0, newline).find_last_not_of(kSpaces) + 1;
    const bool ends_sentence = std::ranges::binary_search(sentences, static_cast<int64_t>(last));
    if (!ends_sentence && continues(lines[i + 1])) ++n_inside;
    begin = newline + 1;
  }
  return n_inside * 2 > n_ends;
}

std::vector<int64_t> boundary_ends(std::string_view text) {
  if (const auto offset = find_invalid_utf8(text)) {
    fail(ErrorCode::kData, "the text is not valid UTF-8 at byte {}; convert it to UTF-8", *offset);
  }
  std::vector<int64_t> ends;
  size_t begin = std::string_view::npos;  // of the open paragraph
  for (size_t at = 0; at < text.size();) {
    const size_t newline = text.find('\n', at);
    const size_t next = newline == std::string_view::npos ? text.size() : newline + 1;
    const bool is_blank = trimmed(text.substr(at, next - at)).empty();
    if (is_blank && begin != std::string_view::npos) {
      append_paragraph(text, begin, at, ends);
      begin = std::string_view::npos;
    } else if (!is_blank && begin == std::string_view::npos) {
      begin = at;
    }
    at = next;
  }
  if (begin != std::string_view::npos) append_paragraph(text, begin, text.size(), ends);
  return ends;
}

}  // namespace chunkllm

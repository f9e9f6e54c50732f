#include "text/tokenizer/pre_tokenizer.h"

#include <unicode/uchar.h>

#include <algorithm>
#include <array>
#include <cstdint>

#include "text/utf8.h"

namespace chunkllm {

namespace {

enum class CharClass : uint8_t { kLetter, kNumber, kNewline, kSpace, kOther };

CharClass classify_by_icu(char32_t value) {
  if (value == '\r' || value == '\n') return CharClass::kNewline;
  const UChar32 c = static_cast<UChar32>(value);
  const uint32_t mask = U_GET_GC_MASK(c);
  if ((mask & U_GC_L_MASK) != 0) return CharClass::kLetter;
  if ((mask & U_GC_N_MASK) != 0) return CharClass::kNumber;
  return u_isUWhiteSpace(c) ? CharClass::kSpace : CharClass::kOther;
}

constexpr size_t kAsciiEnd = 128;

const std::array<CharClass, kAsciiEnd> kAsciiClasses = [] {
  std::array<CharClass, kAsciiEnd> classes{};
  for (char32_t c = 0; c < kAsciiEnd; ++c) classes[c] = classify_by_icu(c);
  return classes;
}();

struct ClassifiedChar {
  CharClass char_class = CharClass::kOther;
  size_t n_bytes = 0;
};

ClassifiedChar classify_at(std::string_view text, size_t offset) {
  const uint8_t lead = static_cast<uint8_t>(text[offset]);
  if (lead < kAsciiEnd) return {kAsciiClasses[lead], 1};
  const CodePoint c = code_point_at(text, offset);
  return {classify_by_icu(c.value), c.n_bytes};
}

bool is_space(CharClass char_class) {
  return char_class == CharClass::kSpace || char_class == CharClass::kNewline;
}

// The first offset from `offset` on whose character is of another class, after at most `max_chars`.
size_t skip_class(std::string_view text, size_t offset, CharClass char_class,
                  size_t max_chars = SIZE_MAX) {
  for (size_t n = 0; n < max_chars && offset < text.size(); ++n) {
    const ClassifiedChar c = classify_at(text, offset);
    if (c.char_class != char_class) break;
    offset += c.n_bytes;
  }
  return offset;
}

// 's 't 're 've 'm 'll 'd: the end of the one at `begin`, or `begin` if there is none. `case_bit`
// is 0x20 where capitals count too, else 0.
size_t contraction_end(std::string_view text, size_t begin, int case_bit) {
  if (text[begin] != '\'') return begin;
  const std::string_view rest = text.substr(begin + 1);
  if (case_bit != 0 && rest.substr(0, 2) == "\u017f") return begin + 3;
  const auto letter = [&](size_t i) { return i < rest.size() ? rest[i] | case_bit : 0; };
  const int first = letter(0);
  const int second = letter(1);
  if (first == 's' || first == 't' || first == 'm' || first == 'd') return begin + 2;
  if ((first == 'r' || first == 'v') && second == 'e') return begin + 3;
  if (first == 'l' && second == 'l') return begin + 3;
  return begin;
}

// \s+(?!\S)|\s+ and, before them where `newlines_end`, \s*[\r\n]+, for a `begin` that is white
// space: up to the last line end of the run; else the run without its last character, which goes to
// the next piece; at the end of the text, or where the run is one character, all of it.
size_t space_run_end(std::string_view text, size_t begin, bool newlines_end) {
  size_t end = begin;
  size_t last_begin = begin;
  size_t newline_end = begin;
  while (end < text.size()) {
    const ClassifiedChar c = classify_at(text, end);
    if (!is_space(c.char_class)) break;
    last_begin = end;
    end += c.n_bytes;
    if (c.char_class == CharClass::kNewline) newline_end = end;
  }
  if (newlines_end && newline_end > begin) return newline_end;
  if (end == text.size() || last_begin == begin) return end;
  return last_begin;
}

// The expressions of Llama 3 and Qwen 2, which differ in how many digits are a piece.
size_t split_piece_end(std::string_view text, size_t begin, size_t max_digits) {
  if (const size_t end = contraction_end(text, begin, 0x20); end > begin) return end;
  const ClassifiedChar first = classify_at(text, begin);
  const size_t second = begin + first.n_bytes;
  if (first.char_class == CharClass::kLetter) {
    return skip_class(text, second, CharClass::kLetter);
  }
  if (first.char_class == CharClass::kNumber) {
    return skip_class(text, second, CharClass::kNumber, max_digits - 1);
  }
  if (first.char_class != CharClass::kNewline) {
    // One character that is neither letter nor number sticks to the word after it.
    const size_t word_end = skip_class(text, second, CharClass::kLetter);
    if (word_end > second) return word_end;
    const size_t other_begin = text[begin] == ' ' ? second : begin;
    const size_t other_end = skip_class(text, other_begin, CharClass::kOther);
    if (other_end > other_begin) return skip_class(text, other_end, CharClass::kNewline);
  }
  return space_run_end(text, begin, true);
}

// The end of what is no number, from `begin` on.
size_t skip_others_than_numbers(std::string_view text, size_t begin) {
  while (begin < text.size()) {
    const ClassifiedChar c = classify_at(text, begin);
    if (c.char_class == CharClass::kNumber) break;
    begin += c.n_bytes;
  }
  return begin;
}

size_t digits_piece_end(std::string_view text, size_t begin, size_t max_digits) {
  const size_t end = skip_class(text, begin, CharClass::kNumber, max_digits);
  return end > begin ? end : skip_others_than_numbers(text, begin);
}

struct NamedPreTokenizer {
  std::string_view regex;
  PieceEnd piece_end;
};

}  // namespace

const std::string_view kGpt2Regex =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

const std::string_view kLlama3Regex =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|)"
    R"(\s*[\r\n]+|\s+(?!\S)|\s+)";

const std::string_view kQwen2Regex =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|)"
    R"(\s*[\r\n]+|\s+(?!\S)|\s+)";

size_t gpt2_piece_end(std::string_view text, size_t begin) {
  if (const size_t end = contraction_end(text, begin, 0); end > begin) return end;
  const size_t word = text[begin] == ' ' && begin + 1 < text.size() ? begin + 1 : begin;
  const ClassifiedChar first = classify_at(text, word);
  if (is_space(first.char_class)) return space_run_end(text, begin, false);
  return skip_class(text, word + first.n_bytes, first.char_class);
}

size_t llama3_piece_end(std::string_view text, size_t begin) {
  return split_piece_end(text, begin, 3);
}

size_t qwen2_piece_end(std::string_view text, size_t begin) {
  return split_piece_end(text, begin, 1);
}

size_t single_digit_piece_end(std::string_view text, size_t begin) {
  return digits_piece_end(text, begin, 1);
}

size_t digit_run_piece_end(std::string_view text, size_t begin) {
  return digits_piece_end(text, begin, SIZE_MAX);
}

PieceEnd find_pre_tokenizer(std::string_view regex) {
  static const std::array<NamedPreTokenizer, 3> known = {{
      {kGpt2Regex, gpt2_piece_end},
      {kLlama3Regex, llama3_piece_end},
      {kQwen2Regex, qwen2_piece_end},
  }};
  const auto it = std::ranges::find(known, regex, &NamedPreTokenizer::regex);
  return it == known.end() ? nullptr : it->piece_end;
}

}  // namespace chunkllm

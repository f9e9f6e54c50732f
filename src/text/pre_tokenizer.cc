#include "text/pre_tokenizer.h"

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

CharClass classify(char32_t value) {
  static const std::array<CharClass, 128> ascii = [] {
    std::array<CharClass, 128> classes{};
    for (char32_t c = 0; c < 128; ++c) classes[c] = classify_by_icu(c);
    return classes;
  }();
  return value < 128 ? ascii[value] : classify_by_icu(value);
}

struct ClassifiedChar {
  CharClass char_class = CharClass::kOther;
  size_t n_bytes = 0;
};

ClassifiedChar classify_at(std::string_view text, size_t offset) {
  const CodePoint c = code_point_at(text, offset);
  return {classify(c.value), c.n_bytes};
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

// 's 't 're 've 'm 'll 'd in any case: the end of the one at `begin`, or `begin` if there is none.
size_t contraction_end(std::string_view text, size_t begin) {
  if (text[begin] != '\'') return begin;
  const std::string_view rest = text.substr(begin + 1);
  if (rest.substr(0, 2) == "\u017f") return begin + 3;
  const auto lower = [&](size_t i) { return i < rest.size() ? rest[i] | 0x20 : 0; };
  const int first = lower(0);
  const int second = lower(1);
  if (first == 's' || first == 't' || first == 'm' || first == 'd') return begin + 2;
  if ((first == 'r' || first == 'v') && second == 'e') return begin + 3;
  if (first == 'l' && second == 'l') return begin + 3;
  return begin;
}

// The three alternatives that begin with white space, for a `begin` that is white space: up to the
// last line end of the run; else the run without its last character, which goes to the next piece;
// at the end of the text, or where the run is one character, all of it.
size_t space_run_end(std::string_view text, size_t begin) {
  size_t end = begin;
  size_t last_begin = begin;
  size_t newline_end = begin;
  while (end < text.size()) {
    const ClassifiedChar c = classify_at(text, end);
    if (c.char_class != CharClass::kSpace && c.char_class != CharClass::kNewline) break;
    last_begin = end;
    end += c.n_bytes;
    if (c.char_class == CharClass::kNewline) newline_end = end;
  }
  if (newline_end > begin) return newline_end;
  if (end == text.size() || last_begin == begin) return end;
  return last_begin;
}

struct NamedPreTokenizer {
  std::string_view regex;
  PieceEnd piece_end;
};

}  // namespace

const std::string_view kLlama3Regex =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|)"
    R"(\s*[\r\n]+|\s+(?!\S)|\s+)";

size_t llama3_piece_end(std::string_view text, size_t begin) {
  if (const size_t end = contraction_end(text, begin); end > begin) return end;
  const ClassifiedChar first = classify_at(text, begin);
  const size_t second = begin + first.n_bytes;
  if (first.char_class == CharClass::kLetter) {
    return skip_class(text, second, CharClass::kLetter);
  }
  if (first.char_class == CharClass::kNumber) {
    return skip_class(text, second, CharClass::kNumber, 2);
  }
  if (first.char_class != CharClass::kNewline) {
    // One character that is neither letter nor number sticks to the word after it.
    const size_t word_end = skip_class(text, second, CharClass::kLetter);
    if (word_end > second) return word_end;
    const size_t other_begin = text[begin] == ' ' ? second : begin;
    const size_t other_end = skip_class(text, other_begin, CharClass::kOther);
    if (other_end > other_begin) return skip_class(text, other_end, CharClass::kNewline);
  }
  return space_run_end(text, begin);
}

PieceEnd find_pre_tokenizer(std::string_view regex) {
  static const std::array<NamedPreTokenizer, 1> known = {{{kLlama3Regex, llama3_piece_end}}};
  const auto it = std::ranges::find(known, regex, &NamedPreTokenizer::regex);
  return it == known.end() ? nullptr : it->piece_end;
}

}  // namespace chunkllm

#include "text/chat/jinja/builtins/case.h"

#include <unicode/uchar.h>
#include <unicode/ustring.h>
#include <unicode/utf16.h>

namespace chunkllm::jinja {
namespace {

bool is_cased(char32_t c) { return u_hasBinaryProperty(static_cast<UChar32>(c), UCHAR_CASED) != 0; }

// One character in another case: up to three.
void add_mapped(char32_t c, CaseKind kind, uint32_t origin, TextBuilder& out) {
  if (c < 0x80) {
    const auto simple = kind == CaseKind::kUpper || kind == CaseKind::kTitle
                            ? u_toupper(static_cast<UChar32>(c))
                            : u_tolower(static_cast<UChar32>(c));
    return out.add_code_point(static_cast<char32_t>(simple), origin);
  }
  UChar source[2];
  int32_t n_source = 0;
  U16_APPEND_UNSAFE(source, n_source, static_cast<UChar32>(c));
  UChar mapped[8];
  int32_t n = 0;
  UErrorCode status = U_ZERO_ERROR;
  switch (kind) {
    case CaseKind::kUpper:
      n = u_strToUpper(mapped, 8, source, n_source, "", &status);
      break;
    case CaseKind::kTitle:
      n = u_strToTitle(mapped, 8, source, n_source, nullptr, "", &status);
      break;
    case CaseKind::kFold:
      n = u_strFoldCase(mapped, 8, source, n_source, U_FOLD_CASE_DEFAULT, &status);
      break;
    case CaseKind::kLower:
    case CaseKind::kCapitalize:
    case CaseKind::kSwap:
      n = u_strToLower(mapped, 8, source, n_source, "", &status);
      break;
  }
  if (U_FAILURE(status) != 0) return out.add_code_point(c, origin);
  for (int32_t i = 0; i < n;) {
    UChar32 code = 0;
    U16_NEXT(mapped, i, n, code);
    out.add_code_point(static_cast<char32_t>(code), origin);
  }
}

// Whether a capital sigma at `begin` ends a word, where its small form is another.
bool is_final_sigma(std::string_view text, size_t begin, size_t end) {
  const auto is_ignored = [](char32_t c) {
    return u_hasBinaryProperty(static_cast<UChar32>(c), UCHAR_CASE_IGNORABLE) != 0;
  };
  while (begin > 0) {
    begin = character_begin(text, begin);
    const char32_t c = character_at(text, begin).value;
    if (is_ignored(c)) continue;
    if (!is_cased(c)) return false;
    while (end < text.size()) {
      const Character next = character_at(text, end);
      if (!is_ignored(next.value)) return !is_cased(next.value);
      end = next.end;
    }
    return true;
  }
  return false;
}

CaseKind kind_of_next(CaseKind kind, char32_t c, bool is_first, bool after_cased) {
  switch (kind) {
    case CaseKind::kUpper:
    case CaseKind::kLower:
    case CaseKind::kFold:
      return kind;
    case CaseKind::kTitle:
      return after_cased ? CaseKind::kLower : CaseKind::kTitle;
    case CaseKind::kCapitalize:
      return is_first ? CaseKind::kTitle : CaseKind::kLower;
    case CaseKind::kSwap:
      return u_isUUppercase(static_cast<UChar32>(c)) != 0 ? CaseKind::kLower : CaseKind::kUpper;
  }
  return kind;
}

}  // namespace

TextPtr change_case(const Text& text, CaseKind kind, Budget& budget) {
  constexpr char32_t kSigma = 0x3a3;
  constexpr char32_t kFinalSigma = 0x3c2;
  const std::string_view bytes = text.view();
  OriginReader origins(text.marks());
  TextBuilder out(budget);
  bool after_cased = false;
  for (size_t i = 0; i < bytes.size();) {
    const Character c = character_at(bytes, i);
    const uint32_t origin = origins.at(i);
    const CaseKind next = kind_of_next(kind, c.value, i == 0, after_cased);
    if (c.value == kSigma && next == CaseKind::kLower && is_final_sigma(bytes, i, c.end)) {
      out.add_code_point(kFinalSigma, origin);
    } else {
      add_mapped(c.value, next, origin, out);
    }
    after_cased = is_cased(c.value);
    i = c.end;
  }
  return out.finish(text.is_escaped());
}

bool is_in_case(const Text& text, CaseKind kind, Budget& budget) {
  budget.work(text.bytes().size() * 4);
  bool has_letters = false;
  for (size_t i = 0; i < text.bytes().size();) {
    const Character c = character_at(text.view(), i);
    const auto code = static_cast<UChar32>(c.value);
    const bool is_upper = u_isUUppercase(code) != 0 || u_istitle(code) != 0;
    if (kind == CaseKind::kUpper ? u_isULowercase(code) != 0 || u_istitle(code) != 0 : is_upper) {
      return false;
    }
    has_letters |= is_cased(c.value);
    i = c.end;
  }
  return has_letters;
}

}  // namespace chunkllm::jinja

#include "text/sentences.h"

#include <unicode/brkiter.h>
#include <unicode/filteredbrk.h>
#include <unicode/uchar.h>
#include <unicode/unistr.h>

#include <algorithm>
#include <iterator>
#include <memory>
#include <string>

#include "base/error.h"
#include "text/tokenizer/tokenizer.h"
#include "text/utf8.h"

namespace chunkllm {

namespace {

// Abbreviations after which a sentence goes on. ICU's filter knows CLDR's list, but not these; and
// what it knows it compares without a look at where the word begins.
constexpr std::string_view kAbbreviations[] = {
    "Mr.",   "Mrs.",  "Ms.",  "Dr.",     "Drs.", "Prof.", "St.",     "Ste.",  "Mt.",    "Ft.",
    "Jr.",   "Sr.",   "Esq.", "Messrs.", "MM.",  "Mme.",  "Mmes.",   "Mlle.", "Mdlle.", "Capt.",
    "Col.",  "Gen.",  "Lt.",  "Lieut.",  "Maj.", "Sgt.",  "Sergt.",  "Cpl.",  "Cmdr.",  "Comdr.",
    "Adm.",  "Brig.", "Rev.", "Hon.",    "Rt.",  "Gov.",  "Sen.",    "Rep.",  "Pres.",  "Supt.",
    "Insp.", "Msgr.", "Mgr.", "Bros.",   "Geo.", "Wm.",   "Chas.",   "Thos.", "Jas.",   "vs.",
    "e.g.",  "i.e.",  "viz.", "cf.",     "Cf.",  "al.",   "approx.", "Ph.D.", "M.D.",   "D.D.",
};

// Abbreviations only where a number follows; "No." is a whole sentence as well.
constexpr std::string_view kNumberAbbreviations[] = {
    "No.", "Nos.", "no.",  "nos.", "Vol.", "vol.", "Ch.",  "ch.",  "Fig.",  "fig.", "p.",
    "pp.", "Sec.", "sec.", "Art.", "art.", "Apr.", "Jul.", "Oct.", "Sept.", "Op.",  "op.",
};

// Entries of CLDR's list that end sentences far more often than they abbreviate.
constexpr const char* kOrdinaryWords[] = {
    "Act.", "All.", "As.",   "By.",   "Card.", "Do.", "Go.", "Hat.", "Id.", "In.",  "Is.", "Jam.",
    "Job.", "Joe.", "Link.", "Long.", "Mart.", "OK.", "Ok.", "On.",  "Or.", "Pro.", "To.", "Up.",
};

void check_icu(UErrorCode status) {
  if (U_FAILURE(status)) {
    fail(ErrorCode::kUnsupported,
         "ICU's English sentence rules are not available ({}); install its data",
         u_errorName(status));
  }
}

std::unique_ptr<icu::BreakIterator> make_iterator() {
  UErrorCode status = U_ZERO_ERROR;
  const icu::Locale& locale = icu::Locale::getEnglish();
  std::unique_ptr<icu::FilteredBreakIteratorBuilder> builder(
      icu::FilteredBreakIteratorBuilder::createInstance(locale, status));
  check_icu(status);
  for (const char* word : kOrdinaryWords) {
    builder->unsuppressBreakAfter(icu::UnicodeString::fromUTF8(word), status);
  }
  // Initials are left to is_abbreviation(): the filter would find them at the end of any word.
  for (char initial = 'A'; initial <= 'Z'; ++initial) {
    builder->unsuppressBreakAfter(icu::UnicodeString::fromUTF8(std::string{initial, '.'}), status);
  }
  check_icu(status);
  std::unique_ptr<icu::BreakIterator> rules(
      icu::BreakIterator::createSentenceInstance(locale, status));
  check_icu(status);
  std::unique_ptr<icu::BreakIterator> filtered(
      builder->wrapIteratorWithFilter(rules.release(), status));
  check_icu(status);
  return filtered;
}

constexpr int32_t kMaxParagraphUnits = 1 << 30;  // ICU counts in int32

bool is_line_end(char32_t c) { return c == '\n' || c == '\r' || c == 0x85 || c == 0x2028; }

// A paragraph as ICU sees it: every run of white space is one space.
struct Paragraph {
  icu::UnicodeString text;
  std::vector<int64_t> ends;  // by UTF-16 unit: the byte offset one past its character
};

// Reads from `offset`, which moves on, to the next blank line, paragraph separator or the end of
// `text`.
Paragraph read_paragraph(std::string_view text, size_t& offset) {
  Paragraph paragraph;
  const auto append = [&](char32_t c) {
    if (paragraph.text.length() > kMaxParagraphUnits) {
      fail(ErrorCode::kUnsupported, "a paragraph of more than {} characters; split the text",
           kMaxParagraphUnits);
    }
    paragraph.text.append(static_cast<UChar32>(c));
    paragraph.ends.resize(static_cast<size_t>(paragraph.text.length()),
                          static_cast<int64_t>(offset));
  };
  while (offset < text.size()) {
    CodePoint c = code_point_at(text, offset);
    if (!u_isUWhiteSpace(static_cast<UChar32>(c.value))) {
      offset += c.n_bytes;
      append(c.value);
      continue;
    }
    int n_line_ends = 0;
    bool after_cr = false;
    do {
      if (c.value == 0x2029) n_line_ends += 2;
      if (is_line_end(c.value) && !(after_cr && c.value == '\n')) ++n_line_ends;
      after_cr = c.value == '\r';
      offset += c.n_bytes;
      if (offset == text.size()) break;
      c = code_point_at(text, offset);
    } while (u_isUWhiteSpace(static_cast<UChar32>(c.value)));
    if (n_line_ends > 1) break;
    append(' ');
  }
  return paragraph;
}

// The word that ends at `end`, with the point, without what opens a quotation; empty if it is
// longer than any abbreviation.
std::string word_before(const icu::UnicodeString& text, int32_t end) {
  constexpr int32_t kMaxUnits = 8;
  int32_t begin = end;
  while (begin > 0 && (u_isalnum(text.charAt(begin - 1)) || text.charAt(begin - 1) == '.')) {
    if (--begin < end - kMaxUnits) return {};
  }
  std::string word;
  text.tempSubStringBetween(begin, end).toUTF8String(word);
  return word;
}

// Whether a word with its point ends no sentence. "I." is more often the pronoun than a name.
bool is_abbreviation(std::string_view word, bool before_number) {
  if (word.size() == 2 && word[0] >= 'A' && word[0] <= 'Z' && word[1] == '.') return word[0] != 'I';
  return std::ranges::find(kAbbreviations, word) != std::end(kAbbreviations) ||
         (before_number &&
          std::ranges::find(kNumberAbbreviations, word) != std::end(kNumberAbbreviations));
}

// Whether `text` from `begin` to `end` is the number of a paragraph or list entry, such as "12.".
bool is_item_number(const icu::UnicodeString& text, int32_t begin, int32_t end) {
  constexpr int32_t kMaxUnits = 5;
  if (end - begin < 2 || end - begin > kMaxUnits || text.charAt(end - 1) != '.') return false;
  for (int32_t i = begin; i + 1 < end; ++i) {
    if (!u_isdigit(text.charAt(i))) return false;
  }
  return true;
}

void append_ends(const Paragraph& paragraph, icu::BreakIterator& iterator,
                 std::vector<int64_t>& ends) {
  const icu::UnicodeString& text = paragraph.text;
  iterator.setText(text);
  int32_t sentence_begin = 0;
  for (int32_t at = iterator.next(); at != icu::BreakIterator::DONE; at = iterator.next()) {
    int32_t end = at;
    while (end > sentence_begin && text.charAt(end - 1) == ' ') --end;
    if (end == sentence_begin) continue;
    if (at < text.length()) {
      const bool before_number = u_isdigit(text.char32At(at));
      if (is_abbreviation(word_before(text, end), before_number) ||
          is_item_number(text, sentence_begin, end)) {
        continue;
      }
    }
    ends.push_back(paragraph.ends[static_cast<size_t>(end) - 1]);
    sentence_begin = at;
  }
}

}  // namespace

std::vector<int64_t> sentence_ends(std::string_view text) {
  if (const auto offset = find_invalid_utf8(text)) {
    fail(ErrorCode::kData, "the text is not valid UTF-8 at byte {}; convert it to UTF-8", *offset);
  }
  static const std::unique_ptr<const icu::BreakIterator> prototype = make_iterator();
  const std::unique_ptr<icu::BreakIterator> iterator(prototype->clone());
  std::vector<int64_t> ends;
  for (size_t offset = 0; offset < text.size();) {
    append_ends(read_paragraph(text, offset), *iterator, ends);
  }
  return ends;
}

}  // namespace chunkllm

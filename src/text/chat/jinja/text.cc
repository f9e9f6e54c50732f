#include "text/chat/jinja/text.h"

#include <unicode/uchar.h>
#include <unicode/utf8.h>

#include <algorithm>
#include <cstring>

#include "text/utf8.h"

namespace chunkllm::jinja {
namespace {

constexpr size_t kStride = 64;  // characters between two known offsets

size_t charge_of(const MarkedText& text) {
  return sizeof(Text) + text.bytes.size() + text.marks.size() * sizeof(Mark);
}

}  // namespace

Text::Text(MarkedText text, Budget* budget, bool is_escaped)
    : text_(std::move(text)), budget_(budget), is_escaped_(is_escaped) {
  if (budget_ == nullptr) return;
  // The builder has charged the bytes already and releases them when it dies.
  budget_->take(charge_of(text_));
}

Text::~Text() {
  if (budget_ != nullptr) budget_->release(charge_of(text_));
}

size_t Text::length() const {
  if (is_counted_) return length_;
  const std::string& bytes = text_.bytes;
  size_t n = 0;
  for (size_t i = 0; i < bytes.size(); ++i) {
    if (!begins_character(bytes[i])) continue;
    if (n % kStride == 0) starts_.push_back(i);
    ++n;
  }
  if (n == bytes.size()) starts_ = {};  // ASCII: character i is byte i
  length_ = n;
  is_counted_ = true;
  return n;
}

size_t Text::byte_of(size_t index) const {
  if (index >= length()) return text_.bytes.size();
  if (starts_.empty()) return index;
  size_t offset = starts_[index / kStride];
  for (size_t left = index % kStride; left > 0; --left) {
    do ++offset;
    while (!begins_character(text_.bytes[offset]));
  }
  return offset;
}

void TextBuilder::charge(size_t n_bytes) {
  budget_.step();
  budget_.take(n_bytes);
  n_charged_ += n_bytes;
}

void TextBuilder::mark(size_t begin, size_t end, uint32_t origin) {
  if (origin == 0 || begin == end) return;
  std::vector<Mark>& marks = text_.marks;
  if (!marks.empty() && marks.back().end == begin && marks.back().origin == origin) {
    marks.back().end = end;
    return;
  }
  charge(sizeof(Mark));
  marks.push_back({begin, end, origin});
}

void TextBuilder::add(std::string_view bytes, uint32_t origin) {
  charge(bytes.size());
  const size_t begin = size();
  text_.bytes += bytes;
  mark(begin, size(), origin);
}

void TextBuilder::add(const Text& text, size_t begin, size_t end) {
  charge(end - begin);
  const size_t at = size();
  text_.bytes.append(text.bytes(), begin, end - begin);
  const std::vector<Mark>& marks = text.marks();
  auto it = std::ranges::upper_bound(marks, begin, {}, &Mark::end);
  for (; it != marks.end() && it->begin < end; ++it) {
    mark(at + std::max(it->begin, begin) - begin, at + std::min(it->end, end) - begin, it->origin);
  }
}

void TextBuilder::add_code_point(char32_t c, uint32_t origin) {
  std::string bytes;
  append_utf8(bytes, c);
  add(bytes, origin);
}

MarkedText TextBuilder::finish_marked() {
  MarkedText text = std::move(text_);
  text_ = {};
  budget_.release(n_charged_);
  n_charged_ = 0;
  return text;
}

TextPtr TextBuilder::finish(bool is_escaped) {
  return std::make_shared<const Text>(finish_marked(), &budget_, is_escaped);
}

TextPtr slice(const TextPtr& text, size_t begin, size_t end, Budget& budget) {
  if (begin == 0 && end == text->bytes().size()) return text;
  TextBuilder builder(budget);
  builder.add(*text, begin, end);
  return builder.finish();
}

Character character_at(std::string_view text, size_t offset) {
  size_t end = offset;
  UChar32 c = 0;
  U8_NEXT_OR_FFFD(reinterpret_cast<const uint8_t*>(text.data()), end, text.size(), c);
  return {static_cast<char32_t>(c), end};
}

size_t character_begin(std::string_view text, size_t end) {
  --end;
  while (end > 0 && !begins_character(text[end])) --end;
  return end;
}

bool is_space(char32_t c) {
  if (c < 0x80) return c == ' ' || (c >= 0x09 && c <= 0x0d) || (c >= 0x1c && c <= 0x1f);
  return u_isUWhiteSpace(static_cast<UChar32>(c)) != 0;
}

bool is_word_character(char32_t c) { return c == '_' || u_isalnum(static_cast<UChar32>(c)) != 0; }

Mark strip_range(std::string_view text, const std::string_view* chars, StripSides sides) {
  std::vector<char32_t> set;
  for (size_t i = 0; chars != nullptr && i < chars->size();) {
    const Character c = character_at(*chars, i);
    set.push_back(c.value);
    i = c.end;
  }
  std::ranges::sort(set);
  const auto is_stripped = [&](char32_t c) {
    return chars == nullptr ? is_space(c) : std::ranges::binary_search(set, c);
  };
  size_t begin = 0;
  size_t end = text.size();
  while (sides.left && begin < end) {
    const Character c = character_at(text, begin);
    if (!is_stripped(c.value)) break;
    begin = c.end;
  }
  while (sides.right && end > begin) {
    const size_t last = character_begin(text, end);
    if (!is_stripped(character_at(text, last).value)) break;
    end = last;
  }
  return {begin, end, 0};
}

size_t find_text(std::string_view text, std::string_view needle, size_t from) {
  if (from > text.size()) return std::string_view::npos;
  if (needle.empty()) return from;
  const void* found =  // glibc's memmem is linear; std::string_view::find is not
      ::memmem(text.data() + from, text.size() - from, needle.data(), needle.size());
  if (found == nullptr) return std::string_view::npos;
  return static_cast<size_t>(static_cast<const char*>(found) - text.data());
}

size_t rfind_text(std::string_view text, std::string_view needle) {
  if (needle.empty()) return text.size();
  if (needle.size() > text.size()) return std::string_view::npos;
  // Knuth, Morris and Pratt from the end.
  const size_t m = needle.size();
  const auto from_end = [](std::string_view s, size_t i) { return s[s.size() - 1 - i]; };
  std::vector<uint32_t> border(m, 0);
  for (size_t i = 1, k = 0; i < m; ++i) {
    while (k > 0 && from_end(needle, i) != from_end(needle, k)) k = border[k - 1];
    if (from_end(needle, i) == from_end(needle, k)) ++k;
    border[i] = static_cast<uint32_t>(k);
  }
  for (size_t i = 0, k = 0; i < text.size(); ++i) {
    while (k > 0 && from_end(text, i) != from_end(needle, k)) k = border[k - 1];
    if (from_end(text, i) == from_end(needle, k)) ++k;
    if (k == m) return text.size() - 1 - i;
  }
  return std::string_view::npos;
}

}  // namespace chunkllm::jinja

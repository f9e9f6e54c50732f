// Strings of a template, whose bytes know whether the template wrote them or somebody's message.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "text/chat/jinja/budget.h"

namespace chunkllm::jinja {

// Bytes [begin, end) that came with the input; `origin` says with what of it, and is not 0, which
// stands for the template.
struct Mark {
  size_t begin = 0;
  size_t end = 0;
  uint32_t origin = 0;
};

// UTF-8 and its marks, ascending and disjoint. Never changes once it is shared.
struct MarkedText {
  std::string bytes;
  std::vector<Mark> marks;
};

// A string value. Its bytes are charged to a budget, if one is given, until it dies.
class Text {
 public:
  explicit Text(MarkedText text, Budget* budget = nullptr, bool is_escaped = false);
  ~Text();
  Text(const Text&) = delete;
  Text& operator=(const Text&) = delete;

  const std::string& bytes() const { return text_.bytes; }
  std::string_view view() const { return text_.bytes; }
  const std::vector<Mark>& marks() const { return text_.marks; }
  // Whether it is markup, which `escape` leaves alone (Python's Markup).
  bool is_escaped() const { return is_escaped_; }

  // In characters (code points), counted once.
  size_t length() const;
  // The byte at which character `index` <= length() begins; quick after the first call.
  size_t byte_of(size_t index) const;

 private:
  MarkedText text_;
  Budget* budget_;
  bool is_escaped_;
  mutable std::vector<size_t> starts_;  // bytes at which every kStride-th character begins
  mutable size_t length_ = 0;
  mutable bool is_counted_ = false;
};
using TextPtr = std::shared_ptr<const Text>;

// Finds the origin of bytes, asked for in ascending order.
class OriginReader {
 public:
  explicit OriginReader(const std::vector<Mark>& marks) : marks_(marks) {}
  uint32_t at(size_t offset) {
    while (next_ < marks_.size() && marks_[next_].end <= offset) ++next_;
    return next_ < marks_.size() && marks_[next_].begin <= offset ? marks_[next_].origin : 0;
  }

 private:
  const std::vector<Mark>& marks_;
  size_t next_ = 0;
};

// Puts strings together and keeps their marks. What it holds is charged to the budget.
class TextBuilder {
 public:
  explicit TextBuilder(Budget& budget) : budget_(budget) {}
  ~TextBuilder() { budget_.release(n_charged_); }
  TextBuilder(const TextBuilder&) = delete;
  TextBuilder& operator=(const TextBuilder&) = delete;

  void add(std::string_view bytes, uint32_t origin = 0);
  void add(const Text& text) { add(text, 0, text.bytes().size()); }
  // Bytes [begin, end) of `text`.
  void add(const Text& text, size_t begin, size_t end);
  // One code point.
  void add_code_point(char32_t c, uint32_t origin);

  size_t size() const { return text_.bytes.size(); }
  const std::string& bytes() const { return text_.bytes; }
  // What was put together; the builder is empty afterwards.
  TextPtr finish(bool is_escaped = false);
  MarkedText finish_marked();

 private:
  void charge(size_t n_bytes);
  void mark(size_t begin, size_t end, uint32_t origin);

  Budget& budget_;
  MarkedText text_;
  size_t n_charged_ = 0;
};

// Bytes [begin, end) of `text`; the text itself where that is all of it.
TextPtr slice(const TextPtr& text, size_t begin, size_t end, Budget& budget);

// The code point at `offset` < size of valid UTF-8, and its end.
struct Character {
  char32_t value = 0;
  size_t end = 0;
};
Character character_at(std::string_view text, size_t offset);
// The begin of the character that ends at `end` > 0.
size_t character_begin(std::string_view text, size_t end);

// Python's str.isspace() of one character, and \w of its regular expressions.
bool is_space(char32_t c);
bool is_word_character(char32_t c);
// The bytes left of `text` without white space, or without the characters of `chars`, at its ends.
struct StripSides {
  bool left = true;
  bool right = true;
};
Mark strip_range(std::string_view text, const std::string_view* chars, StripSides sides);

// The first and the last place at or after `from` and before `end` where `needle` stands, or npos.
// Linear in both.
size_t find_text(std::string_view text, std::string_view needle, size_t from = 0);
size_t rfind_text(std::string_view text, std::string_view needle);

}  // namespace chunkllm::jinja

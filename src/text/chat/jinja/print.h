// Values as text, as Python writes them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "text/chat/jinja/value.h"

namespace chunkllm::jinja {

// str(): strings as they are, undefined as nothing. Throws Error beyond the budget.
void print(const Value& value, TextBuilder& out);
// repr(): strings in quotes, with escapes. Throws Error (kUnsupported) for what Python shows with
// an address or with what is not kept here: functions, namespaces, generators, most ranges.
void print_repr(const Value& value, TextBuilder& out);
// Python's str.isprintable() of one character.
bool is_printable(char32_t c);
// repr() of a float.
std::string float_text(double value);

// Options of Python's json.dumps.
struct JsonStyle {
  bool ensure_ascii = false;
  bool sort_keys = false;
  std::optional<std::string> indent;  // what a level is indented by; nothing: all on one line
  std::string item_separator = ", ";
  std::string key_separator = ": ";
};
// Throws Error (kData) for what JSON has no word for.
void print_json(const Value& value, const JsonStyle& style, Budget& budget, TextBuilder& out);

// &, <, >, ' and " as HTML has them.
void escape_html(const Text& text, TextBuilder& out);

}  // namespace chunkllm::jinja

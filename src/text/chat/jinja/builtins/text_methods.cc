#include "text/chat/jinja/builtins/text_methods.h"

#include <unicode/uchar.h>

#include <algorithm>
#include <unordered_map>

#include "base/error.h"
#include "text/chat/jinja/builtins/arguments.h"
#include "text/chat/jinja/builtins/case.h"
#include "text/chat/jinja/builtins/filters.h"
#include "text/chat/jinja/builtins/string_format.h"
#include "text/chat/jinja/interpreter.h"
#include "text/chat/jinja/print.h"
#include "text/utf8.h"

namespace chunkllm::jinja {
namespace {

constexpr size_t kNone = std::string_view::npos;

Value strip_with(Interpreter& in, const Value& self, const CallArgs& args, StripSides sides) {
  const BoundArgs bound("strip", args, {"chars"});
  return strip(in, self.text(), bound.has(0) ? &bound.text(0)->bytes() : nullptr, sides);
}
Value method_strip(Interpreter& in, const Value& self, const CallArgs& args) {
  return strip_with(in, self, args, {});
}
Value method_lstrip(Interpreter& in, const Value& self, const CallArgs& args) {
  return strip_with(in, self, args, {.right = false});
}
Value method_rstrip(Interpreter& in, const Value& self, const CallArgs& args) {
  return strip_with(in, self, args, {.left = false});
}

// The pieces between white space, at most `n_max` cuts from the front.
std::vector<Value> split_space(Interpreter& in, const TextPtr& text, size_t n_max) {
  std::vector<Value> pieces;
  const std::string_view bytes = text->view();
  size_t i = 0;
  while (true) {
    i += strip_range(bytes.substr(i), nullptr, {.right = false}).begin;
    if (i == bytes.size()) break;
    size_t end = bytes.size();
    if (pieces.size() < n_max) {
      end = i;
      while (end < bytes.size()) {
        const Character c = character_at(bytes, end);
        if (is_space(c.value)) break;
        end = c.end;
      }
    }
    pieces.emplace_back(slice(text, i, end, in.budget()));
    if (pieces.size() > n_max) break;
    i = end;
  }
  return pieces;
}

// The same from the back.
std::vector<Value> rsplit_space(Interpreter& in, const TextPtr& text, size_t n_max) {
  std::vector<Value> pieces;
  const std::string_view bytes = text->view();
  size_t end = bytes.size();
  while (true) {
    end = strip_range(bytes.substr(0, end), nullptr, {.left = false}).end;
    if (end == 0) break;
    size_t begin = pieces.size() < n_max ? end : 0;
    while (begin > 0) {
      const size_t before = character_begin(bytes, begin);
      if (is_space(character_at(bytes, before).value)) break;
      begin = before;
    }
    pieces.emplace_back(slice(text, begin, end, in.budget()));
    if (pieces.size() > n_max) break;
    end = begin;
  }
  std::ranges::reverse(pieces);
  return pieces;
}

std::vector<Value> split_at(Interpreter& in, const TextPtr& text, const std::string& separator,
                            size_t n_max) {
  std::vector<Value> pieces;
  size_t begin = 0;
  while (pieces.size() < n_max) {
    const size_t at = find_text(text->view(), separator, begin);
    if (at == kNone) break;
    pieces.emplace_back(slice(text, begin, at, in.budget()));
    begin = at + separator.size();
  }
  pieces.emplace_back(slice(text, begin, text->bytes().size(), in.budget()));
  return pieces;
}

std::vector<Value> rsplit_at(Interpreter& in, const TextPtr& text, const std::string& separator,
                             size_t n_max) {
  std::vector<Value> pieces;
  size_t end = text->bytes().size();
  while (pieces.size() < n_max) {
    const size_t at = rfind_text(text->view().substr(0, end), separator);
    if (at == kNone) break;
    in.budget().work(separator.size());
    pieces.emplace_back(slice(text, at + separator.size(), end, in.budget()));
    end = at;
  }
  pieces.emplace_back(slice(text, 0, end, in.budget()));
  std::ranges::reverse(pieces);
  return pieces;
}

using SplitSpace = std::vector<Value> (*)(Interpreter&, const TextPtr&, size_t);
using SplitAt = std::vector<Value> (*)(Interpreter&, const TextPtr&, const std::string&, size_t);

Value split_with(Interpreter& in, const Value& self, const CallArgs& args, SplitSpace at_space,
                 SplitAt at_separator) {
  const BoundArgs bound("split", args, {"sep", "maxsplit"});
  const int64_t n_max = bound.integer_or(1, -1);
  const size_t n = n_max < 0 ? kNone : static_cast<size_t>(n_max);
  in.budget().search(self.text()->bytes().size());
  if (!bound.has(0)) return in.list(at_space(in, self.text(), n));
  const std::string& separator = bound.text(0)->bytes();
  if (separator.empty()) fail(ErrorCode::kData, "split: the separator is empty");
  return in.list(at_separator(in, self.text(), separator, n));
}
Value method_split(Interpreter& in, const Value& self, const CallArgs& args) {
  return split_with(in, self, args, split_space, split_at);
}
Value method_rsplit(Interpreter& in, const Value& self, const CallArgs& args) {
  return split_with(in, self, args, rsplit_space, rsplit_at);
}

Value method_splitlines(Interpreter& in, const Value& self, const CallArgs& args) {
  const BoundArgs bound("splitlines", args, {"keepends"});
  const TextPtr& text = self.text();
  std::vector<Value> lines;
  for (const LineRange& line : line_ranges(text->view())) {
    const size_t end = bound.flag_or(0, false) ? line.end_with_break : line.end;
    lines.emplace_back(slice(text, line.begin, end, in.budget()));
  }
  return in.list(std::move(lines));
}

Value three_parts(Interpreter& in, const TextPtr& text, size_t begin, size_t end) {
  std::vector<Value> parts;
  parts.emplace_back(slice(text, 0, begin, in.budget()));
  parts.emplace_back(slice(text, begin, end, in.budget()));
  parts.emplace_back(slice(text, end, text->bytes().size(), in.budget()));
  return in.list(std::move(parts), ListKind::kTuple);
}
Value partition_with(Interpreter& in, const Value& self, const CallArgs& args, bool from_back) {
  const BoundArgs bound("partition", args, {"sep"}, 1);
  const TextPtr& text = self.text();
  const std::string& separator = bound.text(0)->bytes();
  if (separator.empty()) fail(ErrorCode::kData, "partition: the separator is empty");
  in.budget().search(text->bytes().size());
  const size_t at =
      from_back ? rfind_text(text->view(), separator) : find_text(text->view(), separator);
  if (at != kNone) return three_parts(in, text, at, at + separator.size());
  const size_t all = text->bytes().size();
  return from_back ? three_parts(in, text, 0, 0) : three_parts(in, text, all, all);
}
Value method_partition(Interpreter& in, const Value& self, const CallArgs& args) {
  return partition_with(in, self, args, false);
}
Value method_rpartition(Interpreter& in, const Value& self, const CallArgs& args) {
  return partition_with(in, self, args, true);
}

// The characters [begin, end) that arguments `first` and the one after it mean, as bytes; nothing
// if begin lies behind end.
struct Window {
  size_t begin = 0;
  size_t end = 0;
  bool is_empty_hit = true;  // whether the empty string stands in it
};
Window window_of(const Text& text, const BoundArgs& bound, size_t first) {
  const auto length = static_cast<int64_t>(text.length());
  const auto clamp = [&](int64_t index) {
    return index < 0 ? std::max<int64_t>(index + length, 0) : index;
  };
  const int64_t begin = clamp(bound.integer_or(first, 0));
  const int64_t end = std::min(clamp(bound.integer_or(first + 1, length)), length);
  if (begin > end) return {0, 0, false};
  return {text.byte_of(static_cast<size_t>(begin)), text.byte_of(static_cast<size_t>(end)), true};
}

Value affix_with(Interpreter& in, const Value& self, const CallArgs& args, bool is_end) {
  const BoundArgs bound("startswith", args, {"prefix", "start", "end"}, 1);
  const Text& text = *self.text();
  const Window window = window_of(text, bound, 1);
  const std::string_view part = text.view().substr(window.begin, window.end - window.begin);
  const auto matches = [&](const Value& affix) {
    if (!affix.is_text()) {
      fail(ErrorCode::kData, "startswith and endswith need strings, got a value of type {}",
           affix.type_name());
    }
    in.budget().step();
    const std::string_view word = affix.text()->view();
    return window.is_empty_hit && (is_end ? part.ends_with(word) : part.starts_with(word));
  };
  const Value& affix = bound.at(0);
  if (affix.is_undefined()) bound.text(0);
  if (affix.is_list() && affix.list().kind() == ListKind::kTuple) {
    return Value(std::ranges::any_of(affix.list().items(), matches));
  }
  return Value(matches(affix));
}
Value method_startswith(Interpreter& in, const Value& self, const CallArgs& args) {
  return affix_with(in, self, args, false);
}
Value method_endswith(Interpreter& in, const Value& self, const CallArgs& args) {
  return affix_with(in, self, args, true);
}

// The character at which the word stands, or -1.
int64_t find_with(Interpreter& in, const Value& self, const CallArgs& args, bool from_back) {
  const BoundArgs bound("find", args, {"sub", "start", "end"}, 1);
  const Text& text = *self.text();
  const Window window = window_of(text, bound, 1);
  if (!window.is_empty_hit) return -1;
  in.budget().search(text.bytes().size());
  const std::string_view part = text.view().substr(window.begin, window.end - window.begin);
  const std::string_view word = bound.text(0)->view();
  const size_t at = from_back ? rfind_text(part, word) : find_text(part, word);
  if (at == kNone) return -1;
  const std::string_view before = text.view().substr(0, window.begin + at);
  return std::ranges::count_if(before, begins_character);
}
Value method_find(Interpreter& in, const Value& self, const CallArgs& args) {
  return Value(find_with(in, self, args, false));
}
Value method_rfind(Interpreter& in, const Value& self, const CallArgs& args) {
  return Value(find_with(in, self, args, true));
}
Value found(int64_t index) {
  if (index < 0) fail(ErrorCode::kData, "index: the string is not found");
  return Value(index);
}
Value method_index(Interpreter& in, const Value& self, const CallArgs& args) {
  return found(find_with(in, self, args, false));
}
Value method_rindex(Interpreter& in, const Value& self, const CallArgs& args) {
  return found(find_with(in, self, args, true));
}

Value method_count(Interpreter& in, const Value& self, const CallArgs& args) {
  const BoundArgs bound("count", args, {"sub", "start", "end"}, 1);
  const Text& text = *self.text();
  const Window window = window_of(text, bound, 1);
  if (!window.is_empty_hit) return Value(int64_t{0});
  const std::string_view part = text.view().substr(window.begin, window.end - window.begin);
  const std::string_view word = bound.text(0)->view();
  in.budget().search(part.size());
  if (word.empty()) {
    return Value(int64_t{1} + std::ranges::count_if(part, begins_character));
  }
  int64_t n = 0;
  for (size_t at = 0; (at = find_text(part, word, at)) != kNone; at += word.size()) ++n;
  return Value(n);
}

Value method_replace(Interpreter& in, const Value& self, const CallArgs& args) {
  const BoundArgs bound("replace", args, {"old", "new", "count"}, 2);
  return replace(in, self.text(), *bound.text(0), *bound.text(1), bound.integer_or(2, -1));
}

Value method_join(Interpreter& in, const Value& self, const CallArgs& args) {
  const BoundArgs bound("join", args, {"iterable"}, 1);
  TextBuilder out(in.budget());
  bool is_first = true;
  for (const Value& item : in.items_of(bound.at(0))) {
    if (!item.is_text()) {
      fail(ErrorCode::kData, "join needs strings, got a value of type {}", item.type_name());
    }
    if (!is_first) out.add(*self.text());
    is_first = false;
    out.add(*item.text());
  }
  return out.finish();
}

template <CaseKind kKind>
Value method_case(Interpreter& in, const Value& self, const CallArgs& args) {
  const BoundArgs bound("a change of case", args, {});
  return change_case(*self.text(), kKind, in.budget());
}

Value method_removeprefix(Interpreter& in, const Value& self, const CallArgs& args) {
  const BoundArgs bound("removeprefix", args, {"prefix"}, 1);
  const std::string& prefix = bound.text(0)->bytes();
  const std::string& bytes = self.text()->bytes();
  return slice(self.text(), bytes.starts_with(prefix) ? prefix.size() : 0, bytes.size(),
               in.budget());
}
Value method_removesuffix(Interpreter& in, const Value& self, const CallArgs& args) {
  const BoundArgs bound("removesuffix", args, {"suffix"}, 1);
  const std::string& suffix = bound.text(0)->bytes();
  const std::string& bytes = self.text()->bytes();
  return slice(self.text(), 0, bytes.size() - (bytes.ends_with(suffix) ? suffix.size() : 0),
               in.budget());
}

// Whether there are characters and all of them are such.
template <bool (*kIs)(char32_t)>
Value method_all(Interpreter& in, const Value& self, const CallArgs& args) {
  const BoundArgs bound("a question about a string", args, {});
  const std::string_view text = self.text()->view();
  in.budget().work(text.size());
  for (size_t i = 0; i < text.size();) {
    const Character c = character_at(text, i);
    if (!kIs(c.value)) return Value(false);
    i = c.end;
  }
  return Value(!text.empty());
}
bool is_letter(char32_t c) { return u_isalpha(static_cast<UChar32>(c)) != 0; }
bool is_decimal(char32_t c) { return u_isdigit(static_cast<UChar32>(c)) != 0; }
bool is_digit(char32_t c) {
  const int32_t type = u_getIntPropertyValue(static_cast<UChar32>(c), UCHAR_NUMERIC_TYPE);
  return type == U_NT_DECIMAL || type == U_NT_DIGIT;
}
bool is_numeric(char32_t c) {
  return u_getIntPropertyValue(static_cast<UChar32>(c), UCHAR_NUMERIC_TYPE) != U_NT_NONE;
}
bool is_letter_or_number(char32_t c) { return is_letter(c) || is_numeric(c); }
bool is_ascii_character(char32_t c) { return c < 0x80; }

Value method_isprintable(Interpreter& in, const Value& self, const CallArgs& args) {
  if (self.text()->bytes().empty()) return Value(true);
  return method_all<is_printable>(in, self, args);
}

Value method_isidentifier(Interpreter& in, const Value& self, const CallArgs& args) {
  const BoundArgs bound("isidentifier", args, {});
  const std::string_view text = self.text()->view();
  in.budget().work(text.size());
  for (size_t i = 0; i < text.size();) {
    const Character c = character_at(text, i);
    const auto code = static_cast<UChar32>(c.value);
    const bool fits = i > 0 ? u_hasBinaryProperty(code, UCHAR_XID_CONTINUE) != 0
                            : code == '_' || u_hasBinaryProperty(code, UCHAR_XID_START) != 0;
    if (!fits) return Value(false);
    i = c.end;
  }
  return Value(!text.empty());
}

// Whether every run of letters with a case begins with the upper one and goes on with lower ones.
Value method_istitle(Interpreter& in, const Value& self, const CallArgs& args) {
  const BoundArgs bound("istitle", args, {});
  const std::string_view text = self.text()->view();
  in.budget().work(text.size());
  bool after_cased = false;
  bool has_cased = false;
  for (size_t i = 0; i < text.size();) {
    const Character c = character_at(text, i);
    const auto code = static_cast<UChar32>(c.value);
    const bool is_upper = u_isUUppercase(code) != 0 || u_istitle(code) != 0;
    const bool is_lower = !is_upper && u_isULowercase(code) != 0;
    if ((is_upper && after_cased) || (is_lower && !after_cased)) return Value(false);
    after_cased = is_upper || is_lower;
    has_cased |= after_cased;
    i = c.end;
  }
  return Value(has_cased);
}

Value method_expandtabs(Interpreter& in, const Value& self, const CallArgs& args) {
  const BoundArgs bound("expandtabs", args, {"tabsize"});
  const int64_t width = bound.integer_or(0, 8);
  const Text& text = *self.text();
  in.budget().work(text.bytes().size());
  OriginReader origins(text.marks());
  TextBuilder out(in.budget());
  int64_t column = 0;
  for (size_t i = 0; i < text.bytes().size();) {
    const Character c = character_at(text.view(), i);
    if (c.value == '\t') {
      const int64_t n = width > 0 ? width - column % width : 0;
      out.add(in.repeated(" ", n)->bytes(), origins.at(i));
      column += n;
    } else {
      out.add(text, i, c.end);
      column = c.value == '\n' || c.value == '\r' ? 0 : column + 1;
    }
    i = c.end;
  }
  return out.finish();
}

Value method_isascii(Interpreter& in, const Value& self, const CallArgs& args) {
  if (self.text()->bytes().empty()) return Value(true);
  return method_all<is_ascii_character>(in, self, args);
}
template <CaseKind kKind>
Value method_iscase(Interpreter& in, const Value& self, const CallArgs& args) {
  const BoundArgs bound("a question about a string", args, {});
  return Value(is_in_case(*self.text(), kKind, in.budget()));
}

Value justify(Interpreter& in, const Value& self, const CallArgs& args, int left_of_two) {
  const BoundArgs bound("a method that fills up a string", args, {"width", "fillchar"}, 1);
  const TextPtr fill = bound.has(1) ? bound.text(1) : in.text(" ").text();
  if (fill->length() != 1) fail(ErrorCode::kData, "a string is filled up with one character");
  return pad(in, self.text(), bound.integer_or(0, 0), *fill, left_of_two);
}
Value method_ljust(Interpreter& in, const Value& self, const CallArgs& args) {
  return justify(in, self, args, 0);
}
Value method_center(Interpreter& in, const Value& self, const CallArgs& args) {
  return justify(in, self, args, 1);
}
Value method_rjust(Interpreter& in, const Value& self, const CallArgs& args) {
  return justify(in, self, args, 2);
}
Value method_zfill(Interpreter& in, const Value& self, const CallArgs& args) {
  const BoundArgs bound("zfill", args, {"width"}, 1);
  const TextPtr& text = self.text();
  const bool has_sign = text->view().starts_with('-') || text->view().starts_with('+');
  const size_t n_sign = has_sign ? 1 : 0;
  const TextPtr rest = slice(text, n_sign, text->bytes().size(), in.budget());
  const Value padded =
      pad(in, rest, bound.integer_or(0, 0) - static_cast<int64_t>(n_sign), *in.text("0").text(), 2);
  TextBuilder out(in.budget());
  out.add(*text, 0, n_sign);
  out.add(*padded.text());
  return out.finish();
}

Value method_format(Interpreter& in, const Value& self, const CallArgs& args) {
  return format_braces(in, *self.text(), args);
}

Value method_format_map(Interpreter& in, const Value& self, const CallArgs& args) {
  const BoundArgs bound("format_map", args, {"mapping"}, 1);
  if (!bound.at(0).is_dict()) fail(ErrorCode::kData, "format_map needs a dict");
  CallArgs values;
  for (const auto& [name, value] : bound.at(0).dict().items()) {
    if (name.is_text()) values.named.emplace_back(name.text()->bytes(), value);
  }
  return format_braces(in, *self.text(), values);
}

}  // namespace

TextPtr strip(Interpreter& in, const TextPtr& text, const std::string* chars, StripSides sides) {
  in.budget().step();
  const std::string_view set = chars != nullptr ? std::string_view(*chars) : std::string_view();
  const Mark kept = strip_range(text->view(), chars != nullptr ? &set : nullptr, sides);
  in.budget().work(text->bytes().size() - (kept.end - kept.begin) + set.size());
  return slice(text, kept.begin, kept.end, in.budget());
}

TextPtr replace(Interpreter& in, const TextPtr& text, const Text& old, const Text& with,
                int64_t n_max) {
  TextBuilder out(in.budget());
  const std::string_view bytes = text->view();
  in.budget().search(bytes.size());
  size_t begin = 0;
  int64_t n = 0;
  for (; n_max < 0 || n < n_max; ++n) {
    // The empty string stands before every character and at the end.
    const size_t from = old.bytes().empty() && n > 0
                            ? (begin < bytes.size() ? character_at(bytes, begin).end : kNone)
                            : begin;
    const size_t at = from == kNone ? kNone : find_text(bytes, old.view(), from);
    if (at == kNone) break;
    out.add(*text, begin, at);
    out.add(with);
    begin = at + old.bytes().size();
  }
  if (n == 0) return text;
  out.add(*text, begin, bytes.size());
  return out.finish(text->is_escaped());
}

TextPtr pad(Interpreter& in, const TextPtr& text, int64_t width, const Text& fill,
            int left_of_two) {
  const auto length = static_cast<int64_t>(text->length());
  if (width <= length) return text;
  const int64_t n = width - length;
  // Python puts the odd one of both sides to the left where the width is odd.
  const int64_t n_left = left_of_two == 1 ? n / 2 + (n & width & 1) : left_of_two == 2 ? n : 0;
  TextBuilder out(in.budget());
  for (int64_t i = 0; i < n_left; ++i) out.add(fill);
  out.add(*text);
  for (int64_t i = n_left; i < n; ++i) out.add(fill);
  return out.finish();
}

std::vector<LineRange> line_ranges(std::string_view text) {
  const auto is_break = [](char32_t c) {
    return (c >= 0x0a && c <= 0x0d) || (c >= 0x1c && c <= 0x1e) || c == 0x85 || c == 0x2028 ||
           c == 0x2029;
  };
  std::vector<LineRange> lines;
  size_t begin = 0;
  for (size_t i = 0; i < text.size();) {
    const Character c = character_at(text, i);
    size_t end = c.end;
    if (is_break(c.value)) {
      if (c.value == '\r' && end < text.size() && text[end] == '\n') ++end;
      lines.push_back({begin, i, end});
      begin = end;
    }
    i = end;
  }
  if (begin < text.size()) lines.push_back({begin, text.size(), text.size()});
  return lines;
}

Function::Body find_text_method(std::string_view name) {
  static const std::unordered_map<std::string_view, Function::Body> methods = {
      {"strip", method_strip},
      {"lstrip", method_lstrip},
      {"rstrip", method_rstrip},
      {"split", method_split},
      {"rsplit", method_rsplit},
      {"splitlines", method_splitlines},
      {"partition", method_partition},
      {"rpartition", method_rpartition},
      {"startswith", method_startswith},
      {"endswith", method_endswith},
      {"find", method_find},
      {"rfind", method_rfind},
      {"index", method_index},
      {"rindex", method_rindex},
      {"count", method_count},
      {"replace", method_replace},
      {"join", method_join},
      {"upper", method_case<CaseKind::kUpper>},
      {"lower", method_case<CaseKind::kLower>},
      {"title", method_case<CaseKind::kTitle>},
      {"capitalize", method_case<CaseKind::kCapitalize>},
      {"swapcase", method_case<CaseKind::kSwap>},
      {"casefold", method_case<CaseKind::kFold>},
      {"removeprefix", method_removeprefix},
      {"removesuffix", method_removesuffix},
      {"isalpha", method_all<is_letter>},
      {"isdecimal", method_all<is_decimal>},
      {"isdigit", method_all<is_digit>},
      {"isnumeric", method_all<is_numeric>},
      {"isalnum", method_all<is_letter_or_number>},
      {"isspace", method_all<is_space>},
      {"isascii", method_isascii},
      {"isupper", method_iscase<CaseKind::kUpper>},
      {"islower", method_iscase<CaseKind::kLower>},
      {"ljust", method_ljust},
      {"center", method_center},
      {"rjust", method_rjust},
      {"zfill", method_zfill},
      {"format", method_format},
      {"format_map", method_format_map},
      {"expandtabs", method_expandtabs},
      {"isidentifier", method_isidentifier},
      {"isprintable", method_isprintable},
      {"istitle", method_istitle},
  };
  const auto it = methods.find(name);
  return it == methods.end() ? nullptr : it->second;
}

}  // namespace chunkllm::jinja

#include "text/chat/jinja/print.h"

#include <unicode/uchar.h>
#include <unicode/utf16.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "base/error.h"

namespace chunkllm::jinja {
namespace {

void print_text_repr(const Text& text, TextBuilder& out) {
  const std::string_view bytes = text.view();
  const bool has_single = bytes.find('\'') != std::string_view::npos;
  const char quote = has_single && bytes.find('"') == std::string_view::npos ? '"' : '\'';
  OriginReader origins(text.marks());
  out.add({&quote, 1});
  for (size_t i = 0; i < bytes.size();) {
    const Character c = character_at(bytes, i);
    const uint32_t origin = origins.at(i);
    if (c.value == '\\' || c.value == static_cast<char32_t>(quote)) {
      out.add("\\", origin);
      out.add(bytes.substr(i, 1), origin);
    } else if (c.value == '\n') {
      out.add("\\n", origin);
    } else if (c.value == '\r') {
      out.add("\\r", origin);
    } else if (c.value == '\t') {
      out.add("\\t", origin);
    } else if (is_printable(c.value)) {
      out.add(bytes.substr(i, c.end - i), origin);
    } else {
      const auto code = static_cast<uint32_t>(c.value);
      out.add(code < 0x100     ? fmt::format("\\x{:02x}", code)
              : code < 0x10000 ? fmt::format("\\u{:04x}", code)
                               : fmt::format("\\U{:08x}", code),
              origin);
    }
    i = c.end;
  }
  out.add({&quote, 1});
}

void print_items(const std::vector<Value>& items, TextBuilder& out) {
  for (size_t i = 0; i < items.size(); ++i) {
    if (i > 0) out.add(", ");
    print_repr(items[i], out);
  }
}

[[noreturn]] void fail_text(std::string_view type_name) {
  fail(ErrorCode::kUnsupported, "a value of type {} cannot be written as text", type_name);
}

void print_list(const List& list, std::string_view type_name, TextBuilder& out) {
  switch (list.kind()) {
    case ListKind::kList:
      out.add("[");
      print_items(list.items(), out);
      return out.add("]");
    case ListKind::kTuple:
      out.add("(");
      print_items(list.items(), out);
      return out.add(list.size() == 1 ? ",)" : ")");
    case ListKind::kKeys:
    case ListKind::kValues:
    case ListKind::kItems:
      out.add(fmt::format("{}([", type_name));
      print_items(list.items(), out);
      return out.add("])");
    case ListKind::kRange: {
      const auto& items = list.items();
      // The end and the step are not kept; neighbours tell them.
      if (items.size() < 2 || items[1].integer() - items[0].integer() != 1) fail_text(type_name);
      return out.add(
          fmt::format("range({}, {})", items.front().integer(), items.back().integer() + 1));
    }
    case ListKind::kGenerator:
      fail_text(type_name);
  }
}

void print_json_text(const Text& text, bool ensure_ascii, TextBuilder& out) {
  static constexpr std::string_view kEscaped = "\"\\\n\r\t\f\b";
  static constexpr std::string_view kLetters = "\"\\nrtfb";
  const std::string_view bytes = text.view();
  OriginReader origins(text.marks());
  out.add("\"");
  for (size_t i = 0; i < bytes.size();) {
    const Character c = character_at(bytes, i);
    const uint32_t origin = origins.at(i);
    const auto code = static_cast<uint32_t>(c.value);
    if (const size_t at = code < 0x80 ? kEscaped.find(bytes[i]) : kEscaped.npos;
        at != kEscaped.npos) {
      out.add("\\", origin);
      out.add(kLetters.substr(at, 1), origin);
    } else if (code < 0x20 || (ensure_ascii && code >= 0x7f && code < 0x10000)) {
      out.add(fmt::format("\\u{:04x}", code), origin);
    } else if (ensure_ascii && code >= 0x10000) {
      out.add(
          fmt::format("\\u{:04x}\\u{:04x}", uint32_t{U16_LEAD(code)}, uint32_t{U16_TRAIL(code)}),
          origin);
    } else {
      out.add(bytes.substr(i, c.end - i), origin);
    }
    i = c.end;
  }
  out.add("\"");
}

class JsonPrinter {
 public:
  JsonPrinter(const JsonStyle& style, Budget& budget, TextBuilder& out)
      : style_(style), budget_(budget), out_(out) {}

  void print(const Value& value, int level) {
    budget_.step();
    if (value.is_text()) return print_json_text(*value.text(), style_.ensure_ascii, out_);
    if (value.is_none() || value.is_number()) return out_.add(scalar(value));
    if (value.is_dict()) return print_dict(value.dict(), level);
    const bool is_array = value.is_list() && (value.list().kind() == ListKind::kList ||
                                              value.list().kind() == ListKind::kTuple);
    if (is_array) return print_array(value.list(), level);
    fail(ErrorCode::kData, "a value of type {} cannot be written as JSON", value.type_name());
  }

 private:
  static std::string scalar(const Value& value) {
    if (value.is_none()) return "null";
    if (value.is_bool()) return value.boolean() ? "true" : "false";
    if (value.is_int()) return std::to_string(value.integer());
    const double number = value.number();
    if (std::isnan(number)) return "NaN";
    if (std::isinf(number)) return number > 0 ? "Infinity" : "-Infinity";
    return float_text(number);
  }

  void separate(bool is_first, int level) {
    if (!is_first) out_.add(style_.item_separator);
    new_line(level);
  }

  void new_line(int level) {
    if (!style_.indent) return;
    out_.add("\n");
    for (int i = 0; i < level; ++i) out_.add(*style_.indent);
  }

  void print_array(const List& list, int level) {
    if (list.size() == 0) return out_.add("[]");
    out_.add("[");
    for (size_t i = 0; i < list.size(); ++i) {
      separate(i == 0, level + 1);
      print(list.items()[i], level + 1);
    }
    new_line(level);
    out_.add("]");
  }

  void print_dict(const Dict& dict, int level) {
    if (dict.size() == 0) return out_.add("{}");
    std::vector<std::pair<Value, Value>> items = dict.items();
    if (style_.sort_keys) {
      std::ranges::stable_sort(
          items, [&](const auto& a, const auto& b) { return less(a.first, b.first, budget_); });
    }
    out_.add("{");
    for (size_t i = 0; i < items.size(); ++i) {
      const auto& [key, value] = items[i];
      separate(i == 0, level + 1);
      if (key.is_text()) {
        print_json_text(*key.text(), style_.ensure_ascii, out_);
      } else if (key.is_none() || key.is_number()) {
        out_.add("\"" + scalar(key) + "\"");
      } else {
        fail(ErrorCode::kData, "a key of type {} cannot be written as JSON", key.type_name());
      }
      out_.add(style_.key_separator);
      print(value, level + 1);
    }
    new_line(level);
    out_.add("}");
  }

  const JsonStyle& style_;
  Budget& budget_;
  TextBuilder& out_;
};

}  // namespace

bool is_printable(char32_t c) {
  if (c < 0x7f) return c >= ' ';
  return (U_GET_GC_MASK(static_cast<UChar32>(c)) & (U_GC_C_MASK | U_GC_Z_MASK)) == 0;
}

std::string float_text(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  std::array<char, 32> buffer{};
  const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value,
                                 std::chars_format::scientific)
                       .ptr;
  const std::string shortest(buffer.data(), end);  // d.ddde+XX
  const size_t e = shortest.find('e');
  const int exponent = std::stoi(shortest.substr(e + 1));
  if (exponent < -4 || exponent >= 16) return shortest;
  const auto fixed_end =
      std::to_chars(buffer.data(), buffer.data() + buffer.size(), value, std::chars_format::fixed)
          .ptr;
  std::string text(buffer.data(), fixed_end);
  if (text.find('.') == std::string::npos) text += ".0";
  return text;
}

void print(const Value& value, TextBuilder& out) {
  if (value.is_text()) return out.add(*value.text());
  if (!value.is_undefined()) print_repr(value, out);
}

void print_repr(const Value& value, TextBuilder& out) {
  if (value.is_undefined()) return out.add("Undefined");
  if (value.is_none()) return out.add("None");
  if (value.is_bool()) return out.add(value.boolean() ? "True" : "False");
  if (value.is_int()) return out.add(std::to_string(value.integer()));
  if (value.is_float()) return out.add(float_text(value.number()));
  if (value.is_text()) {
    if (!value.text()->is_escaped()) return print_text_repr(*value.text(), out);
    out.add("Markup(");
    print_text_repr(*value.text(), out);
    return out.add(")");
  }
  if (value.is_list()) return print_list(value.list(), value.type_name(), out);
  if (value.is_dict()) {
    out.add("{");
    const auto& items = value.dict().items();
    for (size_t i = 0; i < items.size(); ++i) {
      if (i > 0) out.add(", ");
      print_repr(items[i].first, out);
      out.add(": ");
      print_repr(items[i].second, out);
    }
    return out.add("}");
  }
  fail_text(value.type_name());
}

void print_json(const Value& value, const JsonStyle& style, Budget& budget, TextBuilder& out) {
  JsonPrinter(style, budget, out).print(value, 0);
}

void escape_html(const Text& text, TextBuilder& out) {
  static constexpr std::string_view kSpecial = "&<>'\"";
  static constexpr std::string_view kEscapes[] = {"&amp;", "&lt;", "&gt;", "&#39;", "&#34;"};
  OriginReader origins(text.marks());
  size_t begin = 0;
  for (size_t i = 0; i < text.bytes().size(); ++i) {
    const size_t special = kSpecial.find(text.bytes()[i]);
    if (special == std::string_view::npos) continue;
    out.add(text, begin, i);
    out.add(kEscapes[special], origins.at(i));
    begin = i + 1;
  }
  out.add(text, begin, text.bytes().size());
}

}  // namespace chunkllm::jinja

// Filters that give text or a number.
#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <unordered_map>

#include "base/error.h"
#include "text/chat/jinja/builtins/arguments.h"
#include "text/chat/jinja/builtins/case.h"
#include "text/chat/jinja/builtins/filters.h"
#include "text/chat/jinja/builtins/string_format.h"
#include "text/chat/jinja/builtins/text_methods.h"
#include "text/chat/jinja/interpreter.h"
#include "text/chat/jinja/print.h"

namespace chunkllm::jinja {
namespace {

template <CaseKind kKind>
Value filter_case(Interpreter& in, const Value& value, const CallArgs& args) {
  const BoundArgs bound("a filter of case", args, {});
  return change_case(*in.text_of(value), kKind, in.budget());
}

// Words begin after white space and opening brackets, not after every sign as for str.title().
Value filter_title(Interpreter& in, const Value& value, const CallArgs& args) {
  const BoundArgs bound("title", args, {});
  const TextPtr text = in.text_of(value);
  const std::string_view bytes = text->view();
  const auto is_begin = [](char32_t c) {
    return is_space(c) || c == '-' || c == '(' || c == '{' || c == '[' || c == '<';
  };
  TextBuilder out(in.budget());
  for (size_t i = 0; i < bytes.size();) {
    const Character first = character_at(bytes, i);
    size_t end = first.end;
    const bool is_word = !is_begin(first.value);
    while (is_word && end < bytes.size()) {
      const Character c = character_at(bytes, end);
      if (is_begin(c.value)) break;
      end = c.end;
    }
    const TextPtr head = slice(text, i, first.end, in.budget());
    out.add(*change_case(*head, CaseKind::kUpper, in.budget()));
    const TextPtr tail = slice(text, first.end, end, in.budget());
    out.add(*change_case(*tail, CaseKind::kLower, in.budget()));
    i = end;
  }
  return out.finish();
}

Value filter_trim(Interpreter& in, const Value& value, const CallArgs& args) {
  const BoundArgs bound("trim", args, {"chars"});
  return strip(in, in.text_of(value), bound.has(0) ? &bound.text(0)->bytes() : nullptr, {});
}

Value filter_replace(Interpreter& in, const Value& value, const CallArgs& args) {
  const BoundArgs bound("replace", args, {"old", "new", "count"}, 2);
  return replace(in, in.text_of(value), *in.text_of(bound.at(0)), *in.text_of(bound.at(1)),
                 bound.integer_or(2, -1));
}

Value filter_string(Interpreter& in, const Value& value, const CallArgs& args) {
  const BoundArgs bound("string", args, {});
  return in.text_of(value);
}

Value filter_escape(Interpreter& in, const Value& value, const CallArgs& args) {
  const BoundArgs bound("escape", args, {});
  const TextPtr text = in.text_of(value);
  if (text->is_escaped()) return text;
  TextBuilder out(in.budget());
  escape_html(*text, out);
  return out.finish(true);
}

Value filter_forceescape(Interpreter& in, const Value& value, const CallArgs& args) {
  const BoundArgs bound("forceescape", args, {});
  TextBuilder out(in.budget());
  escape_html(*in.text_of(value), out);
  return out.finish(true);
}

Value filter_safe(Interpreter& in, const Value& value, const CallArgs& args) {
  const BoundArgs bound("safe", args, {});
  TextBuilder out(in.budget());
  print(value, out);
  return out.finish(true);
}

Value filter_center(Interpreter& in, const Value& value, const CallArgs& args) {
  const BoundArgs bound("center", args, {"width"});
  return pad(in, in.text_of(value), bound.integer_or(0, 80), *in.text(" ").text(), 1);
}

// The text of a filter that makes no text of other values.
TextPtr require_text(std::string_view filter, const Value& value) {
  if (value.is_undefined()) fail(ErrorCode::kData, "{}: {}", filter, value.undefined_text());
  if (!value.is_text()) {
    fail(ErrorCode::kData, "{} needs a string, got a value of type {}", filter, value.type_name());
  }
  return value.text();
}

Value filter_indent(Interpreter& in, const Value& value, const CallArgs& args) {
  const BoundArgs bound("indent", args, {"width", "first", "blank"});
  TextPtr indent;
  if (bound.at(0).is_text()) {
    indent = bound.text(0);
  } else {
    indent = in.repeated(" ", bound.integer_or(0, 4));
  }
  const bool indents_blank = bound.flag_or(2, false);
  const TextPtr text = require_text("indent", value);
  std::vector<LineRange> lines = line_ranges(text->view());
  // Jinja adds a line end first, so that the last one counts.
  const bool ends_open = lines.empty() || lines.back().end == lines.back().end_with_break;
  if (!ends_open) lines.push_back({text->bytes().size(), text->bytes().size(), 0});
  TextBuilder out(in.budget());
  if (bound.flag_or(1, false)) out.add(*indent);
  for (size_t i = 0; i < lines.size(); ++i) {
    const LineRange& line = lines[i];
    if (i > 0) out.add("\n");
    if (i > 0 && (indents_blank || line.end > line.begin)) out.add(*indent);
    out.add(*text, line.begin, line.end);
  }
  return out.finish(text->is_escaped());
}

Value filter_truncate(Interpreter& in, const Value& value, const CallArgs& args) {
  const BoundArgs bound("truncate", args, {"length", "killwords", "end", "leeway"});
  if (value.is_undefined()) return value;
  const TextPtr text = require_text("truncate", value);
  const TextPtr end = bound.has(2) ? bound.text(2) : in.text("...").text();
  const int64_t length = bound.integer_or(0, 255);
  const auto n_end = static_cast<int64_t>(end->length());
  if (length < n_end) fail(ErrorCode::kData, "truncate: the length is too short for its end");
  if (static_cast<int64_t>(text->length()) <= length + bound.integer_or(3, 5)) return text;
  size_t cut = text->byte_of(static_cast<size_t>(length - n_end));
  if (!bound.flag_or(1, false)) {
    const size_t space = text->view().substr(0, cut).rfind(' ');
    if (space != std::string_view::npos) cut = space;
  }
  TextBuilder out(in.budget());
  out.add(*text, 0, cut);
  out.add(*end);
  return out.finish();
}

Value filter_format(Interpreter& in, const Value& value, const CallArgs& args) {
  if (!args.positional.empty() && !args.named.empty()) {
    fail(ErrorCode::kData, "format takes values with names or without, not both");
  }
  const TextPtr pattern = in.text_of(value);
  if (args.named.empty()) {
    return format_percent(in, *pattern, in.list(args.positional, ListKind::kTuple));
  }
  const auto named = std::make_shared<Dict>(in.budget());
  for (const auto& [name, item] : args.named) named->set(in.text(name), item);
  return format_percent(in, *pattern, std::shared_ptr<const Dict>(named));
}

Value filter_tojson(Interpreter& in, const Value& value, const CallArgs& args) {
  const BoundArgs bound("tojson", args, {"ensure_ascii", "indent", "separators", "sort_keys"});
  JsonStyle style;
  style.ensure_ascii = bound.flag_or(0, false);
  style.sort_keys = bound.flag_or(3, false);
  if (bound.has(1)) {
    style.item_separator = ",";
    style.indent = bound.at(1).is_text() ? bound.text(1)->bytes()
                                         : in.repeated(" ", bound.integer_or(1, 0))->bytes();
  }
  if (bound.has(2)) {
    const std::vector<Value> separators = in.items_of(bound.at(2));
    if (separators.size() != 2 || !separators[0].is_text() || !separators[1].is_text()) {
      fail(ErrorCode::kData, "tojson: separators must be two strings");
    }
    style.item_separator = separators[0].text()->bytes();
    style.key_separator = separators[1].text()->bytes();
  }
  TextBuilder out(in.budget());
  print_json(value, style, in.budget(), out);
  return out.finish();
}

// Percent signs for what a URL cannot hold; `in_query`: of "name=value".
void add_quoted(const Text& text, bool in_query, TextBuilder& out) {
  OriginReader origins(text.marks());
  for (size_t i = 0; i < text.bytes().size(); ++i) {
    const char c = text.bytes()[i];
    const bool is_plain = (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') ||
                          c == '_' || c == '.' || c == '-' || c == '~' || (c == '/' && !in_query);
    out.add(is_plain               ? std::string(1, c)
            : in_query && c == ' ' ? std::string("+")
                                   : fmt::format("%{:02X}", static_cast<uint8_t>(c)),
            origins.at(i));
  }
}

Value filter_urlencode(Interpreter& in, const Value& value, const CallArgs& args) {
  const BoundArgs bound("urlencode", args, {});
  TextBuilder out(in.budget());
  if (!value.is_dict() && !value.is_list()) {
    add_quoted(*in.text_of(value), false, out);
    return out.finish();
  }
  std::vector<std::pair<Value, Value>> pairs;
  if (value.is_dict()) {
    pairs = value.dict().items();
  } else {
    for (const Value& item : in.items_of(value)) {
      const std::vector<Value> pair = in.items_of(item);
      if (pair.size() != 2) fail(ErrorCode::kData, "urlencode needs pairs of name and value");
      pairs.emplace_back(pair[0], pair[1]);
    }
  }
  for (size_t i = 0; i < pairs.size(); ++i) {
    if (i > 0) out.add("&");
    add_quoted(*in.text_of(pairs[i].first), true, out);
    out.add("=");
    add_quoted(*in.text_of(pairs[i].second), true, out);
  }
  return out.finish();
}

Value filter_wordcount(Interpreter& in, const Value& value, const CallArgs& args) {
  const BoundArgs bound("wordcount", args, {});
  const TextPtr text = in.text_of(value);
  in.budget().work(text->bytes().size());
  int64_t n = 0;
  bool in_word = false;
  for (size_t i = 0; i < text->bytes().size();) {
    const Character c = character_at(text->view(), i);
    const bool is_word = is_word_character(c.value);
    n += static_cast<int64_t>(is_word && !in_word);
    in_word = is_word;
    i = c.end;
  }
  return Value(n);
}

// A number that a string holds, white space around it aside, or nothing.
std::optional<double> parse_float(std::string_view text) {
  const Mark kept = strip_range(text, nullptr, {});
  std::string digits(text.substr(kept.begin, kept.end - kept.begin));
  std::erase(digits, '_');
  if (digits.empty() || digits.find_first_of("xX(") != std::string::npos) return std::nullopt;
  char* end = nullptr;
  const double number = std::strtod(digits.c_str(), &end);
  if (end != digits.c_str() + digits.size()) return std::nullopt;
  return number;
}

std::optional<int64_t> parse_int(std::string_view text, int base) {
  const Mark kept = strip_range(text, nullptr, {});
  std::string digits(text.substr(kept.begin, kept.end - kept.begin));
  std::erase(digits, '_');
  if (digits.starts_with('+')) digits.erase(0, 1);
  if (base == 16 && (digits.starts_with("0x") || digits.starts_with("0X"))) digits.erase(0, 2);
  int64_t number = 0;
  const auto result = std::from_chars(digits.data(), digits.data() + digits.size(), number, base);
  if (result.ec == std::errc::result_out_of_range) {
    fail(ErrorCode::kUnsupported, "a number beyond 64 bits");
  }
  if (result.ec != std::errc() || result.ptr != digits.data() + digits.size()) return std::nullopt;
  return number;
}

Value whole(double number) {
  if (!(std::abs(number) < 9.2e18)) fail(ErrorCode::kUnsupported, "a number beyond 64 bits");
  return Value(static_cast<int64_t>(number));
}

Value filter_int(Interpreter&, const Value& value, const CallArgs& args) {
  const BoundArgs bound("int", args, {"default", "base"});
  const Value fallback = bound.at(0).is_undefined() ? Value(int64_t{0}) : bound.at(0);
  if (value.is_undefined()) fail(ErrorCode::kData, "{}", value.undefined_text());
  if (value.is_integral()) return Value(value.integer());
  if (value.is_float()) return std::isnan(value.number()) ? fallback : whole(value.number());
  if (!value.is_text()) return fallback;
  const int64_t base = bound.integer_or(1, 10);
  if (base < 2 || base > 36) return fallback;
  if (const auto number = parse_int(value.text()->view(), static_cast<int>(base))) {
    return Value(*number);
  }
  const auto number = parse_float(value.text()->view());
  return number && std::isfinite(*number) ? whole(*number) : fallback;
}

Value filter_float(Interpreter&, const Value& value, const CallArgs& args) {
  const BoundArgs bound("float", args, {"default"});
  const Value fallback = bound.at(0).is_undefined() ? Value(0.0) : bound.at(0);
  if (value.is_undefined()) fail(ErrorCode::kData, "{}", value.undefined_text());
  if (value.is_number()) return Value(value.number());
  if (!value.is_text()) return fallback;
  const auto number = parse_float(value.text()->view());
  return number ? Value(*number) : fallback;
}

Value filter_abs(Interpreter& in, const Value& value, const CallArgs& args) {
  const BoundArgs bound("abs", args, {});
  if (value.is_undefined()) fail(ErrorCode::kData, "{}", value.undefined_text());
  if (!value.is_number()) fail(ErrorCode::kData, "abs needs a number");
  if (value.is_float()) return Value(std::abs(value.number()));
  return value.integer() < 0 ? in.binary("-", Value(int64_t{0}), value) : Value(value.integer());
}

Value filter_round(Interpreter&, const Value& value, const CallArgs& args) {
  const BoundArgs bound("round", args, {"precision", "method"});
  const std::string method = bound.has(1) ? bound.text(1)->bytes() : "common";
  const int64_t precision = bound.integer_or(0, 0);
  if (!value.is_number()) fail(ErrorCode::kData, "round needs a number");
  if (precision < -300 || precision > 300) fail(ErrorCode::kData, "round: no such precision");
  if (method == "common") {
    if (value.is_integral() && precision >= 0) return Value(value.integer());
    if (precision >= 0) {  // decimal digits, half to even, as Python's round()
      return Value(std::strtod(
          fmt::format("{:.{}f}", value.number(), static_cast<int>(precision)).c_str(), nullptr));
    }
  } else if (method != "floor" && method != "ceil") {
    fail(ErrorCode::kData, "round: the method must be common, ceil or floor");
  }
  if (method == "common" && value.is_integral()) {
    const double scale = std::pow(10.0, static_cast<double>(-precision));
    return whole(std::nearbyint(value.number() / scale) * scale);
  }
  const double scale = std::pow(10.0, static_cast<double>(precision));
  const double scaled = value.number() * scale;
  const double rounded = method == "floor"  ? std::floor(scaled)
                         : method == "ceil" ? std::ceil(scaled)
                                            : std::nearbyint(scaled);
  return Value(rounded / scale);
}

Value filter_length(Interpreter& in, const Value& value, const CallArgs& args) {
  const BoundArgs bound("length", args, {});
  return Value(static_cast<int64_t>(in.length_of(value)));
}

Value filter_default(Interpreter& in, const Value& value, const CallArgs& args) {
  const BoundArgs bound("default", args, {"default_value", "boolean"});
  const bool is_missing = value.is_undefined() || (bound.flag_or(1, false) && !value.is_true());
  if (!is_missing) return value;
  const bool is_given = !args.positional.empty() || !args.named.empty();
  return is_given && !bound.at(0).is_undefined() ? bound.at(0) : in.text("");
}

}  // namespace

Filter find_text_filter(std::string_view name) {
  static const std::unordered_map<std::string_view, Filter> filters = {
      {"upper", filter_case<CaseKind::kUpper>},
      {"lower", filter_case<CaseKind::kLower>},
      {"capitalize", filter_case<CaseKind::kCapitalize>},
      {"title", filter_title},
      {"trim", filter_trim},
      {"replace", filter_replace},
      {"string", filter_string},
      {"escape", filter_escape},
      {"e", filter_escape},
      {"forceescape", filter_forceescape},
      {"safe", filter_safe},
      {"center", filter_center},
      {"indent", filter_indent},
      {"truncate", filter_truncate},
      {"format", filter_format},
      {"tojson", filter_tojson},
      {"urlencode", filter_urlencode},
      {"wordcount", filter_wordcount},
      {"int", filter_int},
      {"float", filter_float},
      {"abs", filter_abs},
      {"round", filter_round},
      {"length", filter_length},
      {"count", filter_length},
      {"default", filter_default},
      {"d", filter_default},
  };
  const auto it = filters.find(name);
  return it == filters.end() ? nullptr : it->second;
}

Filter find_filter(std::string_view name) {
  if (const Filter filter = find_text_filter(name)) return filter;
  return find_sequence_filter(name);
}

}  // namespace chunkllm::jinja

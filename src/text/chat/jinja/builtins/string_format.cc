#include "text/chat/jinja/builtins/string_format.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>

#include "base/error.h"
#include "base/json.h"
#include "text/chat/jinja/print.h"

namespace chunkllm::jinja {
namespace {

constexpr size_t kMaxWidth = 100'000;

[[noreturn]] void bad_pattern(std::string_view what) {
  fail(ErrorCode::kData, "a pattern to fill in: {}", what);
}

// How one value is to be written: [[fill]align][sign][#][0][width][,][.precision][type].
struct Spec {
  std::string fill = " ";
  char align = 0;  // '<', '>', '^', '=' or none
  char sign = '-';
  bool alternate = false;
  bool groups = false;
  size_t width = 0;
  std::optional<size_t> precision;
  char type = 0;
};

// Digits at `i`, which then stands behind them.
std::optional<size_t> read_count(std::string_view text, size_t& i) {
  size_t count = 0;
  const auto result = std::from_chars(text.data() + i, text.data() + text.size(), count);
  if (result.ptr == text.data() + i) return std::nullopt;
  if (result.ec != std::errc() || count > kMaxWidth) bad_pattern("a width is too large");
  i = static_cast<size_t>(result.ptr - text.data());
  return count;
}

std::string grouped(std::string digits) {
  size_t end = std::min(digits.find('.'), digits.size());
  const size_t begin = !digits.empty() && digits[0] == '-' ? 1 : 0;
  while (end > begin + 3) {
    end -= 3;
    digits.insert(end, ",");
  }
  return digits;
}

std::string radix_text(int64_t number, const Spec& spec) {
  const uint64_t size =
      number < 0 ? 0 - static_cast<uint64_t>(number) : static_cast<uint64_t>(number);
  char letter = spec.type;
  std::string digits = letter == 'x'   ? fmt::format("{:x}", size)
                       : letter == 'X' ? fmt::format("{:X}", size)
                       : letter == 'o' ? fmt::format("{:o}", size)
                       : letter == 'b' ? fmt::format("{:b}", size)
                                       : std::to_string(size);
  if (spec.alternate && letter != 'd') digits = fmt::format("0{}{}", letter, digits);
  return (number < 0 ? "-" : "") + digits;
}

std::string number_text(const Value& value, const Spec& spec) {
  switch (spec.type) {
    case 'd':
    case 'i':
    case 'u':
      if (value.is_integral()) return std::to_string(value.integer());
      if (!(std::abs(value.number()) < 9.2e18)) bad_pattern("a number beyond 64 bits");
      return std::to_string(static_cast<int64_t>(value.number()));
    case 'x':
    case 'X':
    case 'o':
    case 'b':
      if (!value.is_integral()) bad_pattern("a whole number is needed");
      return radix_text(value.integer(), spec);
    case 'f':
    case 'F':
      return fmt::format("{:.{}f}", value.number(), static_cast<int>(spec.precision.value_or(6)));
    case 'e':
      return fmt::format("{:.{}e}", value.number(), static_cast<int>(spec.precision.value_or(6)));
    case 'g':
      return fmt::format("{:.{}g}", value.number(),
                         static_cast<int>(std::max<size_t>(spec.precision.value_or(6), 1)));
    case '%':
      return fmt::format("{:.{}f}%", value.number() * 100,
                         static_cast<int>(spec.precision.value_or(6)));
    case 0:
      if (value.is_float() && spec.precision) {
        return fmt::format("{:.{}g}", value.number(),
                           static_cast<int>(std::max<size_t>(*spec.precision, 1)));
      }
      return value.is_float() ? float_text(value.number()) : std::to_string(value.integer());
    default:  // a character of the pattern, not an enum
      bad_pattern(fmt::format("{} is no type of numbers", show_text({&spec.type, 1})));
  }
}

// `text` with the fill on the sides that the alignment leaves.
void add_aligned(const Text& text, const Spec& spec, char align, TextBuilder& out) {
  const size_t length = text.length();
  const size_t n_fill = spec.width > length ? spec.width - length : 0;
  size_t n_left = align == '>' || align == '=' ? n_fill : align == '^' ? n_fill / 2 : 0;
  size_t begin = 0;
  if (align == '=' && (text.view().starts_with('-') || text.view().starts_with('+'))) {
    begin = 1;
    out.add(text, 0, 1);
  }
  for (size_t i = 0; i < n_left; ++i) out.add(spec.fill);
  out.add(text, begin, text.bytes().size());
  for (size_t i = n_left; i < n_fill; ++i) out.add(spec.fill);
}

void add_formatted(Interpreter& interpreter, const Value& value, const Spec& spec,
                   TextBuilder& out) {
  const bool is_text_type = spec.type == 's' || (spec.type == 0 && !value.is_number()) ||
                            (spec.type == 0 && value.is_bool() && spec.width == 0);
  if (is_text_type) {
    TextPtr text = interpreter.text_of(value);
    if (spec.precision && *spec.precision < text->length()) {
      text = slice(text, 0, text->byte_of(*spec.precision), interpreter.budget());
    }
    return add_aligned(*text, spec, spec.align != 0 ? spec.align : '<', out);
  }
  if (!value.is_number()) {
    fail(ErrorCode::kData, "a pattern to fill in needs a number, got a value of type {}",
         value.type_name());
  }
  std::string digits = number_text(value, spec);
  if (spec.groups) digits = grouped(std::move(digits));
  if (spec.sign != '-' && !digits.starts_with('-')) digits.insert(0, 1, spec.sign);
  add_aligned(*interpreter.text(digits).text(), spec, spec.align != 0 ? spec.align : '>', out);
}

Spec parse_spec(std::string_view text) {
  Spec spec;
  size_t i = 0;
  const auto is_align = [](char c) { return c == '<' || c == '>' || c == '^' || c == '='; };
  if (!text.empty()) {
    const size_t first_end = character_at(text, 0).end;
    if (first_end < text.size() && is_align(text[first_end])) {
      spec.fill = text.substr(0, first_end);
      spec.align = text[first_end];
      i = first_end + 1;
    } else if (is_align(text[0])) {
      spec.align = text[0];
      i = 1;
    }
  }
  const auto at = [&](char c) { return i < text.size() && text[i] == c; };
  if (at('+') || at(' ') || at('-')) spec.sign = text[i++];
  if (at('#')) spec.alternate = true, ++i;
  if (at('0')) {
    ++i;
    if (spec.align == 0) spec.align = '=', spec.fill = "0";
  }
  spec.width = read_count(text, i).value_or(0);
  if (at(',')) spec.groups = true, ++i;
  if (at('.')) {
    spec.precision = read_count(text, ++i);
    if (!spec.precision) bad_pattern("no digits after a dot");
  }
  if (i < text.size()) spec.type = text[i++];
  if (i < text.size()) bad_pattern("it cannot be read");
  return spec;
}

// The values that a % pattern takes one after the other.
class PercentValues {
 public:
  explicit PercentValues(const Value& values)
      : values_(values), is_tuple_(values.is_list() && values.list().kind() == ListKind::kTuple) {}

  Value next() {
    const size_t n = is_tuple_ ? values_.list().size() : 1;
    if (next_ >= n) bad_pattern("there are too few values");
    const size_t i = next_++;
    return is_tuple_ ? values_.list().items()[i] : values_;
  }
  Value named(std::string_view name) {
    if (!values_.is_dict()) bad_pattern("names need a dict of values");
    const Value* value = values_.dict().find(name);
    if (value == nullptr) bad_pattern(fmt::format("there is no value {}", show_text(name)));
    next_ = 1;
    return *value;
  }
  void check_all_used() const {
    if (is_tuple_ ? next_ < values_.list().size() : next_ == 0 && !values_.is_dict()) {
      bad_pattern("there are too many values");
    }
  }

 private:
  const Value& values_;
  bool is_tuple_;
  size_t next_ = 0;
};

// One %... at `i`, the character behind %; gives the place behind it.
size_t add_percent(Interpreter& interpreter, std::string_view text, size_t i, PercentValues& values,
                   TextBuilder& out) {
  std::optional<std::string_view> name;
  if (i < text.size() && text[i] == '(') {
    const size_t end = text.find(')', i);
    if (end == std::string_view::npos) bad_pattern("a ( has no )");
    name = text.substr(i + 1, end - i - 1);
    i = end + 1;
  }
  Spec spec;
  spec.align = '>';
  for (; i < text.size(); ++i) {
    if (text[i] == '-') {
      spec.align = '<';
      spec.fill = " ";
    } else if (text[i] == '0' && spec.align != '<') {
      spec.fill = "0";
      spec.align = '=';
    } else if (text[i] == '+' || (text[i] == ' ' && spec.sign == '-')) {
      spec.sign = text[i];
    } else if (text[i] == '#') {
      spec.alternate = true;
    } else if (text[i] != ' ') {
      break;
    }
  }
  spec.width = read_count(text, i).value_or(0);
  if (i < text.size() && text[i] == '.') spec.precision = read_count(text, ++i).value_or(0);
  if (i >= text.size()) bad_pattern("it ends inside of a %");
  spec.type = text[i];
  if (spec.type == '%') {
    out.add("%");
    return i + 1;
  }
  static constexpr std::string_view kTypes = "sracdiuxXofFeg";
  if (kTypes.find(spec.type) == std::string_view::npos) {
    bad_pattern(fmt::format("%{} is not known", show_text({&spec.type, 1})));
  }
  Value value = name ? values.named(*name) : values.next();
  if (spec.type == 'r' || spec.type == 'a') {
    TextBuilder repr(interpreter.budget());
    print_repr(value, repr);
    value = repr.finish();
    spec.type = 's';
  }
  if (spec.type == 'c') {
    if (value.is_integral()) {
      TextBuilder character(interpreter.budget());
      character.add_code_point(static_cast<char32_t>(value.integer() & 0x1fffff), 0);
      value = character.finish();
    }
    if (!value.is_text() || value.text()->length() != 1) bad_pattern("%c needs one character");
    spec.type = 's';
  }
  add_formatted(interpreter, value, spec, out);
  return i + 1;
}

// Fills in {...}.
class BraceFormatter {
 public:
  BraceFormatter(Interpreter& interpreter, const CallArgs& args)
      : interpreter_(interpreter), args_(args) {}

  void run(const Text& pattern, TextBuilder& out) {
    const std::string_view text = pattern.view();
    for (size_t i = 0; i < text.size();) {
      const size_t brace = std::min(text.find_first_of("{}", i), text.size());
      out.add(pattern, i, brace);
      if (brace == text.size()) return;
      if (brace + 1 < text.size() && text[brace + 1] == text[brace]) {
        out.add(pattern, brace, brace + 1);
        i = brace + 2;
        continue;
      }
      const size_t end = text.find('}', brace);
      if (text[brace] == '}' || end == std::string_view::npos) bad_pattern("a single brace");
      add_field(text.substr(brace + 1, end - brace - 1), out);
      i = end + 1;
    }
  }

 private:
  void add_field(std::string_view field, TextBuilder& out) {
    if (field.find('{') != std::string_view::npos)
      bad_pattern("braces in braces are not supported");
    std::string_view spec;
    if (const size_t colon = field.find(':'); colon != std::string_view::npos) {
      spec = field.substr(colon + 1);
      field = field.substr(0, colon);
    }
    char conversion = 0;
    if (const size_t mark = field.find('!'); mark != std::string_view::npos) {
      if (mark + 2 != field.size()) bad_pattern("a ! needs one letter");
      conversion = field[mark + 1];
      field = field.substr(0, mark);
    }
    Value value = look_up(field);
    if (conversion == 'r') {
      TextBuilder repr(interpreter_.budget());
      print_repr(value, repr);
      value = repr.finish();
    } else if (conversion == 's') {
      value = interpreter_.text_of(value);
    } else if (conversion != 0) {
      bad_pattern("only !r and !s are known");
    }
    add_formatted(interpreter_, value, parse_spec(spec), out);
  }

  Value look_up(std::string_view field) {
    count_field(field);
    const size_t name_end = std::min(field.find_first_of(".["), field.size());
    if (name_end == 0 && !field.empty()) bad_pattern("a field has no name");
    Value value = argument(field.substr(0, name_end));
    size_t i = name_end;
    while (i < field.size()) {
      if (field[i] == '.') {
        const size_t end = std::min(field.find_first_of(".[", i + 1), field.size());
        value = interpreter_.attribute_of(value, field.substr(i + 1, end - i - 1));
        i = end;
        continue;
      }
      const size_t end = field.find(']', i);
      if (field[i] != '[' || end == std::string_view::npos) bad_pattern("a [ has no ]");
      const std::string_view key = field.substr(i + 1, end - i - 1);
      int64_t index = 0;
      const auto result = std::from_chars(key.data(), key.data() + key.size(), index);
      const bool is_index = result.ec == std::errc() && result.ptr == key.data() + key.size();
      value = interpreter_.item_of(value, is_index ? Value(index) : interpreter_.text(key));
      i = end + 1;
    }
    return value;
  }

  // Fields without a number and fields that are one do not go together; what else a field has makes
  // it neither, as in Python's string.Formatter.
  void count_field(std::string_view field) {
    const bool is_number =
        !field.empty() && std::ranges::all_of(field, [](char c) { return c >= '0' && c <= '9'; });
    has_numbers_ |= is_number;
    if (has_numbers_ && (field.empty() || (is_number && next_ > 0))) {
      bad_pattern("some fields have numbers and some have none");
    }
  }

  Value argument(std::string_view name) {
    size_t index = next_;
    if (name.empty()) {
      ++next_;
    } else {
      const auto result = std::from_chars(name.data(), name.data() + name.size(), index);
      if (result.ec != std::errc() || result.ptr != name.data() + name.size()) {
        const auto found =
            std::ranges::find(args_.named, name, [](const auto& arg) { return arg.first; });
        if (found == args_.named.end()) {
          bad_pattern(fmt::format("there is no value {}", show_text(name)));
        }
        return found->second;
      }
    }
    if (index >= args_.positional.size()) bad_pattern("there are too few values");
    return args_.positional[index];
  }

  Interpreter& interpreter_;
  const CallArgs& args_;
  size_t next_ = 0;  // of the fields without a number
  bool has_numbers_ = false;
};

}  // namespace

Value format_percent(Interpreter& interpreter, const Text& pattern, const Value& values) {
  PercentValues left(values);
  TextBuilder out(interpreter.budget());
  const std::string_view text = pattern.view();
  for (size_t i = 0; i < text.size();) {
    const size_t percent = std::min(text.find('%', i), text.size());
    out.add(pattern, i, percent);
    if (percent == text.size()) break;
    i = add_percent(interpreter, text, percent + 1, left, out);
  }
  left.check_all_used();
  return out.finish();
}

Value format_braces(Interpreter& interpreter, const Text& pattern, const CallArgs& args) {
  TextBuilder out(interpreter.budget());
  BraceFormatter(interpreter, args).run(pattern, out);
  return out.finish();
}

}  // namespace chunkllm::jinja

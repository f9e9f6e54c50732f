#include "text/chat/jinja/parse/lexer.h"

#include <unicode/uchar.h>
#include <unicode/utf16.h>

#include <algorithm>
#include <array>
#include <optional>

#include "base/error.h"
#include "base/json.h"
#include "text/chat/jinja/text.h"
#include "text/utf8.h"

namespace chunkllm::jinja {
namespace {

constexpr size_t kNone = std::string_view::npos;

bool is_digit(char c) { return c >= '0' && c <= '9'; }

bool is_name_character(char32_t c) {
  if (c < 0x80) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
  }
  return u_hasBinaryProperty(static_cast<UChar32>(c), UCHAR_XID_CONTINUE) != 0;
}

// \n for every line end, and none at the very end.
std::string normal_lines(std::string_view source) {
  std::string text;
  text.reserve(source.size());
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] != '\r') {
      text += source[i];
      continue;
    }
    text += '\n';
    if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
  }
  if (text.ends_with('\n')) text.pop_back();
  return text;
}

std::string_view without_space_after(std::string_view text) {
  return text.substr(0, strip_range(text, nullptr, {.left = false}).end);
}

class Lexer {
 public:
  explicit Lexer(std::string_view source) : text_(source) {}

  std::vector<Token> run() {
    while (at_ < text_.size()) read_outside();
    add(TokenKind::kEnd, "");
    return std::move(tokens_);
  }

 private:
  [[noreturn]] void error(const std::string& what) const {
    fail(ErrorCode::kData, "line {}: {}", line_, what);
  }

  void add(TokenKind kind, std::string text) { tokens_.push_back({kind, std::move(text), line_}); }

  bool starts(std::string_view word) const { return text_.substr(at_).starts_with(word); }

  // Goes on to `end`; counts lines.
  void move_to(size_t end) {
    line_ += static_cast<int>(std::count(text_.begin() + static_cast<ptrdiff_t>(at_),
                                         text_.begin() + static_cast<ptrdiff_t>(end), '\n'));
    after_line_end_ = end > 0 && text_[end - 1] == '\n';
    at_ = end;
  }

  size_t skip_space(size_t offset) const {
    return offset + strip_range(text_.substr(offset), nullptr, {.right = false}).begin;
  }

  // Text up to a tag of which `sign` is the character after its opening, and how much of it stays.
  void add_data(size_t end, char sign, bool is_variable) {
    std::string_view data = text_.substr(at_, end - at_);
    if (sign == '-') {
      data = without_space_after(data);
    } else if (sign != '+' && !is_variable) {
      const size_t line_begin = data.rfind('\n') + 1;
      const std::string_view rest = data.substr(line_begin);
      if ((line_begin > 0 || after_line_end_) && !rest.empty() &&
          without_space_after(rest).empty()) {
        data = data.substr(0, line_begin);
      }
    }
    if (!data.empty()) add(TokenKind::kData, std::string(data));
    move_to(end);
  }

  // The end of a closing "%}" or "#}" at `offset` with what it takes along, or nothing.
  std::optional<size_t> block_close(size_t offset, std::string_view close) const {
    const std::string_view rest = text_.substr(offset);
    if (rest.starts_with(close)) {
      const size_t end = offset + close.size();
      return end < text_.size() && text_[end] == '\n' ? end + 1 : end;
    }
    if (rest.size() < 1 || !rest.substr(1).starts_with(close)) return std::nullopt;
    const size_t end = offset + 1 + close.size();
    if (rest[0] == '+') return end;
    if (rest[0] == '-') return skip_space(end);
    return std::nullopt;
  }

  char sign_at(size_t offset) const {
    if (offset >= text_.size()) return ' ';
    return text_[offset] == '-' || text_[offset] == '+' ? text_[offset] : ' ';
  }

  // A tag {% WORD %} at `offset`: its end, or nothing. `trims`: %} takes a line end along.
  std::optional<size_t> word_tag(size_t offset, std::string_view word, bool trims) const {
    if (!text_.substr(offset).starts_with("{%")) return std::nullopt;
    size_t i = offset + 2;
    if (sign_at(i) != ' ') ++i;
    i = skip_space(i);
    if (!text_.substr(i).starts_with(word)) return std::nullopt;
    i = skip_space(i + word.size());
    if (trims) return block_close(i, "%}");
    if (text_.substr(i).starts_with("-%}")) return skip_space(i + 3);
    if (text_.substr(i).starts_with("%}")) return i + 2;
    return std::nullopt;
  }

  void read_outside() {
    size_t tag = at_;
    while ((tag = text_.find('{', tag)) != kNone) {
      const char next = tag + 1 < text_.size() ? text_[tag + 1] : ' ';
      if (next == '%' || next == '#' || next == '{') break;
      ++tag;
    }
    if (tag == kNone) {
      add(TokenKind::kData, std::string(text_.substr(at_)));
      return move_to(text_.size());
    }
    const char kind = text_[tag + 1];
    const char sign = sign_at(tag + 2);
    const std::optional<size_t> raw = word_tag(tag, "raw", false);
    add_data(tag, sign, kind == '{');
    if (raw) return read_raw(*raw);
    const size_t inside = tag + (sign == ' ' ? 2 : 3);
    if (kind == '#') return read_comment(inside);
    add(kind == '%' ? TokenKind::kBlockBegin : TokenKind::kVariableBegin, "");
    move_to(inside);
    read_inside(kind == '%');
  }

  void read_comment(size_t inside) {
    for (size_t i = inside; (i = text_.find("#}", i)) != kNone; ++i) {
      const bool has_sign = i > inside && (text_[i - 1] == '-' || text_[i - 1] == '+');
      return move_to(*block_close(has_sign ? i - 1 : i, "#}"));
    }
    error("a comment {# has no end #}");
  }

  void read_raw(size_t inside) {
    move_to(inside);
    for (size_t i = inside; (i = text_.find("{%", i)) != kNone; ++i) {
      const std::optional<size_t> end = word_tag(i, "endraw", true);
      if (!end) continue;
      add_data(i, sign_at(i + 2), false);
      return move_to(*end);
    }
    error("{% raw %} has no {% endraw %}");
  }

  void read_inside(bool is_block) {
    std::vector<char> open;  // brackets to close
    while (at_ < text_.size()) {
      if (open.empty() && try_close(is_block)) return;
      const size_t after_space = skip_space(at_);
      if (after_space > at_) {
        move_to(after_space);
        continue;
      }
      read_token(open);
    }
    error(is_block ? "a tag {% has no end %}" : "an expression {{ has no end }}");
  }

  bool try_close(bool is_block) {
    std::optional<size_t> end;
    if (is_block) {
      end = block_close(at_, "%}");
    } else if (starts("}}")) {
      end = at_ + 2;
    } else if (starts("-}}")) {
      end = skip_space(at_ + 3);
    }
    if (!end) return false;
    add(is_block ? TokenKind::kBlockEnd : TokenKind::kVariableEnd, "");
    move_to(*end);
    return true;
  }

  void read_token(std::vector<char>& open) {
    const char c = text_[at_];
    if (is_digit(c)) return read_number();
    if (c == '\'' || c == '"') return read_string(c);
    const size_t begin = at_;
    size_t end = at_;
    while (end < text_.size()) {
      const Character next = character_at(text_, end);
      if (!is_name_character(next.value)) break;
      end = next.end;
    }
    if (end > begin) {
      add(TokenKind::kName, std::string(text_.substr(begin, end - begin)));
      return move_to(end);
    }
    read_operator(open);
  }

  void read_operator(std::vector<char>& open) {
    static constexpr std::array<std::string_view, 26> kOperators = {
        "//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[",
        "]",  "(",  ")",  "{",  "}",  ">",  "<", "=", ".", ":", "|", ",", ";"};
    const auto* found = std::ranges::find_if(kOperators, [&](auto word) { return starts(word); });
    if (found == kOperators.end()) {
      error(fmt::format("{} has no place in an expression",
                        show_text(text_.substr(at_, character_at(text_, at_).end - at_))));
    }
    const char c = found->front();
    if (c == '(') open.push_back(')');
    if (c == '[') open.push_back(']');
    if (c == '{') open.push_back('}');
    if (c == ')' || c == ']' || c == '}') {
      if (open.empty() || open.back() != c) error(fmt::format("{} closes nothing", c));
      open.pop_back();
    }
    add(TokenKind::kOperator, std::string(*found));
    move_to(at_ + found->size());
  }

  // Digits with single _ between them; `is_in` says which are digits. npos if there are none.
  template <typename IsIn>
  size_t digits_end(size_t i, IsIn is_in) const {
    size_t end = kNone;
    while (i < text_.size() && is_in(text_[i])) {
      end = ++i;
      if (i + 1 < text_.size() && text_[i] == '_' && is_in(text_[i + 1])) ++i;
    }
    return end;
  }

  void add_number(TokenKind kind, size_t end) {
    std::string digits(text_.substr(at_, end - at_));
    std::erase(digits, '_');
    add(kind, std::move(digits));
    move_to(end);
  }

  void read_number() {
    // 0x1f, 0b1, 0o7.
    if (text_[at_] == '0' && at_ + 2 < text_.size()) {
      const char base = static_cast<char>(text_[at_ + 1] | 0x20);
      const auto is_in = [base](char c) {
        if (base == 'b') return c == '0' || c == '1';
        if (base == 'o') return c >= '0' && c <= '7';
        return is_digit(c) || ((c | 0x20) >= 'a' && (c | 0x20) <= 'f');
      };
      const size_t first = at_ + (text_[at_ + 2] == '_' ? 3 : 2);
      if (base == 'b' || base == 'o' || base == 'x') {
        if (const size_t end = digits_end(first, is_in); end != kNone) {
          return add_number(TokenKind::kInteger, end);
        }
      }
    }
    const size_t whole_end = digits_end(at_, is_digit);
    size_t end = whole_end;
    const bool after_dot = at_ > 0 && text_[at_ - 1] == '.';
    if (!after_dot) {
      if (end < text_.size() && text_[end] == '.') {
        if (const size_t fraction = digits_end(end + 1, is_digit); fraction != kNone)
          end = fraction;
      }
      if (end < text_.size() && (text_[end] | 0x20) == 'e') {
        const size_t sign = sign_at(end + 1) == ' ' ? 0 : 1;
        if (const size_t exponent = digits_end(end + 1 + sign, is_digit); exponent != kNone) {
          end = exponent;
        }
      }
    }
    if (end != whole_end) return add_number(TokenKind::kFloat, end);
    if (text_[at_] == '0') end = digits_end(at_, [](char c) { return c == '0'; });
    add_number(TokenKind::kInteger, end);
  }

  void read_string(char quote) {
    size_t i = at_ + 1;
    while (i < text_.size() && text_[i] != quote) i += text_[i] == '\\' ? 2 : 1;
    if (i >= text_.size()) error("a string has no end");
    add(TokenKind::kString, unescape(text_.substr(at_ + 1, i - at_ - 1)));
    move_to(i + 1);
  }

  // Python's escapes in a string.
  std::string unescape(std::string_view text) const {
    std::string value;
    for (size_t i = 0; i < text.size(); ++i) {
      if (text[i] != '\\' || i + 1 == text.size()) {
        value += text[i];
        continue;
      }
      i = unescape_one(text, i + 1, value);
    }
    return value;
  }

  // The escape whose letter stands at `i`; gives the place of its last byte.
  size_t unescape_one(std::string_view text, size_t i, std::string& value) const {
    static constexpr std::string_view kLetters = "abfnrtv\\'\"";
    static constexpr std::string_view kValues = "\a\b\f\n\r\t\v\\'\"";
    const char c = text[i];
    if (const size_t known = kLetters.find(c); known != kNone) {
      value += kValues[known];
      return i;
    }
    if (c == '\n') return i;
    if (c >= '0' && c <= '7') {
      char32_t code = 0;
      size_t end = i;
      for (; end < text.size() && end < i + 3 && text[end] >= '0' && text[end] <= '7'; ++end) {
        code = code * 8 + static_cast<char32_t>(text[end] - '0');
      }
      append_utf8(value, code);
      return end - 1;
    }
    const size_t n_digits = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
    if (n_digits == 0) {
      if (c == 'N') return unescape_name(text, i, value);
      value += '\\';
      const Character next = character_at(text, i);
      const auto code = static_cast<uint32_t>(next.value);
      // Python's Jinja turns other characters into ASCII first, and so into their own escapes.
      value += code < 0x80      ? std::string(1, c)
               : code < 0x100   ? fmt::format("x{:02x}", code)
               : code < 0x10000 ? fmt::format("u{:04x}", code)
                                : fmt::format("U{:08x}", code);
      return next.end - 1;
    }
    char32_t code = hex(text, i + 1, n_digits);
    size_t last = i + n_digits;
    if (U16_IS_LEAD(code) && text.substr(last + 1).starts_with("\\u")) {
      const char32_t low = hex(text, last + 3, 4);
      if (U16_IS_TRAIL(low)) {
        code = static_cast<char32_t>(U16_GET_SUPPLEMENTARY(code, low));
        last += 6;
      }
    }
    append_utf8(value, code);
    return last;
  }

  // \N{NAME}, whose N stands at `i`.
  size_t unescape_name(std::string_view text, size_t i, std::string& value) const {
    const size_t end = text.find('}', i);
    if (end == kNone || text[i + 1] != '{') error("a string has a \\N without {a name}");
    const std::string name(text.substr(i + 2, end - i - 2));
    UErrorCode status = U_ZERO_ERROR;
    const UChar32 c = u_charFromName(U_EXTENDED_CHAR_NAME, name.c_str(), &status);
    if (U_FAILURE(status) != 0) error("a string names a character that there is not");
    append_utf8(value, static_cast<char32_t>(c));
    return end;
  }

  char32_t hex(std::string_view text, size_t begin, size_t n_digits) const {
    char32_t code = 0;
    for (size_t i = begin; i < begin + n_digits; ++i) {
      const char c = i < text.size() ? text[i] : ' ';
      const char lower = static_cast<char>(c | 0x20);
      const bool is_letter = lower >= 'a' && lower <= 'f';
      if (!is_digit(c) && !is_letter) error("a string has an escape with too few digits");
      code = code * 16 + static_cast<char32_t>(is_digit(c) ? c - '0' : lower - 'a' + 10);
    }
    if (code > 0x10ffff) error("a string has an escape beyond Unicode");
    return code;
  }

  std::string_view text_;
  size_t at_ = 0;
  int line_ = 1;
  bool after_line_end_ = true;  // or at the begin of all
  std::vector<Token> tokens_;
};

}  // namespace

std::vector<Token> tokenize(std::string_view source) {
  const std::string text = normal_lines(source);
  return Lexer(text).run();
}

}  // namespace chunkllm::jinja

#include <algorithm>
#include <charconv>
#include <cstdlib>

#include "base/error.h"
#include "base/json.h"
#include "text/chat/jinja/builtins/filters.h"
#include "text/chat/jinja/parse/parser.h"

namespace chunkllm::jinja {
namespace {

constexpr int kMaxLevels = 150;  // brackets in brackets, tags in tags
constexpr int kMaxDepth = 400;   // of an expression's tree

Value text_value(std::string text) {
  return std::make_shared<const Text>(MarkedText{std::move(text), {}});
}

std::string describe(const Token& token) {
  switch (token.kind) {
    case TokenKind::kData:
      return "text";
    case TokenKind::kBlockBegin:
      return "{%";
    case TokenKind::kBlockEnd:
      return "%}";
    case TokenKind::kVariableBegin:
      return "{{";
    case TokenKind::kVariableEnd:
      return "}}";
    case TokenKind::kEnd:
      return "the end of the template";
    case TokenKind::kName:
    case TokenKind::kString:
    case TokenKind::kInteger:
    case TokenKind::kFloat:
    case TokenKind::kOperator:
      break;
  }
  return show_text(token.text);
}

}  // namespace

ExpressionParser::Level::Level(ExpressionParser& parser) : parser_(parser) {
  if (parser_.level_ >= kMaxLevels) parser_.error("nested too deeply");
  ++parser_.level_;
}

void ExpressionParser::error(const std::string& what) const {
  fail(ErrorCode::kData, "line {}: {}, found {}", current().line, what, describe(current()));
}

Token ExpressionParser::next() {
  Token token = current();
  if (at_ + 1 < tokens_.size()) ++at_;
  return token;
}

bool ExpressionParser::is_operator(std::string_view text) const {
  return current().kind == TokenKind::kOperator && current().text == text;
}

bool ExpressionParser::is_word(std::string_view text) const {
  return current().kind == TokenKind::kName && current().text == text;
}

bool ExpressionParser::is_any_word(Words words) const {
  return std::ranges::any_of(words, [&](std::string_view word) { return is_word(word); });
}

bool ExpressionParser::skip_operator(std::string_view text) {
  if (!is_operator(text)) return false;
  next();
  return true;
}

bool ExpressionParser::skip_word(std::string_view text) {
  if (!is_word(text)) return false;
  next();
  return true;
}

void ExpressionParser::expect_operator(std::string_view text) {
  if (!skip_operator(text)) error(fmt::format("expected {}", text));
}

std::string ExpressionParser::expect_name() {
  if (current().kind != TokenKind::kName) error("expected a name");
  return next().text;
}

std::unique_ptr<Expr> ExpressionParser::make(ExprKind kind, std::string name) const {
  auto expr = std::make_unique<Expr>();
  expr->kind = kind;
  expr->line = current().line;
  expr->name = std::move(name);
  return expr;
}

ExprPtr ExpressionParser::finish(std::unique_ptr<Expr> expr) const {
  const auto grow = [&](const ExprPtr& part) {
    if (part) expr->depth = std::max(expr->depth, part->depth + 1);
  };
  std::ranges::for_each(expr->parts, grow);
  std::ranges::for_each(expr->args.positional, grow);
  for (const auto& [name, value] : expr->args.named) grow(value);
  grow(expr->args.star);
  grow(expr->args.double_star);
  if (expr->depth > kMaxDepth) error("an expression is nested too deeply");
  return expr;
}

ExprPtr ExpressionParser::unary(std::string name, ExprPtr operand) {
  auto expr = make(ExprKind::kUnary, std::move(name));
  expr->parts.push_back(std::move(operand));
  return finish(std::move(expr));
}

ExprPtr ExpressionParser::binary(ExprKind kind, std::string name, ExprPtr left, ExprPtr right) {
  auto expr = make(kind, std::move(name));
  expr->parts.push_back(std::move(left));
  expr->parts.push_back(std::move(right));
  return finish(std::move(expr));
}

ExprPtr ExpressionParser::parse_expression(bool with_condition) {
  const Level level(*this);
  return with_condition ? parse_condition() : parse_or();
}

ExprPtr ExpressionParser::parse_condition() {
  const size_t n_unknown = unknown_.size();
  ExprPtr value = parse_or();
  while (skip_word("if")) {
    auto expr = make(ExprKind::kConditional);
    ExprPtr condition = parse_or();
    ExprPtr otherwise;
    if (skip_word("else")) {
      const Level level(*this);
      otherwise = parse_condition();
    }
    expr->parts.push_back(std::move(condition));
    expr->parts.push_back(std::move(value));
    expr->parts.push_back(std::move(otherwise));
    value = finish(std::move(expr));
    unknown_.resize(n_unknown);
  }
  return value;
}

ExprPtr ExpressionParser::parse_or() {
  ExprPtr left = parse_and();
  while (skip_word("or")) left = binary(ExprKind::kOr, "", std::move(left), parse_and());
  return left;
}

ExprPtr ExpressionParser::parse_and() {
  ExprPtr left = parse_not();
  while (skip_word("and")) left = binary(ExprKind::kAnd, "", std::move(left), parse_not());
  return left;
}

ExprPtr ExpressionParser::parse_not() {
  if (!is_word("not")) return parse_compare();
  const Level level(*this);
  next();
  return unary("not", parse_not());
}

ExprPtr ExpressionParser::parse_compare() {
  auto expr = make(ExprKind::kCompare);
  expr->parts.push_back(parse_sum());
  while (true) {
    static constexpr std::string_view kOps[] = {"==", "!=", "<", "<=", ">", ">="};
    if (std::ranges::any_of(kOps, [&](std::string_view op) { return is_operator(op); })) {
      expr->ops.push_back(next().text);
    } else if (skip_word("in")) {
      expr->ops.emplace_back("in");
    } else if (is_word("not") && look().kind == TokenKind::kName && look().text == "in") {
      next();
      next();
      expr->ops.emplace_back("not in");
    } else {
      break;
    }
    expr->parts.push_back(parse_sum());
  }
  if (expr->ops.empty()) return std::move(expr->parts[0]);
  return finish(std::move(expr));
}

ExprPtr ExpressionParser::parse_sum() {
  ExprPtr left = parse_concat();
  while (is_operator("+") || is_operator("-")) {
    std::string op = next().text;
    left = binary(ExprKind::kBinary, std::move(op), std::move(left), parse_concat());
  }
  return left;
}

ExprPtr ExpressionParser::parse_concat() {
  ExprPtr first = parse_product();
  if (!is_operator("~")) return first;
  auto expr = make(ExprKind::kConcat);
  expr->parts.push_back(std::move(first));
  while (skip_operator("~")) expr->parts.push_back(parse_product());
  return finish(std::move(expr));
}

ExprPtr ExpressionParser::parse_product() {
  ExprPtr left = parse_power();
  while (is_operator("*") || is_operator("/") || is_operator("//") || is_operator("%")) {
    std::string op = next().text;
    left = binary(ExprKind::kBinary, std::move(op), std::move(left), parse_power());
  }
  return left;
}

ExprPtr ExpressionParser::parse_power() {
  ExprPtr left = parse_unary();
  while (skip_operator("**")) {
    left = binary(ExprKind::kBinary, "**", std::move(left), parse_unary());
  }
  return left;
}

ExprPtr ExpressionParser::parse_unary(bool with_filter) {
  ExprPtr value;
  if (is_operator("-") || is_operator("+")) {
    const Level level(*this);
    std::string op = next().text;
    value = unary(std::move(op), parse_unary(false));
  } else {
    value = parse_primary();
  }
  value = parse_postfix(std::move(value));
  return with_filter ? parse_filters_and_tests(std::move(value)) : std::move(value);
}

ExprPtr ExpressionParser::parse_primary() {
  auto expr = make(ExprKind::kConst);
  const Token token = current();
  switch (token.kind) {
    case TokenKind::kName: {
      next();
      const std::string& name = token.text;
      if (name == "true" || name == "True" || name == "false" || name == "False") {
        expr->constant = Value(name == "true" || name == "True");
      } else if (name == "none" || name == "None") {
        expr->constant = Value(None{});
      } else {
        saw_caller_ |= name == "caller";
        saw_varargs_ |= name == "varargs";
        saw_kwargs_ |= name == "kwargs";
        expr->kind = ExprKind::kName;
        expr->name = name;
      }
      return expr;
    }
    case TokenKind::kString: {
      std::string text;
      while (current().kind == TokenKind::kString) text += next().text;
      expr->constant = text_value(std::move(text));
      return expr;
    }
    case TokenKind::kInteger:
    case TokenKind::kFloat:
      expr->constant = number_of(token);
      next();
      return expr;
    case TokenKind::kOperator:
      if (token.text == "(") {
        next();
        ExprPtr value = parse_tuple(true, true);
        expect_operator(")");
        return value;
      }
      if (token.text == "[") return parse_list();
      if (token.text == "{") return parse_dict();
      break;
    case TokenKind::kData:
    case TokenKind::kBlockBegin:
    case TokenKind::kBlockEnd:
    case TokenKind::kVariableBegin:
    case TokenKind::kVariableEnd:
    case TokenKind::kEnd:
      break;
  }
  error("expected a value");
}

Value ExpressionParser::number_of(const Token& token) const {
  std::string_view digits = token.text;
  if (token.kind == TokenKind::kFloat) return Value(std::strtod(token.text.c_str(), nullptr));
  int base = 10;
  if (digits.size() > 2 && digits[0] == '0') {
    const char letter = static_cast<char>(digits[1] | 0x20);
    base = letter == 'x' ? 16 : letter == 'o' ? 8 : letter == 'b' ? 2 : 10;
    if (base != 10) digits.remove_prefix(2);
  }
  int64_t number = 0;
  const auto result = std::from_chars(digits.data(), digits.data() + digits.size(), number, base);
  if (result.ec != std::errc()) error("a number beyond 64 bits");
  return Value(number);
}

bool ExpressionParser::at_tuple_end() const {
  return current().kind == TokenKind::kVariableEnd || current().kind == TokenKind::kBlockEnd ||
         is_operator(")");
}

ExprPtr ExpressionParser::parse_tuple(bool with_condition, bool in_brackets) {
  auto expr = make(ExprKind::kTuple);
  bool is_tuple = false;
  while (true) {
    if (!expr->parts.empty()) expect_operator(",");
    if (at_tuple_end()) break;
    expr->parts.push_back(parse_expression(with_condition));
    if (!is_operator(",")) break;
    is_tuple = true;
  }
  if (!is_tuple && !expr->parts.empty()) return std::move(expr->parts[0]);
  if (!is_tuple && !in_brackets) error("expected an expression");
  return finish(std::move(expr));
}

ExprPtr ExpressionParser::parse_list() {
  auto expr = make(ExprKind::kList);
  expect_operator("[");
  while (!is_operator("]")) {
    if (!expr->parts.empty()) expect_operator(",");
    if (is_operator("]")) break;
    expr->parts.push_back(parse_expression());
  }
  next();
  return finish(std::move(expr));
}

ExprPtr ExpressionParser::parse_dict() {
  auto expr = make(ExprKind::kDict);
  expect_operator("{");
  while (!is_operator("}")) {
    if (!expr->parts.empty()) expect_operator(",");
    if (is_operator("}")) break;
    expr->parts.push_back(parse_expression());
    expect_operator(":");
    expr->parts.push_back(parse_expression());
  }
  next();
  return finish(std::move(expr));
}

ExprPtr ExpressionParser::parse_postfix(ExprPtr value) {
  while (true) {
    if (is_operator(".")) {
      value = parse_dot(std::move(value));
    } else if (is_operator("[")) {
      value = parse_subscript(std::move(value));
    } else if (is_operator("(")) {
      value = parse_call(std::move(value));
    } else {
      return value;
    }
  }
}

ExprPtr ExpressionParser::parse_filters_and_tests(ExprPtr value) {
  while (true) {
    if (is_operator("|")) {
      value = parse_filters(std::move(value));
    } else if (is_word("is")) {
      value = parse_test(std::move(value));
    } else if (is_operator("(")) {
      value = parse_call(std::move(value));
    } else {
      return value;
    }
  }
}

ExprPtr ExpressionParser::parse_dot(ExprPtr value) {
  next();
  const Token token = next();
  if (token.kind == TokenKind::kName) {
    auto expr = make(ExprKind::kAttribute, token.text);
    expr->parts.push_back(std::move(value));
    return finish(std::move(expr));
  }
  if (token.kind != TokenKind::kInteger) error("expected a name or a number after a dot");
  auto index = make(ExprKind::kConst);
  index->constant = number_of(token);
  return binary(ExprKind::kItem, "", std::move(value), std::move(index));
}

ExprPtr ExpressionParser::parse_subscript(ExprPtr value) {
  auto expr = make(ExprKind::kItem);
  expr->parts.push_back(std::move(value));
  expect_operator("[");
  const auto at_end = [&] { return is_operator(":") || is_operator("]") || is_operator(","); };
  ExprPtr first = at_end() ? nullptr : parse_expression();
  if (is_operator(":")) {
    expr->kind = ExprKind::kSlice;
    expr->parts.push_back(std::move(first));
    for (int i = 0; i < 2; ++i) {
      ExprPtr bound;
      if (skip_operator(":") && !at_end()) bound = parse_expression();
      expr->parts.push_back(std::move(bound));
    }
  } else if (!first) {
    expr->parts.push_back(finish(make(ExprKind::kTuple)));  // x[] asks for the item ()
  } else if (is_operator(",")) {
    auto tuple = make(ExprKind::kTuple);
    tuple->parts.push_back(std::move(first));
    while (skip_operator(",")) {
      if (!is_operator("]")) tuple->parts.push_back(parse_expression());
    }
    expr->parts.push_back(finish(std::move(tuple)));
  } else {
    expr->parts.push_back(std::move(first));
  }
  expect_operator("]");
  return finish(std::move(expr));
}

ExprPtr ExpressionParser::parse_call(ExprPtr value) {
  auto expr = make(ExprKind::kCall);
  expr->parts.push_back(std::move(value));
  expr->args = parse_arguments();
  return finish(std::move(expr));
}

Arguments ExpressionParser::parse_arguments() {
  const Level level(*this);
  Arguments args;
  expect_operator("(");
  bool needs_comma = false;
  while (!is_operator(")")) {
    if (needs_comma) {
      expect_operator(",");
      if (is_operator(")")) break;
    }
    needs_comma = true;
    if (args.double_star) error("nothing may stand after **");
    if (skip_operator("*")) {
      if (args.star) error("a second *");
      args.star = parse_expression();
    } else if (skip_operator("**")) {
      args.double_star = parse_expression();
    } else if (current().kind == TokenKind::kName && look().kind == TokenKind::kOperator &&
               look().text == "=") {
      std::string name = next().text;
      next();
      args.named.emplace_back(std::move(name), parse_expression());
    } else {
      if (args.star || !args.named.empty()) error("a value without a name after one with a name");
      args.positional.push_back(parse_expression());
    }
  }
  next();
  return args;
}

std::string ExpressionParser::dotted_name() {
  std::string name = expect_name();
  while (skip_operator(".")) name += "." + expect_name();
  return name;
}

ExprPtr ExpressionParser::parse_filters(ExprPtr value) {
  while (skip_operator("|")) value = parse_one_filter(std::move(value));
  return value;
}

ExprPtr ExpressionParser::parse_one_filter(ExprPtr value) {
  auto expr = make(ExprKind::kFilter, dotted_name());
  if (!is_soft_ && find_filter(expr->name) == nullptr) {
    unknown_.push_back(fmt::format("line {}: there is no filter {}", expr->line, expr->name));
  }
  expr->parts.push_back(std::move(value));
  if (is_operator("(")) expr->args = parse_arguments();
  return finish(std::move(expr));
}

ExprPtr ExpressionParser::parse_test(ExprPtr value) {
  next();
  const bool is_negated = skip_word("not");
  auto expr = make(ExprKind::kTest, dotted_name());
  if (!is_soft_ && find_test(expr->name) == nullptr) {
    unknown_.push_back(fmt::format("line {}: there is no test {}", expr->line, expr->name));
  }
  expr->parts.push_back(std::move(value));
  const TokenKind kind = current().kind;
  const bool has_value = kind == TokenKind::kName || kind == TokenKind::kString ||
                         kind == TokenKind::kInteger || kind == TokenKind::kFloat ||
                         is_operator("[") || is_operator("{");
  if (is_operator("(")) {
    expr->args = parse_arguments();
  } else if (has_value && !is_any_word({"else", "or", "and"})) {
    if (is_word("is")) error("tests cannot follow one another with is");
    expr->args.positional.push_back(parse_postfix(parse_primary()));
  }
  ExprPtr test = finish(std::move(expr));
  return is_negated ? unary("not", std::move(test)) : std::move(test);
}

}  // namespace chunkllm::jinja

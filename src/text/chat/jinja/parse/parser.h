// Recursive descent over a template's tokens, with the grammar and the order of Jinja's parser.
#pragma once

#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/chat/jinja/parse/ast.h"
#include "text/chat/jinja/parse/lexer.h"

namespace chunkllm::jinja {

using Words = std::initializer_list<std::string_view>;

// Expressions; knows nothing of statements.
class ExpressionParser {
 public:
  explicit ExpressionParser(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

 protected:
  [[noreturn]] void error(const std::string& what) const;

  const Token& current() const { return tokens_[at_]; }
  const Token& look() const { return tokens_[std::min(at_ + 1, tokens_.size() - 1)]; }
  Token next();
  bool is_operator(std::string_view text) const;
  bool is_word(std::string_view text) const;
  bool is_any_word(Words words) const;
  bool skip_operator(std::string_view text);
  bool skip_word(std::string_view text);
  void expect_operator(std::string_view text);
  std::string expect_name();

  ExprPtr parse_expression(bool with_condition = true);
  // An expression, or several between commas as a tuple.
  ExprPtr parse_tuple(bool with_condition = true, bool in_brackets = false);
  ExprPtr parse_filters(ExprPtr value);
  ExprPtr parse_one_filter(ExprPtr value);
  ExprPtr parse_unary(bool with_filter = true);
  // The end of a list of targets or values: a closing tag or bracket.
  bool at_tuple_end() const;

  // A level of nesting, refused where there are too many.
  class Level {
   public:
    explicit Level(ExpressionParser& parser);
    ~Level() { --parser_.level_; }
    Level(const Level&) = delete;
    Level& operator=(const Level&) = delete;

   private:
    ExpressionParser& parser_;
  };

  // Filters and tests that nobody knows. They are an error at once, but inside {% if %} (while
  // `is_soft_`) and "x if y" only when they are met.
  std::vector<std::string> unknown_;
  bool is_soft_ = false;
  // Names that the expressions since somebody looked have mentioned.
  bool saw_caller_ = false;
  bool saw_varargs_ = false;
  bool saw_kwargs_ = false;

 private:
  std::unique_ptr<Expr> make(ExprKind kind, std::string name = {}) const;
  ExprPtr finish(std::unique_ptr<Expr> expr) const;
  ExprPtr unary(std::string name, ExprPtr operand);
  ExprPtr binary(ExprKind kind, std::string name, ExprPtr left, ExprPtr right);
  ExprPtr parse_condition();
  ExprPtr parse_or();
  ExprPtr parse_and();
  ExprPtr parse_not();
  ExprPtr parse_compare();
  ExprPtr parse_sum();
  ExprPtr parse_concat();
  ExprPtr parse_product();
  ExprPtr parse_power();
  ExprPtr parse_primary();
  ExprPtr parse_list();
  ExprPtr parse_dict();
  ExprPtr parse_postfix(ExprPtr value);
  ExprPtr parse_filters_and_tests(ExprPtr value);
  ExprPtr parse_test(ExprPtr value);
  ExprPtr parse_dot(ExprPtr value);
  ExprPtr parse_subscript(ExprPtr value);
  ExprPtr parse_call(ExprPtr value);
  Arguments parse_arguments();
  std::string dotted_name();
  Value number_of(const Token& token) const;

  std::vector<Token> tokens_;
  size_t at_ = 0;
  int level_ = 0;
};

}  // namespace chunkllm::jinja

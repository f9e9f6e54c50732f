#include <algorithm>
#include <functional>
#include <set>

#include "base/error.h"
#include "base/json.h"
#include "text/chat/jinja/parse/parser.h"

namespace chunkllm::jinja {
namespace {

// Sets a flag for as long as it lives.
class FlagScope {
 public:
  FlagScope(bool& flag, bool value) : flag_(flag), old_(flag) { flag_ = value; }
  ~FlagScope() { flag_ = old_; }
  FlagScope(const FlagScope&) = delete;
  FlagScope& operator=(const FlagScope&) = delete;

 private:
  bool& flag_;
  bool old_;
};

class TemplateParser : public ExpressionParser {
 public:
  using ExpressionParser::ExpressionParser;

  Stmts run() {
    Stmts body = parse_body({});
    if (!unknown_.empty()) fail(ErrorCode::kData, "{}", unknown_.front());
    return body;
  }

 private:
  static std::unique_ptr<Stmt> make(StmtKind kind, int line) {
    auto stmt = std::make_unique<Stmt>();
    stmt->kind = kind;
    stmt->line = line;
    return stmt;
  }

  void expect_block_end() {
    if (current().kind != TokenKind::kBlockEnd) error("expected %}");
    next();
  }

  // Statements up to a tag that begins with one of the words, of which "{%" is eaten.
  Stmts parse_body(Words end_words) {
    Stmts body;
    while (true) {
      const Token token = current();
      switch (token.kind) {
        case TokenKind::kData:
          next();
          add_output(body, data(token));
          break;
        case TokenKind::kVariableBegin:
          next();
          add_output(body, parse_tuple());
          if (current().kind != TokenKind::kVariableEnd) error("expected }}");
          next();
          break;
        case TokenKind::kBlockBegin:
          next();
          if (end_words.size() > 0 && is_any_word(end_words)) return body;
          if (auto stmt = parse_statement(body)) body.push_back(std::move(stmt));
          expect_block_end();
          break;
        case TokenKind::kEnd:
          if (end_words.size() == 0) return body;
          error(fmt::format("expected a tag {{% {} %}}", *(end_words.end() - 1)));
        case TokenKind::kBlockEnd:
        case TokenKind::kVariableEnd:
        case TokenKind::kName:
        case TokenKind::kString:
        case TokenKind::kInteger:
        case TokenKind::kFloat:
        case TokenKind::kOperator:
          error("expected text or a tag");
      }
    }
  }

  // The body of a tag and the "{%" after it, up to and with `end_word` if it is the last of them.
  Stmts parse_block(Words end_words) {
    skip_operator(":");
    expect_block_end();
    return parse_body(end_words);
  }
  Stmts parse_block_to(std::string_view end_word) {
    Stmts body = parse_block({end_word});
    next();
    return body;
  }

  static ExprPtr data(const Token& token) {
    auto expr = std::make_unique<Expr>();
    expr->line = token.line;
    expr->constant = Value(std::make_shared<const Text>(MarkedText{token.text, {}}));
    return expr;
  }

  // Neighbours share a statement.
  static void add_output(Stmts& body, ExprPtr expr) {
    if (body.empty() || body.back()->kind != StmtKind::kOutput) {
      body.push_back(make(StmtKind::kOutput, expr->line));
    }
    body.back()->exprs.push_back(std::move(expr));
  }

  // The statement whose tag's name is next; null if it went into `body`.
  std::unique_ptr<Stmt> parse_statement(Stmts& body) {
    const Level level(*this);
    const int line = current().line;
    if (current().kind != TokenKind::kName) error("expected the name of a tag");
    const std::string tag = next().text;
    if (tag == "if") return parse_if(line);
    if (tag == "for") return parse_for(line);
    if (tag == "set") return parse_set(line);
    if (tag == "macro") return parse_macro(line);
    if (tag == "call") return parse_call_block(line);
    if (tag == "filter") return parse_filter_block(line);
    if (tag == "with") return parse_with(line);
    if (tag == "generation" || tag == "block") return parse_scope(line, tag == "block");
    if (tag == "print") {
      do {
        add_output(body, parse_expression());
      } while (skip_operator(","));
      return nullptr;
    }
    if (tag == "break" || tag == "continue") {
      if (!in_loop_) fail(ErrorCode::kData, "line {}: {} outside of a loop", line, tag);
      return make(tag == "break" ? StmtKind::kBreak : StmtKind::kContinue, line);
    }
    fail(ErrorCode::kData, "line {}: a tag {} has no place here", line, show_text(tag));
  }

  // {% generation %}, and {% block NAME %}, which nothing can replace here.
  std::unique_ptr<Stmt> parse_scope(int line, bool is_block) {
    const FlagScope hard(is_soft_, false);
    auto stmt = make(StmtKind::kScope, line);
    if (!is_block) {
      stmt->bodies.push_back(parse_block_to("endgeneration"));
      return stmt;
    }
    const FlagScope no_loop(in_loop_, false);  // a break would have to leave the block
    const std::string name = expect_name();
    if (!blocks_.insert(name).second) error(fmt::format("there are two blocks {}", name));
    stmt->is_apart = !skip_word("scoped");
    stmt->bodies.push_back(parse_block_to("endblock"));
    skip_word(name);
    return stmt;
  }

  std::unique_ptr<Stmt> parse_if(int line) {
    const FlagScope soft(is_soft_, true);
    auto stmt = make(StmtKind::kIf, line);
    while (true) {
      stmt->exprs.push_back(parse_tuple(false));
      stmt->bodies.push_back(parse_block({"elif", "else", "endif"}));
      if (skip_word("elif")) continue;
      const bool has_else = is_word("else");
      next();
      if (has_else) stmt->bodies.push_back(parse_block_to("endif"));
      return stmt;
    }
  }

  std::unique_ptr<Stmt> parse_for(int line) {
    auto stmt = make(StmtKind::kFor, line);
    stmt->targets.push_back(parse_target());
    if (!skip_word("in")) error("expected in");
    stmt->exprs.push_back(parse_tuple(false));
    const FlagScope hard(is_soft_, false);
    stmt->exprs.push_back(skip_word("if") ? parse_expression() : nullptr);
    stmt->is_recursive = skip_word("recursive");
    {
      const FlagScope loop(in_loop_, true);
      stmt->bodies.push_back(parse_block({"else", "endfor"}));
    }
    const bool has_else = is_word("else");
    next();
    stmt->bodies.push_back(has_else ? parse_block_to("endfor") : Stmts());
    return stmt;
  }

  // One name, name.attribute, or several in a row.
  Target parse_target(bool with_namespace = false) {
    Target row;
    bool is_row = false;
    while (true) {
      if (!row.parts.empty()) {
        expect_operator(",");
        is_row = true;
      }
      if (at_tuple_end() || is_operator("=")) break;
      row.parts.push_back(parse_one_target(with_namespace));
      if (!is_operator(",")) break;
    }
    if (row.parts.empty()) error("expected a name");
    return is_row ? std::move(row) : Target(std::move(row.parts[0]));
  }

  Target parse_one_target(bool with_namespace) {
    const Level level(*this);
    if (skip_operator("(")) {
      Target inner = parse_target();
      expect_operator(")");
      return inner;
    }
    Target target;
    target.name = target_name();
    if (with_namespace && skip_operator(".")) target.attribute = expect_name();
    return target;
  }

  std::string target_name() {
    static constexpr std::string_view kConstants[] = {"true",  "True", "false",
                                                      "False", "none", "None"};
    if (std::ranges::any_of(kConstants, [&](auto word) { return is_word(word); })) {
      error("nothing can be stored in a constant");
    }
    if (in_loop_ && is_word("loop")) error("loop cannot be set inside of a loop");
    return expect_name();
  }

  std::unique_ptr<Stmt> parse_set(int line) {
    auto stmt = make(StmtKind::kSet, line);
    stmt->targets.push_back(parse_target(true));
    if (skip_operator("=")) {
      stmt->exprs.push_back(parse_tuple());
      return stmt;
    }
    const FlagScope hard(is_soft_, false);
    stmt->kind = StmtKind::kSetBlock;
    stmt->exprs.push_back(parse_filters(nullptr));
    stmt->bodies.push_back(parse_block_to("endset"));
    return stmt;
  }

  Signature parse_signature() {
    Signature signature;
    expect_operator("(");
    while (!is_operator(")")) {
      if (!signature.names.empty()) expect_operator(",");
      signature.names.push_back(target_name());
      if (skip_operator("=")) {
        signature.defaults.push_back(parse_expression());
      } else if (!signature.defaults.empty()) {
        error("a parameter without a default after one with a default");
      }
    }
    next();
    return signature;
  }

  // A macro's parameters and body; finds out what else it speaks of.
  void parse_callable(Stmt& stmt, std::string_view end_word) {
    const FlagScope hard(is_soft_, false);
    const FlagScope no_loop(in_loop_, false);
    const FlagScope caller(saw_caller_, false);
    const FlagScope varargs(saw_varargs_, false);
    const FlagScope kwargs(saw_kwargs_, false);
    stmt.bodies.push_back(parse_block_to(end_word));
    stmt.uses_caller = saw_caller_;
    stmt.uses_varargs = saw_varargs_;
    stmt.uses_kwargs = saw_kwargs_;
  }

  std::unique_ptr<Stmt> parse_macro(int line) {
    auto stmt = make(StmtKind::kMacro, line);
    stmt->name = target_name();
    stmt->signature = parse_signature();
    parse_callable(*stmt, "endmacro");
    return stmt;
  }

  std::unique_ptr<Stmt> parse_call_block(int line) {
    auto stmt = make(StmtKind::kCallBlock, line);
    if (is_operator("(")) stmt->signature = parse_signature();
    stmt->exprs.push_back(parse_expression());
    if (stmt->exprs[0]->kind != ExprKind::kCall) error("{% call %} needs a call");
    parse_callable(*stmt, "endcall");
    return stmt;
  }

  std::unique_ptr<Stmt> parse_filter_block(int line) {
    const FlagScope hard(is_soft_, false);
    auto stmt = make(StmtKind::kFilterBlock, line);
    stmt->exprs.push_back(parse_filters(parse_one_filter(nullptr)));
    stmt->bodies.push_back(parse_block_to("endfilter"));
    return stmt;
  }

  std::unique_ptr<Stmt> parse_with(int line) {
    const FlagScope hard(is_soft_, false);
    auto stmt = make(StmtKind::kWith, line);
    while (current().kind != TokenKind::kBlockEnd) {
      if (!stmt->targets.empty()) expect_operator(",");
      stmt->targets.push_back(parse_one_target(false));
      expect_operator("=");
      stmt->exprs.push_back(parse_expression());
    }
    stmt->bodies.push_back(parse_block_to("endwith"));
    return stmt;
  }

  bool in_loop_ = false;
  std::set<std::string, std::less<>> blocks_;
};

}  // namespace

Stmts parse_template(std::string_view source) { return TemplateParser(tokenize(source)).run(); }

}  // namespace chunkllm::jinja

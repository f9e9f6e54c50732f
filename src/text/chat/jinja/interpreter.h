// Runs a parsed template.
#pragma once

#include <ctime>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "text/chat/jinja/budget.h"
#include "text/chat/jinja/parse/ast.h"
#include "text/chat/jinja/value.h"

namespace chunkllm::jinja {

// Names of one block: a loop's round, a macro's call. Names refer to the parsed template.
class Scope {
 public:
  explicit Scope(Scope* parent) : parent_(parent) {}
  // Null if neither this scope nor one around it has the name.
  const Value* find(std::string_view name) const;
  void set(std::string_view name, Value value) { values_[name] = std::move(value); }
  Scope* parent() const { return parent_; }
  // A macro lives on that looks names up here.
  bool is_kept() const { return is_kept_; }
  void keep() { is_kept_ = true; }

 private:
  Scope* parent_;
  std::unordered_map<std::string_view, Value> values_;
  bool is_kept_ = false;
};

// One rendering. Every function throws Error for what Python would throw, and beyond the budget.
class Interpreter {
 public:
  // `budget` must outlive it.
  Interpreter(Budget& budget, const std::tm& now);
  ~Interpreter();
  Interpreter(const Interpreter&) = delete;
  Interpreter& operator=(const Interpreter&) = delete;

  // The text that the template writes, given these variables. To be called once.
  MarkedText run(const Stmts& body, const Dict& variables);
  // The line of the template that was last looked at.
  int line() const { return line_; }

  Budget& budget() { return budget_; }
  const std::tm& now() const { return now_; }

  Value text(std::string_view bytes);
  Value list(std::vector<Value> items, ListKind kind = ListKind::kList);
  // `bytes` `n` times.
  TextPtr repeated(std::string_view bytes, int64_t n);
  // Python's str().
  TextPtr text_of(const Value& value);
  // What a loop over the value gives; a generator is used up.
  std::vector<Value> items_of(const Value& value);
  // How many of them there are, where that is known: len().
  size_t length_of(const Value& value);

  // value.name, and value[key].
  Value attribute_of(const Value& value, std::string_view name);
  Value item_of(const Value& value, const Value& key);
  Value slice_of(const Value& value, const Value& begin, const Value& end, const Value& step);
  Value call(const Value& function, const CallArgs& args);
  Value filter(std::string_view name, const Value& value, const CallArgs& args);
  bool test(std::string_view name, const Value& value, const CallArgs& args);
  bool contains(const Value& container, const Value& value);
  Value binary(std::string_view op, const Value& left, const Value& right);

  Value make_namespace();

 private:
  friend class Macro;
  friend class Loop;
  class ScopeFrame;
  class OutputFrame;
  enum class Flow { kNext, kBreak, kContinue };

  Flow run_all(const Stmts& body);
  Flow run_one(const Stmt& stmt);
  Flow run_if(const Stmt& stmt);
  void run_for(const Stmt& stmt, const Value& iterable, int depth);
  Flow run_round(const Stmt& stmt, const Value& item, const Value& loop);
  void run_set_block(const Stmt& stmt);
  void run_call_block(const Stmt& stmt);
  void run_with(const Stmt& stmt);
  Value run_text(const Stmts& body);
  void output(const Value& value);
  void assign(const Target& target, Value value);
  // Lets the scopes at hand live as long as the interpreter.
  void keep_scopes();
  Value make_macro(const Stmt& stmt);
  Value call_macro(const Stmt& stmt, Scope& scope, const CallArgs& args);
  Value call_loop(const Stmt& stmt, Scope& scope, const CallArgs& args, int depth);

  Value eval(const Expr& expr);
  Value eval_name(const std::string& name);
  Value eval_list(const Expr& expr);
  Value eval_dict(const Expr& expr);
  Value eval_slice(const Expr& expr);
  Value eval_filter(const Expr& expr);
  Value eval_unary(const Expr& expr);
  Value eval_concat(const Expr& expr);
  bool eval_compare(const Expr& expr);
  bool compare(std::string_view op, const Value& left, const Value& right);
  CallArgs eval_arguments(const Arguments& arguments);
  Value add(const Value& left, const Value& right);
  Value repeat(const Value& value, int64_t n);

  Budget& budget_;
  std::tm now_;
  std::deque<NamespaceState> namespaces_;
  std::vector<std::unique_ptr<Scope>> kept_scopes_;
  const Dict* variables_ = nullptr;
  Scope* scope_ = nullptr;
  Scope* own_names_ = nullptr;  // set by the template outside of everything
  TextBuilder* output_ = nullptr;
  const Value* block_text_ = nullptr;  // what a filter without a value before it gets
  int line_ = 1;
};

}  // namespace chunkllm::jinja

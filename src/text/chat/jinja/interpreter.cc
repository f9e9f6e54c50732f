#include "text/chat/jinja/interpreter.h"

#include <algorithm>

#include "base/error.h"
#include "text/chat/jinja/builtins/filters.h"
#include "text/chat/jinja/loop.h"
#include "text/chat/jinja/print.h"

namespace chunkllm::jinja {

const Value* Scope::find(std::string_view name) const {
  for (const Scope* scope = this; scope != nullptr; scope = scope->parent_) {
    const auto it = scope->values_.find(name);
    if (it != scope->values_.end()) return &it->second;
  }
  return nullptr;
}

// A new scope inside `parent` for as long as it lives, and longer if a macro needs it.
class Interpreter::ScopeFrame {
 public:
  ScopeFrame(Interpreter& interpreter, Scope* parent)
      : interpreter_(interpreter), old_(interpreter.scope_), scope_(new Scope(parent)) {
    interpreter_.scope_ = scope_.get();
  }
  ~ScopeFrame() {
    interpreter_.scope_ = old_;
    if (scope_->is_kept()) interpreter_.kept_scopes_.push_back(std::move(scope_));
  }
  ScopeFrame(const ScopeFrame&) = delete;
  ScopeFrame& operator=(const ScopeFrame&) = delete;

 private:
  Interpreter& interpreter_;
  Scope* old_;
  std::unique_ptr<Scope> scope_;
};

// Collects what is written while it lives.
class Interpreter::OutputFrame {
 public:
  explicit OutputFrame(Interpreter& interpreter)
      : interpreter_(interpreter), old_(interpreter.output_), builder_(interpreter.budget_) {
    interpreter_.output_ = &builder_;
  }
  ~OutputFrame() { interpreter_.output_ = old_; }
  OutputFrame(const OutputFrame&) = delete;
  OutputFrame& operator=(const OutputFrame&) = delete;

  TextBuilder& builder() { return builder_; }

 private:
  Interpreter& interpreter_;
  TextBuilder* old_;
  TextBuilder builder_;
};

// A macro, or what stands in a call block. The interpreter keeps its scope.
class Macro : public Object {
 public:
  Macro(const Stmt& stmt, Scope& scope) : stmt_(stmt), scope_(scope) {}
  std::string_view type_name() const override { return "Macro"; }
  bool is_callable() const override { return true; }
  Value call(Interpreter& interpreter, const CallArgs& args) override {
    return interpreter.call_macro(stmt_, scope_, args);
  }

 private:
  const Stmt& stmt_;
  Scope& scope_;
};

Interpreter::Interpreter(Budget& budget, const std::tm& now) : budget_(budget), now_(now) {}

Interpreter::~Interpreter() = default;

MarkedText Interpreter::run(const Stmts& body, const Dict& variables) {
  variables_ = &variables;
  const ScopeFrame scope(*this, nullptr);
  own_names_ = scope_;
  OutputFrame output(*this);
  run_all(body);
  return output.builder().finish_marked();
}

Interpreter::Flow Interpreter::run_all(const Stmts& body) {
  for (const auto& stmt : body) {
    const Flow flow = run_one(*stmt);
    if (flow != Flow::kNext) return flow;
  }
  return Flow::kNext;
}

Interpreter::Flow Interpreter::run_one(const Stmt& stmt) {
  const DepthGuard depth(budget_);
  budget_.step();
  line_ = stmt.line;
  switch (stmt.kind) {
    case StmtKind::kOutput:
      for (const ExprPtr& expr : stmt.exprs) output(eval(*expr));
      return Flow::kNext;
    case StmtKind::kIf:
      return run_if(stmt);
    case StmtKind::kFor:
      run_for(stmt, eval(*stmt.exprs[0]), 1);
      return Flow::kNext;
    case StmtKind::kSet:
      assign(stmt.targets[0], eval(*stmt.exprs[0]));
      return Flow::kNext;
    case StmtKind::kSetBlock:
      run_set_block(stmt);
      return Flow::kNext;
    case StmtKind::kMacro:
      scope_->set(stmt.name, make_macro(stmt));
      return Flow::kNext;
    case StmtKind::kCallBlock:
      run_call_block(stmt);
      return Flow::kNext;
    case StmtKind::kFilterBlock: {
      const Value text = run_text(stmt.bodies[0]);
      block_text_ = &text;
      output(eval(*stmt.exprs[0]));
      return Flow::kNext;
    }
    case StmtKind::kWith:
      run_with(stmt);
      return Flow::kNext;
    case StmtKind::kScope: {
      const ScopeFrame scope(*this, stmt.is_apart ? own_names_ : scope_);
      return run_all(stmt.bodies[0]);
    }
    case StmtKind::kBreak:
      return Flow::kBreak;
    case StmtKind::kContinue:
      return Flow::kContinue;
  }
  return Flow::kNext;
}

Interpreter::Flow Interpreter::run_if(const Stmt& stmt) {
  for (size_t i = 0; i < stmt.exprs.size(); ++i) {
    if (eval(*stmt.exprs[i]).is_true()) return run_all(stmt.bodies[i]);
  }
  return stmt.bodies.size() > stmt.exprs.size() ? run_all(stmt.bodies.back()) : Flow::kNext;
}

void Interpreter::run_for(const Stmt& stmt, const Value& iterable, int depth) {
  std::vector<Value> items = items_of(iterable);
  if (stmt.exprs[1]) {
    std::erase_if(items, [&](const Value& item) {
      const ScopeFrame scope(*this, scope_);
      assign(stmt.targets[0], item);
      return !eval(*stmt.exprs[1]).is_true();
    });
  }
  if (items.empty()) {
    const ScopeFrame scope(*this, scope_);
    run_all(stmt.bodies[1]);
    return;
  }
  if (stmt.is_recursive) keep_scopes();
  const auto loop = std::make_shared<Loop>(stmt, *scope_, items, depth);
  const LoopEnd end(*loop);
  const Value loop_value{std::shared_ptr<Object>(loop)};
  for (; loop->index() < items.size(); loop->advance()) {
    if (run_round(stmt, items[loop->index()], loop_value) == Flow::kBreak) break;
  }
}

Interpreter::Flow Interpreter::run_round(const Stmt& stmt, const Value& item, const Value& loop) {
  const ScopeFrame scope(*this, scope_);
  budget_.step();
  scope_->set("loop", loop);
  assign(stmt.targets[0], item);
  return run_all(stmt.bodies[0]);
}

void Interpreter::run_set_block(const Stmt& stmt) {
  Value text = run_text(stmt.bodies[0]);
  if (stmt.exprs[0]) {
    block_text_ = &text;
    text = eval(*stmt.exprs[0]);
  }
  assign(stmt.targets[0], std::move(text));
}

void Interpreter::run_call_block(const Stmt& stmt) {
  const Expr& call_expr = *stmt.exprs[0];
  const Value function = eval(*call_expr.parts[0]);
  CallArgs args = eval_arguments(call_expr.args);
  args.named.emplace_back("caller", make_macro(stmt));
  output(call(function, args));
}

void Interpreter::run_with(const Stmt& stmt) {
  std::vector<Value> values;
  for (const ExprPtr& expr : stmt.exprs) values.push_back(eval(*expr));
  const ScopeFrame scope(*this, scope_);
  for (size_t i = 0; i < values.size(); ++i) assign(stmt.targets[i], std::move(values[i]));
  run_all(stmt.bodies[0]);
}

Value Interpreter::run_text(const Stmts& body) {
  const ScopeFrame scope(*this, scope_);
  OutputFrame output(*this);
  run_all(body);
  return output.builder().finish();
}

void Interpreter::output(const Value& value) {
  print(value, *output_);
  budget_.check_output(output_->size());
}

void Interpreter::assign(const Target& target, Value value) {
  if (!target.parts.empty()) {
    const std::vector<Value> items = items_of(value);
    if (items.size() != target.parts.size()) {
      fail(ErrorCode::kData, "{} values cannot be stored in {} names", items.size(),
           target.parts.size());
    }
    for (size_t i = 0; i < items.size(); ++i) assign(target.parts[i], items[i]);
    return;
  }
  if (target.attribute.empty()) {
    scope_->set(target.name, std::move(value));
    return;
  }
  const Value owner = eval_name(target.name);
  auto* space = owner.is_object() ? dynamic_cast<Namespace*>(&owner.object()) : nullptr;
  if (space == nullptr) {
    fail(ErrorCode::kData, "an attribute can be set of a namespace only, and {} is none",
         target.name);
  }
  space->set(target.attribute, std::move(value));
}

Value Interpreter::make_namespace() {
  budget_.take(sizeof(NamespaceState) + sizeof(Namespace));
  return std::shared_ptr<Object>(std::make_shared<Namespace>(namespaces_.emplace_back()));
}

void Interpreter::keep_scopes() {
  for (Scope* scope = scope_; scope != nullptr && !scope->is_kept(); scope = scope->parent()) {
    budget_.take(sizeof(Scope));  // never given back
    scope->keep();
  }
}

Value Interpreter::make_macro(const Stmt& stmt) {
  keep_scopes();
  return std::shared_ptr<Object>(std::make_shared<Macro>(stmt, *scope_));
}

Value Interpreter::call_macro(const Stmt& stmt, Scope& scope, const CallArgs& args) {
  const DepthGuard depth(budget_);
  const ScopeFrame frame(*this, &scope);
  const std::vector<std::string>& names = stmt.signature.names;
  std::vector<bool> is_given(names.size(), false);
  std::vector<Value> rest;
  for (size_t i = 0; i < args.positional.size(); ++i) {
    if (i >= names.size()) {
      rest.push_back(args.positional[i]);
      continue;
    }
    scope_->set(names[i], args.positional[i]);
    is_given[i] = true;
  }
  Value caller = Value::undefined("there is no caller");
  const auto named_rest = std::make_shared<Dict>(budget_);
  for (const auto& [name, value] : args.named) {
    const auto i = static_cast<size_t>(std::ranges::find(names, name) - names.begin());
    if (i < names.size() && !is_given[i]) {
      scope_->set(names[i], value);
      is_given[i] = true;
    } else if (i == names.size() && name == "caller" && stmt.uses_caller) {
      caller = value;
    } else if (i == names.size() && stmt.uses_kwargs) {
      named_rest->set(text(name), value);
    } else {
      fail(ErrorCode::kData, "the macro {} cannot take an argument {}", stmt.name, name);
    }
  }
  if (!rest.empty() && !stmt.uses_varargs) {
    fail(ErrorCode::kData, "the macro {} takes {} arguments, got {}", stmt.name, names.size(),
         args.positional.size());
  }
  if (stmt.uses_caller) scope_->set("caller", caller);
  if (stmt.uses_varargs) scope_->set("varargs", list(std::move(rest), ListKind::kTuple));
  if (stmt.uses_kwargs) scope_->set("kwargs", std::shared_ptr<const Dict>(named_rest));
  const size_t n_without = names.size() - stmt.signature.defaults.size();
  for (size_t i = 0; i < names.size(); ++i) {
    if (is_given[i]) continue;
    scope_->set(names[i], i < n_without ? Value::undefined(fmt::format(
                                              "the parameter {} was not given", names[i]))
                                        : eval(*stmt.signature.defaults[i - n_without]));
  }
  OutputFrame output(*this);
  run_all(stmt.bodies[0]);
  return output.builder().finish();
}

Value Interpreter::call_loop(const Stmt& stmt, Scope& scope, const CallArgs& args, int depth) {
  if (!stmt.is_recursive || args.positional.size() != 1 || !args.named.empty()) {
    fail(ErrorCode::kData, "only a loop that is recursive can be called, with what to go through");
  }
  const DepthGuard guard(budget_);
  const ScopeFrame frame(*this, &scope);
  OutputFrame output(*this);
  run_for(stmt, args.positional[0], depth);
  return output.builder().finish();
}

}  // namespace chunkllm::jinja

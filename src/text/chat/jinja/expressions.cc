#include <algorithm>

#include "base/error.h"
#include "base/json.h"
#include "text/chat/jinja/builtins/filters.h"
#include "text/chat/jinja/interpreter.h"
#include "text/chat/jinja/print.h"

namespace chunkllm::jinja {

Value Interpreter::text(std::string_view bytes) {
  TextBuilder builder(budget_);
  builder.add(bytes);
  return builder.finish();
}

Value Interpreter::list(std::vector<Value> items, ListKind kind) {
  return List::make(std::move(items), budget_, kind);
}

TextPtr Interpreter::repeated(std::string_view bytes, int64_t n) {
  return repeat(text(bytes), n).text();
}

TextPtr Interpreter::text_of(const Value& value) {
  if (value.is_text()) return value.text();
  TextBuilder builder(budget_);
  print(value, builder);
  return builder.finish();
}

Value Interpreter::eval(const Expr& expr) {
  const DepthGuard depth(budget_);
  budget_.step();
  line_ = expr.line;
  switch (expr.kind) {
    case ExprKind::kConst:
      return expr.constant;
    case ExprKind::kName:
      return eval_name(expr.name);
    case ExprKind::kList:
    case ExprKind::kTuple:
      return eval_list(expr);
    case ExprKind::kDict:
      return eval_dict(expr);
    case ExprKind::kAttribute:
      return attribute_of(eval(*expr.parts[0]), expr.name);
    case ExprKind::kItem: {
      const Value value = eval(*expr.parts[0]);
      return item_of(value, eval(*expr.parts[1]));
    }
    case ExprKind::kSlice:
      return eval_slice(expr);
    case ExprKind::kCall: {
      const Value function = eval(*expr.parts[0]);
      return call(function, eval_arguments(expr.args));
    }
    case ExprKind::kFilter:
      return eval_filter(expr);
    case ExprKind::kTest: {
      const Value value = eval(*expr.parts[0]);
      return Value(test(expr.name, value, eval_arguments(expr.args)));
    }
    case ExprKind::kUnary:
      return eval_unary(expr);
    case ExprKind::kBinary: {
      const Value left = eval(*expr.parts[0]);
      return binary(expr.name, left, eval(*expr.parts[1]));
    }
    case ExprKind::kConcat:
      return eval_concat(expr);
    case ExprKind::kCompare:
      return Value(eval_compare(expr));
    case ExprKind::kAnd: {
      Value left = eval(*expr.parts[0]);
      return left.is_true() ? eval(*expr.parts[1]) : std::move(left);
    }
    case ExprKind::kOr: {
      Value left = eval(*expr.parts[0]);
      return left.is_true() ? std::move(left) : eval(*expr.parts[1]);
    }
    case ExprKind::kConditional:
      if (eval(*expr.parts[0]).is_true()) return eval(*expr.parts[1]);
      if (expr.parts[2]) return eval(*expr.parts[2]);
      return Value::undefined("an inline if without else was false");
  }
  return {};
}

Value Interpreter::eval_name(const std::string& name) {
  if (const Value* value = scope_->find(name)) return *value;
  if (const Value* value = variables_->find(name)) return *value;
  if (name == "self")
    fail(ErrorCode::kUnsupported, "self, the template's blocks, is not supported");
  Value global = find_global(name);
  return global.is_undefined() ? Value::undefined(fmt::format("{} is undefined", name)) : global;
}

Value Interpreter::eval_list(const Expr& expr) {
  std::vector<Value> items;
  items.reserve(expr.parts.size());
  for (const ExprPtr& part : expr.parts) items.push_back(eval(*part));
  return list(std::move(items), expr.kind == ExprKind::kList ? ListKind::kList : ListKind::kTuple);
}

Value Interpreter::eval_dict(const Expr& expr) {
  const auto dict = std::make_shared<Dict>(budget_);
  for (size_t i = 0; i + 1 < expr.parts.size(); i += 2) {
    const Value key = eval(*expr.parts[i]);
    dict->set(key, eval(*expr.parts[i + 1]));
  }
  return std::shared_ptr<const Dict>(dict);
}

Value Interpreter::eval_slice(const Expr& expr) {
  const Value value = eval(*expr.parts[0]);
  const auto bound = [&](size_t i) { return expr.parts[i] ? eval(*expr.parts[i]) : Value(None{}); };
  const Value begin = bound(1);
  const Value end = bound(2);
  return slice_of(value, begin, end, bound(3));
}

Value Interpreter::eval_filter(const Expr& expr) {
  const Value value = expr.parts[0] ? eval(*expr.parts[0]) : *block_text_;
  const CallArgs args = eval_arguments(expr.args);
  line_ = expr.line;
  return filter(expr.name, value, args);
}

Value Interpreter::eval_unary(const Expr& expr) {
  const Value value = eval(*expr.parts[0]);
  if (expr.name == "not") return Value(!value.is_true());
  if (value.is_undefined()) fail(ErrorCode::kData, "{}", value.undefined_text());
  if (!value.is_number()) {
    fail(ErrorCode::kData, "a value of type {} cannot have a sign", value.type_name());
  }
  if (value.is_float()) return Value(expr.name == "-" ? -value.number() : value.number());
  return expr.name == "-" ? binary("-", Value(int64_t{0}), value) : Value(value.integer());
}

Value Interpreter::eval_concat(const Expr& expr) {
  TextBuilder builder(budget_);
  for (const ExprPtr& part : expr.parts) print(eval(*part), builder);
  return builder.finish();
}

bool Interpreter::eval_compare(const Expr& expr) {
  Value left = eval(*expr.parts[0]);
  for (size_t i = 0; i < expr.ops.size(); ++i) {
    Value right = eval(*expr.parts[i + 1]);
    if (!compare(expr.ops[i], left, right)) return false;
    left = std::move(right);
  }
  return true;
}

CallArgs Interpreter::eval_arguments(const Arguments& arguments) {
  CallArgs args;
  for (const ExprPtr& expr : arguments.positional) args.positional.push_back(eval(*expr));
  for (const auto& [name, expr] : arguments.named) args.named.emplace_back(name, eval(*expr));
  if (arguments.star) {
    for (Value& item : items_of(eval(*arguments.star))) args.positional.push_back(std::move(item));
  }
  if (arguments.double_star) {
    const Value named = eval(*arguments.double_star);
    if (!named.is_dict()) fail(ErrorCode::kData, "what stands after ** must be a dict");
    for (const auto& [key, value] : named.dict().items()) {
      if (!key.is_text()) fail(ErrorCode::kData, "names of arguments must be strings");
      budget_.step();
      args.named.emplace_back(key.text()->bytes(), value);
    }
  }
  return args;
}

Value Interpreter::call(const Value& function, const CallArgs& args) {
  budget_.step();
  if (function.is_undefined()) fail(ErrorCode::kData, "{}", function.undefined_text());
  if (!function.is_object()) {
    fail(ErrorCode::kData, "a value of type {} cannot be called", function.type_name());
  }
  return function.object().call(*this, args);
}

Value Interpreter::filter(std::string_view name, const Value& value, const CallArgs& args) {
  const Filter body = find_filter(name);
  if (body == nullptr) fail(ErrorCode::kData, "there is no filter {}", show_text(name));
  const DepthGuard depth(budget_);
  budget_.step();
  return body(*this, value, args);
}

bool Interpreter::test(std::string_view name, const Value& value, const CallArgs& args) {
  const Test body = find_test(name);
  if (body == nullptr) fail(ErrorCode::kData, "there is no test {}", show_text(name));
  budget_.step();
  return body(*this, value, args);
}

}  // namespace chunkllm::jinja

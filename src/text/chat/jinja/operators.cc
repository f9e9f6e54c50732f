#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "text/chat/jinja/builtins/string_format.h"
#include "text/chat/jinja/interpreter.h"
#include "text/chat/jinja/print.h"

namespace chunkllm::jinja {
namespace {

[[noreturn]] void no_such(std::string_view op, const Value& left, const Value& right) {
  for (const Value* value : {&left, &right}) {
    if (value->is_undefined()) fail(ErrorCode::kData, "{}", value->undefined_text());
  }
  fail(ErrorCode::kData, "{} cannot be used between values of type {} and {}", op, left.type_name(),
       right.type_name());
}

[[noreturn]] void too_large() { fail(ErrorCode::kUnsupported, "a number beyond 64 bits"); }

Value power(int64_t base, int64_t exponent) {
  if (exponent < 0) {
    if (base == 0) fail(ErrorCode::kData, "division by zero");
    return Value(std::pow(static_cast<double>(base), static_cast<double>(exponent)));
  }
  int64_t result = 1;
  while (exponent > 0) {
    if ((exponent & 1) != 0 && __builtin_mul_overflow(result, base, &result)) too_large();
    exponent >>= 1;
    if (exponent > 0 && __builtin_mul_overflow(base, base, &base)) too_large();
  }
  return Value(result);
}

Value integer_result(std::string_view op, int64_t a, int64_t b) {
  int64_t result = 0;
  if (op == "+") {
    if (__builtin_add_overflow(a, b, &result)) too_large();
  } else if (op == "-") {
    if (__builtin_sub_overflow(a, b, &result)) too_large();
  } else if (op == "*") {
    if (__builtin_mul_overflow(a, b, &result)) too_large();
  } else if (op == "**") {
    return power(a, b);
  } else {
    if (b == 0) fail(ErrorCode::kData, "division by zero");
    if (op == "/") return Value(static_cast<double>(a) / static_cast<double>(b));
    if (b == -1) return op == "%" ? Value(int64_t{0}) : integer_result("-", 0, a);
    const int64_t rest = a % b;
    const bool rounds_down = rest != 0 && (rest < 0) != (b < 0);
    result = op == "//" ? a / b - static_cast<int64_t>(rounds_down) : rounds_down ? rest + b : rest;
  }
  return Value(result);
}

Value float_result(std::string_view op, double a, double b) {
  if (op == "+") return Value(a + b);
  if (op == "-") return Value(a - b);
  if (op == "*") return Value(a * b);
  if (op == "**") {
    if (a < 0 && b != std::floor(b)) fail(ErrorCode::kUnsupported, "complex numbers");
    if (a == 0 && b < 0) fail(ErrorCode::kData, "division by zero");
    return Value(std::pow(a, b));
  }
  if (b == 0) fail(ErrorCode::kData, "division by zero");
  if (op == "/") return Value(a / b);
  double rest = std::fmod(a, b);
  if (rest != 0 && (rest < 0) != (b < 0)) rest += b;
  return op == "%" ? Value(rest) : Value(std::floor((a - rest) / b + 0.5));
}

bool has_items(const Value& value) {
  return value.is_list() &&
         (value.list().kind() == ListKind::kList || value.list().kind() == ListKind::kTuple);
}

}  // namespace

Value Interpreter::binary(std::string_view op, const Value& left, const Value& right) {
  if (left.is_number() && right.is_number()) {
    if (left.is_integral() && right.is_integral()) {
      return integer_result(op, left.integer(), right.integer());
    }
    return float_result(op, left.number(), right.number());
  }
  if (op == "+") return add(left, right);
  if (op == "*") {
    const auto can_repeat = [](const Value& v) { return v.is_text() || has_items(v); };
    if (can_repeat(left) && right.is_integral()) return repeat(left, right.integer());
    if (can_repeat(right) && left.is_integral()) return repeat(right, left.integer());
  }
  if (op == "%" && left.is_text()) return format_percent(*this, *left.text(), right);
  no_such(op, left, right);
}

Value Interpreter::add(const Value& left, const Value& right) {
  if (left.is_text() && right.is_text()) {
    const bool is_escaped = left.text()->is_escaped() || right.text()->is_escaped();
    TextBuilder builder(budget_);
    for (const Value* side : {&left, &right}) {
      if (is_escaped && !side->text()->is_escaped()) {
        escape_html(*side->text(), builder);
      } else {
        builder.add(*side->text());
      }
    }
    return builder.finish(is_escaped);
  }
  if (has_items(left) && has_items(right) && left.list().kind() == right.list().kind()) {
    const size_t n = left.list().size() + right.list().size();
    budget_.work(n * sizeof(Value));
    std::vector<Value> items;
    items.reserve(n);
    for (const Value* side : {&left, &right}) {
      const auto& added = side->list().items();
      items.insert(items.end(), added.begin(), added.end());
    }
    return list(std::move(items), left.list().kind());
  }
  no_such("+", left, right);
}

Value Interpreter::repeat(const Value& value, int64_t n) {
  const auto times = static_cast<size_t>(std::max<int64_t>(n, 0));
  constexpr size_t kMost = size_t{1} << 32;  // far beyond the budget
  if (value.is_text()) {
    const size_t n_bytes = value.text()->bytes().size();
    TextBuilder builder(budget_);
    if (n_bytes > 0 && times > kMost / n_bytes) budget_.take(kMost);
    for (size_t i = 0; n_bytes > 0 && i < times; ++i) {
      budget_.step();
      builder.add(*value.text());
    }
    return builder.finish(value.text()->is_escaped());
  }
  const std::vector<Value>& part = value.list().items();
  std::vector<Value> items;
  if (!part.empty()) {
    budget_.work(times > kMost / part.size() ? kMost * sizeof(Value)
                                             : times * part.size() * sizeof(Value));
    if (times > kMost / part.size()) budget_.take(kMost * sizeof(Value));
    const size_t n_bytes = times * part.size() * sizeof(Value);
    budget_.take(n_bytes);  // refuses before the allocation; the list takes it anew
    budget_.release(n_bytes);
    items.reserve(times * part.size());
    for (size_t i = 0; i < times; ++i) items.insert(items.end(), part.begin(), part.end());
  }
  return list(std::move(items), value.list().kind());
}

bool Interpreter::compare(std::string_view op, const Value& left, const Value& right) {
  if (op == "==") return equals(left, right, budget_);
  if (op == "!=") return !equals(left, right, budget_);
  if (op == "in") return contains(right, left);
  if (op == "not in") return !contains(right, left);
  if (op == "<") return less(left, right, budget_);
  if (op == ">") return less(right, left, budget_);
  // NaN has no order: <= is not "not >".
  const bool is_less = op == "<=" ? less(left, right, budget_) : less(right, left, budget_);
  return is_less || equals(left, right, budget_);
}

bool Interpreter::contains(const Value& container, const Value& value) {
  if (container.is_text()) {
    if (!value.is_text()) {
      fail(ErrorCode::kData, "only a string can be in a string, not a value of type {}",
           value.type_name());
    }
    budget_.search(container.text()->bytes().size());
    return find_text(container.text()->view(), value.text()->view()) != std::string_view::npos;
  }
  if (container.is_dict()) return container.dict().find(value) != nullptr;
  const auto is_value = [&](const Value& item) { return equals(item, value, budget_); };
  if (container.is_list() && container.list().kind() != ListKind::kGenerator) {
    return std::ranges::any_of(container.list().items(), is_value);
  }
  return std::ranges::any_of(items_of(container), is_value);
}

}  // namespace chunkllm::jinja

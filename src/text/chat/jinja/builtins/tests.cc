// What stands after "is".
#include <algorithm>
#include <unordered_map>

#include "base/error.h"
#include "text/chat/jinja/builtins/arguments.h"
#include "text/chat/jinja/builtins/case.h"
#include "text/chat/jinja/builtins/filters.h"
#include "text/chat/jinja/interpreter.h"

namespace chunkllm::jinja {
namespace {

void take_none(const CallArgs& args) { const BoundArgs bound("a test", args, {}); }

bool has_length(const Value& value) {
  return value.is_text() || value.is_dict() || value.is_undefined() ||
         (value.is_list() && value.list().kind() != ListKind::kGenerator);
}

// Of the value alone.
template <bool (*kIs)(const Value&)>
bool plain(Interpreter&, const Value& value, const CallArgs& args) {
  take_none(args);
  return kIs(value);
}
bool is_defined(const Value& v) { return !v.is_undefined(); }
bool is_undefined(const Value& v) { return v.is_undefined(); }
bool is_none(const Value& v) { return v.is_none(); }
bool is_boolean(const Value& v) { return v.is_bool(); }
bool is_true(const Value& v) { return v.is_bool() && v.boolean(); }
bool is_false(const Value& v) { return v.is_bool() && !v.boolean(); }
bool is_integer(const Value& v) { return v.is_int(); }
bool is_float(const Value& v) { return v.is_float(); }
bool is_number(const Value& v) { return v.is_number(); }
bool is_string(const Value& v) { return v.is_text(); }
bool is_mapping(const Value& v) { return v.is_dict(); }
bool is_iterable(const Value& v) {
  return v.is_text() || v.is_dict() || v.is_list() || v.is_undefined();
}
bool is_sequence(const Value& v) {
  return has_length(v) && !(v.is_list() && is_view(v.list().kind()));
}
bool is_callable(const Value& v) { return v.is_object() && v.object().is_callable(); }
bool is_escaped(const Value& v) { return v.is_text() && v.text()->is_escaped(); }

int64_t remainder(Interpreter& in, const Value& value, int64_t divisor) {
  const Value rest = in.binary("%", value, Value(divisor));
  return rest.is_integral() ? rest.integer() : -1;
}
bool is_odd(Interpreter& in, const Value& value, const CallArgs& args) {
  take_none(args);
  return remainder(in, value, 2) == 1;
}
bool is_even(Interpreter& in, const Value& value, const CallArgs& args) {
  take_none(args);
  return remainder(in, value, 2) == 0;
}
bool is_divisible(Interpreter& in, const Value& value, const CallArgs& args) {
  const BoundArgs bound("divisibleby", args, {"num"}, 1);
  return remainder(in, value, bound.integer_or(0, 0)) == 0;
}

template <CaseKind kKind>
bool is_case(Interpreter& in, const Value& value, const CallArgs& args) {
  take_none(args);
  return is_in_case(*in.text_of(value), kKind, in.budget());
}

bool is_filter(Interpreter&, const Value& value, const CallArgs& args) {
  take_none(args);
  return value.is_text() && find_filter(value.text()->view()) != nullptr;
}
bool is_test(Interpreter&, const Value& value, const CallArgs& args) {
  take_none(args);
  return value.is_text() && find_test(value.text()->view()) != nullptr;
}

bool is_same(Interpreter& in, const Value& value, const CallArgs& args) {
  const BoundArgs bound("sameas", args, {"other"}, 1);
  const Value& other = bound.at(0);
  return value.type_name() == other.type_name() && equals(value, other, in.budget());
}
bool is_in(Interpreter& in, const Value& value, const CallArgs& args) {
  const BoundArgs bound("in", args, {"seq"}, 1);
  return in.contains(bound.at(0), value);
}

bool is_equal(Interpreter& in, const Value& value, const CallArgs& args) {
  const BoundArgs bound("eq", args, {"other"}, 1);
  return equals(value, bound.at(0), in.budget());
}
bool is_unequal(Interpreter& in, const Value& value, const CallArgs& args) {
  return !is_equal(in, value, args);
}
bool is_less(Interpreter& in, const Value& value, const CallArgs& args) {
  const BoundArgs bound("lt", args, {"other"}, 1);
  return less(value, bound.at(0), in.budget());
}
bool is_greater(Interpreter& in, const Value& value, const CallArgs& args) {
  const BoundArgs bound("gt", args, {"other"}, 1);
  return less(bound.at(0), value, in.budget());
}
bool is_at_most(Interpreter& in, const Value& value, const CallArgs& args) {
  return is_less(in, value, args) || is_equal(in, value, args);
}
bool is_at_least(Interpreter& in, const Value& value, const CallArgs& args) {
  return is_greater(in, value, args) || is_equal(in, value, args);
}

}  // namespace

Test find_test(std::string_view name) {
  static const std::unordered_map<std::string_view, Test> tests = {
      {"defined", plain<is_defined>},
      {"undefined", plain<is_undefined>},
      {"none", plain<is_none>},
      {"boolean", plain<is_boolean>},
      {"true", plain<is_true>},
      {"false", plain<is_false>},
      {"integer", plain<is_integer>},
      {"float", plain<is_float>},
      {"number", plain<is_number>},
      {"string", plain<is_string>},
      {"mapping", plain<is_mapping>},
      {"iterable", plain<is_iterable>},
      {"sequence", plain<is_sequence>},
      {"callable", plain<is_callable>},
      {"escaped", plain<is_escaped>},
      {"odd", is_odd},
      {"even", is_even},
      {"divisibleby", is_divisible},
      {"lower", is_case<CaseKind::kLower>},
      {"upper", is_case<CaseKind::kUpper>},
      {"filter", is_filter},
      {"test", is_test},
      {"sameas", is_same},
      {"in", is_in},
      {"eq", is_equal},
      {"==", is_equal},
      {"equalto", is_equal},
      {"ne", is_unequal},
      {"!=", is_unequal},
      {"lt", is_less},
      {"<", is_less},
      {"lessthan", is_less},
      {"gt", is_greater},
      {">", is_greater},
      {"greaterthan", is_greater},
      {"le", is_at_most},
      {"<=", is_at_most},
      {"ge", is_at_least},
      {">=", is_at_least},
  };
  const auto it = tests.find(name);
  return it == tests.end() ? nullptr : it->second;
}

}  // namespace chunkllm::jinja

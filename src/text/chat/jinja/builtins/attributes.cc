#include <algorithm>
#include <initializer_list>
#include <optional>

#include "base/error.h"
#include "base/json.h"
#include "text/chat/jinja/builtins/filters.h"
#include "text/chat/jinja/interpreter.h"

namespace chunkllm::jinja {
namespace {

Value no_attribute(const Value& value, const std::string& name) {
  return Value::undefined(
      fmt::format("a value of type {} has no attribute {}", value.type_name(), show_text(name)));
}

// The parts that every number of Python has.
std::optional<Value> number_part(const Value& value, std::string_view name) {
  if (name == "real") {
    return value.is_integral() ? Value(value.integer()) : Value(value.number());
  }
  if (name == "imag") return value.is_integral() ? Value(int64_t{0}) : Value(0.0);
  if (!value.is_integral()) return std::nullopt;
  if (name == "numerator") return Value(value.integer());
  if (name == "denominator") return Value(int64_t{1});
  return std::nullopt;
}

// What Python's values of this type have and these have not, so that it is not taken for undefined.
bool is_left_out(const Value& value, std::string_view name) {
  const auto is_any = [&](std::initializer_list<std::string_view> names) {
    return std::ranges::find(names, name) != names.end();
  };
  if (value.is_number()) {
    return is_any({"as_integer_ratio", "conjugate"}) ||
           (value.is_float() ? is_any({"fromhex", "hex", "is_integer"})
                             : is_any({"bit_count", "bit_length", "from_bytes", "to_bytes"}));
  }
  if (value.is_text()) return is_any({"encode", "maketrans", "translate"});
  if (value.is_dict()) return name == "fromkeys";
  if (!value.is_list()) return false;
  const ListKind kind = value.list().kind();
  if (kind == ListKind::kRange) return is_any({"start", "stop", "step", "count", "index"});
  if (kind == ListKind::kGenerator) return is_any({"close", "send", "throw"});
  return is_view(kind) && is_any({"mapping", "isdisjoint"});
}

// Methods that change a dict, which a template may not: undefined even where there is such a key.
bool changes_dict(std::string_view name) {
  return name == "clear" || name == "pop" || name == "popitem" || name == "setdefault" ||
         name == "update";
}

// The item that Python's index means, or npos.
size_t index_in(int64_t index, size_t length) {
  const auto n = static_cast<int64_t>(length);
  if (index < 0) index += n;
  return index >= 0 && index < n ? static_cast<size_t>(index) : std::string_view::npos;
}

// The indices that a slice means: begin, begin + step, ..., `count` of them.
struct SliceIndices {
  int64_t begin = 0;
  int64_t step = 1;
  int64_t count = 0;
};

int64_t bound_of(const Value& bound, int64_t fallback, int64_t low, int64_t high, int64_t length) {
  if (bound.is_none()) return fallback;
  if (bound.is_undefined()) fail(ErrorCode::kData, "{}", bound.undefined_text());
  if (!bound.is_integral()) {
    fail(ErrorCode::kData, "a slice needs integers, got a value of type {}", bound.type_name());
  }
  const int64_t index = bound.integer();
  if (index < 0) return index < -length ? low : std::max(index + length, low);
  return std::min(index, high);
}

SliceIndices slice_indices(const Value& begin, const Value& end, const Value& step, size_t size) {
  const auto length = static_cast<int64_t>(size);
  SliceIndices slice;
  if (!step.is_none()) slice.step = bound_of(step, 1, INT64_MIN + 1, INT64_MAX, 0);
  if (step.is_integral()) slice.step = std::clamp(step.integer(), -length - 1, length + 1);
  if (slice.step == 0) fail(ErrorCode::kData, "the step of a slice is 0");
  const bool up = slice.step > 0;
  const int64_t low = up ? 0 : -1;
  const int64_t high = up ? length : length - 1;
  slice.begin = bound_of(begin, up ? low : high, low, high, length);
  const int64_t stop = bound_of(end, up ? high : low, low, high, length);
  const int64_t span = up ? stop - slice.begin : slice.begin - stop;
  const int64_t stride = up ? slice.step : -slice.step;
  slice.count = span > 0 ? (span + stride - 1) / stride : 0;
  return slice;
}

}  // namespace

Value Interpreter::attribute_of(const Value& value, std::string_view name) {
  if (value.is_undefined()) fail(ErrorCode::kData, "{}", value.undefined_text());
  if (const Function::Body method = find_method(value, name)) {
    return std::shared_ptr<Object>(std::make_shared<Function>(method, value));
  }
  if (value.is_number()) {
    if (const auto part = number_part(value, name)) return *part;
  }
  if (is_left_out(value, name)) {
    fail(ErrorCode::kUnsupported, "{} of a value of type {} is not supported", name,
         value.type_name());
  }
  if (value.is_dict() && !changes_dict(name)) {
    if (const Value* item = value.dict().find(name)) return *item;
  }
  if (value.is_list() && value.list().kind() == ListKind::kTuple && value.list().size() == 2) {
    // What groupby gives; no other tuple has attributes.
    if (name == "grouper") return value.list().items()[0];
    if (name == "list") return value.list().items()[1];
  }
  if (value.is_object()) {
    Value attribute = value.object().attribute(value, name);
    if (!attribute.is_undefined()) return attribute;
  }
  return no_attribute(value, std::string(name));
}

Value Interpreter::item_of(const Value& value, const Value& key) {
  if (value.is_undefined()) fail(ErrorCode::kData, "{}", value.undefined_text());
  if (value.is_dict() && !key.is_dict() && !(key.is_list() && !key.list().items().empty())) {
    if (const Value* item = value.dict().find(key)) return *item;
  }
  if (key.is_text()) return attribute_of(value, key.text()->view());
  if (value.is_list() && key.is_integral()) {
    const List& list = value.list();
    const bool has_indices = list.kind() != ListKind::kGenerator && !is_view(list.kind());
    const size_t index = index_in(key.integer(), has_indices ? list.size() : 0);
    if (index != std::string_view::npos) return list.items()[index];
  }
  if (value.is_text() && key.is_integral()) {
    const Text& text = *value.text();
    const size_t index = index_in(key.integer(), text.length());
    if (index != std::string_view::npos) {
      return slice(value.text(), text.byte_of(index), text.byte_of(index + 1), budget_);
    }
  }
  return Value::undefined(fmt::format("a value of type {} has no such item", value.type_name()));
}

Value Interpreter::slice_of(const Value& value, const Value& begin, const Value& end,
                            const Value& step) {
  if (value.is_undefined()) fail(ErrorCode::kData, "{}", value.undefined_text());
  if (value.is_text()) {
    const Text& text = *value.text();
    const SliceIndices at = slice_indices(begin, end, step, text.length());
    if (at.count == 0) return this->text("");
    const auto first = static_cast<size_t>(at.begin);
    if (at.step == 1) {
      const size_t last = first + static_cast<size_t>(at.count);
      return slice(value.text(), text.byte_of(first), text.byte_of(last), budget_);
    }
    TextBuilder builder(budget_);
    for (int64_t i = 0; i < at.count; ++i) {
      budget_.step();
      const auto index = static_cast<size_t>(at.begin + i * at.step);
      builder.add(text, text.byte_of(index), text.byte_of(index + 1));
    }
    return builder.finish();
  }
  const bool has_indices = value.is_list() && value.list().kind() != ListKind::kGenerator &&
                           !is_view(value.list().kind());
  if (!has_indices) {
    fail(ErrorCode::kData, "a value of type {} has no slices", value.type_name());
  }
  const List& list = value.list();
  const SliceIndices at = slice_indices(begin, end, step, list.size());
  std::vector<Value> items;
  for (int64_t i = 0; i < at.count; ++i) {
    budget_.step();
    items.push_back(list.items()[static_cast<size_t>(at.begin + i * at.step)]);
  }
  return this->list(std::move(items), list.kind());
}

std::vector<Value> Interpreter::items_of(const Value& value) {
  if (value.is_undefined()) return {};
  if (value.is_list()) {
    const List& list = value.list();
    budget_.work(list.size() * sizeof(Value));
    return list.kind() == ListKind::kGenerator ? list.take(SIZE_MAX) : list.items();
  }
  std::vector<Value> items;
  if (value.is_dict()) {
    budget_.step(value.dict().size());
    for (const auto& item : value.dict().items()) items.push_back(item.first);
    return items;
  }
  if (value.is_text()) {
    const Text& text = *value.text();
    for (size_t i = 0; i < text.bytes().size();) {
      budget_.step();
      const size_t end = character_at(text.view(), i).end;
      items.emplace_back(slice(value.text(), i, end, budget_));
      i = end;
    }
    return items;
  }
  fail(ErrorCode::kData, "a value of type {} cannot be gone through", value.type_name());
}

size_t Interpreter::length_of(const Value& value) {
  if (value.is_undefined()) return 0;
  if (value.is_text()) {
    budget_.work(value.text()->bytes().size());
    return value.text()->length();
  }
  if (value.is_dict()) return value.dict().size();
  if (value.is_list() && value.list().kind() != ListKind::kGenerator) return value.list().size();
  fail(ErrorCode::kData, "a value of type {} has no length", value.type_name());
}

}  // namespace chunkllm::jinja

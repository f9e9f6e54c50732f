#include "text/chat/jinja/value.h"

#include <algorithm>

#include "base/error.h"

namespace chunkllm::jinja {
namespace {

int checked_nesting(int nesting, const Value& item) {
  nesting = std::max(nesting, item.nesting() + 1);
  if (nesting > kMaxNesting) {
    fail(ErrorCode::kUnsupported, "lists and dicts are nested more than {} deep", kMaxNesting);
  }
  return nesting;
}

bool is_hashable(const Value& key, Budget& budget) {
  budget.step();
  if (key.is_dict()) return false;
  if (!key.is_list()) return true;
  const List& list = key.list();
  if (list.kind() == ListKind::kList || is_view(list.kind())) return false;
  if (list.kind() != ListKind::kTuple) return true;
  const auto hashable = [&](const Value& item) { return is_hashable(item, budget); };
  return std::ranges::all_of(list.items(), hashable);
}

// -1, 0, 1; 2 where a NaN has no order.
int order_of(double a, double b) {
  if (a < b) return -1;
  if (a > b) return 1;
  return a == b ? 0 : 2;
}

}  // namespace

Value Value::undefined(std::string what) {
  Value value;
  value.data_ = Undefined{std::make_shared<const std::string>(std::move(what))};
  return value;
}

int64_t Value::integer() const {
  return is_bool() ? static_cast<int64_t>(boolean()) : std::get<int64_t>(data_);
}

double Value::number() const {
  return is_float() ? std::get<double>(data_) : static_cast<double>(integer());
}

std::string Value::undefined_text() const {
  const auto* undefined = std::get_if<Undefined>(&data_);
  return undefined != nullptr && undefined->what ? *undefined->what : "a value is undefined";
}

std::string_view Value::type_name() const {
  if (is_undefined()) return "Undefined";
  if (is_none()) return "NoneType";
  if (is_bool()) return "bool";
  if (is_int()) return "int";
  if (is_float()) return "float";
  if (is_text()) return "str";
  if (is_dict()) return "dict";
  if (is_object()) return object().type_name();
  switch (list().kind()) {
    case ListKind::kList:
      return "list";
    case ListKind::kTuple:
      return "tuple";
    case ListKind::kRange:
      return "range";
    case ListKind::kGenerator:
      return "generator";
    case ListKind::kKeys:
      return "dict_keys";
    case ListKind::kValues:
      return "dict_values";
    case ListKind::kItems:
      return "dict_items";
  }
  return "list";
}

bool Value::is_true() const {
  if (is_undefined() || is_none()) return false;
  if (is_integral()) return integer() != 0;
  if (is_float()) return number() != 0;
  if (is_text()) return !text()->bytes().empty();
  if (is_dict()) return dict().size() > 0;
  if (is_list()) return list().kind() == ListKind::kGenerator || list().size() > 0;
  return true;
}

int Value::nesting() const {
  if (is_list()) return list().nesting();
  if (is_dict()) return dict().nesting();
  return 0;
}

Value List::make(std::vector<Value> items, Budget& budget, ListKind kind) {
  return std::make_shared<const List>(std::move(items), kind, budget);
}

Value List::make_lazy(Maker maker, const std::vector<Value>& sources, Budget& budget) {
  const auto list = std::make_shared<List>(std::vector<Value>(), ListKind::kGenerator, budget);
  for (const Value& source : sources) list->nesting_ = checked_nesting(list->nesting_, source);
  list->maker_ = std::move(maker);
  return std::shared_ptr<const List>(list);
}

List::List(std::vector<Value> items, ListKind kind, Budget& budget)
    : items_(std::move(items)), kind_(kind), budget_(budget) {
  for (const Value& item : items_) nesting_ = checked_nesting(nesting_, item);
  charge();
}

List::~List() { budget_.release(n_charged_); }

void List::charge() const {
  const size_t n_bytes = sizeof(List) + items_.size() * sizeof(Value);
  budget_.take(n_bytes);
  n_charged_ += n_bytes;
}

std::vector<Value> List::take(size_t n) const {
  if (maker_) {
    const Maker maker = std::exchange(maker_, {});
    items_ = maker();
    for (const Value& item : items_) checked_nesting(1, item);
    charge();
  }
  const auto begin = items_.begin() + static_cast<ptrdiff_t>(n_used_);
  n_used_ += std::min(n, items_.size() - n_used_);
  return {begin, items_.begin() + static_cast<ptrdiff_t>(n_used_)};
}

Dict::~Dict() { budget_.release(n_charged_); }

size_t Dict::index_of(const Value& key) const {
  if (key.is_text()) {
    budget_.work(key.text()->bytes().size());
    const auto it = by_text_.find(key.text()->view());
    return it == by_text_.end() ? size() : it->second;
  }
  if (!is_hashable(key, budget_)) {
    fail(ErrorCode::kData, "a value of type {} cannot be a key of a dict", key.type_name());
  }
  if (by_text_.size() == items_.size()) return size();
  const auto it = std::ranges::find_if(items_, [&](const auto& item) {
    budget_.step();
    return equals(item.first, key, budget_);
  });
  return static_cast<size_t>(it - items_.begin());
}

void Dict::set(const Value& key, Value value) {
  const size_t index = index_of(key);
  nesting_ = checked_nesting(checked_nesting(nesting_, key), value);
  if (index < size()) {
    items_[index].second = std::move(value);
    return;
  }
  constexpr size_t kItemBytes = sizeof(std::pair<Value, Value>) + 64;  // with its place in the map
  budget_.take(kItemBytes);
  n_charged_ += kItemBytes;
  items_.emplace_back(key, std::move(value));
  if (key.is_text()) by_text_.emplace(key.text()->view(), index);
}

const Value* Dict::find(const Value& key) const {
  const size_t index = index_of(key);
  return index < size() ? &items_[index].second : nullptr;
}

const Value* Dict::find(std::string_view key) const {
  const auto it = by_text_.find(key);
  return it == by_text_.end() ? nullptr : &items_[it->second].second;
}

Value Object::attribute(const Value&, std::string_view) const { return {}; }

Value Object::call(Interpreter&, const CallArgs&) {
  fail(ErrorCode::kData, "a value of type {} cannot be called", type_name());
}

Value Namespace::attribute(const Value&, std::string_view name) const {
  const auto it = state_.attributes.find(std::string(name));
  return it == state_.attributes.end() ? Value() : it->second;
}

bool equals(const Value& a, const Value& b, Budget& budget) {
  budget.step();
  if (a.is_integral() && b.is_integral()) return a.integer() == b.integer();
  if (a.is_number() && b.is_number()) return a.number() == b.number();
  if (a.is_text() && b.is_text()) {
    budget.work(std::min(a.text()->bytes().size(), b.text()->bytes().size()));
    return a.text()->bytes() == b.text()->bytes();
  }
  if (a.is_none() || a.is_undefined()) return a.type_name() == b.type_name();
  if (a.is_list() && b.is_list()) {
    const List& x = a.list();
    const List& y = b.list();
    if (&x == &y) return true;
    if (x.kind() != y.kind() || x.kind() == ListKind::kGenerator || x.kind() == ListKind::kValues ||
        x.size() != y.size()) {
      return false;
    }
    if (is_view(x.kind())) {  // a set, in any order
      return std::ranges::all_of(x.items(), [&](const Value& p) {
        return std::ranges::any_of(y.items(), [&](const Value& q) { return equals(p, q, budget); });
      });
    }
    const auto equal = [&](const Value& p, const Value& q) { return equals(p, q, budget); };
    return std::ranges::equal(x.items(), y.items(), equal);
  }
  if (a.is_dict() && b.is_dict()) {
    if (a.dict().size() != b.dict().size()) return false;
    return std::ranges::all_of(a.dict().items(), [&](const auto& item) {
      const Value* other = b.dict().find(item.first);
      return other != nullptr && equals(item.second, *other, budget);
    });
  }
  return a.is_object() && b.is_object() && &a.object() == &b.object();
}

bool less(const Value& a, const Value& b, Budget& budget) {
  budget.step();
  if (a.is_number() && b.is_number()) {
    if (a.is_integral() && b.is_integral()) return a.integer() < b.integer();
    return order_of(a.number(), b.number()) == -1;
  }
  if (a.is_text() && b.is_text()) {
    budget.work(std::min(a.text()->bytes().size(), b.text()->bytes().size()));
    return a.text()->bytes() < b.text()->bytes();  // UTF-8 keeps the order of code points
  }
  const auto is_sequence = [](const Value& v) {
    return v.is_list() &&
           (v.list().kind() == ListKind::kList || v.list().kind() == ListKind::kTuple);
  };
  if (is_sequence(a) && is_sequence(b) && a.list().kind() == b.list().kind()) {
    const auto& x = a.list().items();
    const auto& y = b.list().items();
    for (size_t i = 0; i < std::min(x.size(), y.size()); ++i) {
      if (!equals(x[i], y[i], budget)) return less(x[i], y[i], budget);
    }
    return x.size() < y.size();
  }
  if (a.is_undefined() || b.is_undefined()) {
    fail(ErrorCode::kData, "{}", (a.is_undefined() ? a : b).undefined_text());
  }
  fail(ErrorCode::kData, "values of type {} and {} have no order", a.type_name(), b.type_name());
}

}  // namespace chunkllm::jinja

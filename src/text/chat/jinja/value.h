// Values of the template language: Python's, as far as templates meet them.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include "text/chat/jinja/text.h"

namespace chunkllm::jinja {

class Interpreter;
class List;
class Dict;
class Object;

// What a name or an attribute that does not exist gives; `what` says so in errors.
struct Undefined {
  std::shared_ptr<const std::string> what;
};
struct None {
  bool operator==(const None&) const = default;
};

class Value {
 public:
  Value() = default;  // undefined
  Value(None none) : data_(none) {}
  Value(bool value) : data_(value) {}
  Value(int64_t value) : data_(value) {}
  Value(double value) : data_(value) {}
  Value(TextPtr text) : data_(std::move(text)) {}
  Value(std::shared_ptr<const List> list) : data_(std::move(list)) {}
  Value(std::shared_ptr<const Dict> dict) : data_(std::move(dict)) {}
  Value(std::shared_ptr<Object> object) : data_(std::move(object)) {}
  // `what`: "x is undefined", say.
  static Value undefined(std::string what);
  template <typename T>
  Value(T*) = delete;  // would be a bool

  bool is_undefined() const { return std::holds_alternative<Undefined>(data_); }
  bool is_none() const { return std::holds_alternative<None>(data_); }
  bool is_bool() const { return std::holds_alternative<bool>(data_); }
  bool is_int() const { return std::holds_alternative<int64_t>(data_); }
  bool is_float() const { return std::holds_alternative<double>(data_); }
  // True and False are numbers, as in Python.
  bool is_integral() const { return is_int() || is_bool(); }
  bool is_number() const { return is_integral() || is_float(); }
  bool is_text() const { return std::holds_alternative<TextPtr>(data_); }
  bool is_list() const { return std::holds_alternative<std::shared_ptr<const List>>(data_); }
  bool is_dict() const { return std::holds_alternative<std::shared_ptr<const Dict>>(data_); }
  bool is_object() const { return std::holds_alternative<std::shared_ptr<Object>>(data_); }

  // Of the kind that it is only.
  int64_t integer() const;  // of is_integral()
  double number() const;    // of is_number()
  bool boolean() const { return std::get<bool>(data_); }
  const TextPtr& text() const { return std::get<TextPtr>(data_); }
  const List& list() const { return *std::get<std::shared_ptr<const List>>(data_); }
  const Dict& dict() const { return *std::get<std::shared_ptr<const Dict>>(data_); }
  Object& object() const { return *std::get<std::shared_ptr<Object>>(data_); }
  // The error that use of an undefined value ends in.
  std::string undefined_text() const;

  // As Python names types: "str", "NoneType".
  std::string_view type_name() const;
  bool is_true() const;
  // Containers in containers; 0 for what is none.
  int nesting() const;

 private:
  std::variant<Undefined, None, bool, int64_t, double, TextPtr, std::shared_ptr<const List>,
               std::shared_ptr<const Dict>, std::shared_ptr<Object>>
      data_;
};

// Deeper containers are refused.
constexpr int kMaxNesting = 100;

// A list and what is like one.
enum class ListKind {
  kList,
  kTuple,
  kRange,
  kGenerator,  // gives its items once; knows no length
  // Of a dict: a length, and no indices.
  kKeys,
  kValues,
  kItems,
};
inline bool is_view(ListKind kind) {
  return kind == ListKind::kKeys || kind == ListKind::kValues || kind == ListKind::kItems;
}

class List {
 public:
  // Throws Error (kUnsupported) if it is nested too deeply or the budget does not hold it.
  static Value make(std::vector<Value> items, Budget& budget, ListKind kind = ListKind::kList);
  // A generator whose items are made when somebody asks for the first of them; `sources` are the
  // values that this takes.
  using Maker = std::function<std::vector<Value>()>;
  static Value make_lazy(Maker maker, const std::vector<Value>& sources, Budget& budget);

  List(std::vector<Value> items, ListKind kind, Budget& budget);
  ~List();
  List(const List&) = delete;
  List& operator=(const List&) = delete;

  ListKind kind() const { return kind_; }
  const std::vector<Value>& items() const { return items_; }
  size_t size() const { return items_.size(); }
  // Takes at most `n` of the items that a generator has left.
  std::vector<Value> take(size_t n) const;
  int nesting() const { return nesting_; }

 private:
  void charge() const;

  mutable std::vector<Value> items_;
  ListKind kind_;
  Budget& budget_;
  mutable Maker maker_;  // of items that nobody has asked for
  mutable size_t n_charged_ = 0;
  mutable size_t n_used_ = 0;
  int nesting_ = 1;
};

// Keys in the order of insertion. Changes only while it is made.
class Dict {
 public:
  explicit Dict(Budget& budget) : budget_(budget) {}
  ~Dict();
  Dict(const Dict&) = delete;
  Dict& operator=(const Dict&) = delete;

  // Throws Error (kData) for a key that cannot be one, (kUnsupported) beyond limits.
  void set(const Value& key, Value value);
  // Null if there is no such key.
  const Value* find(const Value& key) const;
  const Value* find(std::string_view key) const;
  const std::vector<std::pair<Value, Value>>& items() const { return items_; }
  size_t size() const { return items_.size(); }
  int nesting() const { return nesting_; }

 private:
  size_t index_of(const Value& key) const;  // size() if there is none

  Budget& budget_;
  std::vector<std::pair<Value, Value>> items_;
  std::unordered_map<std::string_view, size_t> by_text_;
  size_t n_charged_ = 0;
  int nesting_ = 1;
};

// Arguments of a call.
struct CallArgs {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> named;
};

// Everything else: namespaces, macros, functions, methods, loop.
class Object {
 public:
  virtual ~Object() = default;
  virtual std::string_view type_name() const = 0;
  // Undefined if there is no such attribute. `self` is this object.
  virtual Value attribute(const Value& self, std::string_view name) const;
  virtual bool is_callable() const { return false; }
  virtual Value call(Interpreter& interpreter, const CallArgs& args);
};

// Of a namespace() call: the one thing whose attributes a template may set. It may hold itself, so
// the interpreter owns what is in it.
struct NamespaceState {
  std::unordered_map<std::string, Value> attributes;
};
class Namespace : public Object {
 public:
  explicit Namespace(NamespaceState& state) : state_(state) {}
  std::string_view type_name() const override { return "Namespace"; }
  Value attribute(const Value& self, std::string_view name) const override;
  void set(const std::string& name, Value value) { state_.attributes[name] = std::move(value); }

 private:
  NamespaceState& state_;
};

// A function or a method with its object.
class Function : public Object {
 public:
  using Body = Value (*)(Interpreter& interpreter, const Value& self, const CallArgs& args);
  Function(Body body, Value self) : body_(body), self_(std::move(self)) {}
  std::string_view type_name() const override { return "function"; }
  bool is_callable() const override { return true; }
  Value call(Interpreter& interpreter, const CallArgs& args) override {
    return body_(interpreter, self_, args);
  }

 private:
  Body body_;
  Value self_;
};

// Python's ==. Charges what it reads.
bool equals(const Value& a, const Value& b, Budget& budget);
// Python's < between two values of an order; throws Error (kData) where there is none.
bool less(const Value& a, const Value& b, Budget& budget);

}  // namespace chunkllm::jinja

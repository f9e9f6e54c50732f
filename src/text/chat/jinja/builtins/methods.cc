// The methods of lists, tuples and dicts that change nothing, and the functions of every template.
#include <algorithm>
#include <array>
#include <ctime>

#include "base/error.h"
#include "base/json.h"
#include "text/chat/jinja/builtins/arguments.h"
#include "text/chat/jinja/builtins/filters.h"
#include "text/chat/jinja/interpreter.h"

namespace chunkllm::jinja {
namespace {

Value dict_get(Interpreter&, const Value& self, const CallArgs& args) {
  const BoundArgs bound("get", args, {"key", "default"}, 1);
  if (const Value* value = self.dict().find(bound.at(0))) return *value;
  return args.positional.size() > 1 || !args.named.empty() ? bound.at(1) : Value(None{});
}

Value dict_items(Interpreter& in, const Value& self, const CallArgs& args) {
  const BoundArgs bound("items", args, {});
  std::vector<Value> items;
  for (const auto& [key, value] : self.dict().items()) {
    items.push_back(in.list({key, value}, ListKind::kTuple));
  }
  return in.list(std::move(items), ListKind::kItems);
}

Value dict_keys(Interpreter& in, const Value& self, const CallArgs& args) {
  const BoundArgs bound("keys", args, {});
  return in.list(in.items_of(self), ListKind::kKeys);
}

Value dict_values(Interpreter& in, const Value& self, const CallArgs& args) {
  const BoundArgs bound("values", args, {});
  std::vector<Value> values;
  for (const auto& item : self.dict().items()) values.push_back(item.second);
  return in.list(std::move(values), ListKind::kValues);
}

Value copy(Interpreter&, const Value& self, const CallArgs& args) {
  const BoundArgs bound("copy", args, {});
  return self;
}

Value list_count(Interpreter& in, const Value& self, const CallArgs& args) {
  const BoundArgs bound("count", args, {"value"}, 1);
  return Value(int64_t{std::ranges::count_if(self.list().items(), [&](const Value& item) {
    return equals(item, bound.at(0), in.budget());
  })});
}

Value list_index(Interpreter& in, const Value& self, const CallArgs& args) {
  const BoundArgs bound("index", args, {"value"}, 1);
  const auto& items = self.list().items();
  const auto it = std::ranges::find_if(
      items, [&](const Value& item) { return equals(item, bound.at(0), in.budget()); });
  if (it == items.end()) fail(ErrorCode::kData, "index: the value is not in the list");
  return Value(int64_t{it - items.begin()});
}

Value make_range(Interpreter& in, const Value&, const CallArgs& args) {
  constexpr int64_t kMost = 100'000;  // as Jinja's sandbox has it
  const BoundArgs bound("range", args, {"start", "stop", "step"}, 1);
  const bool has_end = bound.has(1);
  const int64_t begin = has_end ? bound.integer_or(0, 0) : 0;
  const int64_t end = has_end ? bound.integer_or(1, 0) : bound.integer_or(0, 0);
  const int64_t step = bound.integer_or(2, 1);
  if (step == 0) fail(ErrorCode::kData, "the step of a range is 0");
  if (bound.at(0).is_none()) fail(ErrorCode::kData, "range needs an integer");
  std::vector<Value> items;
  for (int64_t i = begin; step > 0 ? i < end : i > end;) {
    if (std::ssize(items) == kMost) {
      fail(ErrorCode::kUnsupported, "a range of more than {} numbers", kMost);
    }
    items.emplace_back(i);
    if (__builtin_add_overflow(i, step, &i)) break;
  }
  return in.list(std::move(items), ListKind::kRange);
}

Value make_namespace(Interpreter& in, const Value&, const CallArgs& args) {
  Value space = in.make_namespace();
  auto& attributes = dynamic_cast<Namespace&>(space.object());
  const auto set = [&](const Value& key, const Value& value) {
    if (!key.is_text()) fail(ErrorCode::kData, "names in a namespace must be strings");
    in.budget().take(key.text()->bytes().size() + sizeof(Value));
    attributes.set(key.text()->bytes(), value);
  };
  for (const Value& source : args.positional) {
    if (source.is_dict()) {
      for (const auto& [key, value] : source.dict().items()) set(key, value);
      continue;
    }
    for (const Value& item : in.items_of(source)) {
      const std::vector<Value> pair = in.items_of(item);
      if (pair.size() != 2) fail(ErrorCode::kData, "a namespace needs pairs of name and value");
      set(pair[0], pair[1]);
    }
  }
  for (const auto& [name, value] : args.named) attributes.set(name, value);
  return space;
}

Value make_dict(Interpreter& in, const Value&, const CallArgs& args) {
  const auto dict = std::make_shared<Dict>(in.budget());
  if (args.positional.size() > 1) fail(ErrorCode::kData, "dict takes at most one value");
  for (const Value& source : args.positional) {
    if (source.is_dict()) {
      for (const auto& [key, value] : source.dict().items()) dict->set(key, value);
      continue;
    }
    for (const Value& item : in.items_of(source)) {
      const std::vector<Value> pair = in.items_of(item);
      if (pair.size() != 2) fail(ErrorCode::kData, "dict needs pairs of key and value");
      dict->set(pair[0], pair[1]);
    }
  }
  for (const auto& [name, value] : args.named) dict->set(in.text(name), value);
  return std::shared_ptr<const Dict>(dict);
}

// What a template says goes into one line of at most some 400 bytes.
std::string one_line(std::string_view text) {
  constexpr size_t kMost = 400;
  std::string line;
  for (size_t i = 0; i < text.size() && line.size() < kMost;) {
    const Character c = character_at(text, i);
    if (is_space(c.value)) {
      if (!line.empty() && line.back() != ' ') line += ' ';
    } else if (c.value < 0x20 || c.value == 0x7f || (c.value >= 0x80 && c.value < 0xa0)) {
      line += '?';
    } else {
      line += text.substr(i, c.end - i);
    }
    i = c.end;
  }
  return line;
}

Value raise_exception(Interpreter& in, const Value&, const CallArgs& args) {
  const BoundArgs bound("raise_exception", args, {"message"}, 1);
  fail(ErrorCode::kData, "the chat template refuses these messages: \"{}\"",
       one_line(in.text_of(bound.at(0))->view()));
}

Value strftime_now(Interpreter& in, const Value&, const CallArgs& args) {
  const BoundArgs bound("strftime_now", args, {"format"}, 1);
  const std::string& pattern = bound.text(0)->bytes();
  if (pattern.find('\0') != std::string::npos || pattern.size() > 1000) {
    fail(ErrorCode::kData, "strftime_now: the pattern cannot be used");
  }
  const std::string ended = pattern + "|";  // so that an empty result is no error
  std::array<char, 16384> buffer{};
  const size_t n = std::strftime(buffer.data(), buffer.size(), ended.c_str(), &in.now());
  if (n == 0) fail(ErrorCode::kData, "strftime_now: the pattern gives too much text");
  return in.text({buffer.data(), n - 1});
}

// Gives its values in turn.
class Cycler : public Object {
 public:
  explicit Cycler(std::vector<Value> values) : values_(std::move(values)) {}
  std::string_view type_name() const override { return "Cycler"; }
  Value attribute(const Value& self, std::string_view name) const override;
  Value current() const { return values_[at_]; }
  Value next() {
    Value value = current();
    at_ = (at_ + 1) % values_.size();
    return value;
  }
  void reset() { at_ = 0; }

 private:
  std::vector<Value> values_;
  size_t at_ = 0;
};

Cycler& cycler_of(const Value& self) { return dynamic_cast<Cycler&>(self.object()); }
Value cycler_next(Interpreter&, const Value& self, const CallArgs&) {
  return cycler_of(self).next();
}
Value cycler_reset(Interpreter&, const Value& self, const CallArgs&) {
  cycler_of(self).reset();
  return Value(None{});
}

Value Cycler::attribute(const Value& self, std::string_view name) const {
  if (name == "current") return current();
  if (name != "next" && name != "reset") return {};
  return std::shared_ptr<Object>(
      std::make_shared<Function>(name == "next" ? cycler_next : cycler_reset, self));
}

Value make_cycler(Interpreter&, const Value&, const CallArgs& args) {
  if (args.positional.empty()) fail(ErrorCode::kData, "cycler needs values");
  return std::shared_ptr<Object>(std::make_shared<Cycler>(args.positional));
}

// Nothing at the first call, its separator at all others.
class Joiner : public Object {
 public:
  explicit Joiner(Value separator) : separator_(std::move(separator)) {}
  std::string_view type_name() const override { return "Joiner"; }
  bool is_callable() const override { return true; }
  Value call(Interpreter& in, const CallArgs&) override {
    if (was_called_) return separator_;
    was_called_ = true;
    return in.text("");
  }

 private:
  Value separator_;
  bool was_called_ = false;
};

Value make_joiner(Interpreter& in, const Value&, const CallArgs& args) {
  const BoundArgs bound("joiner", args, {"sep"});
  return std::shared_ptr<Object>(
      std::make_shared<Joiner>(bound.has(0) ? bound.at(0) : in.text(", ")));
}

struct NamedBody {
  std::string_view name;
  Function::Body body;
};

template <size_t kSize>
Function::Body find_in(const std::array<NamedBody, kSize>& bodies, std::string_view name) {
  const auto* it = std::ranges::find(bodies, name, &NamedBody::name);
  return it == bodies.end() ? nullptr : it->body;
}

}  // namespace

Function::Body find_method(const Value& self, std::string_view name) {
  static constexpr std::array<NamedBody, 5> kDictMethods = {{{"get", dict_get},
                                                             {"items", dict_items},
                                                             {"keys", dict_keys},
                                                             {"values", dict_values},
                                                             {"copy", copy}}};
  static constexpr std::array<NamedBody, 3> kListMethods = {
      {{"count", list_count}, {"index", list_index}, {"copy", copy}}};
  if (self.is_text()) return find_text_method(name);
  if (self.is_dict()) return find_in(kDictMethods, name);
  if (!self.is_list()) return nullptr;
  const ListKind kind = self.list().kind();
  if (kind == ListKind::kList || (kind == ListKind::kTuple && name != "copy")) {
    return find_in(kListMethods, name);
  }
  return nullptr;
}

Value find_global(std::string_view name) {
  static constexpr std::array<NamedBody, 7> kGlobals = {{{"range", make_range},
                                                         {"namespace", make_namespace},
                                                         {"dict", make_dict},
                                                         {"raise_exception", raise_exception},
                                                         {"strftime_now", strftime_now},
                                                         {"cycler", make_cycler},
                                                         {"joiner", make_joiner}}};
  const Function::Body body = find_in(kGlobals, name);
  if (body == nullptr) return {};
  return std::shared_ptr<Object>(std::make_shared<Function>(body, Value()));
}

}  // namespace chunkllm::jinja

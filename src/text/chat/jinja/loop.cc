#include "text/chat/jinja/loop.h"

#include <algorithm>

#include "base/error.h"

namespace chunkllm::jinja {
namespace {

Loop& loop_of(const Value& self) { return dynamic_cast<Loop&>(self.object()); }

Value cycle(Interpreter&, const Value& self, const CallArgs& args) {
  if (args.positional.empty()) fail(ErrorCode::kData, "loop.cycle needs values");
  return args.positional[loop_of(self).index() % args.positional.size()];
}

Value has_changed(Interpreter& interpreter, const Value& self, const CallArgs& args) {
  return Value(loop_of(self).changed(args.positional, interpreter.budget()));
}

Value method(Function::Body body, const Value& self) {
  return std::shared_ptr<Object>(std::make_shared<Function>(body, self));
}

}  // namespace

Value Loop::attribute(const Value& self, std::string_view name) const {
  if (name == "cycle") return method(cycle, self);
  if (name == "changed") return method(has_changed, self);
  if (name == "depth") return Value(int64_t{depth_});
  if (name == "depth0") return Value(int64_t{depth_ - 1});
  if (items_ == nullptr) return {};
  const auto index = static_cast<int64_t>(index_);
  const auto length = static_cast<int64_t>(items_->size());
  if (name == "index") return Value(index + 1);
  if (name == "index0") return Value(index);
  if (name == "revindex") return Value(length - index);
  if (name == "revindex0") return Value(length - index - 1);
  if (name == "first") return Value(index == 0);
  if (name == "last") return Value(index + 1 == length);
  if (name == "length") return Value(length);
  if (name == "previtem") {
    return index > 0 ? (*items_)[index_ - 1] : Value::undefined("there is no previous item");
  }
  if (name == "nextitem") {
    return index + 1 < length ? (*items_)[index_ + 1] : Value::undefined("there is no next item");
  }
  return {};
}

Value Loop::call(Interpreter& interpreter, const CallArgs& args) {
  return interpreter.call_loop(stmt_, scope_, args, depth_ + 1);
}

bool Loop::changed(const std::vector<Value>& values, Budget& budget) {
  const auto equal = [&](const Value& a, const Value& b) { return equals(a, b, budget); };
  if (has_last_ && std::ranges::equal(last_, values, equal)) return false;
  last_ = values;
  has_last_ = true;
  return true;
}

}  // namespace chunkllm::jinja

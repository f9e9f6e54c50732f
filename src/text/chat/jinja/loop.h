// The variable `loop` of a {% for %}.
#pragma once

#include <vector>

#include "text/chat/jinja/interpreter.h"

namespace chunkllm::jinja {

class Loop : public Object {
 public:
  // `items` must live until forget().
  Loop(const Stmt& stmt, Scope& scope, const std::vector<Value>& items, int depth)
      : stmt_(stmt), scope_(scope), items_(&items), depth_(depth) {}

  size_t index() const { return index_; }
  void advance() { ++index_; }
  // The loop has ended: what it held is let go, which may have held the loop itself.
  void forget() {
    items_ = nullptr;
    last_.clear();
  }

  std::string_view type_name() const override { return "LoopContext"; }
  Value attribute(const Value& self, std::string_view name) const override;
  bool is_callable() const override { return true; }
  Value call(Interpreter& interpreter, const CallArgs& args) override;
  // Whether these values differ from those of the last call.
  bool changed(const std::vector<Value>& values, Budget& budget);

 private:
  const Stmt& stmt_;
  Scope& scope_;
  const std::vector<Value>* items_;
  int depth_;
  size_t index_ = 0;
  bool has_last_ = false;
  std::vector<Value> last_;
};

// Ends a loop when it dies.
class LoopEnd {
 public:
  explicit LoopEnd(Loop& loop) : loop_(loop) {}
  ~LoopEnd() { loop_.forget(); }
  LoopEnd(const LoopEnd&) = delete;
  LoopEnd& operator=(const LoopEnd&) = delete;

 private:
  Loop& loop_;
};

}  // namespace chunkllm::jinja

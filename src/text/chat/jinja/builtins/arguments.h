// The arguments of a built-in function by its parameters.
#pragma once

#include <initializer_list>
#include <string_view>
#include <vector>

#include "text/chat/jinja/value.h"

namespace chunkllm::jinja {

class BoundArgs {
 public:
  // Throws Error (kData) for too many arguments, unknown names, or less than the first `n_required`
  // of `parameters`. Refers to `args`.
  BoundArgs(std::string_view function, const CallArgs& args,
            std::initializer_list<std::string_view> parameters, size_t n_required = 0);

  // Given, and not None.
  bool has(size_t i) const { return values_[i] != nullptr && !values_[i]->is_none(); }
  // What was given, or undefined.
  const Value& at(size_t i) const { return values_[i] != nullptr ? *values_[i] : missing_; }
  bool flag_or(size_t i, bool fallback) const { return has(i) ? at(i).is_true() : fallback; }
  // Throw Error (kData) for a value of another type.
  int64_t integer_or(size_t i, int64_t fallback) const;
  const TextPtr& text(size_t i) const;

 private:
  std::string_view function_;
  std::vector<const Value*> values_;
  Value missing_;
};

}  // namespace chunkllm::jinja

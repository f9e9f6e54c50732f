#include "text/chat/jinja/builtins/arguments.h"

#include <algorithm>

#include "base/error.h"
#include "base/json.h"

namespace chunkllm::jinja {

BoundArgs::BoundArgs(std::string_view function, const CallArgs& args,
                     std::initializer_list<std::string_view> parameters, size_t n_required)
    : function_(function), values_(parameters.size(), nullptr) {
  if (args.positional.size() > parameters.size()) {
    fail(ErrorCode::kData, "{} takes {} arguments, got {}", function, parameters.size(),
         args.positional.size());
  }
  for (size_t i = 0; i < args.positional.size(); ++i) values_[i] = &args.positional[i];
  for (const auto& [name, value] : args.named) {
    const auto* found = std::ranges::find(parameters, name);
    const auto i = static_cast<size_t>(found - parameters.begin());
    if (found == parameters.end() || values_[i] != nullptr) {
      fail(ErrorCode::kData, "{} cannot take an argument {}", function, show_text(name));
    }
    values_[i] = &value;
  }
  for (size_t i = 0; i < n_required; ++i) {
    if (values_[i] == nullptr) {
      fail(ErrorCode::kData, "{} needs the argument {}", function, *(parameters.begin() + i));
    }
  }
}

int64_t BoundArgs::integer_or(size_t i, int64_t fallback) const {
  if (!has(i)) return fallback;
  if (!at(i).is_integral()) {
    fail(ErrorCode::kData, "{} needs an integer, got a value of type {}", function_,
         at(i).type_name());
  }
  return at(i).integer();
}

const TextPtr& BoundArgs::text(size_t i) const {
  if (at(i).is_undefined()) fail(ErrorCode::kData, "{}: {}", function_, at(i).undefined_text());
  if (!at(i).is_text()) {
    fail(ErrorCode::kData, "{} needs a string, got a value of type {}", function_,
         at(i).type_name());
  }
  return at(i).text();
}

}  // namespace chunkllm::jinja

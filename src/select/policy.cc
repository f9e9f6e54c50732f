#include "select/policy.h"

#include "base/error.h"

namespace chunkllm {
namespace {

constexpr const char kNotSaved[] =
    "a sequence under this policy cannot be saved or loaded; use the policy chunk or full";

}  // namespace

PolicyState SelectionPolicy::state() const { fail(ErrorCode::kUnsupported, kNotSaved); }

void SelectionPolicy::restore(std::span<const int32_t>, const PolicyState&) {
  fail(ErrorCode::kUnsupported, kNotSaved);
}

}  // namespace chunkllm

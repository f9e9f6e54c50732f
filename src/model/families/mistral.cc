// Mistral 7B from version 0.2 on, Mistral Nemo and Small: Llama's layers without biases. The first
// version attends to a sliding window, which is refused.
#include "model/families/families.h"

namespace chunkllm {
namespace {

void configure(const JsonFields& fields, const std::string& where, ModelConfig& config) {
  refuse_sliding_window(fields, where, config);
}

}  // namespace

constexpr Architecture kMistral{.model_type = "mistral", .configure = configure};

}  // namespace chunkllm

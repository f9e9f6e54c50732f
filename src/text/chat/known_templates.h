// Templates of common families, for models whose files have none.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace chunkllm {

struct KnownTemplate {
  std::string_view name;  // as --chat-template takes it
  std::string source;
  std::vector<std::string_view> special_tokens;  // the tokenizer must have them
};

std::span<const KnownTemplate> known_templates();

}  // namespace chunkllm

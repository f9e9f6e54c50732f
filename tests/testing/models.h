// The models that tests run: both are part of the repository.
#pragma once

#include <filesystem>

namespace chunkllm {

// 3 layers of width 64 with random weights; no tokenizer.
inline std::filesystem::path tiny_llama() {
  return CHUNKLLM_SOURCE_DIR "/tests/golden/models/tiny-llama";
}
// The trained demonstration model and adapters trained on it.
inline std::filesystem::path needle_model() { return CHUNKLLM_SOURCE_DIR "/models/needle-6m"; }
inline std::filesystem::path needle_adapter() {
  return CHUNKLLM_SOURCE_DIR "/models/needle-6m-adapter";
}

}  // namespace chunkllm

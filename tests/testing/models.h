// The models that tests run: all are part of the repository.
#pragma once

#include <filesystem>

namespace chunkllm {

// 3 layers of width 64 with random weights; no tokenizer.
inline std::filesystem::path tiny_llama() {
  return CHUNKLLM_SOURCE_DIR "/tests/golden/models/tiny-llama";
}
// 6 layers of width 64 with random weights, of which the third and the sixth attend to everything
// and the others to 20 tokens; no tokenizer.
inline std::filesystem::path tiny_gemma3() {
  return CHUNKLLM_SOURCE_DIR "/tests/golden/models/tiny-gemma3";
}
// The trained demonstration model and adapters trained on it.
inline std::filesystem::path needle_model() { return CHUNKLLM_SOURCE_DIR "/models/needle-6m"; }
inline std::filesystem::path needle_adapter() {
  return CHUNKLLM_SOURCE_DIR "/models/needle-6m-adapter";
}

}  // namespace chunkllm

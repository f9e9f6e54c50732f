// A model's configuration in the metadata of a GGUF file.
#pragma once

#include "formats/gguf.h"
#include "model/config.h"

namespace chunkllm {

// The ids of all tokens that end an answer, where they are more than GGUF's own keys hold.
inline constexpr const char* kAllEndTokens = "chunkllm.eos_token_ids";

// Reads the metadata, and what only the tensors say: biases, tied embeddings, the vocabulary's size
// and divisors of rotary frequencies. Throws Error as read_model_config() does.
ModelConfig read_gguf_config(const GgufFile& file);

// The metadata of a model with this configuration, general.* and the tokenizer's aside. Throws
// Error (kUnsupported) for a model that GGUF has no architecture for.
void write_gguf_config(const ModelConfig& config, GgufMetadata& metadata);

}  // namespace chunkllm

// A model's configuration in the metadata of a GGUF file.
#pragma once

#include <string>

#include "formats/gguf.h"
#include "model/config.h"

namespace chunkllm {

// Reads the metadata, and what only the tensors say: biases, tied embeddings, the vocabulary's size
// and divisors of rotary frequencies. Throws Error as read_model_config() does.
ModelConfig read_gguf_config(const GgufFile& file);

// The metadata of a model with this configuration, general.* and the tokenizer's aside. Returns a
// line about what other programs would not read from the file, or "". Throws Error (kUnsupported)
// for what a GGUF file cannot say.
std::string write_gguf_config(const ModelConfig& config, GgufMetadata& metadata);

}  // namespace chunkllm

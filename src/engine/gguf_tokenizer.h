// The tokenizer and the chat template in the metadata of a GGUF file, read and written.
#pragma once

#include <optional>
#include <string>

#include "formats/gguf.h"
#include "text/tokenizer/files/gguf_vocabulary.h"

namespace chunkllm {

// Nothing where the file has no vocabulary. Throws Error (kData) for values of other types.
std::optional<GgufVocabulary> gguf_vocabulary(const GgufFile& file);

// Nothing where the file has none.
std::optional<std::string> gguf_chat_template(const GgufFile& file);

void write_gguf_vocabulary(const GgufVocabulary& vocabulary,
                           const std::optional<std::string>& chat_template, GgufMetadata& metadata);

}  // namespace chunkllm

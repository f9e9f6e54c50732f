// Added tokens that a folder names outside tokenizer.json.
#pragma once

#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>

namespace chunkllm {

// Appends to `root`, the content of FOLDER/tokenizer.json, whose path is `file`, the added tokens
// that only tokenizer_config.json's added_tokens_decoder or, where it has none, added_tokens.json
// knows, as transformers does. A token of both is special if either says so. Throws Error (kData)
// for fields of wrong types; (kUnsupported) naming a token whose id is not the next one, which
// transformers would number anew.
void merge_added_tokens(const std::filesystem::path& folder, nlohmann::json& root,
                        const std::string& file);

}  // namespace chunkllm

// Tokenizers as GGUF files hold them: lists under the keys tokenizer.ggml.*, and a name for the
// rule that cuts text into pieces.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace chunkllm {

// ggml's types of tokens.
enum class GgufTokenType : int32_t {
  kNormal = 1,
  kUnknown = 2,
  kControl = 3,      // special: found in a text only where markers count
  kUserDefined = 4,  // found in any text
  kUnused = 5,
  kByte = 6,
};

// What the metadata say. Fields are named as their keys.
struct GgufVocabulary {
  std::string file;                  // for messages
  std::string model;                 // "gpt2": BPE over bytes; "llama": SentencePiece
  std::string pre;                   // the rule that cuts text: "llama-bpe", "qwen2", ...
  std::vector<std::string> tokens;   // by id; of gpt2 in the alphabet of byte_level.h
  std::vector<int32_t> token_types;  // GgufTokenType of each token
  std::vector<std::string> merges;   // of gpt2: "a b", lower ranks first
  std::vector<float> scores;         // of llama, by id: tokens of higher scores merge first
  std::optional<int32_t> bos_token_id;
  std::optional<int32_t> eos_token_id;
  std::optional<bool> add_bos_token;     // else as `pre` has it
  std::optional<bool> add_eos_token;     // else not
  std::optional<bool> normalizer_nfc;    // else as `pre` has it
  std::optional<bool> add_space_prefix;  // of llama: texts begin with a space; else they do
};

// The tokenizer of FOLDER/tokenizer.json as a GGUF file has it, padded with unused tokens to
// `n_vocab`. Throws Error as Tokenizer::from_folder does; kUnsupported naming what a GGUF file
// cannot say, so that text would become other tokens; kData for more than `n_vocab` tokens.
GgufVocabulary read_gguf_vocabulary(const std::filesystem::path& folder, int64_t n_vocab);

}  // namespace chunkllm

// What a tokenizer is made of, once its files have been read.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "text/tokenizer/added_tokens.h"
#include "text/tokenizer/bpe.h"
#include "text/tokenizer/files/gguf_vocabulary.h"
#include "text/tokenizer/metaspace.h"
#include "text/tokenizer/normalizer.h"
#include "text/tokenizer/pre_tokenizer.h"
#include "text/tokenizer/token_decoder.h"
#include "text/tokenizer/tokenizer.h"

namespace chunkllm {

enum class TokenKind : uint8_t { kMissing, kOrdinary, kAdded, kSpecial };

struct Token {
  TokenKind kind = TokenKind::kMissing;
  std::string bytes;        // what it decodes to, the begin of a text aside
  uint32_t text_bytes = 0;  // of the normalized text it stands for; 0: the unknown token's vary
};

struct Tokenizer::Tables {
  std::string file;                        // for error messages
  std::vector<Token> tokens;               // by id; ids may have gaps
  AddedTokens added;                       // found first, and once more in the normalized text
  std::vector<NormalizerStep> normalizer;  // what the text between them goes through
  std::optional<Metaspace> metaspace;      // and what that without any added token does
  std::vector<PieceEnd> cuts;              // each inside the pieces of the one before
  WordCutter words;                        // where vocabularies are written in characters
  BpeModel bpe;                            // its keys point into `tokens`
  std::vector<int32_t> prefix;             // what the post-processor puts before the text
  std::vector<int32_t> suffix;             // and after it
  DecodeRules decode_rules;
  std::optional<int32_t> bos_id;
  std::optional<int32_t> eos_id;
};

// Reads FOLDER/tokenizer.json and, where it is there, FOLDER/tokenizer_config.json. Throws as
// Tokenizer::from_folder does.
std::shared_ptr<const Tokenizer::Tables> read_tokenizer_tables(const std::filesystem::path& folder);

// The same of a GGUF file's vocabulary. Throws as Tokenizer::from_gguf does.
std::shared_ptr<const Tokenizer::Tables> read_tokenizer_tables(const GgufVocabulary& vocabulary);

}  // namespace chunkllm

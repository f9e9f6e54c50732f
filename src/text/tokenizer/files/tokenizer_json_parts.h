// The parts of tokenizer.json around the model: normalizer, pre-tokenizer, decoder, post-processor.
#pragma once

#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "text/tokenizer/tokenizer_tables.h"

namespace chunkllm {

// Throws Error (kUnsupported): `what` at `where` in the file is more than the engine can do.
[[noreturn]] void fail_unsupported(const std::string& where, const std::string& what);

// The type that a component of the file names, for messages.
std::string type_of(const nlohmann::json& component);

// Throws Error (kUnsupported) on a field that is none of `names` and not null.
void require_known(const nlohmann::json& object, const std::string& where,
                   std::initializer_list<std::string_view> names);

// The array `name`; throws Error (kData) if it is none.
const nlohmann::json& array_at(const JsonFields& fields, const std::string& where,
                               const char* name);

// The id of the token `name`, an integer from 0 to a limit that keeps tables by id small; throws
// Error (kData) otherwise.
int32_t read_token_id(const nlohmann::json& value, const std::string& where, std::string_view name);

// The tables of a whole tokenizer.json, without what tokenizer_config.json adds. With `scores`, one
// a token, tokens merge as SentencePiece has it, and not by a list of merges. Throws Error (kData,
// kUnsupported).
std::shared_ptr<Tokenizer::Tables> read_tokenizer_tables(const nlohmann::json& root,
                                                         const std::string& where,
                                                         std::span<const float> scores = {});

struct PreTokenizer {
  bool is_byte_level = false;
  std::vector<PieceEnd> cuts;          // only with is_byte_level
  std::optional<Metaspace> metaspace;  // only without
};

// Each takes the root of the file, and `file` for messages.
std::vector<NormalizerStep> read_normalizer(const JsonFields& root, const std::string& file);
PreTokenizer read_pre_tokenizer(const JsonFields& root, const std::string& file);
DecodeRules read_decoder(const JsonFields& root, const std::string& file);

// Fills prefix and suffix of `tables`, whose tokens must be there.
void read_post_processor(const JsonFields& root, const std::string& file,
                         Tokenizer::Tables& tables);

}  // namespace chunkllm

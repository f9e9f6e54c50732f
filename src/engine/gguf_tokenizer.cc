#include "engine/gguf_tokenizer.h"

#include <limits>

namespace chunkllm {
namespace {

constexpr const char* kModel = "tokenizer.ggml.model";
constexpr const char* kPre = "tokenizer.ggml.pre";
constexpr const char* kTokens = "tokenizer.ggml.tokens";
constexpr const char* kTokenTypes = "tokenizer.ggml.token_type";
constexpr const char* kMerges = "tokenizer.ggml.merges";
constexpr const char* kScores = "tokenizer.ggml.scores";
constexpr const char* kBosId = "tokenizer.ggml.bos_token_id";
constexpr const char* kEosId = "tokenizer.ggml.eos_token_id";
constexpr const char* kAddBos = "tokenizer.ggml.add_bos_token";
constexpr const char* kAddEos = "tokenizer.ggml.add_eos_token";
constexpr const char* kSpacePrefix = "tokenizer.ggml.add_space_prefix";
constexpr const char* kNfc = "tokenizer.ggml.normalizer.nfc";
constexpr const char* kChatTemplate = "tokenizer.chat_template";

std::vector<std::string> owned(const std::vector<std::string_view>& list) {
  return {list.begin(), list.end()};
}

std::optional<bool> flag(const GgufFile& file, const char* key) {
  return file.has(key) ? std::optional(file.boolean_or(key, false)) : std::nullopt;
}

std::optional<int32_t> token_id(const GgufFile& file, const char* key) {
  if (!file.has(key)) return std::nullopt;
  return static_cast<int32_t>(file.integer(key, 0, std::numeric_limits<int32_t>::max()));
}

}  // namespace

std::optional<GgufVocabulary> gguf_vocabulary(const GgufFile& file) {
  GgufVocabulary vocabulary;
  vocabulary.file = file.path().string();
  vocabulary.model = file.string_or(kModel, "none");
  if (vocabulary.model == "none") return std::nullopt;
  vocabulary.pre = file.string_or(kPre, "");
  vocabulary.tokens = owned(file.strings(kTokens));
  if (file.has(kTokenTypes)) {
    vocabulary.token_types = file.integers(kTokenTypes);
  } else {
    vocabulary.token_types.assign(vocabulary.tokens.size(),
                                  static_cast<int32_t>(GgufTokenType::kNormal));
  }
  if (file.has(kMerges)) vocabulary.merges = owned(file.strings(kMerges));
  if (file.has(kScores)) vocabulary.scores = file.floats(kScores);
  vocabulary.bos_token_id = token_id(file, kBosId);
  vocabulary.eos_token_id = token_id(file, kEosId);
  vocabulary.add_bos_token = flag(file, kAddBos);
  vocabulary.add_eos_token = flag(file, kAddEos);
  vocabulary.normalizer_nfc = flag(file, kNfc);
  vocabulary.add_space_prefix = flag(file, kSpacePrefix);
  return vocabulary;
}

std::optional<std::string> gguf_chat_template(const GgufFile& file) {
  if (!file.has(kChatTemplate)) return std::nullopt;
  return std::string(file.string(kChatTemplate));
}

void write_gguf_vocabulary(const GgufVocabulary& vocabulary,
                           const std::optional<std::string>& chat_template,
                           GgufMetadata& metadata) {
  metadata.set_string(kModel, vocabulary.model);
  metadata.set_string(kPre, vocabulary.pre);
  metadata.set_strings(kTokens, vocabulary.tokens);
  metadata.set_integers(kTokenTypes, vocabulary.token_types);
  if (vocabulary.scores.empty()) {
    metadata.set_strings(kMerges, vocabulary.merges);
  } else {
    metadata.set_floats(kScores, vocabulary.scores);
  }
  const auto set_id = [&](const char* key, std::optional<int32_t> id) {
    if (id) metadata.set_u32(key, static_cast<uint32_t>(*id));
  };
  const auto set_flag = [&](const char* key, std::optional<bool> value) {
    if (value) metadata.set_bool(key, *value);
  };
  set_id(kBosId, vocabulary.bos_token_id);
  set_id(kEosId, vocabulary.eos_token_id);
  set_flag(kAddBos, vocabulary.add_bos_token);
  set_flag(kAddEos, vocabulary.add_eos_token);
  set_flag(kNfc, vocabulary.normalizer_nfc);
  set_flag(kSpacePrefix, vocabulary.add_space_prefix);
  if (chat_template) metadata.set_string(kChatTemplate, *chat_template);
}

}  // namespace chunkllm

#include "text/tokenizer/files/gguf_vocabulary.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <span>
#include <unordered_map>
#include <utility>

#include "base/error.h"
#include "base/json.h"
#include "text/tokenizer/byte_level.h"
#include "text/tokenizer/files/tokenizer_json_parts.h"
#include "text/tokenizer/metaspace.h"
#include "text/tokenizer/tokenizer_tables.h"
#include "text/utf8.h"

namespace chunkllm {
namespace {

using nlohmann::json;

// A name of `pre`, and what llama.cpp does for it.
struct PieceRule {
  std::string_view name;
  std::vector<PieceEnd> cuts;
  bool ignore_merges = false;
  bool add_bos = false;
  bool nfc = false;  // what the tokenizers of these models do; llama.cpp leaves text as it is
};

const std::vector<PieceRule>& piece_rules() {
  static const std::vector<PieceRule> rules = {
      {.name = "llama-bpe", .cuts = {llama3_piece_end}, .ignore_merges = true, .add_bos = true},
      {.name = "dbrx", .cuts = {llama3_piece_end}},
      {.name = "qwen2", .cuts = {qwen2_piece_end}, .nfc = true},
      {.name = "smollm", .cuts = {single_digit_piece_end, gpt2_piece_end}},
      {.name = "gpt-2", .cuts = {gpt2_piece_end}},
  };
  return rules;
}

const PieceRule& find_rule(const GgufVocabulary& vocabulary) {
  std::string names;
  for (const PieceRule& rule : piece_rules()) {
    if (rule.name == vocabulary.pre) return rule;
    names += (names.empty() ? "" : ", ") + std::string(rule.name);
  }
  fail(ErrorCode::kUnsupported, "{}: tokenizer.ggml.pre {} is not supported; {} are",
       vocabulary.file, show_text(vocabulary.pre), names);
}

json pre_tokenizer_of(const PieceRule& rule) {
  const auto split = [](std::string_view regex) {
    return json{{"type", "Split"},
                {"pattern", {{"Regex", regex}}},
                {"behavior", "Isolated"},
                {"invert", false}};
  };
  json parts = json::array();
  for (const PieceEnd cut : rule.cuts) {
    if (cut == single_digit_piece_end) {
      parts.push_back({{"type", "Digits"}, {"individual_digits", true}});
    } else {
      parts.push_back(split(cut == llama3_piece_end  ? kLlama3Regex
                            : cut == qwen2_piece_end ? kQwen2Regex
                                                     : kGpt2Regex));
    }
  }
  parts.push_back({{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}});
  return {{"type", "Sequence"}, {"pretokenizers", parts}};
}

[[noreturn]] void fail_vocabulary(const GgufVocabulary& vocabulary, const std::string& what) {
  fail(ErrorCode::kData, "{}: {}; convert the model again", vocabulary.file, what);
}

void require_text(const GgufVocabulary& vocabulary, const char* key,
                  const std::vector<std::string>& list) {
  for (size_t i = 0; i < list.size(); ++i) {
    if (find_invalid_utf8(list[i])) {
      fail_vocabulary(vocabulary, fmt::format("{}[{}] is not valid UTF-8", key, i));
    }
  }
}

GgufTokenType type_of_token(const GgufVocabulary& vocabulary, size_t id) {
  const int32_t type = vocabulary.token_types[id];
  if (type < 1 || type > 6) {
    fail_vocabulary(vocabulary, fmt::format("tokenizer.ggml.token_type[{}] is {}", id, type));
  }
  return GgufTokenType{type};
}

// The tokens of a text's begin or end, as tokenizer.json has them.
json special_piece(const GgufVocabulary& vocabulary, const char* key, std::optional<int32_t> id) {
  if (!id) {
    fail_vocabulary(vocabulary,
                    fmt::format("texts are to have a token that {} does not name", key));
  }
  if (*id < 0 || static_cast<size_t>(*id) >= vocabulary.tokens.size()) {
    fail_vocabulary(vocabulary, fmt::format("{} is {}, which no token has", key, *id));
  }
  return {{"SpecialToken", {{"id", vocabulary.tokens[static_cast<size_t>(*id)]}, {"type_id", 0}}}};
}

// `bos_by_default`: where the file does not say.
json post_processor_of(const GgufVocabulary& vocabulary, bool bos_by_default) {
  const bool add_bos = vocabulary.add_bos_token.value_or(bos_by_default && vocabulary.bos_token_id);
  const bool add_eos = vocabulary.add_eos_token.value_or(false);
  if (!add_bos && !add_eos) return nullptr;
  json single = json::array();
  json specials = json::object();
  const auto add = [&](const char* key, std::optional<int32_t> id) {
    single.push_back(special_piece(vocabulary, key, id));
    const std::string& text = vocabulary.tokens[static_cast<size_t>(*id)];
    specials[text] = {{"id", text}, {"ids", {static_cast<uint32_t>(*id)}}, {"tokens", {text}}};
  };
  if (add_bos) add("tokenizer.ggml.bos_token_id", vocabulary.bos_token_id);
  single.push_back({{"Sequence", {{"id", "A"}, {"type_id", 0}}}});
  if (add_eos) add("tokenizer.ggml.eos_token_id", vocabulary.eos_token_id);
  return {{"type", "TemplateProcessing"}, {"single", single}, {"special_tokens", specials}};
}

// The rule of `pre` that cuts text as these tables do, the first if several do.
const PieceRule& rule_of(const Tokenizer::Tables& tables) {
  for (const PieceRule& rule : piece_rules()) {
    if (rule.cuts == tables.cuts) return rule;
  }
  fail_unsupported(tables.file, "a pre_tokenizer that GGUF files have no name for");
}

// Whether the merges alone make every token that can be a piece of text: then ignore_merges changes
// nothing.
bool merges_reach_all_tokens(const Tokenizer::Tables& tables) {
  for (size_t id = 0; id < tables.tokens.size(); ++id) {
    const Token& token = tables.tokens[id];
    if (token.kind != TokenKind::kOrdinary || token.bytes.empty() ||
        find_invalid_utf8(token.bytes)) {
      continue;
    }
    std::vector<int32_t> ids;
    for (const char byte : token.bytes) {
      ids.push_back(tables.bpe.byte_ids[static_cast<uint8_t>(byte)]);
    }
    if (std::ranges::find(ids, BpeModel::kNoId) == ids.end()) merge_by_heap(tables.bpe.merges, ids);
    const bool is_reached = ids.size() == 1 && ids[0] == static_cast<int32_t>(id);
    if (!is_reached && tables.cuts.back()(token.bytes, 0) == token.bytes.size()) return false;
  }
  return true;
}

// Llama 3's expression has a name of its own for each value of ignore_merges; the others go
// without.
std::string name_of_rule(const Tokenizer::Tables& tables, bool ignore_merges) {
  const PieceRule& rule = rule_of(tables);
  if (rule.ignore_merges == ignore_merges || merges_reach_all_tokens(tables)) {
    return std::string(rule.name);
  }
  if (rule.ignore_merges) return "dbrx";
  fail_unsupported(tables.file, "model.ignore_merges with this pre_tokenizer in a GGUF file");
}

void check_added_tokens(const Tokenizer::Tables& tables) {
  for (const AddedToken& token : tables.added.tokens()) {
    if (token.lstrip || token.rstrip || token.single_word || token.pattern != token.content) {
      fail_unsupported(tables.file, "the added token " + show_text(token.content) +
                                        " with lstrip, rstrip, single_word or normalized in a GGUF "
                                        "file");
    }
  }
}

bool has_nfc(const Tokenizer::Tables& tables) {
  if (tables.normalizer.empty()) return false;
  const bool only_nfc =
      tables.normalizer.size() == 1 && std::holds_alternative<NfcStep>(tables.normalizer.front());
  if (!only_nfc) fail_unsupported(tables.file, "this normalizer in a GGUF file");
  return true;
}

// Whether the post-processor adds a token at one end of a text. It is then the one that `id` names,
// or becomes it.
bool adds_token(const Tokenizer::Tables& tables, const std::vector<int32_t>& ids,
                std::optional<int32_t>& id) {
  if (ids.empty()) return false;
  if (ids.size() > 1 || id.value_or(ids.front()) != ids.front()) {
    fail_unsupported(tables.file,
                     "a post_processor that adds more than BOS and EOS in a GGUF file");
  }
  id = ids.front();
  return true;
}

std::vector<std::string> merge_list(const json& model, const std::string& where) {
  std::vector<std::string> list;
  for (const json& merge : array_at(JsonFields(model, where), where, "merges")) {
    list.push_back(merge.is_string()
                       ? merge.get<std::string>()
                       : merge[0].get<std::string>() + " " + merge[1].get<std::string>());
    if (std::ranges::count(list.back(), ' ') != 1) {
      fail_unsupported(where, "a merge of a token with a space in a GGUF file");
    }
  }
  return list;
}

// Whether a text begins with a mark. The normalizer must be that of sentencepiece_parts().
bool has_space_prefix(const Tokenizer::Tables& tables) {
  const auto& steps = tables.normalizer;
  const bool prefix = !steps.empty() && std::holds_alternative<PrependStep>(steps.front());
  const auto* replace =
      steps.size() == (prefix ? 2 : 1) ? std::get_if<ReplaceStep>(&steps.back()) : nullptr;
  const bool is_known = replace != nullptr && replace->from == " " &&
                        replace->to == kMetaspaceMark && !tables.metaspace &&
                        (!prefix || std::get<PrependStep>(steps.front()).text == kMetaspaceMark) &&
                        tables.bpe.chars && tables.bpe.chars->byte_ids;
  if (!is_known) {
    fail_unsupported(tables.file,
                     "a tokenizer with neither ByteLevel nor the normalizer and bytes "
                     "of SentencePiece in a GGUF file");
  }
  return prefix;
}

// Scores under which SentencePiece merges tokens as these tables do: by the rank of the merges that
// make a token. All ways to make it must be merges, and all of them before the next token's.
std::vector<float> scores_of(const Tokenizer::Tables& tables, const GgufVocabulary& vocabulary) {
  const MergeTable& merges = tables.bpe.merges;
  const auto is_normal = [&](int32_t id) {
    return vocabulary.token_types[static_cast<size_t>(id)] ==
           static_cast<int32_t>(GgufTokenType::kNormal);
  };
  std::unordered_map<std::string_view, int32_t> ids;
  for (size_t id = 0; id < vocabulary.tokens.size(); ++id) {
    if (is_normal(static_cast<int32_t>(id))) {
      ids.emplace(vocabulary.tokens[id], static_cast<int32_t>(id));
    }
  }
  const auto refuse = [&](std::string_view text) {
    fail_unsupported(tables.file, "a list of merges that is not SentencePiece's (at the token " +
                                      show_text(text) + ") in a GGUF file");
  };
  struct Ranks {
    uint32_t first, last;
    std::string_view text;
  };
  std::vector<Ranks> made;
  std::vector<float> scores(vocabulary.tokens.size(), -1000.0f);
  for (const auto& [text, id] : ids) {
    Ranks ranks{MergeTable::kNoRank, 0, text};
    for (size_t at = 1; at < text.size(); ++at) {
      const auto left = ids.find(text.substr(0, at));
      const auto right = ids.find(text.substr(at));
      if (left == ids.end() || right == ids.end()) continue;
      const uint32_t rank = merges.rank(left->second, right->second);
      if (rank == MergeTable::kNoRank || merges.merged(rank) != id) refuse(text);
      ranks.first = std::min(ranks.first, rank);
      ranks.last = std::max(ranks.last, rank);
    }
    const bool is_made = ranks.first != MergeTable::kNoRank;
    if (is_made) made.push_back(ranks);
    scores[static_cast<size_t>(id)] =
        -static_cast<float>(is_made ? ranks.first : merges.size() + id);
  }
  std::ranges::sort(made, {}, &Ranks::first);
  for (size_t i = 1; i < made.size(); ++i) {
    if (made[i].first <= made[i - 1].last) refuse(made[i].text);
  }
  return scores;
}

// The parts of a tokenizer.json beside its tokens, for BPE over bytes.
json byte_level_parts(const GgufVocabulary& vocabulary) {
  require_text(vocabulary, "tokenizer.ggml.merges", vocabulary.merges);
  const PieceRule& rule = find_rule(vocabulary);
  json root = {
      {"pre_tokenizer", pre_tokenizer_of(rule)},
      {"post_processor", post_processor_of(vocabulary, rule.add_bos)},
      {"decoder", {{"type", "ByteLevel"}}},
      {"model",
       {{"type", "BPE"}, {"ignore_merges", rule.ignore_merges}, {"merges", vocabulary.merges}}}};
  if (vocabulary.normalizer_nfc.value_or(rule.nfc)) root["normalizer"] = {{"type", "NFC"}};
  return root;
}

// The same for SentencePiece: spaces are marks, and a text begins with one where the file has it
// so.
json sentencepiece_parts(const GgufVocabulary& vocabulary) {
  if (vocabulary.scores.size() != vocabulary.tokens.size()) {
    fail_vocabulary(vocabulary, fmt::format("{} tokens have {} scores", vocabulary.tokens.size(),
                                            vocabulary.scores.size()));
  }
  if (!std::ranges::all_of(vocabulary.scores, [](float score) { return std::isfinite(score); })) {
    fail_vocabulary(vocabulary, "tokenizer.ggml.scores has a value that is not finite");
  }
  const bool prefix = vocabulary.add_space_prefix.value_or(true);
  const auto replace = [](std::string_view from, std::string_view to) {
    return json{{"type", "Replace"}, {"pattern", {{"String", from}}}, {"content", to}};
  };
  json normalizers = json::array();
  if (prefix) normalizers.push_back({{"type", "Prepend"}, {"prepend", kMetaspaceMark}});
  normalizers.push_back(replace(" ", kMetaspaceMark));
  json decoders = {replace(kMetaspaceMark, " "), {{"type", "ByteFallback"}}, {{"type", "Fuse"}}};
  if (prefix) {
    decoders.push_back({{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}});
  }
  return {{"normalizer", {{"type", "Sequence"}, {"normalizers", normalizers}}},
          {"post_processor", post_processor_of(vocabulary, true)},
          {"decoder", {{"type", "Sequence"}, {"decoders", decoders}}},
          {"model", {{"type", "BPE"}, {"byte_fallback", true}}}};
}

}  // namespace

std::shared_ptr<const Tokenizer::Tables> read_tokenizer_tables(const GgufVocabulary& vocabulary) {
  const bool by_score = vocabulary.model == "llama";
  if (!by_score && vocabulary.model != "gpt2") {
    fail(ErrorCode::kUnsupported,
         "{}: tokenizer.ggml.model {} is not supported; gpt2, BPE over bytes, and llama, "
         "SentencePiece, are",
         vocabulary.file, show_text(vocabulary.model));
  }
  if (vocabulary.token_types.size() != vocabulary.tokens.size()) {
    fail_vocabulary(vocabulary, fmt::format("{} tokens have {} types", vocabulary.tokens.size(),
                                            vocabulary.token_types.size()));
  }
  require_text(vocabulary, "tokenizer.ggml.tokens", vocabulary.tokens);
  json root = by_score ? sentencepiece_parts(vocabulary) : byte_level_parts(vocabulary);

  json vocab = json::object();
  json added = json::array();
  for (size_t id = 0; id < vocabulary.tokens.size(); ++id) {
    const std::string& text = vocabulary.tokens[id];
    const GgufTokenType type = type_of_token(vocabulary, id);
    if (type == GgufTokenType::kUnused) continue;
    if (type == GgufTokenType::kNormal || type == GgufTokenType::kByte) {
      if (!vocab.emplace(text, id).second) {
        fail_vocabulary(vocabulary, fmt::format("two tokens are {}", show_text(text)));
      }
    } else {
      added.push_back(
          {{"id", id}, {"content", text}, {"special", type != GgufTokenType::kUserDefined}});
    }
  }
  root["added_tokens"] = std::move(added);
  root["model"]["vocab"] = std::move(vocab);
  const auto tables = read_tokenizer_tables(
      root, vocabulary.file + ": tokenizer",
      by_score ? std::span<const float>(vocabulary.scores) : std::span<const float>());
  const auto named = [&](std::optional<int32_t> id) {
    const bool is_token = id && *id >= 0 && static_cast<size_t>(*id) < tables->tokens.size() &&
                          tables->tokens[static_cast<size_t>(*id)].kind != TokenKind::kMissing;
    return is_token ? id : std::nullopt;
  };
  tables->bos_id = named(vocabulary.bos_token_id);
  tables->eos_id = named(vocabulary.eos_token_id);
  return tables;
}

GgufVocabulary read_gguf_vocabulary(const std::filesystem::path& folder, int64_t n_vocab) {
  const std::shared_ptr<const Tokenizer::Tables> tables = read_tokenizer_tables(folder);
  const json root = read_json_file(folder / "tokenizer.json");
  const json& model = root.at("model");
  const bool by_score = !tables->decode_rules.byte_level;
  check_added_tokens(*tables);

  GgufVocabulary vocabulary;
  vocabulary.file = tables->file;
  if (by_score) {
    vocabulary.model = "llama";
    vocabulary.pre = "default";
    vocabulary.add_space_prefix = has_space_prefix(*tables);
  } else {
    vocabulary.model = "gpt2";
    vocabulary.pre = name_of_rule(*tables, !tables->bpe.whole_pieces.empty());
    vocabulary.merges = merge_list(model, tables->file + ": model");
    vocabulary.normalizer_nfc = has_nfc(*tables);
  }
  vocabulary.bos_token_id = tables->bos_id;
  vocabulary.eos_token_id = tables->eos_id;
  vocabulary.add_bos_token = adds_token(*tables, tables->prefix, vocabulary.bos_token_id);
  vocabulary.add_eos_token = adds_token(*tables, tables->suffix, vocabulary.eos_token_id);

  const auto size = static_cast<size_t>(n_vocab);
  if (tables->tokens.size() > size) {
    fail(ErrorCode::kData,
         "{} has {} tokens, and the model's vocabulary {}; check that they belong "
         "together",
         tables->file, tables->tokens.size(), n_vocab);
  }
  for (size_t id = 0; id < size; ++id) vocabulary.tokens.push_back(fmt::format("[PAD{}]", id));
  vocabulary.token_types.assign(size, static_cast<int32_t>(GgufTokenType::kUnused));
  const auto place = [&](size_t id, const std::string& text, GgufTokenType type) {
    vocabulary.tokens[id] = text;
    vocabulary.token_types[id] = static_cast<int32_t>(type);
  };
  for (const auto& [text, id] : model.at("vocab").items()) {
    const bool is_byte = by_score && byte_of_name(text);
    place(id.get<size_t>(), text, is_byte ? GgufTokenType::kByte : GgufTokenType::kNormal);
  }
  for (const AddedToken& token : tables->added.tokens()) {
    // Text with marks never has them before spaces become marks: such a token is made by merges.
    const bool is_made = by_score && token.content.find(kMetaspaceMark) != std::string::npos;
    if (is_made && !token.is_special) continue;
    place(static_cast<size_t>(token.id), token.content,
          token.is_special ? GgufTokenType::kControl : GgufTokenType::kUserDefined);
  }
  if (by_score) vocabulary.scores = scores_of(*tables, vocabulary);
  return vocabulary;
}

}  // namespace chunkllm

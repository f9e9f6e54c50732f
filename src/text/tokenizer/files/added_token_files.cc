#include "text/tokenizer/files/added_token_files.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <set>
#include <system_error>
#include <utility>

#include "base/error.h"
#include "base/json.h"
#include "text/tokenizer/files/tokenizer_json_parts.h"

namespace chunkllm {
namespace {

using nlohmann::json;

// By id.
using TokenList = std::map<int32_t, json>;

json read_if_there(const std::filesystem::path& path) {
  std::error_code error;
  if (!std::filesystem::exists(path, error)) return json::object();
  json object = read_json_file(path);
  const JsonFields check(object, path.string());
  return object;
}

int32_t id_of_key(const std::string& key, const std::string& where) {
  int32_t id = 0;
  const char* end = key.data() + key.size();
  const auto [stop, error] = std::from_chars(key.data(), end, id);
  if (error != std::errc() || stop != end || id < 0) {
    fail(ErrorCode::kData, "{}: {} is no token id", where, show_text(key));
  }
  return read_token_id(static_cast<uint32_t>(id), where, key);
}

// {"32000": {"content": "<|im_start|>", "special": true, ...}}
TokenList read_decoder_list(const json& config, const std::string& file) {
  const std::string where = file + ": added_tokens_decoder";
  TokenList tokens;
  const json& list = config.at("added_tokens_decoder");
  const JsonFields check(list, where);
  for (const auto& [key, value] : list.items()) {
    const JsonFields fields(value, where + "." + key);
    json token = {{"content", fields.string("content")}};
    for (const char* flag : {"single_word", "lstrip", "rstrip", "normalized", "special"}) {
      token[flag] = fields.boolean_or(flag, false);
    }
    tokens.emplace(id_of_key(key, where), std::move(token));
  }
  return tokens;
}

void add_contents(const json& value, std::set<std::string>& contents) {
  if (value.is_string()) contents.insert(value.get<std::string>());
  if (value.is_array()) {
    for (const json& entry : value) add_contents(entry, contents);
  }
  if (value.is_object() && value.contains("content")) add_contents(value.at("content"), contents);
}

// {"<|im_start|>": 32000}, of files from before added_tokens_decoder.
TokenList read_id_list(const json& list, const std::string& file, const json& config,
                       const json& special_map) {
  std::set<std::string> specials;
  for (const json* object : {&config, &special_map}) {
    for (const char* name : {"bos_token", "eos_token", "unk_token", "sep_token", "pad_token",
                             "cls_token", "mask_token", "additional_special_tokens"}) {
      if (object->contains(name)) add_contents(object->at(name), specials);
    }
  }
  TokenList tokens;
  for (const auto& [content, id] : list.items()) {
    const bool is_special = specials.contains(content);
    json token = {{"content", content}, {"special", is_special}, {"normalized", !is_special}};
    if (!tokens.emplace(read_token_id(id, file, content), std::move(token)).second) {
      fail(ErrorCode::kData, "{}: two tokens have the id {}", file, id.dump());
    }
  }
  return tokens;
}

class Merger {
 public:
  Merger(json& root, const std::string& file) : file_(file) {
    const json& vocab =
        JsonFields(JsonFields(root, file).at("model"), file + ": model").at("vocab");
    if (vocab.is_object()) vocab_ = &vocab;
    next_id_ = static_cast<int64_t>(vocab.size());
    json& added = root["added_tokens"];
    if (added.is_null()) added = json::array();
    added_ = &added;
    for (json& token : added) {
      if (!token.is_object() || !token.contains("content") || !token["content"].is_string())
        continue;
      known_.emplace(token["content"].get<std::string>(), &token);
      if (token.contains("id") && token["id"].is_number_unsigned())
        pass(token["id"].get<int64_t>());
    }
  }

  void add(const TokenList& tokens) {
    std::vector<json> more;
    for (const auto& [id, token] : tokens) {
      const auto content = token.at("content").get<std::string>();
      if (const auto known = known_.find(content); known != known_.end()) {
        if (token.at("special") == true) (*known->second)["special"] = true;
        continue;
      }
      const bool is_in_vocab = vocab_ != nullptr && vocab_->contains(content);
      const json expected = is_in_vocab ? vocab_->at(content) : json(next_id_);
      if (expected != json(id)) {
        fail_unsupported(file_, fmt::format("the added token {} with the id {}, where {} is due,",
                                            show_text(content), id, expected.dump()));
      }
      if (!is_in_vocab) pass(id);
      more.push_back(token);
      more.back()["id"] = static_cast<uint32_t>(id);
    }
    for (json& token : more) added_->push_back(std::move(token));
  }

 private:
  void pass(int64_t id) { next_id_ = std::max(next_id_, id + 1); }

  const std::string& file_;
  const json* vocab_ = nullptr;
  json* added_ = nullptr;
  std::map<std::string, json*> known_;
  int64_t next_id_ = 0;  // of a token that has none
};

}  // namespace

void merge_added_tokens(const std::filesystem::path& folder, json& root, const std::string& file) {
  const std::filesystem::path config_path = folder / "tokenizer_config.json";
  const std::filesystem::path list_path = folder / "added_tokens.json";
  const json config = read_if_there(config_path);
  if (config.contains("added_tokens_decoder") && !config.at("added_tokens_decoder").is_null()) {
    const TokenList tokens = read_decoder_list(config, config_path.string());
    Merger(root, file).add(tokens);
    return;
  }
  const json list = read_if_there(list_path);
  if (list.empty()) return;
  const json specials = read_if_there(folder / "special_tokens_map.json");
  const TokenList tokens = read_id_list(list, list_path.string(), config, specials);
  Merger(root, file).add(tokens);
}

}  // namespace chunkllm

// A tokenizer small enough to reckon by hand, written as files in a folder of its own.
#pragma once

#include <fmt/core.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "text/tokenizer/byte_level.h"
#include "text/tokenizer/pre_tokenizer.h"
#include "text/tokenizer/tokenizer.h"

namespace chunkllm {

// A folder that goes when the object does.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "text_test_XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) throw std::runtime_error("no temporary folder");
    path_ = name;
  }
  ~TemporaryFolder() {
    std::error_code error;
    std::filesystem::remove_all(path_, error);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }
  void write(const std::string& name, const std::string& content) const {
    std::ofstream(path_ / name, std::ios::binary) << content;
  }

 private:
  std::filesystem::path path_;
};

// Ids 0 to 255 are the bytes; then what the merges make, in their order; then the added tokens.
inline constexpr int32_t kFirstMerged = 256;

inline nlohmann::json added_token(int32_t id, const std::string& content, bool special = true) {
  return {{"id", id},        {"content", content},  {"single_word", false}, {"lstrip", false},
          {"rstrip", false}, {"normalized", false}, {"special", special}};
}

// Merges: h e, l l, he ll, hell o, Ġ w (258 "hell", 259 "hello", 260 " w"); added tokens from 261
// on.
inline nlohmann::json small_tokenizer_json() {
  using nlohmann::json;
  json vocab = json::object();
  for (int byte = 0; byte < 256; ++byte) vocab[byte_symbol_utf8(static_cast<uint8_t>(byte))] = byte;
  const std::vector<std::pair<std::string, std::string>> merges = {
      {"h", "e"}, {"l", "l"}, {"he", "ll"}, {"hell", "o"}, {"Ġ", "w"}};
  json merge_list = json::array();
  int32_t id = kFirstMerged;
  for (const auto& [left, right] : merges) {
    vocab[left + right] = id++;
    merge_list.push_back(left + " " + right);
  }
  const std::string bos = "<|begin_of_text|>";
  json added = json::array();
  for (const char* content : {"<|begin_of_text|>", "<|user|>", "<|assistant|>", "<|end_of_turn|>",
                              "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"}) {
    added.push_back(added_token(id++, content));
  }
  added.push_back(added_token(id++, "<tool>", false));
  const int32_t bos_id = added[0]["id"];
  return {{"version", "1.0"},
          {"truncation", nullptr},
          {"padding", nullptr},
          {"added_tokens", added},
          {"normalizer", nullptr},
          {"pre_tokenizer",
           {{"type", "Sequence"},
            {"pretokenizers",
             {{{"type", "Split"},
               {"pattern", {{"Regex", kLlama3Regex}}},
               {"behavior", "Isolated"},
               {"invert", false}},
              {{"type", "ByteLevel"},
               {"add_prefix_space", false},
               {"trim_offsets", true},
               {"use_regex", false}}}}}},
          {"post_processor",
           {{"type", "TemplateProcessing"},
            {"single",
             {{{"SpecialToken", {{"id", bos}, {"type_id", 0}}}},
              {{"Sequence", {{"id", "A"}, {"type_id", 0}}}}}},
            {"pair", json::array()},
            {"special_tokens", {{bos, {{"id", bos}, {"ids", {bos_id}}, {"tokens", {bos}}}}}}}},
          {"decoder", {{"type", "ByteLevel"}}},
          {"model",
           {{"type", "BPE"},
            {"dropout", nullptr},
            {"unk_token", nullptr},
            {"ignore_merges", false},
            {"vocab", vocab},
            {"merges", merge_list}}}};
}

// As Llama 2 ships it. Ids: <unk> 0, <s> 1, </s> 2, the bytes from 3 on, from 259 on the characters
// "\u2581", h, e, l, o, w, d, then the merges: 266 he, 267 ll, 268 hell, 269 hello, 270
// "\u2581hello", 271 "\u2581\u2581".
inline nlohmann::json small_sentencepiece_json() {
  using nlohmann::json;
  json vocab = {{"<unk>", 0}, {"<s>", 1}, {"</s>", 2}};
  int32_t id = 3;
  for (int byte = 0; byte < 256; ++byte) vocab[fmt::format("<0x{:02X}>", byte)] = id++;
  for (const char* c : {"\u2581", "h", "e", "l", "o", "w", "d"}) vocab[c] = id++;
  json merges = json::array();
  for (const auto& [left, right] :
       std::vector<std::pair<std::string, std::string>>{{"h", "e"},
                                                        {"l", "l"},
                                                        {"he", "ll"},
                                                        {"hell", "o"},
                                                        {"\u2581", "hello"},
                                                        {"\u2581", "\u2581"}}) {
    vocab[left + right] = id++;
    merges.push_back({left, right});
  }
  const json replace_spaces = {
      {"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", "\u2581"}};
  const json replace_marks = {
      {"type", "Replace"}, {"pattern", {{"String", "\u2581"}}}, {"content", " "}};
  const json strip = {{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}};
  return {
      {"version", "1.0"},
      {"added_tokens", {added_token(0, "<unk>"), added_token(1, "<s>"), added_token(2, "</s>")}},
      {"normalizer",
       {{"type", "Sequence"},
        {"normalizers", {{{"type", "Prepend"}, {"prepend", "\u2581"}}, replace_spaces}}}},
      {"pre_tokenizer", nullptr},
      {"post_processor", nullptr},
      {"decoder",
       {{"type", "Sequence"},
        {"decoders", {replace_marks, {{"type", "ByteFallback"}}, {{"type", "Fuse"}}, strip}}}},
      {"model",
       {{"type", "BPE"},
        {"unk_token", "<unk>"},
        {"fuse_unk", true},
        {"byte_fallback", true},
        {"vocab", vocab},
        {"merges", merges}}}};
}

inline Tokenizer make_tokenizer(const nlohmann::json& json) {
  const TemporaryFolder folder;
  folder.write("tokenizer.json", json.dump());
  return Tokenizer::from_folder(folder.path());
}

inline Tokenizer small_tokenizer() { return make_tokenizer(small_tokenizer_json()); }

}  // namespace chunkllm

// Many prompts from one file, their results line by line in another.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "base/file_descriptor.h"
#include "engine/prompt.h"

namespace chunkllm::cli {

struct BatchItem {
  nlohmann::json id;  // a string or an integer, or null: none given
  Prompt prompt;
  int64_t line = 0;  // of the input, from 1
};

// How the two kinds of lines become prompts.
struct BatchPrompts {
  std::function<Prompt(const std::string& text)> text;
  std::function<Prompt(const std::vector<ChatMessage>& messages)> messages;
};

// Reads {"prompt": TEXT} or {"messages": [...]}, with or without "id", from each line. Throws Error
// (kIo, kData) naming file and line for the first line that cannot be used.
std::vector<BatchItem> read_batch(const std::filesystem::path& path, const BatchPrompts& prompts);

// The file of results: one whole line for each prompt done, in order. The first line says under
// "settings" how all were made, each under "prompt_digest" of which prompt it is. One thread at a
// time.
class BatchOutput {
 public:
  // Opens the file, or makes it. One that an earlier run on the same items with the same settings
  // left is kept, but for a last line without an end. Throws Error (kData) that names what differs,
  // and changes nothing, for a file that is no such run's, (kIo).
  BatchOutput(const std::filesystem::path& path, const std::vector<BatchItem>& items,
              nlohmann::ordered_json settings);

  // Items whose results are in the file.
  size_t n_done() const { return n_done_; }
  // The policy of the results in the file; empty if there are none.
  const std::string& policy() const { return policy_; }
  // Appends the result of item n_done(): the line is there whole or not at all. Throws Error (kIo).
  void append(const nlohmann::ordered_json& result);

 private:
  [[noreturn]] void fail_write(const char* what) const;
  // Reads the results that are there, whole lines of `text`. Throws Error (kData).
  void check_results(std::string_view text);

  std::string path_;
  const std::vector<BatchItem>& items_;
  nlohmann::ordered_json settings_;
  std::string policy_;
  FileDescriptor file_;
  size_t n_done_ = 0;
  int64_t size_bytes_ = 0;  // of the whole lines
};

}  // namespace chunkllm::cli

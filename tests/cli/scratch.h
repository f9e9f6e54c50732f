// Models, adapters and data of one test, with something wrong where a test wants it.
#pragma once

#include <gtest/gtest.h>

#include <bit>
#include <cstring>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>

#include "testing/models.h"
#include "testing/temp_folder.h"

namespace chunkllm {

// A text with a fact that the demonstration model can be asked for.
inline constexpr const char* kFact =
    "The river was quiet that day. The secret code of Alice is 48213.";
inline constexpr const char* kQuestion = "What is the secret code of Alice?";

// A safetensors file taken apart.
struct TensorFile {
  nlohmann::ordered_json header;
  std::string data;

  static TensorFile read(const std::filesystem::path& path) {
    const std::string bytes = read_text(path);
    uint64_t n_header = 0;
    std::memcpy(&n_header, bytes.data(), sizeof n_header);
    return {nlohmann::ordered_json::parse(bytes.substr(8, n_header)), bytes.substr(8 + n_header)};
  }

  void write(const std::filesystem::path& path) const {
    const std::string text = header.dump();
    const uint64_t n_header = text.size();
    std::string bytes(sizeof n_header, '\0');
    std::memcpy(bytes.data(), &n_header, sizeof n_header);
    write_text(path, bytes + text + data);
  }

  // Makes one element of a float tensor NaN.
  void set_nan(const std::string& name, size_t element) {
    const std::string dtype = header.at(name).at("dtype");
    const size_t begin = header.at(name).at("data_offsets").at(0);
    if (dtype == "F32") {
      std::memcpy(&data.at(begin + 4 * element), "\x00\x00\xc0\x7f", 4);
    } else if (dtype == "BF16") {
      std::memcpy(&data.at(begin + 2 * element), "\xc0\x7f", 2);
    } else {
      throw std::runtime_error("no NaN for " + dtype);
    }
  }
};

class Scratch {
 public:
  std::filesystem::path path(std::string_view name) const { return folder_ / name; }
  std::string operator/(std::string_view name) const { return path(name).string(); }

  std::string file(std::string_view name, std::string_view text) const {
    write_text(path(name), text);
    return *this / name;
  }

  // A folder like `source`, all files but `changed` being links to those there; `changed` is
  // missing.
  std::string without(const std::filesystem::path& source, const std::string& changed) const {
    const std::filesystem::path copy = path("copy-of-" + source.filename().string());
    std::filesystem::create_directories(copy);
    for (const auto& entry : std::filesystem::directory_iterator(source)) {
      const std::filesystem::path name = entry.path().filename();
      if (name != changed) std::filesystem::create_symlink(entry.path(), copy / name);
    }
    return copy.string();
  }

  // The same with another text in the file `changed`.
  std::string with_text(const std::filesystem::path& source, const std::string& changed,
                        std::string_view text) const {
    const std::string copy = without(source, changed);
    write_text(std::filesystem::path(copy) / changed, text);
    return copy;
  }

  // The same with only the first `fraction` of the file.
  std::string truncated(const std::filesystem::path& source, const std::string& changed,
                        double fraction = 0.5) const {
    const std::string text = read_text(source / changed);
    const auto n = static_cast<size_t>(fraction * static_cast<double>(text.size()));
    return with_text(source, changed, std::string_view(text).substr(0, n));
  }

  // The same with an edited JSON file.
  std::string with_json(const std::filesystem::path& source, const std::string& changed,
                        const std::function<void(nlohmann::ordered_json&)>& edit) const {
    auto json = nlohmann::ordered_json::parse(read_text(source / changed));
    edit(json);
    return with_text(source, changed, json.dump());
  }

  // The same with an edited safetensors file.
  std::string with_tensors(const std::filesystem::path& source, const std::string& changed,
                           const std::function<void(TensorFile&)>& edit) const {
    TensorFile tensors = TensorFile::read(source / changed);
    edit(tensors);
    const std::string copy = without(source, changed);
    tensors.write(std::filesystem::path(copy) / changed);
    return copy;
  }

 private:
  TempFolder folder_;
};

// Plain sentences, enough of them to train on.
inline std::string training_text(int n_sentences = 300) {
  std::string text;
  for (int i = 0; i < n_sentences; ++i) {
    text += "The old man walked to house number " + std::to_string(i * 7919 % 1000) +
            " and said nothing. ";
  }
  return text;
}

// Arguments of the smallest training there is, `text.txt` being its data and `out` its folder.
inline std::vector<std::string> train_arguments(const Scratch& scratch,
                                                const std::vector<std::string>& more = {},
                                                const std::string& epochs = "1") {
  if (!std::filesystem::exists(scratch.path("text.txt"))) {
    scratch.file("text.txt", training_text());
  }
  std::vector<std::string> arguments{"train",
                                     "--model",
                                     needle_model().string(),
                                     "--data",
                                     scratch / "text.txt",
                                     "--out",
                                     scratch / "out",
                                     "--epochs",
                                     epochs,
                                     "--seq-len",
                                     "512",
                                     "--sequences",
                                     "2",
                                     "--no-trial"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

// What is in a folder and the folders below, by path relative to it.
inline std::vector<std::string> list_files(const std::filesystem::path& folder) {
  std::vector<std::string> names;
  if (!std::filesystem::is_directory(folder)) return names;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    if (!entry.is_directory()) names.push_back(entry.path().lexically_relative(folder).string());
  }
  std::ranges::sort(names);
  return names;
}

}  // namespace chunkllm

// JSON from files that may lie: size and nesting are limited, and every field is read with its
// type.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "base/error.h"

namespace chunkllm {

// `text` as a JSON string in plain ASCII on one line, cut after 80 bytes: how messages show what a
// file or a user said.
std::string show_text(std::string_view text);

// Parses JSON text. `where` names the source in errors, `advice` ends them. Throws Error (kData) on
// anything malformed or nested deeper than 64 levels, on a key that stands twice in one object, on
// anything but white space after the value; Error (kMemory) if the value does not fit into memory.
nlohmann::json parse_json(std::string_view text, const std::string& where,
                          std::string_view advice = kGetFileAgain);

// The same, the members of objects in the order of the text, at most 1024 in one object.
nlohmann::ordered_json parse_ordered_json(std::string_view text, const std::string& where,
                                          std::string_view advice = kGetFileAgain);

// Of a file, where nobody says otherwise.
inline constexpr int64_t kMostJsonBytes = int64_t{1} << 30;

// Read and parse a file of at most `max_bytes`. Throw Error (kIo, kData).
nlohmann::json read_json_file(const std::filesystem::path& path, int64_t max_bytes = kMostJsonBytes,
                              std::string_view advice = kGetFileAgain);
nlohmann::ordered_json read_ordered_json_file(const std::filesystem::path& path,
                                              int64_t max_bytes = kMostJsonBytes,
                                              std::string_view advice = kGetFileAgain);

// The fields of one JSON object, each read with the type and the limits that are expected. Every
// accessor throws Error (kData) naming field and file and, if there is one, ends with the advice. A
// view: `object` and `advice` must outlive it.
class JsonFields {
 public:
  // Throws Error (kData) if `object` is no JSON object.
  JsonFields(const nlohmann::json& object, std::string where, std::string_view advice = {});

  // Whether the field is there and not null.
  bool has(const char* name) const;
  int64_t integer(const char* name, int64_t min, int64_t max) const;
  int64_t integer_or(const char* name, int64_t min, int64_t max, int64_t fallback) const;
  double number(const char* name, double min, double max) const;
  double number_or(const char* name, double min, double max, double fallback) const;
  bool boolean_or(const char* name, bool fallback) const;
  std::string string(const char* name) const;
  std::string string_or(const char* name, const std::string& fallback) const;
  // The value itself; throws if it is missing or null.
  const nlohmann::json& at(const char* name) const;

 private:
  [[noreturn]] void refuse(const std::string& what) const;

  const nlohmann::json& object_;
  std::string where_;
  std::string_view advice_;
};

}  // namespace chunkllm

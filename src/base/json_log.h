// Files of JSON objects, one a line, that long work appends to.
#pragma once

#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/file_descriptor.h"

namespace chunkllm {

// Looks at one record while a log is read. Throws Error if it is none; `where` names its line. Says
// whether the record stays.
using CheckRecord = std::function<bool(const nlohmann::json& record, const std::string& where)>;

// Appends records to a file. Each line is handed to the operating system as it is written, so that
// a killed run loses none. Owns the file. One thread at a time.
class JsonLog {
 public:
  // Without `goes_on` the file begins empty. With it, records that `stays` refuses and a line that
  // a crash cut short are removed first (the old file is replaced atomically, or not at all), and
  // the log goes on behind the rest; a missing file begins empty. Throws Error: kIo, also while
  // another log writes to the file, and kData if another line than the last is no record.
  JsonLog(const std::filesystem::path& path, bool goes_on, const CheckRecord& stays = {});

  // Writes one line, fields in the order given; numbers that are not finite become null. Throws
  // Error (kIo) if writing fails.
  void write(const nlohmann::ordered_json& record);
  const std::filesystem::path& path() const { return path_; }

 private:
  FileDescriptor open() const;

  std::filesystem::path path_;
  FileDescriptor file_;
};

// The records of a log in the order of the file, those that `check` lets stay. A last line that a
// crash cut short is left out. Throws Error: kIo, and kData naming the line if another one is no
// record.
std::vector<nlohmann::json> read_json_log(const std::filesystem::path& path,
                                          const CheckRecord& check = {});

}  // namespace chunkllm

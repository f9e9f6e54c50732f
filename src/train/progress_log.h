// train.jsonl: one JSON object a line, each with the integer field "step".
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

#include "base/json_log.h"

namespace chunkllm {

// Appends records to the log of a training run. Each line is handed to the operating system as it
// is written, so that a killed run loses none. Owns the file. One thread at a time.
class ProgressLog {
 public:
  // Without `resume_step` the file begins empty. With it, records of later steps and a line that a
  // crash cut short are removed first (the old file is replaced atomically, or not at all), and the
  // log goes on behind the rest; a missing file begins empty. Throws Error: kIo, and kData if
  // another line than the last is no record.
  explicit ProgressLog(const std::filesystem::path& path,
                       std::optional<int64_t> resume_step = std::nullopt);

  // Writes one line, fields in the order given; numbers that are not finite become null. Throws
  // Error (kInvalidArgument) if the record is no object with an integer "step", kIo if writing
  // fails.
  void write(const nlohmann::ordered_json& record);

 private:
  JsonLog log_;
};

// The records of a log in the order of the file. A last line that a crash cut short is left out.
// Throws Error: kIo, and kData naming the line if another one is no record.
std::vector<nlohmann::json> read_progress_log(const std::filesystem::path& path);

}  // namespace chunkllm

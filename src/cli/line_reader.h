// Standard input, which Ctrl-C can end the wait for.
#pragma once

#include <optional>
#include <string>

#include "base/cancel.h"

namespace chunkllm::cli {

// One thread at a time; there should be one reader only, because it reads ahead.
class LineReader {
 public:
  explicit LineReader(const CancelToken& cancel) : cancel_(cancel) {}

  // The next line without its end; nothing at the end of the input. Throws Error (kInterrupted)
  // once stopping was requested, (kIo).
  std::optional<std::string> line();
  // All that is left. Throws as above.
  std::string rest();

 private:
  // Appends what there is to buffer_; false at the end of the input.
  bool read_more();

  const CancelToken& cancel_;
  std::string buffer_;
};

}  // namespace chunkllm::cli

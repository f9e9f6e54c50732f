// Ends a text at a stop string, wherever its tokens begin and end.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace chunkllm {

// Takes in a text piece by piece and gives back what can be shown: all before the first stop string
// to be complete (of two that end at the same byte, the longer). What may yet become one is held
// back. The result does not depend on how the text is cut. One thread at a time.
class StopStrings {
 public:
  // Throws Error (kInvalidArgument) for an empty stop string or one that is not valid UTF-8.
  explicit StopStrings(std::vector<std::string> stops);

  // The text that `piece` lets be shown. Nothing more comes once there is a stop().
  std::string push(std::string_view piece);
  // The stop string that ended the text.
  const std::optional<std::string>& stop() const { return stop_; }
  // What was held back, at the end of a text.
  std::string finish();

 private:
  // Bytes at the end of held_ that may be the begin of a stop string.
  size_t n_undecided() const;

  std::vector<std::string> stops_;
  std::string held_;
  std::optional<std::string> stop_;
};

}  // namespace chunkllm

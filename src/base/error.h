// The one exception of the library. Input that cannot be used ends in an Error whose message is one
// line: what is wrong, where, and what to do. The library itself neither prints nor aborts.
#pragma once

#include <fmt/core.h>

#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace chunkllm {

enum class ErrorCode {
  kInvalidArgument,  // an option or argument that cannot be used; the program exits with 2
  kData,             // a file whose content cannot be trusted or does not fit
  kUnsupported,      // well-formed, but more than this engine can do
  kIo,               // the operating system refused to read or write
  kMemory,           // less memory than the work needs
  kInterrupted,      // the user asked to stop; the program exits with 130
};

class Error : public std::runtime_error {
 public:
  Error(ErrorCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
  ErrorCode code() const { return code_; }

 private:
  ErrorCode code_;
};

// What messages advise where a file is not what it should be: of one that came from elsewhere this,
// of one that the program made itself what makes it again.
inline constexpr std::string_view kGetFileAgain = "get the file again";

// Throws an Error with a formatted message.
template <typename... Args>
[[noreturn]] void fail(ErrorCode code, fmt::format_string<Args...> format, Args&&... args) {
  throw Error(code, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace chunkllm

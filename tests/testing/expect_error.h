// Expectations on the one exception of the library: its code, its text, its being one line.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "base/error.h"

namespace chunkllm {

// Runs `action` and expects an Error with `code` whose message has one line and holds `part`.
inline void expect_error(ErrorCode code, const std::string& part,
                         const std::function<void()>& action) {
  try {
    action();
    ADD_FAILURE() << "no error where one with \"" << part << "\" was expected";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    const std::string message = error.what();
    EXPECT_NE(message.find(part), std::string::npos) << message << "\nlacks: " << part;
    EXPECT_EQ(message.find('\n'), std::string::npos) << message;
  }
}

}  // namespace chunkllm

// Disk errors at will: the test program's own calls of write, fsync and rename can be made to fail.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <map>
#include <string>

#include "base/error.h"

namespace chunkllm {

// While it lives, those calls are counted, and call number `at` (from 0; negative: none) fails with
// `error`. A write that fails has written half its bytes. One at a time.
class FailingCalls {
 public:
  FailingCalls(int at, int error);
  ~FailingCalls();
  FailingCalls(const FailingCalls&) = delete;
  FailingCalls& operator=(const FailingCalls&) = delete;

  int n_calls() const;
};

// The files of a folder by name.
inline std::map<std::string, std::string> files_of(const std::filesystem::path& folder) {
  std::map<std::string, std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    std::ifstream file(entry.path(), std::ios::binary);
    files[entry.path().filename()] = {std::istreambuf_iterator<char>(file), {}};
  }
  return files;
}

// Runs `save` once for each of its calls, which fails then, and expects one Error (kIo) of one
// line, or what success leaves, and each file of `folder` whole: as it was or as `save` leaves it.
inline void expect_whole_files(const std::filesystem::path& folder,
                               const std::function<void()>& save) {
  const auto before = files_of(folder);
  int n_calls = 0;
  {
    const FailingCalls none(-1, 0);
    save();
    n_calls = none.n_calls();
  }
  const auto after = files_of(folder);
  ASSERT_NE(before, after) << "the test must see a change";
  ASSERT_GT(n_calls, 2);
  for (int at = 0; at < n_calls; ++at) {
    for (const auto& [name, content] : after) std::filesystem::remove(folder / name);
    for (const auto& [name, content] : before) {
      std::ofstream(folder / name, std::ios::binary) << content;
    }
    bool failed = false;
    try {
      const FailingCalls full_disk(at, at % 2 == 0 ? ENOSPC : EIO);
      save();
    } catch (const Error& error) {
      failed = true;
      EXPECT_EQ(error.code(), ErrorCode::kIo) << error.what();
      EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos) << error.what();
    }
    const auto now = files_of(folder);
    if (!failed) {
      EXPECT_EQ(now, after) << "call " << at << " failed and nobody said so";
    }
    for (const auto& [name, content] : now) {
      const auto old_file = before.find(name);
      const auto new_file = after.find(name);
      EXPECT_TRUE((old_file != before.end() && old_file->second == content) ||
                  (new_file != after.end() && new_file->second == content))
          << name << " is half written, or left behind, after call " << at << " failed";
    }
    for (const auto& [name, content] : before) {
      EXPECT_TRUE(now.contains(name)) << name << " was lost when call " << at << " failed";
    }
  }
}

}  // namespace chunkllm

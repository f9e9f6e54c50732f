// Files that are either the old one or the new one, never half of it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string_view>

#include "base/file_descriptor.h"

namespace chunkllm {

// When a file is on the disk.
enum class Durability {
  kAtOnce,  // before commit() returns
  kInTime,  // when the system writes it: after a crash it may be there in part
};

// Collects a file beside its final path and moves it there in commit(): write, fsync, rename, fsync
// of the folder; with kInTime without fsync. A link to a file stays, and its file is replaced.
// Without commit() the destructor removes what was written. Every failure is an Error (kIo) that
// names the path; folders, devices, pipes and sockets are refused. One thread at a time.
class AtomicFile {
 public:
  explicit AtomicFile(const std::filesystem::path& path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(std::span<const std::byte> bytes);
  void write(std::string_view text);
  void commit(Durability durability = Durability::kAtOnce);

 private:
  [[noreturn]] void fail_write(const char* what) const;

  std::filesystem::path path_;
  std::filesystem::path temporary_;
  FileDescriptor file_;
  size_t slot_ = 0;  // where remove_unfinished_files() finds it
};

// Writes `text` to `path` as one AtomicFile.
void write_file_atomically(const std::filesystem::path& path, std::string_view text);

// Removes what the AtomicFiles of this process have begun to write: for whoever ends the process at
// once. Takes no lock, and is safe in a signal handler.
void remove_unfinished_files() noexcept;

// The name of the file that an AtomicFile was writing under this name; empty if none was.
std::string_view file_of_temporary(std::string_view name);

// Removes from `folder` what AtomicFiles of processes that ended left behind of files whose name
// `is_own` knows; all else, and what a process still writes, stays.
void remove_abandoned_files(const std::filesystem::path& folder,
                            const std::function<bool(std::string_view name)>& is_own);

// Throws Error (kIo) unless a file can be made at `path`, or take the place of the one there. Makes
// none.
void check_writable_file(const std::filesystem::path& path);

// Makes `path` a folder, with its parents, and checks that files can be made in it. Throws Error
// (kIo).
void make_writable_folder(const std::filesystem::path& path);
// Throws Error (kIo) where that one would, but makes no folder.
void check_writable_folder(const std::filesystem::path& path);

}  // namespace chunkllm

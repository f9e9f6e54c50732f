#include "base/atomic_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/error.h"

namespace chunkllm {
namespace {

std::filesystem::path parent_of(const std::filesystem::path& path) {
  return path.has_parent_path() ? path.parent_path() : std::filesystem::path(".");
}

constexpr const char* kProbe = ".probe";

[[noreturn]] void fail_to_make_folder(const std::filesystem::path& path, const std::string& why) {
  fail(ErrorCode::kIo, "cannot make the folder {}: {}; choose another one", path.string(), why);
}

// The file itself where `path` is a link to one: the link stays. Throws Error (kIo) for what is no
// file, since a rename would take its place.
std::filesystem::path file_behind(const std::filesystem::path& path) {
  std::error_code error;
  const std::filesystem::file_status status = std::filesystem::status(path, error);
  if (std::filesystem::is_directory(status)) {
    fail(ErrorCode::kIo, "{} is a folder; name a file", path.string());
  }
  // What nobody may look at is of no known type; opening it says why.
  if (std::filesystem::is_other(status) && status.type() != std::filesystem::file_type::unknown) {
    fail(ErrorCode::kIo, "{} is no regular file, and would be replaced by one; name a file",
         path.string());
  }
  const bool is_link = std::filesystem::is_symlink(path, error);
  return is_link && std::filesystem::is_regular_file(status) ? std::filesystem::canonical(path)
                                                             : path;
}

}  // namespace

AtomicFile::AtomicFile(const std::filesystem::path& path)
    : path_(file_behind(path)), temporary_(path_.string() + fmt::format(".tmp{}", ::getpid())) {
  fd_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd_ < 0) fail_write("create");
}

AtomicFile::~AtomicFile() {
  if (fd_ < 0) return;
  ::close(fd_);
  ::unlink(temporary_.c_str());
}

void AtomicFile::fail_write(const char* what) const {
  fail(ErrorCode::kIo, "cannot {} {}: {}; nothing was changed there", what, path_.string(),
       std::strerror(errno));
}

void AtomicFile::write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd_, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) fail_write("write");
    bytes = bytes.subspan(static_cast<size_t>(n));
  }
}

void AtomicFile::write(std::string_view text) { write(std::as_bytes(std::span(text))); }

void AtomicFile::commit() {
  if (::fsync(fd_) != 0) fail_write("write");
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) fail_write("replace");
  ::close(fd_);
  fd_ = -1;
  const int folder = ::open(parent_of(path_).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder >= 0) {
    ::fsync(folder);
    ::close(folder);
  }
}

void write_file_atomically(const std::filesystem::path& path, std::string_view text) {
  AtomicFile file(path);
  file.write(text);
  file.commit();
}

void check_writable_file(const std::filesystem::path& path) { const AtomicFile probe(path); }

void make_writable_folder(const std::filesystem::path& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (error || !std::filesystem::is_directory(path)) {
    fail_to_make_folder(path, error ? error.message() : std::string("it is a file"));
  }
  check_writable_file(path / kProbe);
}

void check_writable_folder(const std::filesystem::path& path) {
  std::error_code error;
  std::filesystem::path there = std::filesystem::absolute(path, error).lexically_normal();
  if (error) fail_to_make_folder(path, error.message());
  while (!std::filesystem::exists(there, error) && there.has_relative_path()) {
    there = there.parent_path();
  }
  if (!std::filesystem::is_directory(there, error)) {
    fail_to_make_folder(path, there.string() + " is a file");
  }
  check_writable_file(there / kProbe);
}

}  // namespace chunkllm

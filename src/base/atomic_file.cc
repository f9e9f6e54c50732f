#include "base/atomic_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>

#include "base/error.h"

namespace chunkllm {
namespace {

std::filesystem::path parent_of(const std::filesystem::path& path) {
  return path.has_parent_path() ? path.parent_path() : std::filesystem::path(".");
}

constexpr const char* kProbe = ".probe";
constexpr std::string_view kTemporaryMark = ".tmp";  // before the process's number

// The paths of files that are being written, where a signal handler can read them. More files at
// once, or longer paths, are written all the same.
struct UnfinishedFile {
  std::atomic<bool> is_taken = false;
  std::atomic<bool> is_whole = false;  // whether `path` is
  char path[4096];                     // NOLINT(*-avoid-c-arrays)
};
constexpr size_t kMostUnfinished = 8;
static_assert(std::atomic<bool>::is_always_lock_free);
std::array<UnfinishedFile, kMostUnfinished> g_unfinished;

// The slot that holds the path now; kMostUnfinished: none.
size_t remember_unfinished(const std::string& path) {
  for (size_t i = 0; i < kMostUnfinished && path.size() < sizeof g_unfinished[i].path; ++i) {
    if (g_unfinished[i].is_taken.exchange(true)) continue;
    std::memcpy(g_unfinished[i].path, path.c_str(), path.size() + 1);
    g_unfinished[i].is_whole = true;
    return i;
  }
  return kMostUnfinished;
}

void forget_unfinished(size_t slot) {
  if (slot == kMostUnfinished) return;
  g_unfinished[slot].is_whole = false;
  g_unfinished[slot].is_taken = false;
}

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
    : path_(file_behind(path)),
      temporary_(fmt::format("{}{}{}", path_.string(), kTemporaryMark, ::getpid())) {
  slot_ = remember_unfinished(temporary_.string());
  file_ =
      FileDescriptor(::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  if (!file_.is_open()) {
    const int open_errno = errno;
    forget_unfinished(slot_);
    errno = open_errno;
    fail_write("create");
  }
  // Says to remove_abandoned_files() that somebody writes; where files have no locks, it removes
  // nothing.
  ::flock(file_.get(), LOCK_EX | LOCK_NB);
}

AtomicFile::~AtomicFile() {
  if (!file_.is_open()) return;
  ::unlink(temporary_.c_str());
  forget_unfinished(slot_);
}

void AtomicFile::fail_write(const char* what) const {
  fail(ErrorCode::kIo, "cannot {} {}: {}; nothing was changed there", what, path_.string(),
       std::strerror(errno));
}

void AtomicFile::write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(file_.get(), bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) fail_write("write");
    bytes = bytes.subspan(static_cast<size_t>(n));
  }
}

void AtomicFile::write(std::string_view text) { write(std::as_bytes(std::span(text))); }

void AtomicFile::commit(Durability durability) {
  const bool at_once = durability == Durability::kAtOnce;
  if (at_once && ::fsync(file_.get()) != 0) fail_write("write");
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) fail_write("replace");
  file_.close();
  forget_unfinished(slot_);
  if (!at_once) return;
  const FileDescriptor folder(::open(parent_of(path_).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (folder.is_open()) ::fsync(folder.get());
}

void write_file_atomically(const std::filesystem::path& path, std::string_view text) {
  AtomicFile file(path);
  file.write(text);
  file.commit();
}

void remove_unfinished_files() noexcept {
  for (const UnfinishedFile& file : g_unfinished) {
    if (file.is_whole) ::unlink(file.path);
  }
}

std::string_view file_of_temporary(std::string_view name) {
  const size_t mark = name.rfind(kTemporaryMark);
  if (mark == name.npos) return {};
  const std::string_view process = name.substr(mark + kTemporaryMark.size());
  const bool is_number =
      !process.empty() && process.find_first_not_of("0123456789") == process.npos;
  return is_number ? name.substr(0, mark) : std::string_view();
}

void remove_abandoned_files(const std::filesystem::path& folder,
                            const std::function<bool(std::string_view name)>& is_own) {
  std::error_code error;
  std::filesystem::directory_iterator entry(folder, error);
  for (; !error && entry != std::filesystem::directory_iterator(); entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    const std::string_view whole = file_of_temporary(name);
    if (whole.empty() || !is_own(whole)) continue;
    const FileDescriptor file(
        ::open(entry->path().c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
    if (!file.is_open()) continue;
    struct stat info {};
    const bool is_abandoned = ::fstat(file.get(), &info) == 0 && S_ISREG(info.st_mode) &&
                              ::flock(file.get(), LOCK_EX | LOCK_NB) == 0;
    if (is_abandoned) ::unlink(entry->path().c_str());
  }
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
  if (std::filesystem::exists(path, error)) return check_writable_file(path / kProbe);
  try {
    check_writable_file(there / kProbe);
  } catch (const Error&) {
    fail_to_make_folder(path, there.string() + " cannot be written");
  }
}

}  // namespace chunkllm

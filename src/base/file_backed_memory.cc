#include "base/file_backed_memory.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>

#include "base/atomic_file.h"
#include "base/error.h"
#include "base/memory.h"

namespace chunkllm {
namespace {

constexpr uint32_t kNever = 0;  // nothing was written: there is nothing to read
constexpr uint32_t kOut = 1;    // in the file alone
constexpr uint32_t kFirstUse = 2;

// Of a folder that need not be there yet.
bool lies_in_memory(std::filesystem::path folder) {
  folder = std::filesystem::absolute(folder);
  std::error_code error;
  while (!std::filesystem::exists(folder, error) && folder.has_relative_path()) {
    folder = folder.parent_path();
  }
  struct statfs system {};
  return ::statfs(folder.c_str(), &system) == 0 && system.f_type == TMPFS_MAGIC;
}

// A file without a name; systems that make none get one whose name is removed.
FileDescriptor open_nameless(const std::filesystem::path& folder) {
  FileDescriptor file(::open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  if (file.is_open()) return file;
  std::string name = (folder / "kv-XXXXXX").string();
  file = FileDescriptor(::mkostemp(name.data(), O_CLOEXEC));
  if (!file.is_open()) {
    fail(ErrorCode::kIo, "cannot make a file in {}: {}; choose another folder", folder.string(),
         std::strerror(errno));
  }
  ::unlink(name.c_str());
  return file;
}

}  // namespace

FileBackedMemory::FileBackedMemory(size_t size_bytes, const std::filesystem::path& folder,
                                   int64_t most_resident_bytes)
    : size_bytes_(size_bytes),
      most_resident_pages_(std::max<int64_t>(1, most_resident_bytes / kPageBytes)),
      now_(kFirstUse) {
  if (::sysconf(_SC_PAGESIZE) != kPageBytes) {
    fail(ErrorCode::kUnsupported,
         "memory in a file needs a system with pages of {} bytes; this one has {}", kPageBytes,
         ::sysconf(_SC_PAGESIZE));
  }
  if (lies_in_memory(folder)) {
    fail(ErrorCode::kInvalidArgument, "{} lies in memory; choose a folder on a disk",
         folder.string());
  }
  make_writable_folder(folder);
  file_ = open_nameless(folder);
  // Room that is missing later would end the program when a page is written.
  const int error = ::posix_fallocate(file_.get(), 0, static_cast<off_t>(size_bytes));
  if (error != 0) {
    fail(ErrorCode::kIo, "cannot take {} in {}: {}; free some or choose another folder",
         format_bytes(static_cast<int64_t>(size_bytes)), folder.string(), std::strerror(error));
  }
  used_.assign((size_bytes + kPageBytes - 1) / kPageBytes, kNever);
  void* data = ::mmap(nullptr, size_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file_.get(), 0);
  if (data == MAP_FAILED) {
    fail(ErrorCode::kMemory, "cannot map {}: {}; use a smaller context",
         format_bytes(static_cast<int64_t>(size_bytes)), std::strerror(errno));
  }
  data_ = static_cast<std::byte*>(data);
  ::madvise(data_, size_bytes_, MADV_RANDOM);  // what is needed is said: nothing is to be guessed
}

FileBackedMemory::~FileBackedMemory() {
  if (data_ != nullptr) ::munmap(data_, size_bytes_);
}

void FileBackedMemory::begin_use() {
  // Before the limit, so that the next use finds room, and more than must be, so that not every use
  // ends here.
  const int64_t many = most_resident_pages_ * 15 / 16;
  if (n_resident_ > many) {
    count_resident();
    if (n_resident_ > many) evict(n_resident_ - most_resident_pages_ * 13 / 16);
  }
  ++now_;
}

void FileBackedMemory::will_use(Range bytes) {
  if (bytes.empty()) return;
  const Range pages{bytes.begin / kPageBytes, (bytes.end - 1) / kPageBytes + 1};
  Range missing;
  const auto read_missing = [&] {
    if (missing.empty()) return;
    ::madvise(data_ + missing.begin * kPageBytes, static_cast<size_t>(missing.size() * kPageBytes),
              MADV_WILLNEED);
    missing = {};
  };
  for (int64_t page = pages.begin; page < pages.end; ++page) {
    uint32_t& used = used_[static_cast<size_t>(page)];
    if (used < kFirstUse) ++n_resident_;
    if (used == kOut) {
      if (missing.empty()) missing.begin = page;
      missing.end = page + 1;
    } else {
      read_missing();
    }
    used = now_;
  }
  read_missing();
}

// Pages that were used without a word, too.
void FileBackedMemory::count_resident() {
  std::vector<unsigned char> in_memory(used_.size());
  if (::mincore(data_, size_bytes_, in_memory.data()) != 0) return;
  n_resident_ = 0;
  for (size_t page = 0; page < used_.size(); ++page) {
    const bool is_in = (in_memory[page] & 1U) != 0;
    if (is_in && used_[page] < kFirstUse) used_[page] = kFirstUse;
    if (!is_in && used_[page] >= kFirstUse) used_[page] = kOut;
    n_resident_ += is_in ? 1 : 0;
  }
}

void FileBackedMemory::evict(int64_t n_pages) {
  std::vector<uint32_t> times;
  times.reserve(static_cast<size_t>(n_resident_));
  std::ranges::copy_if(used_, std::back_inserter(times),
                       [](uint32_t used) { return used >= kFirstUse; });
  n_pages = std::min(n_pages, std::ssize(times));
  if (n_pages <= 0) return;
  std::ranges::nth_element(times, times.begin() + (n_pages - 1));
  const uint32_t last = times[static_cast<size_t>(n_pages - 1)];
  // All that are older go, and of those as old as the last one as many as it takes, not always the
  // same: what is used in turns would else always miss.
  int64_t n_last = n_pages - std::ranges::count_if(times, [&](uint32_t t) { return t < last; });
  const auto n_all = std::ssize(used_);
  std::vector<Range> leaving;
  for (int64_t i = 0; i < n_all; ++i) {
    const int64_t page = (next_evicted_ + i) % n_all;
    uint32_t& used = used_[static_cast<size_t>(page)];
    if (used < kFirstUse || used > last) continue;
    if (used == last) {
      if (n_last == 0) continue;
      if (--n_last == 0) next_evicted_ = page + 1;
    }
    used = kOut;
    --n_resident_;
    if (!leaving.empty() && leaving.back().end == page) {
      ++leaving.back().end;
    } else {
      leaving.push_back({page, page + 1});
    }
  }
  next_evicted_ %= n_all;
  for (const Range& pages : leaving) {
    ::sync_file_range(file_.get(), pages.begin * kPageBytes, pages.size() * kPageBytes,
                      SYNC_FILE_RANGE_WRITE);
  }
  for (const Range& pages : leaving) drop(pages);
}

// A page that cannot be written stays in memory, where the system keeps it.
void FileBackedMemory::drop(Range pages) const {
  const off_t begin = pages.begin * kPageBytes;
  const off_t n_bytes = pages.size() * kPageBytes;
  ::sync_file_range(
      file_.get(), begin, n_bytes,
      SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER);
  ::madvise(data_ + begin, static_cast<size_t>(n_bytes), MADV_DONTNEED);
  ::posix_fadvise(file_.get(), begin, n_bytes, POSIX_FADV_DONTNEED);
}

}  // namespace chunkllm

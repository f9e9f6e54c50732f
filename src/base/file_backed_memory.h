// Memory that lies in a file and of which a bounded part is resident.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <vector>

#include "base/file_descriptor.h"
#include "base/range.h"

namespace chunkllm {

// Bytes, zeros at first, that are mapped from a file without a name: it is gone when its owner is,
// however that ends. Owns both. Every byte can be read and written at any time; what is not
// resident is then read from the file. One thread at a time calls; any thread reads.
class FileBackedMemory {
 public:
  // Takes the file's room on the disk at once. Throws Error: kIo if the folder, which is made if
  // need be, takes no such file, kInvalidArgument for a folder that itself lies in memory.
  FileBackedMemory(size_t size_bytes, const std::filesystem::path& folder,
                   int64_t most_resident_bytes);
  ~FileBackedMemory();
  FileBackedMemory(const FileBackedMemory&) = delete;
  FileBackedMemory& operator=(const FileBackedMemory&) = delete;

  std::byte* data() const { return data_; }

  // Says that something else is used from now on; where more is resident than there may be, what
  // was used longest ago leaves memory first, its pages written back and dropped.
  void begin_use();
  // The bytes will be read or written next: what of them is not resident is being read meanwhile.
  void will_use(Range bytes);

  // What of it is in memory, as far as will_use() was told; what was used without a word counts
  // from the next time on that something leaves.
  int64_t resident_bytes() const { return n_resident_ * kPageBytes; }

 private:
  static constexpr int64_t kPageBytes = 4096;

  void count_resident();
  void evict(int64_t n_pages);
  void drop(Range pages) const;

  std::byte* data_ = nullptr;
  size_t size_bytes_;
  FileDescriptor file_;
  int64_t most_resident_pages_;
  int64_t n_resident_ = 0;      // pages whose last use is one
  uint32_t now_;                // counts the calls of begin_use()
  std::vector<uint32_t> used_;  // a page: when it was used last, or one of two special values
  int64_t next_evicted_ = 0;    // where, among pages used equally long ago, to begin
};

}  // namespace chunkllm

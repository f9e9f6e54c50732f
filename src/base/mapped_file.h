// A file mapped read-only into memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>

namespace chunkllm {

// Owns the mapping. The bytes stay valid and constant while the object lives; any thread may read
// them.
class MappedFile {
 public:
  // Throws Error (kIo) if the path is missing, is no regular file or cannot be mapped.
  explicit MappedFile(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const uint8_t> bytes() const { return {data_, size_bytes_}; }

  // Gives the memory of the whole pages inside `part` back to the system; they are read from the
  // file again when used.
  void release(std::span<const uint8_t> part) const;

 private:
  const uint8_t* data_ = nullptr;
  size_t size_bytes_ = 0;
};

}  // namespace chunkllm

#include "model/packed_weights.h"

#include <fmt/core.h>
#include <sys/stat.h>
#include <xxhash.h>

#include <algorithm>
#include <atomic>
#include <span>
#include <system_error>
#include <tuple>
#include <utility>

#include "base/atomic_file.h"
#include "base/memory.h"
#include "base/sha256.h"
#include "base/thread_pool.h"

namespace chunkllm {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kSuffix = ".packed";
// Another one for another layout of the panels (kernels/quant/layout.h).
constexpr int kLayoutVersion = 1;
constexpr const char* kKey = "model";
constexpr const char* kChecksum = "xxh3";

bool is_copy(std::string_view name) { return name.ends_with(kSuffix); }

// Every write to a file changes it.
std::string key_of(const fs::path& model) {
  struct stat info {};
  if (::stat(model.c_str(), &info) != 0) return {};
  const auto nanoseconds = [](const timespec& t) { return t.tv_sec * 1'000'000'000 + t.tv_nsec; };
  return fmt::format("layout {}, device {}, file {}, {} bytes, written {}, changed {}",
                     kLayoutVersion, info.st_dev, info.st_ino, info.st_size,
                     nanoseconds(info.st_mtim), nanoseconds(info.st_ctim));
}

fs::path copy_of(const fs::path& folder, const fs::path& model) {
  std::error_code error;
  const fs::path whole = fs::weakly_canonical(model, error);
  Sha256 hash;
  hash.update(std::as_bytes(std::span((error ? model : whole).native())));
  return folder / (hash.hex_digest().substr(0, 32) + std::string(kSuffix));
}

// The sum over pieces of the XXH3 of each, seeded with its number, so that threads share the work.
uint64_t checksum(std::span<const uint8_t> bytes, uint64_t first_seed) {
  constexpr size_t kPiece = size_t{4} << 20;
  const auto n_pieces = static_cast<int64_t>((bytes.size() + kPiece - 1) / kPiece);
  std::atomic<uint64_t> sum = 0;
  parallel_for(n_pieces, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      const size_t at = static_cast<size_t>(i) * kPiece;
      const auto piece = bytes.subspan(at, std::min(kPiece, bytes.size() - at));
      sum += XXH3_64bits_withSeed(piece.data(), piece.size(), first_seed + static_cast<size_t>(i));
    }
  });
  return sum;
}

std::string metadata_of(const SafetensorsFile& file, const char* name) {
  const auto found = file.metadata().find(name);
  return found == file.metadata().end() ? std::string() : found->second;
}

// In the order of their names; the numbers of the tensors keep their checksums apart.
std::string checksum_of(std::span<const std::span<const uint8_t>> bytes_of_tensors) {
  uint64_t sum = 0;
  uint64_t seed = 0;
  for (const std::span<const uint8_t> bytes : bytes_of_tensors) {
    sum += checksum(bytes, seed);
    seed += uint64_t{1} << 32;
  }
  return fmt::format("{:016x}", sum);
}

std::optional<SafetensorsFile> open_copy(const fs::path& path, const std::string& key) {
  std::error_code error;
  if (key.empty() || !fs::is_regular_file(path, error)) return std::nullopt;
  try {
    SafetensorsFile file(path);
    std::vector<std::span<const uint8_t>> tensors;
    for (const auto& [name, tensor] : file.tensors()) tensors.push_back(tensor.bytes);
    if (metadata_of(file, kKey) != key || metadata_of(file, kChecksum) != checksum_of(tensors)) {
      return std::nullopt;
    }
    // So that it is known when it was used.
    fs::last_write_time(path, fs::file_time_type::clock::now(), error);
    return file;
  } catch (const Error&) {
    return std::nullopt;
  }
}

int64_t panels_bytes(const QuantPanels& panels) { return panels.n_panels * panels.panel_bytes; }

// Removes copies, the one used longest ago first, until `n_bytes` more are within `most_bytes`.
void make_room(const fs::path& folder, const fs::path& except, int64_t n_bytes,
               int64_t most_bytes) {
  using Copy = std::tuple<fs::file_time_type, fs::path, int64_t>;
  std::vector<Copy> copies;
  std::error_code error;
  fs::directory_iterator entry(folder, error);
  for (; !error && entry != fs::directory_iterator(); entry.increment(error)) {
    std::error_code unknown;
    if (!is_copy(entry->path().filename().native()) || entry->path() == except ||
        !entry->is_regular_file(unknown)) {
      continue;
    }
    const auto size = static_cast<int64_t>(entry->file_size(unknown));
    const fs::file_time_type used = entry->last_write_time(unknown);
    if (unknown) continue;
    copies.emplace_back(used, entry->path(), size);
    n_bytes += size;
  }
  std::ranges::sort(copies);
  for (const auto& [used, path, size] : copies) {
    if (n_bytes <= most_bytes) return;
    if (fs::remove(path, error)) n_bytes -= size;
  }
}

// A copy is a convenience: it takes no more than half of what is free beside an older one of its
// own.
void require_disk(const fs::path& path, int64_t n_bytes) {
  std::error_code error;
  const fs::space_info space = fs::space(path.parent_path(), error);
  if (error) return;
  const uintmax_t old = fs::file_size(path, error);
  const auto free_bytes = static_cast<int64_t>(space.available + (error ? 0 : old));
  if (free_bytes / 2 < n_bytes) {
    fail(ErrorCode::kMemory, "{}: a copy of {} would leave little of the {} that are free",
         path.parent_path().string(), format_bytes(n_bytes), format_bytes(free_bytes));
  }
}

}  // namespace

PackedWeights::PackedWeights(const PackedFolder& folder, const fs::path& model)
    : folder_(folder),
      path_(copy_of(folder.path, model)),
      key_(key_of(model)),
      file_(open_copy(path_, key_)) {}

const uint8_t* PackedWeights::find(const QuantPanels& layout) {
  matrices_.push_back({fmt::format("{:06} {} {}x{}", matrices_.size(), dtype_name(layout.dtype),
                                   layout.n_out, layout.n_in),
                       layout});
  Matrix& matrix = matrices_.back();
  size_bytes_ += panels_bytes(layout);
  const TensorView* tensor = file_ ? file_->find(matrix.name) : nullptr;
  if (tensor == nullptr || static_cast<int64_t>(tensor->bytes.size()) != panels_bytes(layout) ||
      reinterpret_cast<uintptr_t>(tensor->bytes.data()) % kQuantVectorBytes != 0) {
    is_new_ = true;
    return nullptr;
  }
  matrix.panels.data = tensor->bytes.data();
  return tensor->bytes.data();
}

void PackedWeights::packed(const QuantPanels& panels) { matrices_.back().panels = panels; }

bool PackedWeights::save() {
  if (!is_new_ || key_.empty() || size_bytes_ < folder_.least_bytes ||
      size_bytes_ > folder_.most_bytes) {
    return false;
  }
  is_new_ = false;
  make_writable_folder(folder_.path);
  remove_abandoned_files(folder_.path, is_copy);
  require_disk(path_, size_bytes_);
  make_room(folder_.path, path_, size_bytes_, folder_.most_bytes);
  // A link is no copy, and what it leads to is not ours.
  std::error_code error;
  if (fs::is_symlink(path_, error)) fs::remove(path_, error);
  std::vector<TensorToWrite> tensors;
  std::vector<std::span<const uint8_t>> bytes;
  for (const Matrix& matrix : matrices_) {
    const auto n = static_cast<size_t>(panels_bytes(matrix.panels));
    bytes.emplace_back(matrix.panels.data, n);
    tensors.push_back({.name = matrix.name,
                       .dtype = DType::kU8,
                       .shape = {static_cast<int64_t>(n)},
                       .bytes = std::as_bytes(bytes.back())});
  }
  // What a crash leaves unwritten, the checksum finds.
  write_safetensors(path_, std::move(tensors), {{kKey, key_}, {kChecksum, checksum_of(bytes)}},
                    Durability::kInTime);
  return true;
}

}  // namespace chunkllm

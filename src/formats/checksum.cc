#include "formats/checksum.h"

#include <fmt/core.h>

#include <algorithm>
#include <cstddef>
#include <vector>

#include "base/sha256.h"

namespace chunkllm {
namespace {

void add_text(Sha256& hash, std::string_view text) { hash.update(std::as_bytes(std::span(text))); }

void add_tensor(Sha256& hash, std::string_view name, std::span<const std::byte> bytes) {
  add_text(hash, fmt::format("\n{} {}\n", name, bytes.size()));
  hash.update(bytes);
}

}  // namespace

std::string tensor_checksum(std::string_view text, std::span<const TensorToWrite> tensors) {
  std::vector<const TensorToWrite*> by_name;
  for (const TensorToWrite& tensor : tensors) by_name.push_back(&tensor);
  std::ranges::sort(by_name, {},
                    [](const TensorToWrite* tensor) -> const std::string& { return tensor->name; });
  Sha256 hash;
  add_text(hash, text);
  for (const TensorToWrite* tensor : by_name) add_tensor(hash, tensor->name, tensor->bytes_now());
  return hash.hex_digest();
}

std::string tensor_checksum(std::string_view text, const SafetensorsFile& file) {
  Sha256 hash;
  add_text(hash, text);
  for (const auto& [name, tensor] : file.tensors()) {
    add_tensor(hash, name, std::as_bytes(tensor.bytes));
    file.release(tensor);
  }
  return hash.hex_digest();
}

}  // namespace chunkllm

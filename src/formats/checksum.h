// A checksum of the files that this program makes for itself and reads again.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "formats/safetensors.h"

namespace chunkllm {

// SHA-256 in hexadecimal over a text and all tensors in the order of their names: name, size and
// bytes. Some 1.7 GB/s where the processor has instructions for it, a quarter of that elsewhere.
std::string tensor_checksum(std::string_view text, std::span<const TensorToWrite> tensors);

// The same of a file's tensors; gives their memory back as it goes.
std::string tensor_checksum(std::string_view text, const SafetensorsFile& file);

}  // namespace chunkllm

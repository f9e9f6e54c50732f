// Numbers of the GGUF format that its reader and its writer share.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/dtype.h"
#include "formats/gguf.h"

namespace chunkllm {

inline constexpr uint32_t kGgufMagic = 0x46554747;  // "GGUF"
inline constexpr int64_t kGgufAlignment = 32;       // where general.alignment is left out
inline constexpr uint32_t kMaxGgufDims = 4;

// Bytes of a value that is neither string nor array; 0 for types that there are not.
int64_t gguf_scalar_bytes(GgufType type);

// "U32", ...; for messages.
std::string gguf_type_name(GgufType type);

// The value of an integer at `data`, or nothing for other types and values from 2^63 on.
std::optional<int64_t> gguf_integer(GgufType type, const uint8_t* data);

// Tensor types by the number that ggml gives them; nothing where the engine cannot read it or, the
// other way, where ggml has no such type.
std::optional<DType> dtype_of_gguf(uint32_t type);
std::optional<uint32_t> gguf_of_dtype(DType dtype);

// The names of the tensor types that the engine reads, as a list for messages.
std::string gguf_tensor_types();

// llama.cpp's name of a `general.file_type` ("Q4_K_M"): what most tensors were to have; empty for
// numbers that have none.
std::string_view gguf_file_type_name(int64_t file_type);

// ggml's name of a tensor type, also of those that are not supported.
std::string gguf_tensor_type_name(uint32_t type);

}  // namespace chunkllm

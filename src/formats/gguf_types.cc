#include "formats/gguf_types.h"

#include <fmt/core.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/quant/blocks.h"

namespace chunkllm {
namespace {

struct ValueType {
  GgufType type;
  const char* name;
  int64_t n_bytes;
};

constexpr ValueType kValueTypes[] = {
    {GgufType::kU8, "U8", 1},      {GgufType::kI8, "I8", 1},     {GgufType::kU16, "U16", 2},
    {GgufType::kI16, "I16", 2},    {GgufType::kU32, "U32", 4},   {GgufType::kI32, "I32", 4},
    {GgufType::kF32, "F32", 4},    {GgufType::kBool, "BOOL", 1}, {GgufType::kU64, "U64", 8},
    {GgufType::kI64, "I64", 8},    {GgufType::kF64, "F64", 8},   {GgufType::kString, "STRING", 0},
    {GgufType::kArray, "ARRAY", 0}};

// Tensor types that are not quantised; the others are in base/quant/formats.h.
constexpr std::pair<DType, uint32_t> kPlainTensorTypes[] = {
    {DType::kF32, 0}, {DType::kF16, 1}, {DType::kBf16, 30}};

// ggml's tensor types that DType lacks.
constexpr std::pair<uint32_t, const char*> kOtherTensorTypes[] = {
    {9, "Q8_1"},   {15, "Q8_K"},  {16, "IQ2_XXS"}, {17, "IQ2_XS"}, {18, "IQ3_XXS"}, {19, "IQ1_S"},
    {21, "IQ3_S"}, {22, "IQ2_S"}, {24, "I8"},      {25, "I16"},    {26, "I32"},     {27, "I64"},
    {28, "F64"},   {29, "IQ1_M"}, {34, "TQ1_0"},   {35, "TQ2_0"},  {40, "NVFP4"},   {41, "Q1_0"}};

const ValueType* find_type(GgufType type) {
  const auto* found = std::ranges::find(kValueTypes, type, &ValueType::type);
  return found == std::end(kValueTypes) ? nullptr : found;
}

template <typename T>
T load(const uint8_t* data) {
  T value;
  std::memcpy(&value, data, sizeof(T));
  return value;
}

}  // namespace

int64_t gguf_scalar_bytes(GgufType type) {
  const ValueType* found = find_type(type);
  return found == nullptr ? 0 : found->n_bytes;
}

std::string gguf_type_name(GgufType type) {
  const ValueType* found = find_type(type);
  return found == nullptr ? fmt::format("{}", static_cast<uint32_t>(type)) : found->name;
}

std::optional<int64_t> gguf_integer(GgufType type, const uint8_t* data) {
  switch (type) {
    case GgufType::kU8:
      return load<uint8_t>(data);
    case GgufType::kI8:
      return load<int8_t>(data);
    case GgufType::kU16:
      return load<uint16_t>(data);
    case GgufType::kI16:
      return load<int16_t>(data);
    case GgufType::kU32:
      return load<uint32_t>(data);
    case GgufType::kI32:
      return load<int32_t>(data);
    case GgufType::kI64:
      return load<int64_t>(data);
    case GgufType::kU64: {
      const uint64_t value = load<uint64_t>(data);
      return value >> 63 != 0 ? std::nullopt : std::optional(static_cast<int64_t>(value));
    }
    case GgufType::kF32:
    case GgufType::kF64:
    case GgufType::kBool:
    case GgufType::kString:
    case GgufType::kArray:
      break;
  }
  return std::nullopt;  // also for numbers that name no type
}

std::optional<DType> dtype_of_gguf(uint32_t type) {
  for (const auto& [dtype, number] : kPlainTensorTypes) {
    if (number == type) return dtype;
  }
  for (const QuantFormat& format : kQuantFormats) {
    if (format.gguf_type == type) return format.dtype;
  }
  return std::nullopt;
}

std::optional<uint32_t> gguf_of_dtype(DType dtype) {
  if (is_quantized(dtype)) return quant_format(dtype).gguf_type;
  for (const auto& [known, number] : kPlainTensorTypes) {
    if (known == dtype) return number;
  }
  return std::nullopt;
}

std::string gguf_tensor_types() {
  std::string names;
  for (const auto& [dtype, number] : kPlainTensorTypes) {
    names += std::string(dtype_name(dtype)) + ", ";
  }
  for (const QuantFormat& format : kQuantFormats) {
    if (&format != std::begin(kQuantFormats)) {
      names += &format + 1 == std::end(kQuantFormats) ? " and " : ", ";
    }
    names += format.name;
  }
  return names;
}

std::string gguf_tensor_type_name(uint32_t type) {
  if (const auto dtype = dtype_of_gguf(type)) return std::string(dtype_name(*dtype));
  for (const auto& [number, name] : kOtherTensorTypes) {
    if (number == type) return name;
  }
  return fmt::format("number {}", type);
}

std::string_view gguf_file_type_name(int64_t file_type) {
  constexpr std::pair<int64_t, std::string_view> kNames[] = {
      {0, "F32"},     {1, "F16"},     {2, "Q4_0"},    {3, "Q4_1"},    {7, "Q8_0"},
      {8, "Q5_0"},    {9, "Q5_1"},    {10, "Q2_K"},   {11, "Q3_K_S"}, {12, "Q3_K_M"},
      {13, "Q3_K_L"}, {14, "Q4_K_S"}, {15, "Q4_K_M"}, {16, "Q5_K_S"}, {17, "Q5_K_M"},
      {18, "Q6_K"},   {21, "Q2_K_S"}, {25, "IQ4_NL"}, {30, "IQ4_XS"}, {32, "BF16"},
      {38, "MXFP4"}};
  for (const auto& [number, name] : kNames) {
    if (number == file_type) return name;
  }
  return {};
}

}  // namespace chunkllm

// Blocks of random bytes, and values, as the Python package gguf reads and writes them;
// tools/make_quant_golden.py makes tests/golden/quant/blocks.json again.
#include <gtest/gtest.h>

#include <cstring>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/quant/blocks.h"
#include "base/quant/encode.h"

namespace chunkllm {
namespace {

std::vector<std::byte> bytes_of(const std::string& hex) {
  std::vector<std::byte> bytes;
  for (size_t i = 0; i + 1 < hex.size(); i += 2) {
    bytes.push_back(static_cast<std::byte>(std::stoi(hex.substr(i, 2), nullptr, 16)));
  }
  return bytes;
}

std::vector<float> floats_of(const std::string& hex) {
  const std::vector<std::byte> bytes = bytes_of(hex);
  std::vector<float> values(bytes.size() / sizeof(float));
  std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

nlohmann::json golden() {
  return read_json_file(std::string(CHUNKLLM_SOURCE_DIR) + "/tests/golden/quant/blocks.json");
}

// Bit for bit: the operations and their order are the same.
TEST(GoldenQuant, EveryFormatHasTheValuesOfThePythonPackage) {
  const nlohmann::json decoded = golden()["decoded"];
  for (const QuantFormat& format : kQuantFormats) {
    SCOPED_TRACE(format.name);
    ASSERT_TRUE(decoded.contains(format.name)) << "tools/make_quant_golden.py lacks it";
    const nlohmann::json& entry = decoded[std::string(format.name)];
    const std::vector<std::byte> bytes = bytes_of(entry["bytes"]);
    const std::vector<float> expected = floats_of(entry["values"]);
    ASSERT_GT(expected.size(), 0u);
    const auto n = static_cast<int64_t>(expected.size());
    ASSERT_EQ(dtype_row_bytes(format.dtype, n), static_cast<int64_t>(bytes.size()));
    std::vector<float> values(expected.size());
    convert_to_float(format.dtype, bytes.data(), n, values.data());
    for (size_t i = 0; i < values.size(); ++i) ASSERT_EQ(values[i], expected[i]) << i;
  }
}

TEST(GoldenQuant, WrittenBlocksAreThoseOfThePythonPackage) {
  const nlohmann::json encoded = golden()["encoded"];
  const std::vector<float> values = floats_of(encoded["values"]);
  int n_checked = 0;
  for (const WritableType& type : writable_types()) {
    if (!is_quantized(type.dtype)) continue;
    SCOPED_TRACE(dtype_name(type.dtype));
    const auto n = static_cast<int64_t>(values.size());
    std::vector<std::byte> bytes(static_cast<size_t>(dtype_row_bytes(type.dtype, n)));
    type.encode(values.data(), n, bytes.data());
    EXPECT_EQ(bytes, bytes_of(encoded["types"][std::string(dtype_name(type.dtype))]));
    ++n_checked;
  }
  EXPECT_GE(n_checked, 5);
}

}  // namespace
}  // namespace chunkllm

#include "formats/safetensors.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "testing/expect_error.h"
#include "testing/file_size_limit.h"
#include "testing/temp_folder.h"

namespace chunkllm {
namespace {

template <typename T>
std::span<const std::byte> bytes_of(const std::vector<T>& values) {
  return std::as_bytes(std::span(values));
}

std::string length_bytes(uint64_t length) {
  std::string bytes;
  for (int i = 0; i < 8; ++i) bytes += static_cast<char>(length >> (8 * i));
  return bytes;
}

std::string file_bytes(const std::string& header, size_t n_data) {
  return length_bytes(header.size()) + header + std::string(n_data, '\0');
}

// {"t": {...}} with a field of a well-formed F32 [2] tensor replaced; needs 8 bytes of data.
std::string tensor_header(const std::string& dtype = "\"F32\"", const std::string& shape = "[2]",
                          const std::string& offsets = "[0,8]") {
  return "{\"t\":{\"dtype\":" + dtype + ",\"shape\":" + shape + ",\"data_offsets\":" + offsets +
         "}}";
}

class Safetensors : public testing::Test {
 protected:
  SafetensorsFile open(const std::string& bytes) {
    write_text(path_, bytes);
    return SafetensorsFile(path_);
  }
  void expect_refused(const std::string& bytes, const std::string& part = "",
                      ErrorCode code = ErrorCode::kData) {
    SCOPED_TRACE(bytes.substr(0, 200));
    write_text(path_, bytes);
    expect_error(code, path_.string(), [&] { SafetensorsFile file(path_); });
    expect_error(code, part, [&] { SafetensorsFile file(path_); });
  }

  const TempFolder folder_;
  const std::filesystem::path path_ = folder_ / "model.safetensors";
};

TEST_F(Safetensors, WhatIsWrittenIsRead) {
  const std::vector<float> floats = {1.5f, -2, 0, 4, 5, 6};
  const std::vector<uint16_t> halves = {0x3c00, 0xc000, 0x7bff};
  const std::vector<uint16_t> bfloats = {0x3f80, 0xc000};
  const std::vector<int32_t> ints = {-1, 2};
  const std::vector<int64_t> longs = {INT64_MIN, INT64_MAX};
  const std::vector<uint8_t> bytes = {7};
  const std::map<std::string, std::string> metadata = {{"format", "pt"}, {"a \"b\"", "\n\xc3\xa9"}};
  write_safetensors(path_,
                    {{"u8", DType::kU8, {}, bytes_of(bytes)},
                     {"floats", DType::kF32, {2, 3}, bytes_of(floats)},
                     {"halves", DType::kF16, {3}, bytes_of(halves)},
                     {"empty", DType::kF32, {4, 0}, {}},
                     {"bfloats", DType::kBf16, {1, 2, 1}, bytes_of(bfloats)},
                     {"longs", DType::kI64, {2}, bytes_of(longs)},
                     {"ints \xe2\x82\xac\n", DType::kI32, {2}, bytes_of(ints)}},
                    metadata);

  const SafetensorsFile file(path_);
  EXPECT_EQ(file.path(), path_);
  EXPECT_EQ(file.metadata(), metadata);
  EXPECT_EQ(file.tensors().size(), 7u);
  EXPECT_EQ(file.require_floats("floats", {2, 3}), floats);
  EXPECT_EQ(file.require_floats("halves", {3}), (std::vector<float>{1, -2, 65504}));
  EXPECT_EQ(file.require_floats("bfloats", {1, 2, 1}), (std::vector<float>{1, -2}));
  EXPECT_TRUE(file.require_floats("empty", {4, 0}).empty());
  EXPECT_EQ(file.require("u8", {}).bytes[0], 7);
  EXPECT_EQ(file.require("u8", {}).n_elements(), 1);
  EXPECT_EQ(std::memcmp(file.require("longs", {2}).bytes.data(), longs.data(), 16), 0);
  EXPECT_EQ(std::memcmp(file.require("ints \xe2\x82\xac\n", {2}).bytes.data(), ints.data(), 8), 0);
  EXPECT_EQ(file.find("none"), nullptr);
  for (const auto& [name, tensor] : file.tensors()) {
    EXPECT_EQ(tensor.name, name);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(tensor.bytes.data()) %
                  static_cast<uintptr_t>(dtype_bytes(tensor.dtype)),
              0u)
        << name;
  }
}

TEST_F(Safetensors, TheFileDoesNotDependOnTheOrderOfTensors) {
  const std::vector<float> a = {1, 2};
  const std::vector<float> b = {3};
  write_safetensors(path_,
                    {{"a", DType::kF32, {2}, bytes_of(a)}, {"b", DType::kF32, {1}, bytes_of(b)}});
  const std::string one = read_text(path_);
  write_safetensors(path_,
                    {{"b", DType::kF32, {1}, bytes_of(b)}, {"a", DType::kF32, {2}, bytes_of(a)}});
  EXPECT_EQ(read_text(path_), one);
}

TEST_F(Safetensors, AFileWithoutTensorsIsAFile) {
  write_safetensors(path_, {});
  EXPECT_TRUE(SafetensorsFile(path_).tensors().empty());
  EXPECT_TRUE(open(file_bytes("{}", 0)).tensors().empty());
}

TEST_F(Safetensors, UnalignedDataIsRead) {
  std::string header = tensor_header();
  while (header.size() % 4 != 1) header += ' ';
  std::string bytes = file_bytes(header, 8);
  const std::vector<float> values = {1.25f, -3};
  std::memcpy(bytes.data() + bytes.size() - 8, values.data(), 8);
  EXPECT_EQ(open(bytes).require_floats("t", {2}), values);
}

TEST_F(Safetensors, MovingKeepsTheViews) {
  SafetensorsFile first = open(file_bytes(tensor_header(), 8));
  const uint8_t* place = first.require("t", {2}).bytes.data();
  const SafetensorsFile second(std::move(first));
  EXPECT_EQ(second.require("t", {2}).bytes.data(), place);
  EXPECT_EQ(second.require_floats("t", {2}), (std::vector<float>{0, 0}));
}

TEST_F(Safetensors, RequireNamesWhatDoesNotFit) {
  const SafetensorsFile file = open(file_bytes(tensor_header("\"I32\""), 8));
  expect_error(ErrorCode::kData, "\"none\" is missing", [&] { file.require("none", {2}); });
  expect_error(ErrorCode::kData, "shape [2], expected [1, 2]", [&] { file.require("t", {1, 2}); });
  expect_error(ErrorCode::kData, "shape [2], expected []", [&] { file.require("t", {}); });
  expect_error(ErrorCode::kData, "\"t\" is I32", [&] { file.require_floats("t", {2}); });
}

TEST_F(Safetensors, ValuesThatAreNotFiniteAreNamed) {
  for (const float bad : {std::nanf(""), INFINITY, -INFINITY}) {
    const std::vector<float> values = {1, 2, bad};
    write_safetensors(path_, {{"t", DType::kF32, {3}, bytes_of(values)}});
    const SafetensorsFile file(path_);
    EXPECT_NO_THROW(file.require("t", {3}));
    expect_error(ErrorCode::kData, "element 2", [&] { file.require_floats("t", {3}); });
  }
}

TEST_F(Safetensors, EveryCutOfAFileIsRefused) {
  const std::vector<float> values = {1, 2, 3};
  write_safetensors(path_, {{"a", DType::kF32, {2}, bytes_of(values).first(8)},
                            {"b", DType::kU8, {3}, bytes_of(values).first(3)}});
  const std::string whole = read_text(path_);
  ASSERT_NO_THROW(open(whole));
  for (size_t n = 0; n < whole.size(); ++n) expect_refused(whole.substr(0, n));
  expect_refused(whole + '\0', "belong to no tensor");
}

// A changed byte may leave a sound file (a letter of a name); it must never crash or be read beyond
// it.
TEST_F(Safetensors, NoChangedByteCrashes) {
  const std::vector<float> values = {1, 2, 3};
  write_safetensors(path_,
                    {{"a", DType::kF32, {2}, bytes_of(values).first(8)},
                     {"b", DType::kU8, {3}, bytes_of(values).first(3)}},
                    {{"k", "v"}});
  const std::string whole = read_text(path_);
  for (size_t i = 0; i < whole.size(); ++i) {
    for (const int flip : {1, 4, 16, 128, 255}) {
      std::string changed = whole;
      changed[i] = static_cast<char>(changed[i] ^ flip);
      try {
        const SafetensorsFile file = open(changed);
        for (const auto& [name, tensor] : file.tensors()) {
          EXPECT_EQ(tensor.n_elements() * dtype_bytes(tensor.dtype),
                    static_cast<int64_t>(tensor.bytes.size()));
          const std::vector<uint8_t> copy(tensor.bytes.begin(), tensor.bytes.end());
          EXPECT_LE(copy.size(), 11u);
        }
      } catch (const Error& error) {
        EXPECT_NE(error.code(), ErrorCode::kIo) << error.what();
      }
    }
  }
}

TEST_F(Safetensors, LengthsThatLieAreRefused) {
  const std::string header = tensor_header();
  for (const uint64_t length :
       {uint64_t{0}, uint64_t{header.size() - 1}, uint64_t{header.size() + 9},
        uint64_t{100'000'001}, uint64_t{1} << 40, uint64_t{1} << 63,
        std::numeric_limits<uint64_t>::max(), std::numeric_limits<uint64_t>::max() - 7}) {
    expect_refused(length_bytes(length) + header + std::string(8, '\0'));
  }
}

TEST_F(Safetensors, HeadersThatAreNoObjectAreRefused) {
  for (const std::string header :
       {"[]", "null", "1", "\"a\"", " {}", "{} {}", "{}x", "{", "{\"a\"}", "{\"t\":1}",
        "{\"t\":[]}", "{\"t\":null}", "{\"t\":{}}", "\xff\xff"}) {
    expect_refused(file_bytes(header, 0));
  }
  expect_refused(file_bytes(std::string("{}\0", 3), 0));
  expect_refused(
      file_bytes("{\"\xff\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}}", 0), "UTF-8");
}

TEST_F(Safetensors, NestingBombsAreRefused) {
  const size_t depth = 1'000'000;
  expect_refused(file_bytes("{\"t\":" + std::string(depth, '['), 0), "nested");
  expect_refused(
      file_bytes(tensor_header("\"F32\"", std::string(depth, '[') + std::string(depth, ']')), 8),
      "nested");
  std::string objects;
  for (int i = 0; i < 100'000; ++i) objects += "{\"a\":";
  expect_refused(file_bytes(objects, 0), "nested");
}

TEST_F(Safetensors, NamesThatStandTwiceAreRefused) {
  const std::string info = "{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}";
  expect_refused(file_bytes("{\"t\":" + info + ",\"t\":" + info + "}", 1), "\"t\" stands twice");
  expect_refused(
      file_bytes("{\"t\":{\"dtype\":\"U8\",\"shape\":[1],\"shape\":[1],\"data_offsets\":[0,1]}}",
                 1),
      "\"shape\" stands twice");
}

TEST_F(Safetensors, TypesAreChecked) {
  EXPECT_NO_THROW(open(file_bytes(tensor_header(), 8)));
  for (const std::string dtype : {"1", "null", "[]", "{}", "true"}) {
    expect_refused(file_bytes(tensor_header(dtype), 8), "\"t\"");
  }
  for (const std::string dtype : {"\"F64\"", "\"BOOL\"", "\"f32\"", "\"\"", "\"F8_E4M3\""}) {
    expect_refused(file_bytes(tensor_header(dtype), 8), "\"t\": the type " + dtype,
                   ErrorCode::kUnsupported);
  }
}

TEST_F(Safetensors, ShapesAreChecked) {
  for (const std::string shape :
       {"2", "\"2\"", "null", "{}", "[-2]", "[2.0]", "[0.5]", "[2e0]", "[\"2\"]", "[[2]]", "[null]",
        "[true]", "[18446744073709551618]", "[18446744073709551615]", "[9223372036854775807]",
        "[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,2]"}) {
    expect_refused(file_bytes(tensor_header("\"F32\"", shape), 8), "\"t\"");
  }
}

TEST_F(Safetensors, SizesMustAgreeWithShapeAndType) {
  for (const std::string shape : {"[]", "[1]", "[3]", "[2,2]", "[0]", "[4611686018427387904]",
                                  // Products that are 2, 8 and 0 modulo 2^64.
                                  "[4611686018427387904,4,2]", "[2305843009213693953,2]",
                                  "[4294967296,4294967296]", "[2147483648,8589934592,1]"}) {
    expect_refused(file_bytes(tensor_header("\"F32\"", shape), 8), "does not take 8 bytes");
  }
  expect_refused(file_bytes(tensor_header("\"I64\""), 8), "does not take");
  EXPECT_NO_THROW(open(file_bytes(tensor_header("\"I64\"", "[1]"), 8)));
}

TEST_F(Safetensors, OffsetsAreChecked) {
  for (const std::string offsets :
       {"0", "[0]", "[0,8,8]", "null", "{}", "[8,0]", "[-8,0]", "[0.0,8.0]", "[\"0\",\"8\"]",
        "[0,16]", "[8,16]", "[0,18446744073709551615]",
        "[18446744073709551608,18446744073709551615]", "[9223372036854775800,9223372036854775807]",
        "[4611686018427387896,4611686018427387904]", "[[0],[8]]", "[0,null]"}) {
    expect_refused(file_bytes(tensor_header("\"F32\"", "[2]", offsets), 8), "\"t\"");
  }
}

std::string two_tensors(const std::string& a, const std::string& b) {
  return "{\"a\":{\"dtype\":\"U8\"," + a + "},\"b\":{\"dtype\":\"U8\"," + b + "}}";
}

TEST_F(Safetensors, TensorsCoverTheDataExactly) {
  const std::string first = "\"shape\":[4],\"data_offsets\":[0,4]";
  const std::string second = "\"shape\":[4],\"data_offsets\":[4,8]";
  EXPECT_NO_THROW(open(file_bytes(two_tensors(first, second), 8)));
  EXPECT_NO_THROW(open(file_bytes(two_tensors(second, first), 8)));
  expect_refused(file_bytes(two_tensors(first, first), 4), "overlaps");
  expect_refused(file_bytes(two_tensors(first, "\"shape\":[5],\"data_offsets\":[3,8]"), 8),
                 "overlaps");
  expect_refused(file_bytes(two_tensors("\"shape\":[8],\"data_offsets\":[0,8]",
                                        "\"shape\":[2],\"data_offsets\":[2,4]"),
                            8),
                 "overlaps");
  expect_refused(file_bytes(two_tensors(first, "\"shape\":[3],\"data_offsets\":[5,8]"), 8),
                 "no tensor");
  expect_refused(file_bytes(two_tensors(second, "\"shape\":[2],\"data_offsets\":[0,2]"), 8),
                 "no tensor");
  expect_refused(file_bytes(two_tensors(first, second), 9), "no tensor");
  for (const std::string empty : {"[0,0]", "[4,4]"}) {
    EXPECT_NO_THROW(
        open(file_bytes(two_tensors(first, "\"shape\":[0,9],\"data_offsets\":" + empty), 4)));
  }
}

TEST_F(Safetensors, MetadataIsAMapOfStrings) {
  EXPECT_EQ(open(file_bytes("{\"__metadata__\":{\"a\":\"b\"}}", 0)).metadata().at("a"), "b");
  for (const std::string metadata : {"1", "[\"a\"]", "\"a\"", "null", "{\"a\":1}", "{\"a\":{}}",
                                     "{\"a\":\"b\",\"c\":null}", "{\"a\":\"b\",\"a\":\"b\"}"}) {
    expect_refused(file_bytes("{\"__metadata__\":" + metadata + "}", 0));
  }
}

TEST_F(Safetensors, UnreadablePathsAreNamed) {
  expect_error(ErrorCode::kIo, "none", [&] { SafetensorsFile file(folder_ / "none"); });
  expect_error(ErrorCode::kIo, folder_.path().string(),
               [&] { SafetensorsFile file(folder_.path()); });
}

TEST_F(Safetensors, TheWriterRefusesWhatTheReaderWould) {
  const std::vector<float> values = {1, 2};
  const auto refuse = [&](std::vector<TensorToWrite> tensors) {
    expect_error(ErrorCode::kInvalidArgument, path_.string(),
                 [&] { write_safetensors(path_, std::move(tensors)); });
    EXPECT_FALSE(std::filesystem::exists(path_));
  };
  refuse({{"a", DType::kF32, {3}, bytes_of(values)}});
  refuse({{"a", DType::kF32, {-1, -2}, bytes_of(values)}});
  refuse({{"a", DType::kF32, {int64_t{1} << 62, 4}, {}}});
  refuse({{"a", DType::kF32, {2}, bytes_of(values)}, {"a", DType::kF32, {2}, bytes_of(values)}});
  refuse({{"__metadata__", DType::kF32, {2}, bytes_of(values)}});
  refuse({{"\xff", DType::kF32, {2}, bytes_of(values)}});
}

TEST_F(Safetensors, BytesMayBeReadWhenTheyAreWanted) {
  std::vector<float> space;  // for one at a time
  const auto numbers = [&space](float first) {
    return [&space, first] {
      space = {first, first + 1};
      return bytes_of(space);
    };
  };
  write_safetensors(
      path_, {{"a", DType::kF32, {2}, {}, numbers(1)}, {"b", DType::kF32, {2}, {}, numbers(5)}});
  const SafetensorsFile file(path_);
  EXPECT_EQ(file.require_floats("a", {2}), (std::vector<float>{1, 2}));
  EXPECT_EQ(file.require_floats("b", {2}), (std::vector<float>{5, 6}));
  std::filesystem::remove(path_);
  for (const std::vector<int64_t>& shape : {std::vector<int64_t>{3}, {int64_t{1} << 62, 4}}) {
    expect_error(ErrorCode::kInvalidArgument, path_.string(), [&] {
      write_safetensors(path_, {{"a", DType::kF32, shape, {}, numbers(1)}});
    });
    EXPECT_FALSE(std::filesystem::exists(path_));
  }
}

TEST_F(Safetensors, AFullDiskLeavesTheOldFileWhole) {
  const std::vector<float> values(10'000, 1.0f);
  write_safetensors(path_, {{"old", DType::kF32, {1}, bytes_of(values).first(4)}});
  {
    const FileSizeLimit limit(4096);
    expect_error(ErrorCode::kIo, path_.string(), [&] {
      write_safetensors(path_, {{"new", DType::kF32, {10'000}, bytes_of(values)}});
    });
  }
  EXPECT_EQ(SafetensorsFile(path_).require_floats("old", {1}), std::vector<float>{1});
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder_.path()), {}), 1);
}

}  // namespace
}  // namespace chunkllm

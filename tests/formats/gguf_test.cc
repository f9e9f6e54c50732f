#include "formats/gguf.h"

#include <gmock/gmock.h>

#include <cstring>
#include <functional>
#include <limits>

#include "formats/gguf_types.h"
#include "testing/expect_error.h"
#include "testing/file_size_limit.h"
#include "testing/temp_folder.h"

namespace chunkllm {
namespace {

using testing::ElementsAre;

template <typename T>
std::string raw(T value) {
  std::string bytes(sizeof(T), '\0');
  std::memcpy(bytes.data(), &value, sizeof(T));
  return bytes;
}

std::string text(std::string_view value) {
  return raw(uint64_t{value.size()}) + std::string(value);
}

std::string value_of(std::string_view key, uint32_t type, const std::string& bytes) {
  return text(key) + raw(type) + bytes;
}

// The head of a tensor, dimensions in ggml's order.
struct TensorHead {
  std::string name = "a";
  std::vector<uint64_t> dims = {2, 3};
  uint32_t type = 0;
  uint64_t offset = 0;

  std::string bytes() const {
    std::string out = text(name) + raw(static_cast<uint32_t>(dims.size()));
    for (const uint64_t dim : dims) out += raw(dim);
    return out + raw(type) + raw(offset);
  }
};

// A file put together by hand, so that every part of it can be wrong.
struct HandMade {
  std::string magic = "GGUF";
  uint32_t version = 3;
  std::vector<std::string> values;
  std::vector<std::string> tensors = {TensorHead().bytes()};
  std::optional<uint64_t> n_values;
  std::optional<uint64_t> n_tensors;
  size_t n_data = 32;
  size_t alignment = 32;

  std::string bytes() const {
    std::string out = magic + raw(version) + raw(n_tensors.value_or(tensors.size())) +
                      raw(n_values.value_or(values.size()));
    for (const std::string& value : values) out += value;
    for (const std::string& tensor : tensors) out += tensor;
    out.resize((out.size() + alignment - 1) / alignment * alignment);
    return out + std::string(n_data, '\1');
  }
};

class Gguf : public testing::Test {
 protected:
  GgufFile open(const std::string& bytes) {
    write_text(path_, bytes);
    return GgufFile(path_);
  }
  void expect_refused(const std::string& bytes, const std::string& part = "",
                      ErrorCode code = ErrorCode::kData) {
    write_text(path_, bytes);
    expect_error(code, path_.string(), [&] { GgufFile file(path_); });
    expect_error(code, part, [&] { GgufFile file(path_); });
  }
  // A file that is sound but for what `spoil` does.
  void expect_spoilt(const std::function<void(HandMade&)>& spoil, const std::string& part,
                     ErrorCode code = ErrorCode::kData) {
    HandMade file;
    spoil(file);
    SCOPED_TRACE(part);
    expect_refused(file.bytes(), part, code);
  }
  void expect_tensors(const std::vector<TensorHead>& heads, const std::string& part,
                      ErrorCode code = ErrorCode::kData) {
    expect_spoilt(
        [&](HandMade& file) {
          file.tensors.clear();
          for (const TensorHead& head : heads) file.tensors.push_back(head.bytes());
        },
        part, code);
  }

  const TempFolder folder_;
  const std::filesystem::path path_ = folder_ / "model.gguf";
};

TEST_F(Gguf, WhatIsWrittenIsRead) {
  const std::vector<float> floats = {1.5f, -2, 0, 4, 5, 6};
  const std::vector<std::byte> blocks(2 * 34, std::byte{7});
  GgufMetadata metadata;
  metadata.set_string("general.architecture", "none");
  metadata.set_string("general.architecture", "llama");
  metadata.set_u32("count", 7);
  metadata.set_f32("epsilon", 1e-5f);
  metadata.set_bool("flag", true);
  metadata.set_strings("words", std::vector<std::string>{"a", "", "ccc"});
  metadata.set_integers("numbers", std::vector<int32_t>{1, -2});
  GgufWriter writer(path_, metadata,
                    {{"floats", DType::kF32, {2, 3}},
                     {"blocks", DType::kQ8_0, {2, 32}},
                     {"last", DType::kF32, {6}}});
  const auto float_bytes = std::as_bytes(std::span(floats));
  writer.write(float_bytes.first(5));
  writer.write(float_bytes.subspan(5));
  writer.write(blocks);
  writer.write(float_bytes);
  writer.commit();

  EXPECT_TRUE(is_gguf_file(path_));
  const GgufFile file(path_);
  EXPECT_EQ(file.string("general.architecture"), "llama");
  EXPECT_EQ(file.integer("count", 0, 10), 7);
  EXPECT_EQ(file.integer_or("none", 0, 10, 3), 3);
  EXPECT_EQ(static_cast<float>(file.number("epsilon")), 1e-5f);
  EXPECT_TRUE(file.boolean_or("flag", false));
  EXPECT_THAT(file.strings("words"), ElementsAre("a", "", "ccc"));
  EXPECT_THAT(file.integers("numbers"), ElementsAre(1, -2));
  ASSERT_EQ(file.tensors().size(), 3u);
  const TensorView& blocks_view = *file.find("blocks");
  EXPECT_EQ(blocks_view.dtype, DType::kQ8_0);
  EXPECT_THAT(blocks_view.shape, ElementsAre(2, 32));
  EXPECT_EQ(blocks_view.n_elements(), 64);
  EXPECT_EQ(std::memcmp(blocks_view.bytes.data(), blocks.data(), blocks.size()), 0);
  EXPECT_EQ(tensor_floats(*file.find("last"), "f"), floats);
  EXPECT_EQ(tensor_floats(*file.find("floats"), "f"), floats);

  // Metadata can be taken over as they are.
  GgufMetadata copy;
  for (const GgufValue& value : file.metadata()) copy.set(value);
  GgufWriter(folder_ / "copy.gguf", copy, {}).commit();
  const GgufFile again(folder_ / "copy.gguf");
  EXPECT_THAT(again.strings("words"), ElementsAre("a", "", "ccc"));
  EXPECT_EQ(again.metadata().size(), file.metadata().size());
}

TEST_F(Gguf, HandMadeFileIsRead) {
  for (const uint32_t version : {2u, 3u}) {
    HandMade made;
    made.version = version;
    made.values = {value_of("u8", 0, raw(uint8_t{200})), value_of("i64", 11, raw(int64_t{-5}))};
    const GgufFile file = open(made.bytes());
    EXPECT_THAT(file.find("a")->shape, ElementsAre(3, 2)) << "row-major";
    EXPECT_EQ(file.integer("u8", 0, 255), 200);
    EXPECT_EQ(file.integer("i64", -10, 0), -5);
  }
}

TEST_F(Gguf, AlignmentIsTheFiles) {
  HandMade made;
  made.alignment = 64;
  made.values = {value_of("general.alignment", 4, raw(uint32_t{64}))};
  made.tensors = {TensorHead().bytes(), TensorHead{.name = "b", .offset = 64}.bytes()};
  made.n_data = 128;
  const GgufFile file = open(made.bytes());
  EXPECT_EQ(file.find("b")->bytes.data() - file.find("a")->bytes.data(), 64);
}

TEST_F(Gguf, EveryCutIsRefused) {
  HandMade made;
  made.values = {value_of("word", 8, text("hello")),
                 value_of("list", 9, raw(uint32_t{8}) + raw(uint64_t{2}) + text("a") + text("b")),
                 value_of("numbers", 9, raw(uint32_t{5}) + raw(uint64_t{2}) + raw(uint64_t{1}))};
  const std::string whole = made.bytes();
  open(whole);
  // The tensor takes 24 of the 32 bytes of data.
  for (size_t n = 0; n + 8 < whole.size(); ++n) expect_refused(whole.substr(0, n));
}

TEST_F(Gguf, EveryChangedByteIsReadOrRefused) {
  HandMade made;
  made.values = {value_of("word", 8, text("hello")),
                 value_of("list", 9, raw(uint32_t{8}) + raw(uint64_t{1}) + text("a"))};
  const std::string whole = made.bytes();
  for (size_t i = 0; i < whole.size() - 32; ++i) {
    for (const int change : {1, 0x40, 0x80, 0xff}) {
      std::string bytes = whole;
      bytes[i] = static_cast<char>(bytes[i] ^ change);
      write_text(path_, bytes);
      try {
        const GgufFile file(path_);
        for (const auto& [name, view] : file.tensors()) EXPECT_LE(view.bytes.size(), 32u);
      } catch (const Error& error) {
        EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos);
      }
    }
  }
}

TEST_F(Gguf, LyingHeadsAreRefused) {
  expect_refused("", "ends inside the magic");
  expect_spoilt([](HandMade& f) { f.magic = "GGML"; }, "is no GGUF file");
  for (const uint32_t version : {0u, 1u, 4u}) {
    expect_spoilt([&](HandMade& f) { f.version = version; }, "version", ErrorCode::kUnsupported);
  }
  expect_spoilt([](HandMade& f) { f.version = 3u << 24; }, "big-endian", ErrorCode::kUnsupported);
  constexpr uint64_t kMax = std::numeric_limits<uint64_t>::max();
  for (const uint64_t n : {uint64_t{2}, uint64_t{1} << 40, kMax}) {
    expect_spoilt([&](HandMade& f) { f.n_tensors = n; }, "");
    expect_spoilt([&](HandMade& f) { f.n_values = n; }, "");
  }
}

TEST_F(Gguf, LyingMetadataAreRefused) {
  const auto expect_value = [&](const std::string& value, const std::string& part,
                                ErrorCode code = ErrorCode::kData) {
    expect_spoilt([&](HandMade& f) { f.values = {value}; }, part, code);
  };
  constexpr uint64_t kMax = std::numeric_limits<uint64_t>::max();
  expect_value(raw(kMax), "a key of the metadata");
  expect_value(raw(uint64_t{65536}), "more than 65535");
  expect_value(value_of("x", 13, ""), "has the type 13");
  expect_value(value_of("x", 8, raw(kMax)), "a string of the metadata");
  expect_value(value_of("x", 8, raw(uint64_t{5000})), "a string of the metadata");
  for (const uint64_t n : {uint64_t{1} << 20, uint64_t{1} << 62, kMax}) {
    expect_value(value_of("x", 9, raw(uint32_t{4}) + raw(n)), "an array of the metadata");
    expect_value(value_of("x", 9, raw(uint32_t{8}) + raw(n)), "");
  }
  expect_value(value_of("x", 9, raw(uint32_t{77}) + raw(uint64_t{0})), "has the type 77");
  expect_value(value_of("x", 9, raw(uint32_t{9}) + raw(uint64_t{1})), "array of arrays",
               ErrorCode::kUnsupported);
  expect_spoilt(
      [](HandMade& f) {
        f.values = {value_of("x", 7, raw(true)), value_of("x", 7, raw(true))};
      },
      "stands twice");
  for (const uint32_t alignment : {0u, 3u, 48u, 1u << 21}) {
    expect_value(value_of("general.alignment", 4, raw(alignment)), "general.alignment");
  }
  expect_value(value_of("general.alignment", 8, text("32")), "general.alignment");
  expect_value(value_of("split.count", 2, raw(uint16_t{3})), "split", ErrorCode::kUnsupported);
}

TEST_F(Gguf, LyingTensorsAreRefused) {
  constexpr uint64_t kBig = uint64_t{1} << 32;
  expect_tensors({{.name = std::string(65, 'x')}}, "has 65 bytes");
  expect_tensors({{.dims = {}}}, "0 dimensions");
  expect_tensors({{.dims = {1, 1, 1, 1, 1}}}, "5 dimensions");
  expect_tensors({{.dims = {2, 0}}}, "a dimension of 0");
  expect_tensors({{.dims = {uint64_t{1} << 63}}}, "a dimension of");
  expect_tensors({{.dims = {kBig, kBig}}}, "no possible size");
  expect_tensors({{.dims = {uint64_t{1} << 62}}}, "no possible size");
  expect_tensors({{.dims = {33, 1}, .type = 8}}, "no possible size");
  expect_tensors({{.dims = {32, 1}, .type = 12}}, "no possible size");
  expect_tensors({{.dims = {9}}}, "not inside the 32 bytes");
  expect_tensors({{.dims = {2}, .offset = 32}}, "not inside");
  expect_tensors({{.dims = {2}, .offset = uint64_t{1} << 40}}, "not inside");
  expect_tensors({{.dims = {2}, .offset = ~uint64_t{31}}}, "not inside");
  expect_tensors({{.dims = {2}, .offset = 8}}, "no multiple of the alignment");
  expect_tensors({{}, {}}, "two tensors are called");
  expect_tensors({{}, {.name = "b"}}, "overlap");
}

TEST_F(Gguf, BytesThatBelongToNoTensorAreRefused) {
  constexpr uint32_t kF32 = 0;
  constexpr uint32_t kQ8 = 8;  // 34 bytes instead of 128
  HandMade made;
  const auto tensors = [&](std::vector<TensorHead> heads, size_t n_data) {
    made.tensors.clear();
    for (const TensorHead& head : heads) made.tensors.push_back(head.bytes());
    made.n_data = n_data;
    return made.bytes();
  };
  const TensorHead a{.name = "a", .dims = {32}, .type = kF32, .offset = 0};
  const TensorHead b{.name = "b", .dims = {32}, .type = kF32, .offset = 128};
  TensorHead small_a = a;
  TensorHead small_b = b;
  small_a.type = small_b.type = kQ8;
  EXPECT_EQ(open(tensors({a, b}, 256)).tensors().size(), 2u);
  EXPECT_EQ(open(tensors({b, a}, 256)).tensors().size(), 2u) << "heads in any order";
  expect_refused(tensors({small_a, b}, 256), "64 bytes after the tensor \"a\", Q8_0 [32]");
  expect_refused(tensors({a, small_b}, 256), "64 bytes after the tensor \"b\", Q8_0 [32]");
  expect_refused(tensors({b}, 256), "128 bytes before the first tensor, \"b\"");
  // What the last tensor lacks of the alignment may be there or not.
  EXPECT_EQ(open(tensors({a, small_b}, 162)).tensors().size(), 2u);
  EXPECT_EQ(open(tensors({a, small_b}, 192)).tensors().size(), 2u);
  expect_refused(tensors({a, small_b}, 193), "1 bytes after");
}

TEST_F(Gguf, OtherTensorTypesAreNamed) {
  const std::pair<uint32_t, const char*> types[] = {
      {9, "Q8_1"},   {16, "IQ2_XXS"}, {29, "IQ1_M"},      {35, "TQ2_0"},
      {40, "NVFP4"}, {4, "number 4"}, {999, "number 999"}};
  for (const auto& [type, name] : types) {
    expect_tensors({{.name = "blk.0.attn_q.weight", .type = type}}, name, ErrorCode::kUnsupported);
    expect_tensors({{.name = "blk.0.attn_q.weight", .type = type}}, "blk.0.attn_q.weight",
                   ErrorCode::kUnsupported);
    expect_tensors({{.name = "blk.0.attn_q.weight", .type = type}},
                   "supported: F32, F16, BF16, Q4_0", ErrorCode::kUnsupported);
  }
}

TEST_F(Gguf, KindsOfFilesHaveNames) {
  EXPECT_EQ(gguf_file_type_name(2), "Q4_0");
  EXPECT_EQ(gguf_file_type_name(15), "Q4_K_M");
  EXPECT_EQ(gguf_file_type_name(32), "BF16");
  for (const int64_t none : {int64_t{-1}, int64_t{4}, int64_t{1024}, int64_t{1} << 40}) {
    EXPECT_EQ(gguf_file_type_name(none), "");
  }
}

TEST_F(Gguf, ValuesOfAnotherTypeAreRefused) {
  HandMade made;
  made.values = {value_of("word", 8, text("hello")), value_of("nan", 6, raw(NAN)),
                 value_of("large", 10, raw(~uint64_t{0})), value_of("two", 7, raw(uint8_t{2})),
                 value_of("floats", 9, raw(uint32_t{6}) + raw(uint64_t{1}) + raw(1.0f))};
  const GgufFile file = open(made.bytes());
  expect_error(ErrorCode::kData, "none is missing", [&] { file.integer("none", 0, 1); });
  expect_error(ErrorCode::kData, "word must be an integer", [&] { file.integer("word", 0, 1); });
  expect_error(ErrorCode::kData, "large", [&] { file.integer("large", 0, 1); });
  expect_error(ErrorCode::kData, "nan", [&] { file.number("nan"); });
  expect_error(ErrorCode::kData, "word must be", [&] { file.number("word"); });
  expect_error(ErrorCode::kData, "two", [&] { file.boolean_or("two", true); });
  expect_error(ErrorCode::kData, "nan must be a string", [&] { file.string("nan"); });
  expect_error(ErrorCode::kData, "floats must be", [&] { file.strings("floats"); });
  expect_error(ErrorCode::kData, "floats must be", [&] { file.integers("floats"); });
  expect_error(ErrorCode::kData, "word must be", [&] { file.strings("word"); });
}

TEST_F(Gguf, WriterRefusesWhatDoesNotFit) {
  const auto make = [&](std::vector<GgufTensorInfo> tensors) {
    GgufWriter writer(path_, {}, std::move(tensors));
  };
  const auto refused = [&](std::vector<GgufTensorInfo> tensors) {
    expect_error(ErrorCode::kInvalidArgument, path_.string(), [&] { make(std::move(tensors)); });
  };
  refused({{"a", DType::kF32, {2}}, {"a", DType::kF32, {2}}});
  refused({{std::string(64, 'a'), DType::kF32, {2}}});
  refused({{"a", DType::kF32, {}}});
  refused({{"a", DType::kF32, {1, 1, 1, 1, 1}}});
  refused({{"a", DType::kQ8_0, {2, 33}}});
  refused({{"a", DType::kU8, {2}}});
  GgufWriter writer(path_, {}, {{"a", DType::kF32, {2}}});
  const std::vector<std::byte> bytes(9);
  expect_error(ErrorCode::kInvalidArgument, "takes 8 more", [&] { writer.write(bytes); });
  expect_error(ErrorCode::kInvalidArgument, "not complete", [&] { writer.commit(); });
  EXPECT_FALSE(std::filesystem::exists(path_));
}

TEST_F(Gguf, AFullDiskLeavesTheOldFile) {
  write_text(path_, "old");
  const FileSizeLimit limit(4096);
  const std::vector<std::byte> bytes(8192);
  expect_error(ErrorCode::kIo, path_.string(), [&] {
    GgufWriter writer(path_, {}, {{"a", DType::kF32, {2048}}});
    writer.write(bytes);
    writer.commit();
  });
  EXPECT_EQ(read_text(path_), "old");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder_.path()), {}), 1);
}

TEST_F(Gguf, OtherFilesAreNone) {
  write_text(path_, "GGU");
  EXPECT_FALSE(is_gguf_file(path_));
  EXPECT_FALSE(is_gguf_file(folder_.path()));
  EXPECT_FALSE(is_gguf_file(folder_ / "missing"));
  expect_error(ErrorCode::kIo, "missing", [&] { GgufFile file(folder_ / "missing"); });
}

}  // namespace
}  // namespace chunkllm

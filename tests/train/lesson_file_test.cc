#include "train/lesson_file.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/random.h"
#include "testing/expect_error.h"
#include "testing/failing_calls.h"
#include "testing/planted_lessons.h"
#include "testing/random_sequence.h"
#include "testing/temp_folder.h"
#include "train/lessons.h"

namespace chunkllm {
namespace {

constexpr const char* kSettings = R"({"weights":"abc","window":64})";

// Two layers, of which the first does not select.
Lesson some_lesson() {
  Lesson lesson;
  lesson.sequence = random_sequence(100, 600);
  lesson.boundary_mean_squares.assign(32, 0.5f);
  lesson.layers.resize(2);
  lesson.layers[1] = planted_lesson({}, 7);
  return lesson;
}

TEST(ForetoldLessonCost, GrowsFasterThanLengthWhereLayersDoNotSlide) {
  ModelConfig config;
  config.n_layers = 2;
  config.d_model = 64;
  config.n_heads = config.n_kv_heads = 2;
  config.head_dim = 32;
  config.d_ff = 128;
  const auto growth = [&](int64_t n) {
    return foretold_lesson_cost(config, 2 * n) / foretold_lesson_cost(config, n);
  };
  EXPECT_GT(growth(1000), 2.1);
  EXPECT_GT(growth(10000), growth(1000));
  EXPECT_LT(growth(10000), 4.0);
  config.window = 100;
  config.sliding_layers = {true, true};
  EXPECT_DOUBLE_EQ(growth(1000), 2.0);
}

class LessonFileTest : public testing::Test {
 protected:
  LessonFile open(const char* settings = kSettings, int64_t n_layers = 2, int64_t d_model = 32) {
    return LessonFile(path_, settings, n_layers, d_model);
  }
  TempFolder folder_;
  std::filesystem::path path_ = folder_ / "00000.lesson";
};

TEST_F(LessonFileTest, ReadsWhatWasWritten) {
  const Lesson lesson = some_lesson();
  write_lesson(path_, lesson, kSettings);
  const LessonFile file = open();
  EXPECT_EQ(file.sequence().ids, lesson.sequence.ids);
  EXPECT_EQ(file.sequence().labels, lesson.sequence.labels);
  EXPECT_EQ(file.sequence().prompt_ends, lesson.sequence.prompt_ends);
  EXPECT_EQ(file.sequence().answers, lesson.sequence.answers);
  EXPECT_EQ(file.sequence().random_queries, lesson.sequence.random_queries);
  EXPECT_TRUE(std::ranges::equal(file.boundary_mean_squares(), lesson.boundary_mean_squares));
  EXPECT_EQ(file.layer(0).n_queries(), 0);
  const LayerLesson& layer = lesson.layers[1];
  const LayerLessonView& view = file.layer(1);
  EXPECT_TRUE(std::ranges::equal(view.positions, layer.positions));
  EXPECT_TRUE(std::ranges::equal(view.kinds, layer.kinds));
  EXPECT_TRUE(std::ranges::equal(view.eligible, layer.eligible));
  EXPECT_TRUE(std::ranges::equal(view.chunk_ends, layer.chunk_ends));
  EXPECT_TRUE(std::ranges::equal(view.mean_squares, layer.mean_squares));
  const auto bits = [](Bf16 value) { return value.bits; };
  EXPECT_TRUE(std::ranges::equal(view.query_inputs, layer.query_inputs, {}, bits, bits));
  EXPECT_TRUE(std::ranges::equal(view.mean_inputs, layer.mean_inputs, {}, bits, bits));
  for (size_t kind = 0; kind < kMassKinds; ++kind) {
    EXPECT_TRUE(std::ranges::equal(view.masses[kind], layer.masses[kind], {}, bits, bits));
  }
  EXPECT_EQ(file.size_bytes(), static_cast<int64_t>(std::filesystem::file_size(path_)));
}

TEST_F(LessonFileTest, OtherSettingsAreRefusedByName) {
  write_lesson(path_, some_lesson(), kSettings);
  expect_error(ErrorCode::kData, "was saved with set of weights abc, now abd",
               [&] { open(R"({"weights":"abd","window":64})"); });
  expect_error(ErrorCode::kData, "window 64, now 512",
               [&] { open(R"({"weights":"abc","window":512})"); });
  expect_error(ErrorCode::kData, "no min_chunk, now 8",
               [&] { open(R"({"weights":"abc","window":64,"min_chunk":8})"); });
  expect_error(ErrorCode::kData, "window 64, now none", [&] { open(R"({"weights":"abc"})"); });
}

// Under the names and with the values that a user gives.
TEST_F(LessonFileTest, SettingsAreSaidAsOptions) {
  const auto expect_said = [&](const char* saved, const char* now, const char* said) {
    expect_error(ErrorCode::kData, said,
                 [&] { check_same_settings("x", saved, now, "do the same"); });
  };
  expect_said(R"({"chunks":0})", R"({"chunks":32})",
              "x: was saved with --chunks sentence, now fixed:32; do the same");
  expect_said(R"({"first_layer":"grid","first_layer_tokens":32})", R"({"first_layer":"dense"})",
              "with --first-layer grid:32, now dense;");
  expect_said(R"({"sequences":0,"learning_rate":0.1})", R"({"sequences":30,"learning_rate":0.1})",
              "with the default --sequences, now 30;");
  expect_said(R"({"seq_len":512})", R"({"seq_len":0})", "with --seq-len 512, now the default;");
  const std::string digits(63, '0');
  expect_said((R"({"data":"1)" + digits + R"("})").c_str(),
              (R"({"data":"2)" + digits + R"("})").c_str(), "with another set of texts (--data);");
  expect_said(R"([1])", R"({"seed":1})", "with no --seed, now 1;");
  expect_said(R"({"seed" :1})", R"({"seed":1})", "with other settings;");
}

TEST_F(LessonFileTest, AModelOfAnotherShapeIsRefused) {
  write_lesson(path_, some_lesson(), kSettings);
  expect_error(ErrorCode::kData, "boundary_mean_squares", [&] { open(kSettings, 2, 64); });
}

TEST_F(LessonFileTest, DamageIsNamed) {
  const auto expect_damage = [&](const char* what, auto&& damage) {
    Lesson lesson = some_lesson();
    damage(lesson);
    write_lesson(path_, lesson, kSettings);
    expect_error(ErrorCode::kData, what, [&] { open(); });
  };
  expect_damage("eligible", [](Lesson& l) { l.layers[1].eligible[9].end = 1000; });
  expect_damage("eligible", [](Lesson& l) { l.layers[1].eligible[9] = {5, 3}; });
  expect_damage("mass_next", [](Lesson& l) { l.layers[1].masses[1].pop_back(); });
  expect_damage("positions", [](Lesson& l) { l.layers[1].positions[3] = 0; });
  expect_damage("chunk_ends", [](Lesson& l) { l.layers[1].chunk_ends[3] = 5000; });
  expect_damage("mean_inputs", [](Lesson& l) { l.layers[1].mean_inputs.resize(5); });
  expect_damage("kinds", [](Lesson& l) { l.layers[1].kinds[2] = static_cast<QueryKind>(9); });
  expect_damage("labels", [](Lesson& l) { l.sequence.labels[3] = 7; });
  expect_damage("answers", [](Lesson& l) { l.sequence.answers = {9, 9}; });
  expect_damage("prompt_ends", [](Lesson& l) { l.sequence.prompt_ends = {70000}; });
  write_lesson(path_, some_lesson(), kSettings);
  std::filesystem::resize_file(path_, std::filesystem::file_size(path_) / 2);
  expect_error(ErrorCode::kData, "00000.lesson", [&] { open(); });
  expect_error(ErrorCode::kData, "train with another --out, which makes it again", [&] { open(); });
}

// No changed bit is learned from: it is refused, or it is where it changes nothing.
TEST_F(LessonFileTest, AChangedBitIsAnError) {
  const Lesson lesson = some_lesson();
  write_lesson(path_, lesson, kSettings);
  const std::string good = read_text(path_);
  const auto same = [&](const LessonFile& file) {
    const auto bits = [](Bf16 value) { return value.bits; };
    const LayerLesson& layer = lesson.layers[1];
    return file.sequence().ids == lesson.sequence.ids &&
           std::ranges::equal(file.layer(1).query_inputs, layer.query_inputs, {}, bits, bits) &&
           std::ranges::equal(file.layer(1).masses[0], layer.masses[0], {}, bits, bits);
  };
  Rng rng(1);
  for (int i = 0; i < 300; ++i) {
    std::string bytes = good;
    const int64_t limit = i % 2 == 0 ? 2500 : std::ssize(good);  // half of them in the header
    const auto at = static_cast<size_t>(rng.below(limit));
    bytes[at] = static_cast<char>(bytes[at] ^ (1 << rng.below(8)));
    write_text(path_, bytes);
    try {
      EXPECT_TRUE(same(open())) << at;
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find("00000.lesson"), std::string::npos);
    }
  }
  std::string bytes = good;
  bytes.back() = static_cast<char>(bytes.back() ^ 1);
  write_text(path_, bytes);
  expect_error(ErrorCode::kData,
               "damaged; remove it and train with another --out, which makes it again",
               [&] { open(); });
}

TEST_F(LessonFileTest, OneWithoutAChecksumIsRead) {
  write_lesson(path_, some_lesson(), kSettings);
  std::string bytes = read_text(path_);
  const size_t at = bytes.find("_sha256");
  ASSERT_NE(at, std::string::npos);
  bytes.replace(at, 7, "_no_sum");
  write_text(path_, bytes);
  EXPECT_EQ(open().sequence().ids, some_lesson().sequence.ids);
}

TEST_F(LessonFileTest, AnyFailingCallLeavesTheOldFileWhole) {
  write_lesson(path_, some_lesson(), kSettings);
  Lesson other = some_lesson();
  other.sequence.ids[0] += 1;
  expect_whole_files(folder_.path(), [&] { write_lesson(path_, other, kSettings); });
}

}  // namespace
}  // namespace chunkllm

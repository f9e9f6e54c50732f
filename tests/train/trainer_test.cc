#include "train/trainer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "data/synthetic.h"
#include "formats/safetensors.h"
#include "select/chunk/adapter.h"
#include "testing/expect_error.h"
#include "testing/failing_calls.h"
#include "testing/file_size_limit.h"
#include "testing/models.h"
#include "testing/temp_folder.h"
#include "train/checkpoint.h"
#include "train/progress_log.h"

namespace chunkllm {
namespace {

class TrainerTest : public testing::Test {
 protected:
  TrainerTest() {
    EngineOptions options;
    options.model = needle_model();
    options.dtype = DtypeChoice::kF32;
    engine_.emplace(options);
    engine_->load_weights();
    Rng rng(3);
    std::filesystem::create_directories(folder_ / "data");
    write_text(folder_ / "data" / "a.txt", make_text(rng, 60000));
    write_text(folder_ / "data" / "b.jsonl", "{\"text\": \"One line. Another one here.\"}\n");
    data_ = read_corpus({folder_ / "data"});
  }
  TrainOptions options(const char* out) const {
    TrainOptions options;
    options.out = folder_ / out;
    options.seq_len = 512;
    options.sequences = 3;
    options.epochs = 2;
    options.adapter_dim = 16;
    return options;
  }
  TrainResult train(const TrainOptions& options, const CancelToken* cancel = nullptr,
                    std::function<void(std::string_view, int64_t)> on_progress = {}) {
    TrainCallbacks callbacks;
    callbacks.message = [this](const std::string& line) { messages_.push_back(line); };
    callbacks.progress = [&](std::string_view what, std::string_view, int64_t n_done, int64_t) {
      if (on_progress) on_progress(what, n_done);
    };
    return train_adapters(*engine_, data_, &data_, options, callbacks, cancel);
  }
  // Trains until `n_done` of `what` are there, then interrupts.
  void train_until(const TrainOptions& options, std::string_view what, int64_t n_done) {
    CancelToken cancel;
    expect_error(ErrorCode::kInterrupted, "--resume", [&] {
      train(options, &cancel, [&](std::string_view now, int64_t n) {
        if (now == what && n == n_done) cancel.request();
      });
    });
  }

  TempFolder folder_;
  std::optional<Engine> engine_;
  Corpus data_;
  std::vector<std::string> messages_;
};

TEST_F(TrainerTest, WritesWhatItPromises) {
  const TrainResult result = train(options("out"));
  EXPECT_GT(result.steps, 0);
  EXPECT_GT(result.n_tokens, 3 * 100);
  ASSERT_TRUE(result.eval.has_value());
  EXPECT_EQ(result.report.at("boundaries_by_kind").size(), std::size(kTextShares));
  for (const nlohmann::ordered_json& report : {*result.eval, result.report}) {
    for (const char* field : {"boundary_precision", "boundary_recall", "boundary_f1", "loss_kl"}) {
      EXPECT_TRUE(report.at(field).is_number()) << field;
    }
    for (const char* field : {"kl", "recall_at_8", "recall_at_8_recent", "recall_at_8_random",
                              "captured_mass", "captured_mass_recent"}) {
      EXPECT_EQ(report.at(field).size(), 6u) << field;
    }
  }
  const Adapter adapter = load_adapter(folder_ / "out");
  EXPECT_NO_THROW(check_adapter_fits(adapter, engine_->weights(), folder_ / "out"));
  EXPECT_EQ(adapter.config.chunk_key, ChunkKey::kMean);
  EXPECT_FALSE(read_progress_log(folder_ / "out" / "train.jsonl").empty());
  EXPECT_FALSE(std::filesystem::exists(folder_ / "out" / "lessons"));
  ASSERT_GE(messages_.size(), 2u);
  EXPECT_NE(messages_[0].find("files"), std::string::npos) << messages_[0];
  EXPECT_NE(messages_[1].find("about"), std::string::npos) << messages_[1];
}

TEST_F(TrainerTest, AResumedRunEqualsAnUninterruptedOneBitForBit) {
  train(options("straight"));
  train_until(options("resumed"), "lessons", 2);
  TrainOptions resume = options("resumed");
  resume.resume = true;
  train_until(resume, "boundaries", 1);
  train_until(resume, "fits", 4);
  train(resume);
  EXPECT_EQ(read_text(folder_ / "straight" / "adapter_model.safetensors"),
            read_text(folder_ / "resumed" / "adapter_model.safetensors"));
  const auto straight = read_progress_log(folder_ / "straight" / "train.jsonl");
  const auto resumed = read_progress_log(folder_ / "resumed" / "train.jsonl");
  ASSERT_EQ(straight.size(), resumed.size());
  for (size_t i = 0; i < straight.size(); ++i) {
    auto a = straight[i];
    auto b = resumed[i];
    a.erase("seconds");
    b.erase("seconds");
    EXPECT_EQ(a, b);
  }
  // A run that is complete says the same again.
  const TrainResult again = train(resume);
  EXPECT_EQ(again.report.at("kl").size(), 6u);
}

TEST_F(TrainerTest, LessonsCanBeKeptExtendedAndFittedWithOtherOptions) {
  TrainOptions first = options("first");
  first.lessons = folder_ / "lessons";
  train(first);
  const auto n_files = [&] {
    int64_t n = 0;
    for (const auto& entry : std::filesystem::directory_iterator(folder_ / "lessons")) {
      n += entry.path().extension() == ".lesson" ? 1 : 0;
    }
    return n;
  };
  EXPECT_EQ(n_files(), 3);
  const auto before = std::filesystem::last_write_time(folder_ / "lessons" / "00000.lesson");
  TrainOptions second = first;
  second.out = folder_ / "second";
  second.sequences = 4;
  second.reading = {.target = TeacherTarget::kAll, .key = ChunkKey::kBoundary};
  second.adapter_dim = 8;
  train(second);
  EXPECT_EQ(n_files(), 4);
  EXPECT_EQ(std::filesystem::last_write_time(folder_ / "lessons" / "00000.lesson"), before);
  const Adapter adapter = load_adapter(folder_ / "second");
  EXPECT_EQ(adapter.config.adapter_dim, 8);
  EXPECT_EQ(adapter.config.chunk_key, ChunkKey::kBoundary);
  TrainOptions other = first;
  other.out = folder_ / "other";
  other.first_layer_tokens = 16;
  expect_error(ErrorCode::kData, "was saved with --first-layer grid:32, now grid:16;",
               [&] { train(other); });
}

TEST_F(TrainerTest, RefusesToMixRuns) {
  train(options("out"));
  expect_error(ErrorCode::kInvalidArgument, "--resume", [&] { train(options("out")); });
  TrainOptions other = options("out");
  other.epochs = 3;
  other.resume = true;
  expect_error(ErrorCode::kData, "was saved with --epochs 2, now 3;", [&] { train(other); });
}

TEST_F(TrainerTest, ADivergingFitIsOneErrorAndLeavesWhatWasDone) {
  TrainOptions wild = options("out");
  train_until(wild, "lessons", 3);
  // A lesson whose fifth layer was damaged on its way, in a file that has no checksum.
  wild.resume = true;
  train_until(wild, "fits", 3);
  const std::filesystem::path path = folder_ / "out" / "lessons" / "00001.lesson";
  const SafetensorsFile tensors(path);
  const TensorView* inputs = tensors.find("layers.4.query_inputs");
  ASSERT_NE(inputs, nullptr);
  std::string file = read_text(path);
  const std::string_view bytes(reinterpret_cast<const char*>(inputs->bytes.data()),
                               inputs->bytes.size());
  const size_t at = file.find(bytes);
  ASSERT_NE(at, std::string::npos);
  std::fill_n(file.begin() + static_cast<std::ptrdiff_t>(at), bytes.size(), '\xff');
  const size_t checksum = file.find("_sha256");
  ASSERT_NE(checksum, std::string::npos);
  file.replace(checksum, 7, "_no_sum");
  write_text(path, file);
  expect_error(ErrorCode::kData, "layer 4", [&] { train(wild); });
  expect_error(ErrorCode::kData, "layer 4", [&] { train(wild); });
  EXPECT_FALSE(std::filesystem::exists(folder_ / "out" / "adapter_model.safetensors"));
  EXPECT_TRUE(std::filesystem::exists(checkpoint_path(folder_ / "out")));
}

// Weights that only the bytes of a matrix tell apart: the fingerprint, over norms, is the same.
TEST_F(TrainerTest, RefusesToGoOnWithOtherWeights) {
  train(options("out"));
  const std::filesystem::path other = folder_ / "other";
  std::filesystem::copy(needle_model(), other);
  std::string file = read_text(other / "model.safetensors");
  {
    const SafetensorsFile tensors(other / "model.safetensors");
    const TensorView* matrix = tensors.find("model.layers.3.mlp.down_proj.weight");
    ASSERT_NE(matrix, nullptr);
    const std::string_view bytes(reinterpret_cast<const char*>(matrix->bytes.data()),
                                 matrix->bytes.size());
    const size_t at = file.find(bytes);
    ASSERT_NE(at, std::string::npos);
    file[at] = static_cast<char>(file[at] ^ 1);
  }
  write_text(other / "model.safetensors", file);
  const std::string fingerprint = engine_->weights().fingerprint();
  engine_.emplace(EngineOptions{.model = other, .adapters = {}, .dtype = DtypeChoice::kF32});
  engine_->load_weights();
  ASSERT_EQ(engine_->weights().fingerprint(), fingerprint);
  TrainOptions resume = options("out");
  resume.resume = true;
  expect_error(ErrorCode::kData, "was saved with another set of weights;", [&] { train(resume); });
}

TEST_F(TrainerTest, ATruncatedCheckpointIsAnError) {
  train(options("out"));
  const std::filesystem::path path = checkpoint_path(folder_ / "out");
  std::filesystem::resize_file(path, std::filesystem::file_size(path) / 2);
  TrainOptions resume = options("out");
  resume.resume = true;
  expect_error(ErrorCode::kData, "checkpoint.safetensors", [&] { train(resume); });
  expect_error(ErrorCode::kData, "remove it and train anew", [&] { train(resume); });
}

// No changed bit is taken for a state: it is refused, or it is where it changes nothing.
TEST_F(TrainerTest, AChangedBitInACheckpointIsAnError) {
  train(options("out"));
  const Adapter adapter = load_adapter(folder_ / "out");
  const CheckpointState state{.n_stages = 3, .n_steps = 7, .settings = "{}"};
  save_checkpoint(folder_ / "out", state, adapter);
  const std::filesystem::path path = checkpoint_path(folder_ / "out");
  const std::string good = read_text(path);
  Rng rng(1);
  for (int i = 0; i < 200; ++i) {
    std::string bytes = good;
    // Half of the changes are in the header and the begin of the arrays.
    const int64_t limit = i % 2 == 0 ? 4000 : std::ssize(good);
    const auto at = static_cast<size_t>(rng.below(limit));
    bytes[at] = static_cast<char>(bytes[at] ^ (1 << rng.below(8)));
    write_text(path, bytes);
    Adapter loaded = adapter;
    try {
      const CheckpointState again = load_checkpoint(folder_ / "out", state.settings, loaded);
      EXPECT_EQ(again.n_stages, 3) << at;
      EXPECT_EQ(again.n_steps, 7) << at;
      EXPECT_EQ(loaded.boundary_weight, adapter.boundary_weight) << at;
      for (size_t layer = 0; layer < adapter.layers.size(); ++layer) {
        EXPECT_EQ(loaded.layers[layer].q, adapter.layers[layer].q) << at;
      }
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), testing::HasSubstr("checkpoint.safetensors"));
    }
  }
  std::string bytes = good;
  bytes.back() = static_cast<char>(bytes.back() ^ 1);
  write_text(path, bytes);
  Adapter loaded = adapter;
  expect_error(ErrorCode::kData, "this checkpoint is damaged; remove it and train anew",
               [&] { load_checkpoint(folder_ / "out", state.settings, loaded); });
}

TEST_F(TrainerTest, AFullDiskLeavesTheOldCheckpointWhole) {
  train(options("out"));
  const std::string before = read_text(checkpoint_path(folder_ / "out"));
  const Adapter adapter = load_adapter(folder_ / "out");
  {
    const FileSizeLimit full_disk(256);
    expect_error(ErrorCode::kIo, "checkpoint.safetensors",
                 [&] { save_checkpoint(folder_ / "out", {}, adapter); });
  }
  EXPECT_EQ(read_text(checkpoint_path(folder_ / "out")), before);
}

TEST_F(TrainerTest, EveryCallThatFailsLeavesCheckpointAndAdapterWhole) {
  train(options("out"));
  Adapter adapter = load_adapter(folder_ / "out");
  adapter.boundary_bias += 1;
  adapter.config.alpha = 0.25f;
  expect_whole_files(folder_ / "out", [&] {
    save_checkpoint(folder_ / "out", {}, adapter);
    save_adapter(adapter, folder_ / "out");
  });
}

TEST_F(TrainerTest, ImpossibleOptionsAreNamed) {
  TrainOptions bad = options("out");
  bad.seq_len = 10;
  expect_error(ErrorCode::kInvalidArgument, "--seq-len", [&] { train(bad); });
  bad = options("out");
  bad.learning_rate = -1;
  expect_error(ErrorCode::kInvalidArgument, "--lr", [&] { train(bad); });
  bad = options("out");
  bad.epochs = 0;
  expect_error(ErrorCode::kInvalidArgument, "--epochs", [&] { train(bad); });
}

TEST_F(TrainerTest, BadDataIsNamed) {
  write_text(folder_ / "bad.txt", "Fine. \xff\xfe");
  expect_error(ErrorCode::kData, "byte 6", [&] { read_corpus({folder_ / "bad.txt"}); });
  write_text(folder_ / "bad.jsonl", "{\"text\": \"Fine.\"}\n{\"text\": 3}\n");
  expect_error(ErrorCode::kData, "line 2", [&] { read_corpus({folder_ / "bad.jsonl"}); });
  expect_error(ErrorCode::kIo, "missing", [&] { read_corpus({folder_ / "missing"}); });
  write_text(folder_ / "empty.txt", "");
  expect_error(ErrorCode::kData, "no text", [&] { read_corpus({folder_ / "empty.txt"}); });
}

}  // namespace
}  // namespace chunkllm

#include "train/trainer.h"

#include <gtest/gtest.h>

#include "formats/safetensors.h"
#include "select/chunk/adapter.h"
#include "testing/expect_error.h"
#include "testing/failing_calls.h"
#include "testing/file_size_limit.h"
#include "testing/models.h"
#include "testing/temp_folder.h"
#include "train/checkpoint.h"
#include "train/data/synthetic.h"
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
  TrainOptions options(const char* out, int64_t steps = 4) const {
    TrainOptions options;
    options.out = folder_ / out;
    options.seq_len = 512;
    options.batch_tokens = 1024;
    options.steps = steps;
    options.save_every = 2;
    options.eval_every = 2;
    options.eval_sequences = 2;
    options.adapter_dim = 16;
    return options;
  }
  TrainResult train(const TrainOptions& options, const CancelToken* cancel = nullptr,
                    std::function<void(int64_t)> on_step = {}) {
    TrainCallbacks callbacks;
    callbacks.message = [this](const std::string& line) { messages_.push_back(line); };
    callbacks.progress = [&](int64_t step, int64_t) {
      if (on_step) on_step(step);
    };
    return train_adapters(*engine_, data_, &data_, options, callbacks, cancel);
  }

  TempFolder folder_;
  std::optional<Engine> engine_;
  Corpus data_;
  std::vector<std::string> messages_;
};

TEST_F(TrainerTest, WritesWhatItPromises) {
  const TrainResult result = train(options("out"));
  EXPECT_EQ(result.steps, 4);
  ASSERT_TRUE(result.eval.has_value());
  for (const char* field :
       {"boundary_f1", "kl", "recall_at_8", "recall_at_8_recent", "recall_at_8_random"}) {
    EXPECT_TRUE(result.eval->contains(field)) << field;
  }
  EXPECT_EQ((*result.eval)["kl"].size(), 6u);
  const Adapter adapter = load_adapter(folder_ / "out");
  EXPECT_NO_THROW(check_adapter_fits(adapter, engine_->weights(), folder_ / "out"));
  EXPECT_EQ(read_progress_log(folder_ / "out" / "train.jsonl").size(), 4u);
  ASSERT_FALSE(messages_.empty());
  EXPECT_NE(messages_.front().find("of memory"), std::string::npos) << messages_.front();
}

TEST_F(TrainerTest, AResumedRunEqualsAnUninterruptedOneBitForBit) {
  train(options("straight", 5));
  CancelToken cancel;
  expect_error(ErrorCode::kInterrupted, "after step 3 of 5", [&] {
    train(options("resumed", 5), &cancel, [&](int64_t step) {
      if (step == 3) cancel.request();
    });
  });
  TrainOptions resume = options("resumed", 5);
  resume.resume = true;
  train(resume);
  EXPECT_EQ(read_text(folder_ / "straight" / "adapter_model.safetensors"),
            read_text(folder_ / "resumed" / "adapter_model.safetensors"));
  const auto straight = read_progress_log(folder_ / "straight" / "train.jsonl");
  const auto resumed = read_progress_log(folder_ / "resumed" / "train.jsonl");
  ASSERT_EQ(straight.size(), resumed.size());
  for (size_t i = 0; i < straight.size(); ++i) {
    EXPECT_EQ(straight[i]["loss_kl"], resumed[i]["loss_kl"]);
    EXPECT_EQ(straight[i]["gradient_norm"], resumed[i]["gradient_norm"]);
  }
}

TEST_F(TrainerTest, RefusesToMixRuns) {
  train(options("out", 1));
  expect_error(ErrorCode::kInvalidArgument, "--resume", [&] { train(options("out", 1)); });
  TrainOptions other = options("out", 2);
  other.resume = true;
  expect_error(ErrorCode::kData, "steps = 1", [&] { train(other); });
}

// Weights that only the bytes of a matrix tell apart: the fingerprint, over norms, is the same.
TEST_F(TrainerTest, RefusesToGoOnWithOtherWeights) {
  train(options("out", 1));
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
  engine_.emplace(EngineOptions{.model = other, .adapter = {}, .dtype = DtypeChoice::kF32});
  engine_->load_weights();
  ASSERT_EQ(engine_->weights().fingerprint(), fingerprint);
  TrainOptions resume = options("out", 1);
  resume.resume = true;
  expect_error(ErrorCode::kData, "weights = ", [&] { train(resume); });
}

TEST_F(TrainerTest, ATruncatedCheckpointIsAnError) {
  train(options("out", 2));
  const std::filesystem::path path = checkpoint_path(folder_ / "out");
  std::filesystem::resize_file(path, std::filesystem::file_size(path) / 2);
  TrainOptions resume = options("out", 2);
  resume.resume = true;
  expect_error(ErrorCode::kData, "checkpoint.safetensors", [&] { train(resume); });
}

TEST_F(TrainerTest, AFullDiskLeavesTheOldCheckpointWhole) {
  train(options("out", 2));
  const std::string before = read_text(checkpoint_path(folder_ / "out"));
  Adapter adapter = load_adapter(folder_ / "out");
  const std::vector<float> gradient(adapter.boundary_weight.size(), 0.0f);
  const std::vector<TrainedParameter> parameters{{"w", adapter.boundary_weight, gradient}};
  AdamW optimizer(parameters, {});
  AdamW* const optimizers[] = {&optimizer};
  {
    const FileSizeLimit full_disk(256);
    expect_error(ErrorCode::kIo, "checkpoint.safetensors", [&] {
      save_checkpoint(folder_ / "out", {}, {parameters, optimizers});
    });
  }
  EXPECT_EQ(read_text(checkpoint_path(folder_ / "out")), before);
}

TEST_F(TrainerTest, EveryCallThatFailsLeavesCheckpointAndAdapterWhole) {
  train(options("out", 2));
  Adapter adapter = load_adapter(folder_ / "out");
  adapter.boundary_bias += 1;
  adapter.config.alpha = 0.25f;
  const std::vector<float> gradient(adapter.boundary_weight.size(), 0.0f);
  const std::vector<TrainedParameter> parameters{{"w", adapter.boundary_weight, gradient}};
  AdamW optimizer(parameters, {});
  AdamW* const optimizers[] = {&optimizer};
  expect_whole_files(folder_ / "out", [&] {
    save_checkpoint(folder_ / "out", {}, {parameters, optimizers});
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
  bad.batch_tokens = 1;
  expect_error(ErrorCode::kInvalidArgument, "--batch-tokens", [&] { train(bad); });
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

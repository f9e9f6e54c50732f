// Training of adapters on a frozen backbone, from data to adapter folder.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "base/cancel.h"
#include "engine/engine.h"
#include "train/data/corpus.h"
#include "train/teacher.h"

namespace chunkllm {

struct TrainOptions {
  std::filesystem::path out;     // the adapter folder; also checkpoint and train.jsonl
  int64_t seq_len = 4096;        // tokens a sequence
  int64_t batch_tokens = 16384;  // tokens a step
  int64_t steps = 120;
  double learning_rate = 1e-2;           // peak; 5% warm-up, cosine decay to a tenth
  double boundary_learning_rate = 5e-3;  // peak of the Chunk Adapter, a logistic regression
  TeacherOptions teacher;
  double chat_share = 0.5;  // of the sequences that are retrieval chats
  int64_t adapter_dim = 0;  // 0: the default for the model
  FirstLayerKind first_layer = FirstLayerKind::kGrid;
  int64_t first_layer_tokens = 32;
  int64_t fixed_chunk = 0;   // 0: sentences
  int64_t save_every = 50;   // steps
  int64_t eval_every = 100;  // steps
  int64_t eval_sequences = 32;
  bool resume = false;
  uint64_t seed = 0;
};

struct TrainResult {
  int64_t steps = 0;
  int64_t n_tokens = 0;
  double seconds = 0;
  double loss = 0;  // BCE plus mean KL of the last step
  std::optional<nlohmann::ordered_json> eval;
};

struct TrainCallbacks {
  std::function<void(const std::string&)> message;  // one line for a person
  std::function<void(int64_t step, int64_t n_steps)> progress;
};

// Trains and writes the adapter folder. The weights of `engine` must be loaded; `eval_data` may be
// null. The same options, data and number of threads give the same adapters bit for bit, in one run
// or resumed. Throws Error; when cancelled (kInterrupted) after writing a checkpoint.
TrainResult train_adapters(const Engine& engine, const Corpus& data, const Corpus* eval_data,
                           const TrainOptions& options, const TrainCallbacks& callbacks,
                           const CancelToken* cancel);

}  // namespace chunkllm

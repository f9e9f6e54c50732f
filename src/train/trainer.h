// Training of adapters on a frozen backbone, from data to adapter folder: lessons, then fits.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "base/cancel.h"
#include "data/corpus.h"
#include "engine/engine.h"
#include "train/layer_problem.h"

namespace chunkllm {

// The Chunk Adapter is a logistic regression, each of whose epochs runs the first layer again.
inline constexpr int64_t kBoundaryEpochs = 4;

struct TrainOptions {
  std::filesystem::path out;      // the adapter folder; also checkpoint and train.jsonl
  std::filesystem::path lessons;  // where lessons are kept; empty: in `out`, until the end
  int64_t sequences = 0;          // lessons to have; 0: until they hold enough tokens
  int64_t seq_len = 0;            // most tokens of one; 0: 16384, or the model's context
  double chat_share = 2.0 / 3.0;  // of the sequences that are retrieval chats
  int64_t epochs = 24;            // of layers; the Chunk Adapter has kBoundaryEpochs at most
  double learning_rate = 3e-3;    // peak of the QK Adapters
  LessonReading reading;          // target, chunk key and weights
  int64_t selection_heads = 0;    // 0: the default
  int64_t adapter_dim = 0;        // of each head; 0: the default
  FirstLayerKind first_layer = FirstLayerKind::kGrid;
  int64_t first_layer_tokens = 32;
  int64_t fixed_chunk = 0;  // 0: sentences
  int64_t save_every = 1;   // layers
  bool resume = false;
  uint64_t seed = 0;
};

struct TrainResult {
  int64_t steps = 0;
  int64_t n_tokens = 0;  // of the lessons
  double seconds = 0;
  double loss = 0;                // BCE plus mean KL on the lessons
  nlohmann::ordered_json report;  // of the lessons, as train.jsonl has it
  std::optional<nlohmann::ordered_json> eval;
};

struct TrainCallbacks {
  std::function<void(const std::string&)> message;  // one line for a person
  // What is being done, in a word or two, and how far it is.
  std::function<void(std::string_view what, std::string_view unit, int64_t n_done, int64_t n_total)>
      progress;
};

// Throws Error (kInvalidArgument) if `out` holds a training that the options do not continue, or
// adapters without one.
void check_no_other_training(const TrainOptions& options);

// Trains and writes the adapter folder. The weights of `engine` must be loaded, and it has the
// adapter afterwards; `eval_data` may be null. The same lessons and options give the same adapters
// bit for bit, in one run or resumed; the QK Adapters at any number of threads. Throws Error; when
// cancelled (kInterrupted), or when a fit diverges (kData), what was done stays in a checkpoint.
TrainResult train_adapters(Engine& engine, const Corpus& data, const Corpus* eval_data,
                           const TrainOptions& options, const TrainCallbacks& callbacks,
                           const CancelToken* cancel);

}  // namespace chunkllm

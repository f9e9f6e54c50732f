// One dense pass over a text, cut into chunks before, for tasks that look at attention.
#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <vector>

#include "base/cancel.h"
#include "engine/engine.h"
#include "engine/prompt.h"
#include "eval/attention/chunked_text.h"
#include "eval/attention/mass_pass.h"
#include "eval/task.h"

namespace chunkllm {

// What such tasks read of the options, and how they run. Refers to the engine.
class DenseLook {
 public:
  // Throws Error (kInvalidArgument) for a budget that is no share of the tokens.
  DenseLook(const Engine& engine, const EvalOptions& options);

  const std::vector<double>& budgets() const { return budgets_; }  // shares
  int64_t sink() const { return *settings_.sink; }
  int64_t window() const { return *settings_.window; }

  // What results depend on beside the text, by the names of options.
  nlohmann::ordered_json settings() const;

  // Runs the model once over the text, with a listener's ears.
  using Run = std::function<void(MassListener& listener)>;
  // Cuts the prompt into chunks and calls `look`, which is to make a listener for them and run it.
  // Fills in retention and details of `result`. Throws Error (kMemory) before anything runs,
  // (kInterrupted) when cancelled.
  void run(const Prompt& prompt, const EvalWork::Progress& progress, const CancelToken* cancel,
           const std::function<void(const ChunkedText& text, const Run& run)>& look,
           CellResult& result) const;

 private:
  const Engine& engine_;
  KvType kv_type_;
  std::vector<std::string> budget_names_;
  std::vector<double> budgets_;
  SelectionSettings settings_;
};

}  // namespace chunkllm

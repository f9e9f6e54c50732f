// The demonstration model in float32, loaded once for a test program.
#pragma once

#include "engine/engine.h"
#include "engine/session.h"
#include "testing/models.h"

namespace chunkllm::test {

inline const Engine& needle_engine() {
  static const Engine* const engine = [] {
    EngineOptions options;
    options.model = needle_model();
    options.adapters = {needle_adapter()};
    options.dtype = DtypeChoice::kF32;
    auto* loaded = new Engine(options);
    loaded->load_weights();
    return loaded;
  }();
  return *engine;
}

// A budget so small that a few hundred tokens are selected from.
inline SessionOptions small_budget(PrefillKind prefill = PrefillKind::kChunk,
                                   int64_t budget = 128) {
  SessionOptions options;
  options.policy = &policy_named("chunk");
  options.selection.budget.n_tokens = budget;
  options.selection.prefill = prefill;
  options.selection.prefill_floor = 1;  // the sequences of tests are short
  options.ctx = 2048;
  options.kv_type = KvType::kF32;
  return options;
}

}  // namespace chunkllm::test

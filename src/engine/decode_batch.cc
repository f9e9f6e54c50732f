#include "engine/decode_batch.h"

#include <utility>

namespace chunkllm {

DecodeBatch::DecodeBatch(const Engine& engine, int64_t max_sessions,
                         std::shared_ptr<TransformerScratch> scratch)
    : n_vocab_(engine.config().n_vocab),
      transformer_(engine.weights(), max_sessions, 0, std::move(scratch)),
      logits_(static_cast<size_t>(max_sessions * n_vocab_)) {
  rows_.reserve(static_cast<size_t>(max_sessions));
}

void DecodeBatch::decode(std::span<Session* const> sessions, std::span<const int32_t> tokens) {
  rows_.clear();
  for (size_t i = 0; i < sessions.size(); ++i)
    rows_.push_back(sessions[i]->begin_decode(tokens[i]));
  transformer_.forward_batch(tokens, rows_);
  transformer_.logits({0, std::ssize(rows_)}, logits_.data());
}

std::span<const float> DecodeBatch::logits(int64_t i) const {
  return std::span(logits_).subspan(static_cast<size_t>(i * n_vocab_),
                                    static_cast<size_t>(n_vocab_));
}

int64_t DecodeBatch::memory_bytes(const ModelConfig& config, int64_t max_sessions) {
  return Transformer::workspace_bytes(config, max_sessions) +
         max_sessions * static_cast<int64_t>(config.n_vocab) * 4;
}

}  // namespace chunkllm

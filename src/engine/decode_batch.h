// Sessions that write at the same time, a token each in one pass: weights are read once for all.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/session.h"

namespace chunkllm {

// Owns work space and logits. The engine must outlive it. One thread at a time, which may be the
// one that uses the sessions.
class DecodeBatch {
 public:
  // Room for so many sessions of the engine at once.
  DecodeBatch(const Engine& engine, int64_t max_sessions,
              std::shared_ptr<TransformerScratch> scratch = nullptr);

  // Appends tokens[i], generated, to sessions[i], whose own tokens all ran, in one pass over the
  // weights. What a session computes is what its decode() would, bit for bit, whichever others are
  // there. Throws Error as Session::begin_decode() does, and then has changed the sessions before
  // that one only; they are of no further use.
  void decode(std::span<Session* const> sessions, std::span<const int32_t> tokens);

  // Logits [n_vocab] of session i of the last decode(); valid until the next one.
  std::span<const float> logits(int64_t i) const;

  // Bytes of work space and logits.
  static int64_t memory_bytes(const ModelConfig& config, int64_t max_sessions);

 private:
  int64_t n_vocab_;
  Transformer transformer_;
  std::vector<SequenceRows> rows_;
  std::vector<float> logits_;  // [max_sessions, n_vocab]
};

}  // namespace chunkllm

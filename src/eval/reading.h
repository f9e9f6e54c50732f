// Prompts that begin alike, as questions about one text do, answered under several columns, where
// columns that read prompts alike share one reading.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "data/haystack.h"
#include "eval/task.h"

namespace chunkllm {

// Whether the prompt tokens before prompt ends are the same under both columns in a context of
// `ctx` tokens, so that `served` may go on from what `reader` holds. Full attention reads as every
// policy does whose prompts are read in full; columns of one policy read alike with prompts in
// full, or where their budgets for prompts are the same at each token.
bool reads_for(const EvalColumn& reader, const EvalColumn& served, const AdapterSet& adapters,
               int64_t ctx);

// Columns in groups, the first of each being the one that reads for the others.
std::vector<std::vector<const EvalColumn*>> group_by_reading(
    std::span<const EvalColumn* const> columns, const AdapterSet& adapters, int64_t ctx);

// What one column answered.
struct ColumnAnswers {
  std::vector<std::string> answers;  // one a prompt
  AnswerCost cost;                   // the reading included, whoever did it
  int64_t longest = 0;               // tokens of the longest prompt
  MissedMass missed;                 // of what its own session ran
  const EvalColumn* reader = nullptr;
  double seconds = 0;  // that passed

  // What a cell says of them: what was attended to, and in `details` what it took; no measures.
  CellResult cell() const;
};

// Throws Error (kMemory) if the machine has less than a session of the longest of `lengths` needs:
// to be asked before texts of such lengths are made.
void require_memory_for(const Engine& engine, std::span<const int64_t> lengths, KvType kv_type);

struct AskOptions {
  KvType kv_type = KvType::kF32;
  int64_t audit_every = 0;                    // as a session has it
  std::vector<GenerateOptions> answers = {};  // how each prompt is answered
};

// Answers all prompts under each column, one after another in a session that keeps what they begin
// with in common; `done` gets each column once, `progress` the tokens of the first prompt that a
// reading has behind it. Two sessions exist at once where a reading is shared. Throws Error;
// (kInterrupted) when cancelled.
void ask_columns(const Engine& engine, std::span<const Prompt> prompts,
                 std::span<const EvalColumn* const> columns, const AskOptions& options,
                 const std::function<void(const EvalColumn&, const ColumnAnswers&)>& done,
                 const std::function<void(int64_t n_tokens)>& progress, const CancelToken* cancel);

}  // namespace chunkllm

// A folder of lessons: made once, kept, extended, and fitted as often as wanted.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "base/cancel.h"
#include "engine/backbone.h"
#include "engine/engine.h"
#include "train/lesson_file.h"

namespace chunkllm {

// All that a lesson depends on besides its tokens, as JSON text: weights, tokenizer, precision,
// and where chunks end and what is eligible.
std::string lesson_settings(const Engine& engine, const AdapterConfig& config);

// Runs the backbone over a sequence of at least one token. `backbone` must hold it. Throws Error
// (kInterrupted).
Lesson make_lesson(Backbone& backbone, const AdapterConfig& config,
                   const std::vector<int32_t>& special_ids, std::span<const uint8_t> token_marks,
                   const TrainingSequence& sequence, const CancelToken* cancel);

// Bytes of a lesson of `n_tokens`, foretold at a chunk every 14 tokens.
int64_t foretold_lesson_bytes(const AdapterConfig& config, int64_t n_tokens);

// What a lesson of `n_tokens` takes beside one of another length, in multiply-adds or so: dense
// products by the token, attention and its masses by the pair of tokens.
double foretold_lesson_cost(const ModelConfig& config, int64_t n_tokens);

// Files 00000.lesson, 00001.lesson and so on; whatever else is in the folder is left alone, but for
// half-written lessons of runs that were killed, which are removed.
class LessonStore {
 public:
  // Opens the lessons that are there, as LessonFile does; makes the folder if need be.
  LessonStore(std::filesystem::path folder, std::string settings, const AdapterConfig& config);

  // Writes the next lesson, whole or not at all. Throws Error (kIo).
  void add(const Lesson& lesson);
  // Forgets, but does not remove, the lessons after the first `n`.
  void keep_first(int64_t n);
  // Removes the files of all lessons, and the folder if nothing else is in it.
  void remove();

  std::span<const LessonFile> lessons() const { return lessons_; }
  int64_t n_lessons() const { return std::ssize(lessons_); }
  int64_t n_tokens() const;
  int64_t n_prompt_ends() const;
  int64_t longest() const;  // tokens
  int64_t size_bytes() const;
  // One layer of all lessons; without those that have no query there.
  std::vector<LayerLessonView> layer(int64_t i) const;

 private:
  std::filesystem::path path_of(int64_t i) const;

  std::filesystem::path folder_;
  std::string settings_;
  int64_t n_layers_;
  int64_t d_model_;
  std::vector<LessonFile> lessons_;
};

}  // namespace chunkllm

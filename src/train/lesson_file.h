// Lessons in files: one a sequence, written whole or not at all, read where they lie.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "formats/safetensors.h"
#include "train/lesson.h"

namespace chunkllm {

// Writes a lesson as a safetensors file, atomically, with the settings it depends on (JSON text)
// and a checksum. Throws Error (kIo).
void write_lesson(const std::filesystem::path& path, const Lesson& lesson,
                  const std::string& settings);

// A mapped lesson whose checksum is right, if it has one, and whose arrays have been checked to fit
// each other. Immutable; any thread may read it.
class LessonFile {
 public:
  // Throws Error: kIo; kData if the file cannot be trusted, was made with other settings than
  // `expected_settings` (saying which differ), or is of a model with another shape.
  LessonFile(const std::filesystem::path& path, const std::string& expected_settings,
             int64_t n_layers, int64_t d_model);

  const TrainingSequence& sequence() const { return sequence_; }
  std::span<const float> boundary_mean_squares() const { return boundary_mean_squares_; }
  // Views that are valid while the object lives, moved or not.
  const LayerLessonView& layer(int64_t i) const { return layers_[static_cast<size_t>(i)]; }
  int64_t size_bytes() const { return size_bytes_; }

 private:
  SafetensorsFile file_;
  TrainingSequence sequence_;
  std::span<const float> boundary_mean_squares_;
  std::vector<LayerLessonView> layers_;
  int64_t size_bytes_ = 0;
};

// Throws Error (kData) unless two JSON texts of settings are the same, naming the options that
// differ; `advice` ends the message.
void check_same_settings(const std::string& where, const std::string& saved,
                         const std::string& expected, const char* advice);

}  // namespace chunkllm

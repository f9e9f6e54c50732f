#include "train/lessons.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/atomic_file.h"
#include "base/error.h"
#include "base/sha256.h"
#include "train/teacher.h"

namespace chunkllm {
namespace {

constexpr std::string_view kLessonEnding = ".lesson";
constexpr int64_t kTokensPerChunk = 14;
constexpr int64_t kTokensPerOtherQuery = 10;  // in answers and at random; those of chunks aside
constexpr int64_t kFormat = 3;                // of the files, and of what is in them

std::string tokenizer_digest(const Tokenizer& tokenizer) {
  Sha256 hash;
  for (int64_t id = 0; id < tokenizer.n_vocab(); ++id) {
    const auto token = static_cast<int32_t>(id);
    if (!tokenizer.has_token(token)) continue;
    const std::string_view bytes = tokenizer.token_bytes(token);
    hash.update(std::as_bytes(std::span(&token, 1)));
    hash.update(std::as_bytes(std::span(bytes)));
  }
  return hash.hex_digest();
}

// Whether it is one that LessonStore gives.
bool is_lesson_name(std::string_view name) {
  const size_t n_digits = std::min(name.find_first_not_of("0123456789"), name.size());
  return n_digits >= 5 && name.substr(n_digits) == kLessonEnding;
}

}  // namespace

std::string lesson_settings(const Engine& engine, const AdapterConfig& config) {
  nlohmann::ordered_json json;
  json["lesson_format"] = kFormat;
  json["weights"] = engine.weights().checkpoint.sample_digest();
  json["fingerprint"] = config.fingerprint;
  json["tokenizer"] = tokenizer_digest(engine.tokenizer());
  json["dtype"] = product_type_name(engine.precision().products);
  json["chunks"] = config.fixed_chunk;
  json["min_chunk"] = config.min_chunk;
  json["max_chunk"] = config.max_chunk;
  json["sink"] = config.sink;
  json["window"] = config.window;
  json["first_layer"] = enum_name(config.first_layer);
  if (config.has_first_layer_tokens()) json["first_layer_tokens"] = config.first_layer_tokens;
  return json.dump();
}

Lesson make_lesson(Backbone& backbone, const AdapterConfig& config,
                   const std::vector<int32_t>& special_ids, std::span<const uint8_t> token_marks,
                   const TrainingSequence& sequence, const CancelToken* cancel) {
  const ChunkTrack sentences = sentence_track(sequence, config, special_ids, token_marks);
  const ChunkTrack grid = grid_track(sequence, config, special_ids);
  TeacherPass teacher(backbone.weights().config, config, sequence,
                      {.first_layer = config.selects(0) ? &grid : nullptr, .others = &sentences});
  backbone.run(sequence.ids, config.n_layers, teacher, cancel);
  return teacher.finish();
}

int64_t foretold_lesson_bytes(const AdapterConfig& config, int64_t n_tokens) {
  // Lengths that no machine has room for must not pass 64 bits.
  const auto n_chunks = static_cast<double>(n_tokens) / kTokensPerChunk;
  const double n_queries = n_chunks + static_cast<double>(n_tokens) / kTokensPerOtherQuery;
  const double inputs = (n_chunks + n_queries) * static_cast<double>(config.d_model) * 2;
  const double masses = static_cast<double>(kMassKinds) * n_queries * n_chunks / 2 * 2;
  constexpr double kMost = 1e18;
  return static_cast<int64_t>(
      std::min(static_cast<double>(config.n_selecting()) * (inputs + masses), kMost));
}

double foretold_lesson_cost(const ModelConfig& config, int64_t n_tokens) {
  // Scores, their weights times values, and scores once more for the masses: three multiply-adds a
  // pair and feature. They take as long as four of the dense products, as measured lessons say.
  constexpr double kOfAPair = 4.0;
  const auto n = static_cast<double>(n_tokens);
  const auto q_dim = static_cast<double>(config.q_dim());
  const auto dense = static_cast<double>(
      config.d_model * (2 * config.q_dim() + 2 * config.kv_dim() + 3 * config.d_ff));
  double cost = 0;
  for (int64_t layer = 0; layer < config.n_layers; ++layer) {
    const double mean_rows =
        std::min(static_cast<double>(config.rows_visible(layer, n_tokens)), n / 2);
    cost += n * (dense + kOfAPair * mean_rows * q_dim);
  }
  return cost;
}

LessonStore::LessonStore(std::filesystem::path folder, std::string settings,
                         const AdapterConfig& config)
    : folder_(std::move(folder)),
      settings_(std::move(settings)),
      n_layers_(config.n_layers),
      d_model_(config.d_model) {
  make_writable_folder(folder_);
  remove_abandoned_files(folder_, is_lesson_name);
  while (std::filesystem::exists(path_of(n_lessons()))) {
    lessons_.emplace_back(path_of(n_lessons()), settings_, n_layers_, d_model_);
  }
}

std::filesystem::path LessonStore::path_of(int64_t i) const {
  return folder_ / fmt::format("{:05}{}", i, kLessonEnding);
}

void LessonStore::add(const Lesson& lesson) {
  const std::filesystem::path path = path_of(n_lessons());
  write_lesson(path, lesson, settings_);
  lessons_.emplace_back(path, settings_, n_layers_, d_model_);
}

void LessonStore::keep_first(int64_t n) {
  lessons_.erase(lessons_.begin() + std::min(n, n_lessons()), lessons_.end());
}

void LessonStore::remove() {
  const int64_t n = n_lessons();
  lessons_.clear();
  std::error_code ignored;  // what cannot be removed stays
  for (int64_t i = 0; i < n; ++i) std::filesystem::remove(path_of(i), ignored);
  std::filesystem::remove(folder_, ignored);
}

int64_t LessonStore::n_tokens() const {
  int64_t n = 0;
  for (const LessonFile& lesson : lessons_) n += lesson.sequence().n_tokens();
  return n;
}

int64_t LessonStore::n_prompt_ends() const {
  int64_t n = 0;
  for (const LessonFile& lesson : lessons_) n += std::ssize(lesson.sequence().prompt_ends);
  return n;
}

int64_t LessonStore::longest() const {
  int64_t n = 0;
  for (const LessonFile& lesson : lessons_) n = std::max(n, lesson.sequence().n_tokens());
  return n;
}

int64_t LessonStore::size_bytes() const {
  int64_t n = 0;
  for (const LessonFile& lesson : lessons_) n += lesson.size_bytes();
  return n;
}

std::vector<LayerLessonView> LessonStore::layer(int64_t i) const {
  std::vector<LayerLessonView> views;
  for (const LessonFile& lesson : lessons_) {
    if (lesson.layer(i).n_queries() > 0) views.push_back(lesson.layer(i));
  }
  return views;
}

}  // namespace chunkllm

#include "train/lesson_file.h"

#include <algorithm>
#include <cstdint>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "base/json.h"
#include "base/settings_difference.h"
#include "formats/checksum.h"

namespace chunkllm {
namespace {

constexpr const char* kSettingsKey = "chunkllm_lesson";
// Lessons made by earlier programs have none and are read without.
constexpr const char* kChecksumKey = "chunkllm_lesson_sha256";
constexpr const char* kDamaged =
    "this lesson is damaged; remove it and train with another --out, which makes it again";
constexpr const char* kMassNames[kMassKinds] = {"mass_own", "mass_next", "mass_chunk"};

std::string layer_name(size_t layer, const char* array) {
  return "layers." + std::to_string(layer) + "." + array;
}

template <typename T>
TensorToWrite tensor(std::string name, DType dtype, std::span<const T> values) {
  const auto n = static_cast<int64_t>(values.size_bytes()) / dtype_bytes(dtype);
  return {std::move(name), dtype, {n}, std::as_bytes(values)};
}

// Reads the arrays of one file, each with its type and length.
class Reader {
 public:
  explicit Reader(const SafetensorsFile& file) : file_(file) {}

  // The array as T; empty if it is missing.
  template <typename T>
  std::span<const T> find(const std::string& name, DType dtype) const {
    const TensorView* view = file_.find(name);
    if (view == nullptr) return {};
    if (view->dtype != dtype || view->bytes.size() % sizeof(T) != 0) bad(name, "has another type");
    if (reinterpret_cast<uintptr_t>(view->bytes.data()) % alignof(T) != 0) {
      bad(name, "does not lie at a multiple of its size");
    }
    return {reinterpret_cast<const T*>(view->bytes.data()), view->bytes.size() / sizeof(T)};
  }
  template <typename T>
  std::span<const T> require(const std::string& name, DType dtype, size_t n) const {
    const std::span<const T> values = find<T>(name, dtype);
    if (values.size() != n) bad(name, "has another length than the rest needs");
    return values;
  }
  [[noreturn]] void bad(const std::string& name, const char* what) const {
    fail(ErrorCode::kData, "{}: {} {}; {}", file_.path().string(), name, what, kDamaged);
  }

 private:
  const SafetensorsFile& file_;
};

bool ascending_below(std::span<const int64_t> values, int64_t end) {
  int64_t least = 0;
  for (const int64_t value : values) {
    if (value < least || value >= end) return false;
    least = value + 1;
  }
  return true;
}

LayerLessonView read_layer(const Reader& reader, size_t layer, int64_t n_tokens, int64_t d_model) {
  LayerLessonView view;
  const auto name = [&](const char* array) { return layer_name(layer, array); };
  view.positions = reader.find<int64_t>(name("positions"), DType::kI64);
  view.chunk_ends = reader.find<int64_t>(name("chunk_ends"), DType::kI64);
  const auto n = view.positions.size();
  const auto d = static_cast<size_t>(d_model);
  view.kinds = reader.require<QueryKind>(name("kinds"), DType::kU8, n);
  view.eligible = reader.require<Range>(name("eligible"), DType::kI64, n);
  view.query_inputs = reader.require<Bf16>(name("query_inputs"), DType::kBf16, n * d);
  view.mean_inputs =
      reader.require<Bf16>(name("mean_inputs"), DType::kBf16, view.chunk_ends.size() * d);
  view.mean_squares = reader.require<float>(name("mean_squares"), DType::kF32, n == 0 ? 0 : d);
  if (!ascending_below(view.positions, n_tokens)) reader.bad(name("positions"), "does not ascend");
  if (!ascending_below(view.chunk_ends, n_tokens + 1)) {
    reader.bad(name("chunk_ends"), "does not ascend");
  }
  size_t n_masses = 0;
  for (const Range& eligible : view.eligible) {
    if (eligible.begin < 0 || eligible.end < eligible.begin || eligible.end > view.n_chunks()) {
      reader.bad(name("eligible"), "has a range that is none of chunks");
    }
    n_masses += static_cast<size_t>(eligible.size());
  }
  for (const QueryKind kind : view.kinds) {
    if (kind > QueryKind::kPromptEnd) reader.bad(name("kinds"), "has a kind that is none");
  }
  for (size_t kind = 0; kind < kMassKinds; ++kind) {
    view.masses[kind] = reader.require<Bf16>(name(kMassNames[kind]), DType::kBf16, n_masses);
  }
  return view;
}

// Fields of settings that a user knows by another name; of those that no option sets what they are.
constexpr std::pair<std::string_view, std::string_view> kOptionNames[] = {
    {"adapter_dim", "--adapter-dim"},
    {"answer_weight", "--answer-weight"},
    {"chat_share", "--chat-share"},
    {"chunk_key", "--chunk-key"},
    {"data", "set of texts (--data)"},
    {"dtype", "--dtype"},
    {"epochs", "--epochs"},
    {"fingerprint", "model"},
    {"learning_rate", "--lr"},
    {"lesson_format", "form of lessons"},
    {"prompt_end_weight", "--prompt-end-weight"},
    {"seed", "--seed"},
    {"selection_heads", "--selection-heads"},
    {"seq_len", "--seq-len"},
    {"sequences", "--sequences"},
    {"target", "--target"},
    {"weights", "set of weights"},
};

// Settings of a run under the names of the options that set them, with values as users give them.
nlohmann::ordered_json as_options(const nlohmann::json& settings) {
  nlohmann::ordered_json options = nlohmann::ordered_json::object();
  if (!settings.is_object()) return options;
  for (const auto& [field, value] : settings.items()) {
    const auto* known =
        std::ranges::find(kOptionNames, field, [](const auto& row) { return row.first; });
    const std::string name(known != std::end(kOptionNames) ? known->second : field);
    if (field == "first_layer_tokens") continue;
    if (field == "first_layer") {
      const nlohmann::json tokens = settings.value("first_layer_tokens", nlohmann::json());
      const std::string kind = value.is_string() ? value.get<std::string>() : value.dump();
      options["--first-layer"] = tokens.is_null() ? kind : kind + ":" + tokens.dump();
    } else if (field == "chunks") {
      options["--chunks"] = value == 0 ? "sentence" : "fixed:" + value.dump();
    } else if (value == 0 && (field == "sequences" || field == "seq_len")) {
      options[name] = "default";
    } else {
      options[name] = value;
    }
  }
  return options;
}

template <typename T>
std::vector<T> copied(std::span<const T> values) {
  return {values.begin(), values.end()};
}

}  // namespace

void write_lesson(const std::filesystem::path& path, const Lesson& lesson,
                  const std::string& settings) {
  std::vector<TensorToWrite> tensors;
  const auto add = [&](std::string name, DType dtype, const auto& values) {
    if (!values.empty()) tensors.push_back(tensor(std::move(name), dtype, std::span(values)));
  };
  const TrainingSequence& sequence = lesson.sequence;
  add("ids", DType::kI32, sequence.ids);
  add("labels", DType::kU8, sequence.labels);
  add("prompt_ends", DType::kI64, sequence.prompt_ends);
  add("answers", DType::kI64, sequence.answers);
  add("random_queries", DType::kI64, sequence.random_queries);
  add("boundary_mean_squares", DType::kF32, lesson.boundary_mean_squares);
  for (size_t i = 0; i < lesson.layers.size(); ++i) {
    const LayerLesson& layer = lesson.layers[i];
    if (layer.positions.empty()) continue;
    add(layer_name(i, "positions"), DType::kI64, layer.positions);
    add(layer_name(i, "kinds"), DType::kU8, layer.kinds);
    add(layer_name(i, "eligible"), DType::kI64, layer.eligible);
    add(layer_name(i, "chunk_ends"), DType::kI64, layer.chunk_ends);
    add(layer_name(i, "query_inputs"), DType::kBf16, layer.query_inputs);
    add(layer_name(i, "mean_inputs"), DType::kBf16, layer.mean_inputs);
    add(layer_name(i, "mean_squares"), DType::kF32, layer.mean_squares);
    for (size_t kind = 0; kind < kMassKinds; ++kind) {
      add(layer_name(i, kMassNames[kind]), DType::kBf16, layer.masses[kind]);
    }
  }
  const std::string checksum = tensor_checksum(settings, tensors);
  write_safetensors(path, std::move(tensors), {{kSettingsKey, settings}, {kChecksumKey, checksum}});
}

LessonFile::LessonFile(const std::filesystem::path& path, const std::string& expected_settings,
                       int64_t n_layers, int64_t d_model)
    : file_(path, kDamaged) {
  const auto settings = file_.metadata().find(kSettingsKey);
  if (settings == file_.metadata().end()) {
    fail(ErrorCode::kData, "{} is no lesson of a training; keep lessons in a folder of their own",
         path.string());
  }
  const auto checksum = file_.metadata().find(kChecksumKey);
  if (checksum != file_.metadata().end() &&
      checksum->second != tensor_checksum(settings->second, file_)) {
    fail(ErrorCode::kData, "{}: the checksum is not that of the content; {}", path.string(),
         kDamaged);
  }
  check_same_settings(path.string(), settings->second, expected_settings,
                      "train with the same, or keep these lessons in another folder");
  const Reader reader(file_);
  sequence_.ids = copied(reader.find<int32_t>("ids", DType::kI32));
  const size_t n = sequence_.ids.size();
  sequence_.labels = copied(reader.require<uint8_t>("labels", DType::kU8, n));
  sequence_.prompt_ends = copied(reader.find<int64_t>("prompt_ends", DType::kI64));
  sequence_.answers = copied(reader.find<int64_t>("answers", DType::kI64));
  sequence_.random_queries = copied(reader.find<int64_t>("random_queries", DType::kI64));
  for (const uint8_t label : sequence_.labels) {
    if (label > 1) reader.bad("labels", "has a label that is none");
  }
  for (const auto* positions :
       {&sequence_.prompt_ends, &sequence_.answers, &sequence_.random_queries}) {
    if (!ascending_below(*positions, sequence_.n_tokens())) {
      reader.bad("prompt_ends, answers or random_queries", "does not ascend");
    }
  }
  boundary_mean_squares_ =
      reader.require<float>("boundary_mean_squares", DType::kF32, static_cast<size_t>(d_model));
  for (int64_t i = 0; i < n_layers; ++i) {
    layers_.push_back(read_layer(reader, static_cast<size_t>(i), sequence_.n_tokens(), d_model));
  }
  size_bytes_ = static_cast<int64_t>(std::filesystem::file_size(path));
}

void check_same_settings(const std::string& where, const std::string& saved,
                         const std::string& expected, const char* advice) {
  if (saved == expected) return;
  const nlohmann::json before = parse_json(saved, where, kDamaged);
  const nlohmann::json now = parse_json(expected, "the settings of this run");
  const std::string difference =
      settings_difference(as_options(before), as_options(now), nlohmann::json::object());
  fail(ErrorCode::kData, "{}: was saved with {}; {}", where,
       difference.empty() ? "other settings" : difference, advice);
}

}  // namespace chunkllm

#include "convert/quantize.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <optional>

#include "base/error.h"
#include "base/json.h"
#include "base/quant/encode.h"
#include "base/thread_pool.h"
#include "engine/gguf_tokenizer.h"
#include "formats/gguf.h"
#include "model/architecture.h"
#include "model/checkpoint.h"
#include "model/gguf_config.h"
#include "model/gguf_names.h"
#include "model/weights.h"
#include "text/chat/chat_template.h"

namespace chunkllm {
namespace {

constexpr int64_t kPieceElements = int64_t{1} << 20;  // read, converted and written at a time
constexpr int64_t kShareElements = 16384;             // converted by one thread at a time

// A tensor of the new file and where it comes from.
struct Job {
  GgufTensorInfo info;
  std::vector<float> values;           // of a vector
  const TensorView* matrix = nullptr;  // else
  bool interleaves_rows = false;       // `matrix` has them as Hugging Face does
};

// What is written, and what it is read from.
struct Plan {
  std::optional<GgufFile> gguf;
  std::optional<Checkpoint> checkpoint;
  ModelConfig config;
  GgufMetadata metadata;
  std::vector<Job> jobs;  // their matrices lie in `gguf` or `checkpoint`
  std::vector<std::string> notices;

  void release(const TensorView& tensor) const {
    if (gguf) {
      gguf->release(tensor);
    } else {
      checkpoint->release(tensor.name);
    }
  }
};

class Planner {
 public:
  explicit Planner(const QuantizeOptions& options) : options_(options) {
    plan_.config = read_model_config(options.in);
  }

  Plan plan() {
    if (is_gguf_file(options_.in)) {
      plan_gguf();
    } else {
      plan_folder();
    }
    plan_.metadata.set_u32("general.file_type", writable_type(options_.type).file_type);
    plan_.metadata.set_u32("general.quantization_version", 2);
    return std::move(plan_);
  }

 private:
  void plan_gguf() {
    check_tensors(Checkpoint(options_.in, plan_.config), plan_.config);
    plan_.gguf.emplace(options_.in);
    for (const GgufValue& value : plan_.gguf->metadata()) {
      if (value.key != "general.alignment" && !value.key.starts_with("split.")) {
        plan_.metadata.set(value);
      }
    }
    for (const auto& [name, tensor] : plan_.gguf->tensors()) add(name, tensor, false, 0.0f);
  }

  void plan_folder() {
    write_metadata();
    plan_.checkpoint.emplace(options_.in, plan_.config);
    check_tensors(*plan_.checkpoint, plan_.config);
    const auto head = plan_.checkpoint->tensors().find("lm_head.weight");
    const bool has_head = head != plan_.checkpoint->tensors().end();
    if (has_head && !is_copy_of_embedding(head->second)) plan_.config.tied_embeddings = false;
    const Architecture& family = *plan_.config.family;
    for (const auto& [name, tensor] : plan_.checkpoint->tensors()) {
      const auto gguf_name = gguf_tensor_name(family, name);
      if (!gguf_name) {
        plan_.notices.push_back(fmt::format("{}: tensor {} has no part in the model; left out",
                                            plan_.checkpoint->place(name), show_text(name)));
        continue;
      }
      if (*gguf_name == "output.weight" && is_copy_of_embedding(tensor)) continue;
      add(*gguf_name, tensor, has_interleaved_rows(family, name), folder_offset(family, name));
    }
    add_rope_divisors();
  }

  // Tied embeddings, of which a folder may have two copies.
  bool is_copy_of_embedding(const TensorView& head) const {
    const auto embedding = plan_.checkpoint->tensors().find("model.embed_tokens.weight");
    return plan_.config.tied_embeddings && embedding != plan_.checkpoint->tensors().end() &&
           embedding->second.dtype == head.dtype && embedding->second.shape == head.shape &&
           std::ranges::equal(embedding->second.bytes, head.bytes);
  }

  void write_metadata() {
    GgufMetadata& metadata = plan_.metadata;
    metadata.set_string("general.type", "model");
    metadata.set_string(
        "general.name",
        std::filesystem::absolute(options_.in / ".").parent_path().filename().string());
    const std::string unread = write_gguf_config(plan_.config, metadata);
    if (!unread.empty()) plan_.notices.push_back(unread);
    if (!std::filesystem::exists(options_.in / "tokenizer.json")) {
      metadata.set_string("tokenizer.ggml.model", "none");
      plan_.notices.push_back(options_.in.string() +
                              " has no tokenizer.json; the file has no vocabulary");
      return;
    }
    GgufVocabulary vocabulary = read_gguf_vocabulary(options_.in, plan_.config.n_vocab);
    write_ends(vocabulary);
    write_gguf_vocabulary(vocabulary, read_chat_template(options_.in), metadata);
  }

  // The tokens that end an answer: GGUF has room for three; the whole list is our own.
  void write_ends(GgufVocabulary& vocabulary) {
    std::vector<int32_t> ends = plan_.config.eos_ids;
    std::erase(ends, vocabulary.eos_token_id.value_or(-1));
    if (vocabulary.eos_token_id) ends.insert(ends.begin(), *vocabulary.eos_token_id);
    if (!ends.empty()) vocabulary.eos_token_id = ends[0];
    if (ends.size() > 1) {
      plan_.metadata.set_u32("tokenizer.ggml.eot_token_id", static_cast<uint32_t>(ends[1]));
    }
    if (ends.size() > 2) {
      plan_.metadata.set_u32("tokenizer.ggml.eom_token_id", static_cast<uint32_t>(ends[2]));
    }
    if (ends.size() > 3) {
      plan_.metadata.set_integers(kAllEndTokens, ends);
      plan_.notices.push_back(fmt::format(
          "{} tokens end an answer; programs other than this one know only of {}, {} and {}",
          ends.size(), ends[0], ends[1], ends[2]));
    }
  }

  void add(const std::string& name, const TensorView& tensor, bool interleaves_rows, float offset) {
    const int64_t head_dim = plan_.config.head_dim;
    if (interleaves_rows && (tensor.shape.empty() || tensor.shape[0] % head_dim != 0)) {
      fail(ErrorCode::kData, "{}: tensor {} has shape {}, no whole heads of {}; get the file again",
           options_.in.string(), show_text(name), shape_text(tensor.shape), head_dim);
    }
    Job job{.info = {name, type_of(name, tensor), tensor.shape},
            .values = {},
            .matrix = nullptr,
            .interleaves_rows = interleaves_rows};
    if (tensor.shape.size() == 2) {
      job.matrix = &tensor;
    } else {
      const std::vector<float> values = tensor_floats(tensor, options_.in.string());
      for (size_t i = 0; i < values.size(); ++i) {
        const auto row = static_cast<int64_t>(i);
        const int64_t from = interleaves_rows ? halved_row(row, head_dim) : row;
        job.values.push_back(values[static_cast<size_t>(from)] + offset);
      }
    }
    plan_.jobs.push_back(std::move(job));
  }

  void add_rope_divisors() {
    const ModelConfig& c = plan_.config;
    if (c.rope.kind != RopeKind::kLlama3) return;
    const std::vector<float> stretched = rope_inverse_frequencies(c.rope, c.head_dim);
    RopeConfig unstretched;
    unstretched.theta = c.rope.theta;
    const std::vector<float> plain = rope_inverse_frequencies(unstretched, c.head_dim);
    Job job{.info = {kRopeDivisors, DType::kF32, {c.head_dim / 2}},
            .values = {},
            .matrix = nullptr,
            .interleaves_rows = false};
    for (size_t i = 0; i < plain.size(); ++i) job.values.push_back(plain[i] / stretched[i]);
    plan_.jobs.push_back(std::move(job));
  }

  DType type_of(const std::string& name, const TensorView& tensor) {
    const bool is_weight = is_floating(tensor.dtype) || is_quantized(tensor.dtype);
    const bool is_empty = std::ranges::any_of(tensor.shape, [](int64_t n) { return n < 1; });
    if (!is_weight || tensor.shape.size() > 2 || tensor.shape.empty() || is_empty) {
      fail(ErrorCode::kUnsupported,
           "{}: tensor {} is {} {}; only vectors and matrices of weights can be written",
           options_.in.string(), show_text(name), dtype_name(tensor.dtype),
           shape_text(tensor.shape));
    }
    if (tensor.shape.size() == 1) return DType::kF32;
    const bool is_head =
        name == "output.weight" || (name == "token_embd.weight" && plan_.config.tied_embeddings);
    const DType type = is_quantized(options_.type) && is_head ? DType::kQ8_0 : options_.type;
    if (!is_quantized(type)) return type;
    if (tensor.shape.back() % dtype_block_elements(type) != 0) {
      plan_.notices.push_back(
          fmt::format("{}: rows of {} numbers are no whole blocks of {}; stored as F16",
                      show_text(name), tensor.shape.back(), dtype_block_elements(type)));
      return DType::kF16;
    }
    if (is_quantized(tensor.dtype) && tensor.dtype != type) {
      fail(
          ErrorCode::kUnsupported,
          "{}: tensor {} is {} already, and {} of it would lose more than of the original; use the "
          "original model",
          options_.in.string(), show_text(name), dtype_name(tensor.dtype), dtype_name(type));
    }
    return type;
  }

  const QuantizeOptions& options_;
  Plan plan_;
};

// Converts the rows of one matrix, some at a time.
class RowConverter {
 public:
  RowConverter(const Job& job, const std::string& file, int64_t head_dim)
      : job_(job), file_(file), head_dim_(head_dim), n_cols_(job.info.shape.back()) {}

  int64_t row_bytes() const { return dtype_row_bytes(job_.info.dtype, n_cols_); }

  // Rows [begin, end) of the new tensor.
  std::span<const std::byte> convert(int64_t begin, int64_t end) {
    target_.resize(static_cast<size_t>((end - begin) * row_bytes()));
    std::vector<uint8_t> fits(static_cast<size_t>(end - begin));
    const int64_t grain = std::max<int64_t>(1, kShareElements / n_cols_);
    parallel_for(end - begin, grain, [&](int64_t first, int64_t last, int) {
      std::vector<float> values(static_cast<size_t>(n_cols_));
      for (int64_t i = first; i < last; ++i) {
        fits[i] = convert_row(begin + i, values, target_.data() + i * row_bytes());
      }
    });
    const int64_t first_bad = begin + (std::ranges::find(fits, 0) - fits.begin());
    if (first_bad < end) {
      fail(ErrorCode::kData,
           "{}: tensor {} holds a number in row {} that is not finite or too large for {}; use "
           "another type or get the model again",
           file_, show_text(job_.info.name), first_bad, dtype_name(job_.info.dtype));
    }
    return target_;
  }

 private:
  // Whether all numbers fit. `values` is work space.
  bool convert_row(int64_t row, std::vector<float>& values, std::byte* target) const {
    const TensorView& source = *job_.matrix;
    const int64_t from = job_.interleaves_rows ? halved_row(row, head_dim_) : row;
    const uint8_t* data = source.bytes.data() + from * dtype_row_bytes(source.dtype, n_cols_);
    if (source.dtype == job_.info.dtype && is_quantized(source.dtype)) {
      std::memcpy(target, data, static_cast<size_t>(row_bytes()));
      return true;
    }
    convert_to_float(source.dtype, data, n_cols_, values.data());
    const WritableType& type = writable_type(job_.info.dtype);
    const float limit = type.largest_value;
    const bool fits =
        std::ranges::all_of(values, [limit](float value) { return std::abs(value) <= limit; });
    if (fits) type.encode(values.data(), n_cols_, target);
    return fits;
  }

  const Job& job_;
  const std::string& file_;
  int64_t head_dim_;
  int64_t n_cols_;
  std::vector<std::byte> target_;
};

// What stands at `out` is replaced: by mistake it would be the model itself or somebody's text.
void check_target(const QuantizeOptions& options) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(options.out, error)) return;
  if (std::filesystem::equivalent(options.in, options.out, error)) {
    fail(ErrorCode::kInvalidArgument, "{} is the model itself; name another file",
         options.out.string());
  }
  if (std::filesystem::file_size(options.out, error) > 0 && !is_gguf_file(options.out)) {
    fail(ErrorCode::kInvalidArgument, "{} exists and is no GGUF file; name another, or remove it",
         options.out.string());
  }
}

}  // namespace

QuantizeResult quantize_model(const QuantizeOptions& options,
                              const std::function<void(int64_t, int64_t)>& on_progress,
                              const CancelToken* cancel) {
  if (std::filesystem::is_directory(options.out)) {
    fail(ErrorCode::kInvalidArgument, "{} is a folder; name a file for the model",
         options.out.string());
  }
  check_target(options);
  const Plan plan = Planner(options).plan();
  QuantizeResult result;
  result.notices = plan.notices;
  result.n_tensors = static_cast<int64_t>(plan.jobs.size());
  std::vector<GgufTensorInfo> infos;
  for (const Job& job : plan.jobs) {
    infos.push_back(job.info);
    result.out_bytes += tensor_bytes(job.info.dtype, job.info.shape);
    result.n_parameters += tensor_bytes(DType::kU8, job.info.shape);
  }
  GgufWriter writer(options.out, plan.metadata, std::move(infos));
  const std::string file = options.in.string();
  int64_t n_done = 0;
  const auto write = [&](std::span<const std::byte> bytes) {
    if (cancel != nullptr) cancel->check();
    writer.write(bytes);
    n_done += static_cast<int64_t>(bytes.size());
    if (on_progress) on_progress(n_done, result.out_bytes);
  };
  for (const Job& job : plan.jobs) {
    if (job.matrix == nullptr) {
      write(std::as_bytes(std::span(job.values)));
      continue;
    }
    RowConverter converter(job, file, plan.config.head_dim);
    const int64_t n_rows = job.info.shape.front();
    const int64_t piece = std::max<int64_t>(kPieceElements / job.info.shape.back(), 1);
    for (int64_t begin = 0; begin < n_rows; begin += piece) {
      write(converter.convert(begin, std::min(begin + piece, n_rows)));
    }
    plan.release(*job.matrix);
  }
  writer.commit();
  return result;
}

}  // namespace chunkllm

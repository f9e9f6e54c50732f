#include "model/gguf_config.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "model/architecture.h"
#include "model/config_limits.h"
#include "model/gguf_names.h"

namespace chunkllm {
namespace {

using nlohmann::json;

constexpr int64_t kMaxTokenId = std::numeric_limits<int32_t>::max();
constexpr int32_t kControlToken = 3;

// Numbers that change what a model computes and that none of the families has. 0 means none.
constexpr std::array kForeignNumbers = {
    "attention.clamp_kqv",      "attn_logit_softcapping",
    "final_logit_softcapping",  "logit_scale",
    "residual_scale",           "embedding_scale",
    "attention.max_alibi_bias", "rope.scaling.yarn_log_multiplier"};
constexpr std::array kForeignIntegers = {"expert_count", "leading_dense_block_count",
                                         "nextn_predict_layers"};

// Tokens that end an answer in models whose files name only one of them.
constexpr std::array<std::string_view, 9> kEndTokens = {
    "<|eot_id|>", "<|eom_id|>",      "<|im_end|>",    "<|endoftext|>", "<|end_of_text|>",
    "<|end|>",    "<|end_of_turn|>", "<end_of_turn>", "</s>"};

class ConfigReader {
 public:
  explicit ConfigReader(const GgufFile& file)
      : file_(file),
        where_(file.path().string()),
        family_(find_gguf_architecture(file.string("general.architecture"), where_)) {}

  ModelConfig read() const {
    refuse_foreign();
    ModelConfig config = parse_model_config(as_hf_config(), where_);
    config.qkv_bias = has_tensor("blk.0.attn_q.bias");
    config.output_bias = has_tensor("blk.0.attn_output.bias");
    config.ffn_bias = has_tensor("blk.0.ffn_gate.bias");
    config.tied_embeddings = !has_tensor("output.weight");
    const int64_t n_rotated = integer_or("rope.dimension_count", kMaxDimension, config.head_dim);
    if (n_rotated != config.head_dim) {
      fail(ErrorCode::kUnsupported,
           "{}: {} is {}, and heads have {} numbers; only whole heads can be rotated", where_,
           key("rope.dimension_count"), n_rotated, config.head_dim);
    }
    read_rope_divisors(config);
    config.eos_ids = read_eos_ids();
    return config;
  }

 private:
  std::string key(std::string_view name) const { return fmt::format("{}.{}", family_.gguf, name); }
  bool has(std::string_view name) const { return file_.has(key(name)); }
  bool has_tensor(std::string_view name) const { return file_.find(name) != nullptr; }
  int64_t integer(std::string_view name, int64_t max) const {
    return file_.integer(key(name), 1, max);
  }
  int64_t integer_or(std::string_view name, int64_t max, int64_t fallback) const {
    return has(name) ? integer(name, max) : fallback;
  }

  void refuse_foreign() const {
    for (const char* name : kForeignNumbers) {
      if (file_.number_or(key(name), 0.0) != 0.0) fail_foreign(name);
    }
    for (const char* name : kForeignIntegers) {
      if (file_.integer_or(key(name), 0, kMaxDimension, 0) != 0) fail_foreign(name);
    }
    if (!family_.own_query_scale && file_.number_or(key("attention.scale"), 0.0) != 0.0) {
      fail_foreign("attention.scale");
    }
    if (!file_.boolean_or(key("attention.causal"), true)) fail_foreign("attention.causal");
  }

  [[noreturn]] void fail_foreign(const char* name) const {
    fail(ErrorCode::kUnsupported, "{}: {} is set, which is not supported", where_, key(name));
  }

  json as_hf_config() const {
    const TensorView* embedding = file_.find("token_embd.weight");
    if (embedding == nullptr || embedding->shape.size() != 2) {
      fail(ErrorCode::kData, "{}: there is no matrix token_embd.weight; convert the model again",
           where_);
    }
    json config = {{"model_type", family_.model_type},
                   {"num_hidden_layers", integer("block_count", kMaxLayers)},
                   {"hidden_size", integer("embedding_length", kMaxDimension)},
                   {"num_attention_heads", integer("attention.head_count", kMaxHeads)},
                   {"intermediate_size", integer("feed_forward_length", kMaxDimension)},
                   {"max_position_embeddings", integer("context_length", kMaxPositions)},
                   {"vocab_size", embedding->shape[0]},
                   {"rms_norm_eps", file_.number(key("attention.layer_norm_rms_epsilon"))}};
    // In every family, what a file leaves out is as many KV heads as heads, and their length the
    // even share of the width.
    const int64_t n_heads = integer("attention.head_count", kMaxHeads);
    config["num_key_value_heads"] = integer_or("attention.head_count_kv", kMaxHeads, n_heads);
    const int64_t head_dim = integer_or("attention.key_length", kMaxDimension,
                                        integer("embedding_length", kMaxDimension) / n_heads);
    const int64_t value_length = integer_or("attention.value_length", kMaxDimension, head_dim);
    if (value_length != head_dim) {
      fail(ErrorCode::kUnsupported,
           "{}: values of {} numbers a head beside keys of {} are not supported", where_,
           value_length, head_dim);
    }
    config["head_dim"] = head_dim;
    const int64_t window = file_.integer_or(key("attention.sliding_window"), 0, kMaxPositions, 0);
    if (window > 0) {
      config["sliding_window"] = window;
      config["use_sliding_window"] = true;
    }
    config["rope_parameters"] = rope_parameters();
    if (family_.read_gguf != nullptr) family_.read_gguf(file_, key(""), config);
    return config;
  }

  json rope_parameters() const {
    json rope = {{"rope_theta", file_.number_or(key("rope.freq_base"), 10000.0)}};
    // Files from before 2023-10 have only this factor.
    const double factor =
        file_.number_or(key("rope.scaling.factor"), file_.number_or(key("rope.scale_linear"), 0.0));
    const std::string type(
        file_.string_or(key("rope.scaling.type"), factor > 0 ? "linear" : "none"));
    if (type == "none") return rope;
    rope["rope_type"] = type;
    rope["factor"] = factor;
    if (type != "yarn") return rope;
    if (has("rope.scaling.original_context_length")) {
      rope["original_max_position_embeddings"] =
          integer("rope.scaling.original_context_length", kMaxPositions);
    }
    if (file_.number_or(key("rope.scaling.yarn_ext_factor"), 1.0) != 1.0) {
      fail_foreign("rope.scaling.yarn_ext_factor");
    }
    const auto copy_number = [&](const char* from, const char* to) {
      if (has(from)) rope[to] = file_.number(key(from));
    };
    copy_number("rope.scaling.yarn_beta_fast", "beta_fast");
    copy_number("rope.scaling.yarn_beta_slow", "beta_slow");
    if (has("rope.scaling.yarn_truncate")) {
      rope["truncate"] = file_.boolean_or(key("rope.scaling.yarn_truncate"), true);
    }
    // What llama.cpp multiplies YaRN's own temperature by.
    double share = file_.number_or(key("rope.scaling.attn_factor"), 1.0);
    share *= file_.number_or(key("rope.scaling.yarn_attn_factor"), 1.0);
    if (share != 1.0) rope["attention_factor"] = share * yarn_attention_factor(factor);
    return rope;
  }

  void read_rope_divisors(ModelConfig& config) const {
    const TensorView* tensor = file_.find(kRopeDivisors);
    if (tensor == nullptr) return;
    if (config.rope.kind != RopeKind::kDefault) {
      fail(ErrorCode::kUnsupported, "{}: both {} and rope.scaling.type {} are not supported",
           where_, kRopeDivisors, rope_kind_name(config.rope.kind));
    }
    require_tensor(file_.tensors(), kRopeDivisors, {config.head_dim / 2}, where_);
    config.rope.kind = RopeKind::kFactors;
    config.rope.divisors = tensor_floats(*tensor, where_);
    for (const float divisor : config.rope.divisors) {
      if (!(divisor > 0)) {
        fail(ErrorCode::kData, "{}: {} holds {}, which nothing can be divided by", where_,
             kRopeDivisors, divisor);
      }
    }
  }

  // Those that the file names, and the control tokens known to end answers.
  std::vector<int32_t> read_eos_ids() const {
    std::vector<int32_t> ids;
    const auto add = [&](int64_t id) {
      const auto known = static_cast<int32_t>(id);
      if (std::ranges::find(ids, known) != ids.end()) return;
      if (ids.size() == kMaxEndTokens) {
        fail(ErrorCode::kData, "{}: more than {} tokens end an answer; get the file again", where_,
             kMaxEndTokens);
      }
      ids.push_back(known);
    };
    for (const char* name : {"eos", "eot", "eom"}) {
      const std::string id_key = fmt::format("tokenizer.ggml.{}_token_id", name);
      if (file_.has(id_key)) add(file_.integer(id_key, 0, kMaxTokenId));
    }
    if (file_.has(kAllEndTokens)) {
      for (const int32_t id : file_.integers(kAllEndTokens)) {
        if (id < 0)
          fail(ErrorCode::kData, "{}: {} holds {}, no token id", where_, kAllEndTokens, id);
        add(id);
      }
    }
    if (!file_.has("tokenizer.ggml.tokens") || !file_.has("tokenizer.ggml.token_type")) return ids;
    const std::vector<std::string_view> tokens = file_.strings("tokenizer.ggml.tokens");
    const std::vector<int32_t> types = file_.integers("tokenizer.ggml.token_type");
    for (size_t id = 0; id < std::min(tokens.size(), types.size()); ++id) {
      if (types[id] == kControlToken &&
          std::ranges::find(kEndTokens, tokens[id]) != kEndTokens.end()) {
        add(static_cast<int64_t>(id));
      }
    }
    return ids;
  }

  const GgufFile& file_;
  std::string where_;
  const Architecture& family_;
};

void write_rope(const ModelConfig& config, const std::string& prefix, GgufMetadata& metadata) {
  const RopeConfig& rope = config.rope;
  metadata.set_f32(prefix + "freq_base", static_cast<float>(rope.theta));
  metadata.set_u32(prefix + "dimension_count", static_cast<uint32_t>(config.head_dim));
  if (rope.kind != RopeKind::kLinear && rope.kind != RopeKind::kYarn) return;
  metadata.set_string(prefix + "scaling.type", rope_kind_name(rope.kind));
  metadata.set_f32(prefix + "scaling.factor", static_cast<float>(rope.factor));
  if (rope.kind == RopeKind::kLinear) return;
  metadata.set_u32(prefix + "scaling.original_context_length",
                   static_cast<uint32_t>(rope.original_positions));
  metadata.set_f32(prefix + "scaling.yarn_beta_fast", static_cast<float>(rope.beta_fast));
  metadata.set_f32(prefix + "scaling.yarn_beta_slow", static_cast<float>(rope.beta_slow));
  if (!rope.truncate) metadata.set_bool(prefix + "scaling.yarn_truncate", false);
  const double share = rope.attention_factor / yarn_attention_factor(rope.factor);
  if (std::abs(share - 1.0) > 1e-6) {
    metadata.set_f32(prefix + "scaling.yarn_attn_factor", static_cast<float>(share));
  }
}

}  // namespace

ModelConfig read_gguf_config(const GgufFile& file) { return ConfigReader(file).read(); }

std::string write_gguf_config(const ModelConfig& config, GgufMetadata& metadata) {
  const Architecture& family = *config.family;
  const std::string prefix = std::string(family.gguf) + ".";
  const auto set = [&](const char* name, int64_t value) {
    metadata.set_u32(prefix + name, static_cast<uint32_t>(value));
  };
  metadata.set_string("general.architecture", family.gguf);
  set("block_count", config.n_layers);
  set("context_length", config.max_positions);
  set("embedding_length", config.d_model);
  set("feed_forward_length", config.d_ff);
  set("attention.head_count", config.n_heads);
  set("attention.head_count_kv", config.n_kv_heads);
  set("attention.key_length", config.head_dim);
  set("attention.value_length", config.head_dim);
  set("vocab_size", config.n_vocab);
  metadata.set_f32(prefix + "attention.layer_norm_rms_epsilon", config.rms_norm_epsilon);
  write_rope(config, prefix + "rope.", metadata);
  if (family.write_gguf != nullptr) return family.write_gguf(config, prefix, metadata);
  if (config.window > 0) {
    fail(ErrorCode::kUnsupported,
         "GGUF files of {} cannot say that layers slide, as those of this model do", family.gguf);
  }
  return "";
}

}  // namespace chunkllm

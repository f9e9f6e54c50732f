// Rotary position embeddings (arXiv 2104.09864) and the ways to stretch them over longer contexts.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/json.h"

namespace chunkllm {

enum class RopeKind {
  kDefault,  // theta^(-2i / head_dim)
  kLinear,   // every frequency divided by the factor (arXiv 2306.15595)
  kLlama3,   // low frequencies divided, high ones kept, a ramp between (Llama 3.1)
  kYarn,     // a ramp over the rotations within the original context (arXiv 2309.00071)
  kFactors,  // each frequency divided by a number of its own: how GGUF files have kLlama3
};

struct RopeConfig {
  RopeKind kind = RopeKind::kDefault;
  double theta = 10000.0;
  double factor = 1.0;              // all but kDefault: how much longer the context became
  double original_positions = 0.0;  // kLlama3, kYarn: the context before that
  double low_freq_factor = 1.0;     // kLlama3
  double high_freq_factor = 4.0;    // kLlama3
  double beta_fast = 32.0;          // kYarn: rotations above which a frequency is kept
  double beta_slow = 1.0;           // kYarn: rotations below which it is divided
  bool truncate = true;             // kYarn: the ramp begins and ends at whole dimensions
  double attention_factor = 1.0;    // kYarn: what cos and sin are multiplied by
  std::vector<float> divisors;      // kFactors: [head_dim / 2]

  friend bool operator==(const RopeConfig&, const RopeConfig&) = default;
};

// "default", "linear", "llama3", "yarn", "factors".
const char* rope_kind_name(RopeKind kind);

// Where the rotary embedding of one kind of layer stands in config.json.
struct RopeFields {
  const char* theta = "rope_theta";
  // In models with several: the object in rope_parameters that is this one's. Without it
  // rope_parameters and rope_scaling are of layers that attend to everything.
  const char* layer_type = "full_attention";
};

// Reads the fields of a config.json in the old spelling (rope_theta, rope_scaling) and the new one
// (rope_parameters). `where` names the file in errors. Throws Error: kUnsupported naming another
// kind, kData for a field that is missing or impossible.
RopeConfig read_rope_config(const JsonFields& config, const std::string& where,
                            int64_t max_positions, const RopeFields& names = {});

// The attention's temperature for a context `factor` times as long (YaRN, equation 22).
double yarn_attention_factor(double factor);

// [head_dim / 2], as Hugging Face's transformers compute them.
std::vector<float> rope_inverse_frequencies(const RopeConfig& rope, int64_t head_dim);

}  // namespace chunkllm

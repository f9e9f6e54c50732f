#include "model/rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "model/config_limits.h"

namespace chunkllm {
namespace {

constexpr double kMinTheta = 1.01;  // at 1 all dimensions turn alike, and YaRN divides by log 1
constexpr double kMaxTheta = 1e15;
constexpr double kMaxFactor = 1e6;

constexpr std::pair<RopeKind, const char*> kKinds[] = {{RopeKind::kDefault, "default"},
                                                       {RopeKind::kLinear, "linear"},
                                                       {RopeKind::kLlama3, "llama3"},
                                                       {RopeKind::kYarn, "yarn"},
                                                       {RopeKind::kFactors, "factors"}};

RopeKind find_kind(const std::string& name, const std::string& where) {
  for (const auto& [kind, known] : kKinds) {
    if (name == known && kind != RopeKind::kFactors) return kind;
  }
  fail(ErrorCode::kUnsupported,
       "{}: the rotary embedding {} is not supported; default, linear, llama3 and yarn are", where,
       show_text(name));
}

// The attention's temperature for a context `factor` times as long (YaRN, equation 22).
double yarn_mscale(double factor, double mscale) {
  return factor <= 1.0 ? 1.0 : 0.1 * mscale * std::log(factor) + 1.0;
}

void read_yarn(const JsonFields& fields, RopeConfig& rope) {
  rope.beta_fast = fields.number_or("beta_fast", 1e-6, kMaxFactor, rope.beta_fast);
  rope.beta_slow = fields.number_or("beta_slow", 1e-6, kMaxFactor, rope.beta_slow);
  rope.truncate = fields.boolean_or("truncate", true);
  const double mscale = fields.number_or("mscale", 0.0, kMaxFactor, 0.0);
  const double mscale_all = fields.number_or("mscale_all_dim", 0.0, kMaxFactor, 0.0);
  const double derived = mscale > 0 && mscale_all > 0 ? yarn_mscale(rope.factor, mscale) /
                                                            yarn_mscale(rope.factor, mscale_all)
                                                      : yarn_mscale(rope.factor, 1.0);
  rope.attention_factor = fields.number_or("attention_factor", 1e-6, kMaxFactor, derived);
}

// One of the objects rope_scaling and rope_parameters.
void read_parameters(const JsonFields& fields, const std::string& where, int64_t max_positions,
                     RopeConfig& rope) {
  rope.kind = find_kind(fields.string_or("rope_type", fields.string_or("type", "default")), where);
  rope.theta = fields.number_or("rope_theta", kMinTheta, kMaxTheta, rope.theta);
  if (fields.number_or("partial_rotary_factor", 0.0, 1.0, 1.0) != 1.0) {
    fail(ErrorCode::kUnsupported,
         "{}: partial_rotary_factor is below 1; only whole heads can be rotated", where);
  }
  if (rope.kind == RopeKind::kDefault) return;
  rope.factor = fields.number("factor", 1.0, kMaxFactor);
  if (rope.kind == RopeKind::kLinear) return;
  rope.original_positions =
      fields.number_or("original_max_position_embeddings", 1.0, static_cast<double>(kMaxPositions),
                       static_cast<double>(max_positions));
  if (rope.kind == RopeKind::kYarn) return read_yarn(fields, rope);
  rope.low_freq_factor = fields.number("low_freq_factor", 1e-6, kMaxFactor);
  rope.high_freq_factor = fields.number("high_freq_factor", 1e-6, kMaxFactor);
  if (rope.high_freq_factor <= rope.low_freq_factor) {
    fail(ErrorCode::kData, "{}: high_freq_factor {} must be above low_freq_factor {}", where,
         rope.high_freq_factor, rope.low_freq_factor);
  }
}

double llama3_frequency(const RopeConfig& rope, double frequency) {
  const double wavelength = 2 * std::numbers::pi / frequency;
  if (wavelength < rope.original_positions / rope.high_freq_factor) return frequency;
  if (wavelength > rope.original_positions / rope.low_freq_factor) return frequency / rope.factor;
  const double smooth = (rope.original_positions / wavelength - rope.low_freq_factor) /
                        (rope.high_freq_factor - rope.low_freq_factor);
  return (1 - smooth) * frequency / rope.factor + smooth * frequency;
}

// The share of dimension `i` that keeps its frequency: 1 where it rotates more than beta_fast times
// in the original context, 0 where less than beta_slow times.
double yarn_kept(const RopeConfig& rope, int64_t head_dim, int64_t i) {
  const auto dim = static_cast<double>(head_dim);
  const auto dimension_of = [&](double rotations) {
    return dim * std::log(rope.original_positions / (rotations * 2 * std::numbers::pi)) /
           (2 * std::log(rope.theta));
  };
  double low = dimension_of(rope.beta_fast);
  double high = dimension_of(rope.beta_slow);
  if (rope.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, dim - 1);
  if (low == high) high += 0.001;
  return 1.0 - std::clamp((static_cast<double>(i) - low) / (high - low), 0.0, 1.0);
}

double frequency_of(const RopeConfig& rope, int64_t head_dim, int64_t i) {
  const double exponent = static_cast<double>(2 * i) / static_cast<double>(head_dim);
  const double frequency = 1.0 / std::pow(rope.theta, exponent);
  switch (rope.kind) {
    case RopeKind::kDefault:
      return frequency;
    case RopeKind::kLinear:
      return frequency / rope.factor;
    case RopeKind::kLlama3:
      return llama3_frequency(rope, frequency);
    case RopeKind::kYarn: {
      const double kept = yarn_kept(rope, head_dim, i);
      return kept * frequency + (1 - kept) * frequency / rope.factor;
    }
    case RopeKind::kFactors:
      return frequency / double{rope.divisors[static_cast<size_t>(i)]};
  }
  return frequency;
}

}  // namespace

const char* rope_kind_name(RopeKind kind) {
  for (const auto& [known, name] : kKinds) {
    if (known == kind) return name;
  }
  return "?";
}

RopeConfig read_rope_config(const JsonFields& config, const std::string& where,
                            int64_t max_positions, const RopeFields& names) {
  RopeConfig rope;
  rope.theta = config.number_or(names.theta, kMinTheta, kMaxTheta, rope.theta);
  const bool old_spelling = config.has("rope_scaling");
  if (!old_spelling && !config.has("rope_parameters")) return rope;
  if (old_spelling && config.has("rope_parameters")) {
    fail(ErrorCode::kData, "{}: has both rope_scaling and rope_parameters; remove one", where);
  }
  const char* name = old_spelling ? "rope_scaling" : "rope_parameters";
  const std::string place = where + ", " + name;
  const JsonFields fields(config.at(name), place);
  if (!fields.has("full_attention") && !fields.has("sliding_attention")) {
    if (std::string_view(names.layer_type) == "full_attention") {
      read_parameters(fields, place, max_positions, rope);
    }
  } else if (fields.has(names.layer_type)) {
    const std::string inner = place + ", " + names.layer_type;
    read_parameters(JsonFields(fields.at(names.layer_type), inner), inner, max_positions, rope);
  }
  return rope;
}

double yarn_attention_factor(double factor) { return yarn_mscale(factor, 1.0); }

std::vector<float> rope_inverse_frequencies(const RopeConfig& rope, int64_t head_dim) {
  std::vector<float> frequencies;
  for (int64_t i = 0; i < head_dim / 2; ++i) {
    frequencies.push_back(static_cast<float>(frequency_of(rope, head_dim, i)));
  }
  return frequencies;
}

}  // namespace chunkllm

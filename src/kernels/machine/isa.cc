#include "kernels/machine/isa.h"

#include <fmt/format.h>
#include <hwy/highway.h>

#include <algorithm>
#include <cstdlib>
#include <string>

#include "base/error.h"
#include "kernels/machine/levels.h"

namespace chunkllm {
namespace {

// The row that `level` builds on; null for the first.
const Level* base_of(const Level& level) {
  const std::span<const Level> levels = isa_levels();
  if (&level == levels.data()) return nullptr;
  return &*std::ranges::find(levels, level.base, &Level::folder);
}

bool machine_has(const Level& level) {
  std::string_view rest = level.features;
  while (!rest.empty()) {
    const size_t end = std::min(rest.find(' '), rest.size());
    if (!machine_has_feature(rest.substr(0, end))) return false;
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  const Level* base = base_of(level);
  return base == nullptr || machine_has(*base);
}

// The names of the rows that `wanted` accepts, each once.
template <class Wanted>
std::vector<std::string_view> names_of(const Wanted& wanted) {
  std::vector<std::string_view> names;
  for (const Level& level : isa_levels()) {
    if ((names.empty() || names.back() != level.name) && wanted(level)) names.push_back(level.name);
  }
  return names;
}

// The last row that this machine has, of those called `name` unless that is empty; null if none.
const Level* best_level(std::string_view name) {
  const Level* best = nullptr;
  for (const Level& level : isa_levels()) {
    if ((name.empty() || level.name == name) && machine_has(level)) best = &level;
  }
  return best;
}

const Level& choose_level() {
  const char* variable = std::getenv("CHUNKLLM_ISA");
  const std::string_view asked = variable == nullptr ? "" : variable;
  const Level* level = best_level(asked);
  if (level != nullptr) return *level;
  const std::vector<std::string_view> names = isa_names();
  if (std::ranges::find(names, asked) == names.end()) {
    fail(ErrorCode::kInvalidArgument, "CHUNKLLM_ISA={} is not a level; use one of {}", asked,
         fmt::join(names, ", "));
  }
  fail(ErrorCode::kInvalidArgument,
       "CHUNKLLM_ISA={} is more than this machine has; its best level is {}", asked,
       best_level("")->name);
}

// The level in use, and what its row and those below it give together.
struct Choice {
  std::string_view name;
  KernelSet kernels;
};

Choice choose() {
  const Level& chosen = choose_level();
  Choice choice{chosen.name, {}};
  int64_t highway_targets = 0;
  for (const Level* level = &chosen; level != nullptr; level = base_of(*level)) {
    highway_targets |= level->highway_targets;
    choice.kernels = with_fallback(choice.kernels, level->kernels);
  }
  // Where there are no levels to cap, oneDNN takes no cap at all.
  if (chosen.onednn != dnnl::cpu_isa::all &&
      dnnl::set_max_cpu_isa(chosen.onednn) != dnnl::status::success) {
    fail(ErrorCode::kUnsupported,
         "oneDNN cannot be capped at {}: it was used before the level was chosen; call "
         "active_isa() first",
         chosen.name);
  }
  hwy::DisableTargets(~highway_targets);
  return choice;
}

const Choice& active_choice() {
  static const Choice choice = choose();
  return choice;
}

}  // namespace

KernelSet with_fallback(KernelSet own, const KernelSet& base) {
  const auto take = [&](auto KernelSet::*kernel) {
    if (own.*kernel == nullptr) own.*kernel = base.*kernel;
  };
  take(&KernelSet::quant_dot);
  take(&KernelSet::tile_packing);
  take(&KernelSet::tile_product);
  take(&KernelSet::attention_tile);
  take(&KernelSet::f32_peak);
  take(&KernelSet::bf16_peak);
  take(&KernelSet::int8_peak);
  return own;
}

std::vector<std::string_view> isa_names() {
  return names_of([](const Level&) { return true; });
}

std::vector<std::string_view> machine_isas() { return names_of(machine_has); }

std::string_view active_isa() { return active_choice().name; }

const KernelSet& active_kernels() { return active_choice().kernels; }

}  // namespace chunkllm

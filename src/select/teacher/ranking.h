// Which chunks come first by scores or masses, and how good a choice of chunks is.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace chunkllm {

// The indices of the k greatest values (all, if there are fewer), greatest first; ties to the lower
// index, NaN last.
std::vector<int64_t> top_k_indices(std::span<const float> values, int64_t k);

// The chunks that a choice by `scores` takes into `budget` tokens, in that order, until the next
// one would exceed it. `tokens` has a number a score.
std::vector<int64_t> best_within(std::span<const float> scores, std::span<const int64_t> tokens,
                                 int64_t budget);

// The sum of the chosen ones' masses.
double mass_of(std::span<const float> masses, std::span<const int64_t> chosen);

// The share of the teacher's k greatest masses, those that are positive, that the k greatest scores
// hold. Nothing where every choice is right: with k chunks or fewer, or without positive mass.
std::optional<double> recall_at_k(std::span<const float> teacher, std::span<const float> scores,
                                  int64_t k);

}  // namespace chunkllm

#include "eval/attention/mass_pass.h"

#include <algorithm>
#include <utility>

namespace chunkllm {

std::span<const float> MassRows::at(int64_t position) const {
  const Part& part = parts_[position < parts_[1].positions.begin ? 0 : 1];
  return {part.rows + (position - part.positions.begin) * part.n_chunks,
          static_cast<size_t>(part.n_chunks)};
}

MassPass::MassPass(const ModelConfig& model, int64_t sink, MassListener& listener,
                   Progress progress)
    : n_layers_(model.n_layers),
      sink_(sink),
      listener_(listener),
      progress_(std::move(progress)),
      kept_(static_cast<size_t>(model.n_layers)) {}

void MassPass::attention_done(const LayerInput& input, const float* log_sum_exp) {
  const ChunkTrack* track = listener_.track_of(input.layer);
  if (track == nullptr) return;
  const Range block = input.positions;
  const int64_t n_chunks = track->n_closed_at(block.end);
  const std::span<const float> masses =
      masses_.compute(input, log_sum_exp, *track, n_chunks, sink_);
  Kept& kept = kept_[static_cast<size_t>(input.layer)];
  if (kept.part.positions.empty()) kept.part.positions = {block.begin, block.begin};
  MassRows rows;
  rows.parts_ = {kept.part, {block, n_chunks, masses.data()}};
  listener_.block_done(input, rows);

  const int64_t from =
      std::clamp(listener_.kept_from(input.layer, block.end), rows.positions().begin, block.end);
  std::vector<float> again(static_cast<size_t>((block.end - from) * n_chunks), 0.0f);
  for (int64_t t = from; t < block.end; ++t) {
    std::ranges::copy(rows.at(t), again.begin() + (t - from) * n_chunks);
  }
  kept.rows = std::move(again);
  kept.part = {{from, block.end}, n_chunks, kept.rows.data()};
}

void MassPass::layer_done(int64_t layer, Range positions, const float*) {
  if (progress_ && layer + 1 == n_layers_) progress_(positions.end);
}

}  // namespace chunkllm

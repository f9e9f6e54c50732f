// A dense pass that shows, layer by layer, what tokens attend to: the masses of chunks.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "model/transformer.h"
#include "select/chunk/chunk_track.h"
#include "select/teacher/chunk_mass.h"

namespace chunkllm {

// What consecutive tokens give to the chunks of one layer, mean over heads, sink removed. Views.
class MassRows {
 public:
  Range positions() const { return {parts_[0].positions.begin, parts_[1].positions.end}; }
  // Of the token at a position: [n], of which the chunks that ended by its block's end are there.
  std::span<const float> at(int64_t position) const;

 private:
  friend class MassPass;
  struct Part {
    Range positions;
    int64_t n_chunks = 0;
    const float* rows = nullptr;  // [positions.size(), n_chunks]
  };
  std::array<Part, 2> parts_;  // kept from earlier blocks, and the block's
};

// Looks at the masses of a dense pass as they come, block by block and layer by layer.
class MassListener {
 public:
  virtual ~MassListener() = default;
  // The chunks of a layer that does not slide; null: it is not looked at. The whole sequence's.
  virtual const ChunkTrack* track_of(int64_t layer) const = 0;
  // The tokens from here to `end`, the block's, will be looked at again with the next block.
  virtual int64_t kept_from(int64_t layer, int64_t end) const = 0;
  // `rows` ends with the block's tokens and begins with those that were kept.
  virtual void block_done(const LayerInput& input, const MassRows& rows) = 0;
};

// Attends to everything. One sequence from position 0, in blocks of any size; what is kept between
// blocks is the rows that the listener wants again.
class MassPass : public FullRows {
 public:
  using Progress = std::function<void(int64_t n_tokens)>;

  // `listener` must outlive it. `progress` (may be null) gets the tokens that are done.
  MassPass(const ModelConfig& model, int64_t sink, MassListener& listener,
           Progress progress = nullptr);

  bool wants_log_sum_exp() const override { return true; }
  void attention_done(const LayerInput& input, const float* log_sum_exp) override;
  void layer_done(int64_t layer, Range positions, const float* hidden) override;

 private:
  struct Kept {
    MassRows::Part part;
    std::vector<float> rows;
  };

  int64_t n_layers_;
  int64_t sink_;
  MassListener& listener_;
  Progress progress_;
  BlockMasses masses_;
  std::vector<Kept> kept_;  // [n_layers]
};

}  // namespace chunkllm

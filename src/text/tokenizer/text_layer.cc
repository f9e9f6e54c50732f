#include "text/tokenizer/text_layer.h"

#include <algorithm>

namespace chunkllm {

size_t OffsetMap::source(size_t target) const {
  const auto next = std::ranges::upper_bound(changes_, target, {}, &Change::target_begin);
  if (next == changes_.begin()) return target;
  const Change& change = *std::prev(next);
  if (target < change.target_end) return change.source_begin;
  return change.source_end + (target - change.target_end);
}

size_t TextLayer::source(size_t offset) const {
  for (auto map = maps_.rbegin(); map != maps_.rend(); ++map) offset = map->source(offset);
  return parent_ == nullptr ? offset : parent_->source(parent_begin_ + offset);
}

}  // namespace chunkllm

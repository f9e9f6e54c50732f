// Text that is rewritten before it is tokenised, with the way back to where its bytes come from.
#pragma once

#include <cstddef>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

namespace chunkllm {

// Which bytes of a source text the bytes of a rewritten one come from. Without changes they are the
// same. Offsets inside what was changed lead to the begin of what was there before.
class OffsetMap {
 public:
  // Target bytes [target_begin, target_end) stand where [source_begin, source_end) stood; all else
  // is the same. Changes come in ascending order and do not overlap.
  struct Change {
    size_t target_begin = 0;
    size_t target_end = 0;
    size_t source_begin = 0;
    size_t source_end = 0;
  };
  void add(const Change& change) { changes_.push_back(change); }

  size_t source(size_t target) const;

 private:
  std::vector<Change> changes_;
};

// Strings that stay where they are, so that views of them live as long as the pool.
using StringPool = std::deque<std::string>;

// A text, or a part of another one, and the rewritings it has gone through. Parents must outlive
// their parts.
class TextLayer {
 public:
  explicit TextLayer(std::string_view text) : text_(text) {}
  // Bytes [begin, end) of `parent`.
  TextLayer(const TextLayer& parent, size_t begin, size_t end)
      : text_(parent.text_.substr(begin, end - begin)), parent_(&parent), parent_begin_(begin) {}

  std::string_view text() const { return text_; }

  // Takes the text that `map` leads back from; `text` must outlive this layer.
  void rewrite(std::string_view text, OffsetMap map) {
    text_ = text;
    maps_.push_back(std::move(map));
  }

  // The offset in the outermost text that `offset` in this one comes from.
  size_t source(size_t offset) const;

 private:
  std::string_view text_;
  const TextLayer* parent_ = nullptr;
  size_t parent_begin_ = 0;
  std::vector<OffsetMap> maps_;  // the last one is from text_
};

}  // namespace chunkllm

// Byte pair encoding: pieces of text to token ids by the ranks of learned merges.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "text/tokenizer/char_symbols.h"

namespace chunkllm {

// Merges of two tokens into one, found by the pair. The rank is the merge's place in the file;
// lower ranks go first. Open addressing: encoding spends most of its time here. Immutable once
// filled.
class MergeTable {
 public:
  static constexpr uint32_t kNoRank = UINT32_MAX;
  static constexpr int64_t kMaxMerges = (int64_t{1} << 24) - 1;

  // Makes room for `n_merges` calls of add(), at most kMaxMerges.
  explicit MergeTable(int64_t n_merges);

  // The next merge. A pair that is there already takes the new rank. Ids must not be negative.
  void add(int32_t left, int32_t right, int32_t merged);
  // Another merge that makes the same token as the one before, and has its rank.
  void add_alike(int32_t left, int32_t right);

  // Of the pair, or kNoRank.
  uint32_t rank(int32_t left, int32_t right) const;

  int64_t size() const { return n_pairs_; }  // pairs

  // The token that the merge of this rank makes.
  int32_t merged(uint32_t rank) const { return merged_[rank]; }

 private:
  struct Slot {
    uint64_t pair = UINT64_MAX;
    uint32_t rank = kNoRank;
  };
  size_t find_slot(uint64_t pair) const;

  std::vector<Slot> slots_;  // a power of two, at most half of them used
  std::vector<int32_t> merged_;
  int64_t n_pairs_ = 0;
};

// Repeatedly joins the pair of lowest rank, the leftmost where ranks are equal, until none is left.
// `ids` [n_symbols] is replaced by what remains. merge_by_scan is quadratic and fast for short
// pieces; merge_by_heap takes n log n; both give the same. Pieces of more than 2^32 - 2 symbols are
// an Error (kUnsupported).
void merge_by_scan(const MergeTable& merges, std::vector<int32_t>& ids);
void merge_by_heap(const MergeTable& merges, std::vector<int32_t>& ids);

// Ids of the pieces seen last, so that a word's merges are worked out once. Belongs to one call.
class PieceCache {
 public:
  // For a text of `text_bytes`.
  explicit PieceCache(size_t text_bytes);

  // The ids remembered for `piece`, or an empty span.
  std::span<const int32_t> find(std::string_view piece) const;

  // Remembers `ids` unless they are too many. `piece` must outlive the cache.
  void store(std::string_view piece, std::span<const int32_t> ids);

 private:
  static constexpr size_t kMaxIds = 6;
  struct Entry {
    std::string_view piece;
    uint32_t n_ids = 0;
    std::array<int32_t, kMaxIds> ids{};
  };
  size_t slot(std::string_view piece) const;

  std::vector<Entry> entries_;  // a power of two; a new piece replaces the old one of its slot
};

// The model of a BPE tokenizer. Immutable once filled; any thread may call encode_piece().
struct BpeModel {
  static constexpr int32_t kNoId = -1;

  MergeTable merges{0};
  // By byte: the token that is this byte alone; bytes with kNoId are left out.
  std::array<int32_t, 256> byte_ids{};
  // If it is set, pieces begin as characters, not as bytes.
  std::optional<CharSymbols> chars;
  // With ignore_merges a piece that is a token is that token, whatever the merges say: these are
  // the tokens by the text they stand for. Without it the map is empty.
  std::unordered_map<std::string_view, int32_t> whole_pieces;

  // Appends the ids of one piece of valid UTF-8, not empty, to `ids`.
  void encode_piece(std::string_view piece, std::vector<int32_t>& ids) const;

  // How many bytes at the begin of `text`, the rest of a piece, go into a token that stands for
  // `n_known` bytes, or for what is unknown if that is 0: those, and the ones left out among them.
  size_t source_bytes(std::string_view text, size_t n_known) const;
};

}  // namespace chunkllm

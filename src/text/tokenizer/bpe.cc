#include "text/tokenizer/bpe.h"

#include <algorithm>
#include <bit>
#include <functional>
#include <queue>

#include "base/error.h"

namespace chunkllm {

namespace {

constexpr size_t kScanLimit = 48;  // symbols; from about here on the heap is faster

uint64_t pair_key(int32_t left, int32_t right) {
  return uint64_t{static_cast<uint32_t>(left)} << 32 | static_cast<uint32_t>(right);
}

// The symbols of a piece as a doubly linked list, with the rank of each one and its successor.
class SymbolList {
 public:
  static constexpr uint32_t kNone = UINT32_MAX;

  SymbolList(const MergeTable& merges, const std::vector<int32_t>& ids)
      : merges_(merges), symbols_(ids.size()) {
    const uint32_t n = static_cast<uint32_t>(ids.size());
    for (uint32_t i = 0; i < n; ++i) {
      symbols_[i] = {ids[i], i == 0 ? kNone : i - 1, i + 1 == n ? kNone : i + 1,
                     MergeTable::kNoRank};
    }
    for (uint32_t i = 0; i < n; ++i) update_rank(i);
  }

  uint32_t rank(uint32_t i) const { return symbols_[i].rank; }
  uint32_t previous(uint32_t i) const { return symbols_[i].previous; }

  // Joins symbol i with its successor, which leaves the list.
  void merge(uint32_t i) {
    Symbol& symbol = symbols_[i];
    Symbol& gone = symbols_[symbol.next];
    symbol.id = merges_.merged(symbol.rank);
    gone.rank = MergeTable::kNoRank;
    symbol.next = gone.next;
    if (symbol.next != kNone) symbols_[symbol.next].previous = i;
    update_rank(i);
    if (symbol.previous != kNone) update_rank(symbol.previous);
  }

  void collect(std::vector<int32_t>& ids) const {
    ids.clear();
    for (uint32_t i = 0; i != kNone; i = symbols_[i].next) ids.push_back(symbols_[i].id);
  }

 private:
  struct Symbol {
    int32_t id = 0;
    uint32_t previous = kNone;
    uint32_t next = kNone;
    uint32_t rank = MergeTable::kNoRank;
  };

  void update_rank(uint32_t i) {
    Symbol& symbol = symbols_[i];
    symbol.rank = symbol.next == kNone ? MergeTable::kNoRank
                                       : merges_.rank(symbol.id, symbols_[symbol.next].id);
  }

  const MergeTable& merges_;
  std::vector<Symbol> symbols_;
};

}  // namespace

MergeTable::MergeTable(int64_t n_merges)
    : slots_(std::bit_ceil(static_cast<uint64_t>(std::max<int64_t>(n_merges, 1)) * 2)) {
  merged_.reserve(static_cast<size_t>(n_merges));
}

size_t MergeTable::find_slot(uint64_t pair) const {
  const size_t mask = slots_.size() - 1;
  size_t i = static_cast<size_t>((pair * 0x9e3779b97f4a7c15u) >> 32) & mask;
  while (slots_[i].pair != pair && slots_[i].rank != kNoRank) i = (i + 1) & mask;
  return i;
}

void MergeTable::add(int32_t left, int32_t right, int32_t merged) {
  merged_.push_back(merged);
  add_alike(left, right);
}

void MergeTable::add_alike(int32_t left, int32_t right) {
  const uint64_t pair = pair_key(left, right);
  Slot& slot = slots_[find_slot(pair)];
  if (slot.rank == kNoRank) ++n_pairs_;
  slot = {pair, static_cast<uint32_t>(merged_.size() - 1)};
}

uint32_t MergeTable::rank(int32_t left, int32_t right) const {
  return slots_[find_slot(pair_key(left, right))].rank;
}

void merge_by_scan(const MergeTable& merges, std::vector<int32_t>& ids) {
  if (ids.size() < 2) return;
  std::vector<uint32_t> ranks(ids.size() - 1);  // of symbols i and i + 1
  for (size_t i = 0; i < ranks.size(); ++i) ranks[i] = merges.rank(ids[i], ids[i + 1]);
  while (!ranks.empty()) {
    const auto best = std::ranges::min_element(ranks);
    if (*best == MergeTable::kNoRank) break;
    const size_t i = static_cast<size_t>(best - ranks.begin());
    ids[i] = merges.merged(*best);
    ids.erase(ids.begin() + static_cast<ptrdiff_t>(i) + 1);
    ranks.erase(best);
    if (i < ranks.size()) ranks[i] = merges.rank(ids[i], ids[i + 1]);
    if (i > 0) ranks[i - 1] = merges.rank(ids[i - 1], ids[i]);
  }
}

void merge_by_heap(const MergeTable& merges, std::vector<int32_t>& ids) {
  if (ids.size() < 2) return;
  if (ids.size() >= SymbolList::kNone) {
    fail(ErrorCode::kUnsupported, "a word of {} bytes; words can have {} bytes, so split the text",
         ids.size(), SymbolList::kNone - 1);
  }
  SymbolList symbols(merges, ids);
  // Rank above position: the order in which merges go. Entries whose pair has changed since stay in
  // the queue and are skipped when they come up.
  const auto entry = [&](uint32_t i) { return uint64_t{symbols.rank(i)} << 32 | i; };
  std::vector<uint64_t> entries;
  for (uint32_t i = 0; i + 1 < ids.size(); ++i) {
    if (symbols.rank(i) != MergeTable::kNoRank) entries.push_back(entry(i));
  }
  std::priority_queue<uint64_t, std::vector<uint64_t>, std::greater<>> queue(std::greater<>(),
                                                                             std::move(entries));
  const auto push = [&](uint32_t i) {
    if (i != SymbolList::kNone && symbols.rank(i) != MergeTable::kNoRank) queue.push(entry(i));
  };
  while (!queue.empty()) {
    const uint64_t top = queue.top();
    queue.pop();
    const uint32_t i = static_cast<uint32_t>(top);
    if (entry(i) != top) continue;
    symbols.merge(i);
    push(i);
    push(symbols.previous(i));
  }
  symbols.collect(ids);
}

PieceCache::PieceCache(size_t text_bytes)
    : entries_(std::bit_ceil(std::clamp<size_t>(text_bytes / 8, 1, size_t{1} << 15))) {}

size_t PieceCache::slot(std::string_view piece) const {
  return std::hash<std::string_view>()(piece) & (entries_.size() - 1);
}

std::span<const int32_t> PieceCache::find(std::string_view piece) const {
  const Entry& entry = entries_[slot(piece)];
  if (entry.piece != piece) return {};
  return std::span(entry.ids).first(entry.n_ids);
}

void PieceCache::store(std::string_view piece, std::span<const int32_t> ids) {
  if (ids.size() > kMaxIds) return;
  Entry& entry = entries_[slot(piece)];
  entry.piece = piece;
  entry.n_ids = static_cast<uint32_t>(ids.size());
  std::ranges::copy(ids, entry.ids.begin());
}

size_t BpeModel::source_bytes(std::string_view text, size_t n_known) const {
  if (chars) return n_known == 0 ? chars->unknown_bytes(text) : n_known;
  size_t n_bytes = 0;
  while (n_known > 0) {
    if (byte_ids[static_cast<uint8_t>(text[n_bytes++])] != kNoId) --n_known;
  }
  return n_bytes;
}

void BpeModel::encode_piece(std::string_view piece, std::vector<int32_t>& ids) const {
  if (!whole_pieces.empty()) {
    if (const auto it = whole_pieces.find(piece); it != whole_pieces.end()) {
      ids.push_back(it->second);
      return;
    }
  }
  std::vector<int32_t> symbols;
  symbols.reserve(piece.size());
  if (chars) {
    chars->append(piece, symbols);
  } else {
    for (const char c : piece) {
      const int32_t id = byte_ids[static_cast<uint8_t>(c)];
      if (id != kNoId) symbols.push_back(id);
    }
  }
  if (symbols.size() <= kScanLimit) {
    merge_by_scan(merges, symbols);
  } else {
    merge_by_heap(merges, symbols);
  }
  ids.insert(ids.end(), symbols.begin(), symbols.end());
}

}  // namespace chunkllm

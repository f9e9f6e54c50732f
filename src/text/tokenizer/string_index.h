// Numbers by string, for tables that are filled once and asked often: open addressing with the
// hashes beside the entries, so that most lookups touch the string they look for and no other.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

namespace chunkllm {

class StringIndex {
 public:
  using Entry = std::pair<std::string_view, int32_t>;

  // Makes room for `n_entries` calls of add().
  explicit StringIndex(size_t n_entries) : slots_(std::bit_ceil(n_entries * 2 + 1)) {
    entries_.reserve(n_entries);
  }

  // `key`, which must not be there already, outlives the index.
  void add(std::string_view key, int32_t value) {
    const size_t hash = std::hash<std::string_view>()(key);
    size_t i = hash & (slots_.size() - 1);
    while (slots_[i].entry != kNoEntry) i = (i + 1) & (slots_.size() - 1);
    slots_[i] = {hash, static_cast<uint32_t>(entries_.size())};
    entries_.emplace_back(key, value);
  }

  std::optional<int32_t> find(std::string_view key) const {
    const size_t hash = std::hash<std::string_view>()(key);
    for (size_t i = hash & (slots_.size() - 1); slots_[i].entry != kNoEntry;
         i = (i + 1) & (slots_.size() - 1)) {
      const Entry& entry = entries_[slots_[i].entry];
      if (slots_[i].hash == hash && entry.first == key) return entry.second;
    }
    return std::nullopt;
  }

  // In the order in which they were added.
  const std::vector<Entry>& entries() const { return entries_; }

 private:
  static constexpr uint32_t kNoEntry = UINT32_MAX;
  struct Slot {
    size_t hash = 0;
    uint32_t entry = kNoEntry;
  };
  std::vector<Slot> slots_;  // a power of two, at most half of them used
  std::vector<Entry> entries_;
};

}  // namespace chunkllm

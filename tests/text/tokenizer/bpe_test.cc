#include "text/tokenizer/bpe.h"

#include <gtest/gtest.h>

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/random.h"

namespace chunkllm {
namespace {

struct Merge {
  int32_t left;
  int32_t right;
  int32_t merged;
};

MergeTable make_table(const std::vector<Merge>& merges) {
  MergeTable table(static_cast<int64_t>(merges.size()));
  for (const Merge& merge : merges) table.add(merge.left, merge.right, merge.merged);
  return table;
}

// The definition: the first merge of the list that applies anywhere, at its leftmost place.
std::vector<int32_t> merge_by_definition(const std::vector<Merge>& merges,
                                         std::vector<int32_t> ids) {
  for (bool found = true; found;) {
    found = false;
    for (size_t m = 0; m < merges.size() && !found; ++m) {
      for (size_t i = 0; i + 1 < ids.size() && !found; ++i) {
        if (ids[i] != merges[m].left || ids[i + 1] != merges[m].right) continue;
        ids[i] = merges[m].merged;
        ids.erase(ids.begin() + static_cast<ptrdiff_t>(i) + 1);
        found = true;
      }
    }
  }
  return ids;
}

// Merges over the letters 0 to 3 whose tokens are the strings they make, each string one id.
std::vector<Merge> random_merges(Rng& rng) {
  std::vector<std::string> strings = {"a", "b", "c", "d"};
  std::map<std::string, int32_t> ids = {{"a", 0}, {"b", 1}, {"c", 2}, {"d", 3}};
  std::map<std::pair<int32_t, int32_t>, bool> seen;
  std::vector<Merge> merges;
  for (int i = 0; i < 40; ++i) {
    const auto pick = [&] { return static_cast<int32_t>(rng.below(std::ssize(strings))); };
    const int32_t left = pick();
    const int32_t right = pick();
    const std::string merged = strings[left] + strings[right];
    if (merged.size() > 8 || seen[{left, right}]) continue;
    seen[{left, right}] = true;
    const auto [it, is_new] = ids.emplace(merged, static_cast<int32_t>(strings.size()));
    if (is_new) strings.push_back(merged);
    merges.push_back({left, right, it->second});
  }
  for (size_t i = merges.size(); i > 1; --i) {
    std::swap(merges[i - 1], merges[static_cast<size_t>(rng.below(static_cast<int64_t>(i)))]);
  }
  return merges;
}

TEST(Bpe, BothAlgorithmsFollowTheDefinition) {
  Rng rng(3);
  for (int round = 0; round < 2000; ++round) {
    const std::vector<Merge> merges = random_merges(rng);
    const MergeTable table = make_table(merges);
    std::vector<int32_t> ids(static_cast<size_t>(rng.below(60)));
    for (int32_t& id : ids) id = static_cast<int32_t>(rng.below(4));
    const std::vector<int32_t> expected = merge_by_definition(merges, ids);
    std::vector<int32_t> scanned = ids;
    merge_by_scan(table, scanned);
    std::vector<int32_t> heaped = ids;
    merge_by_heap(table, heaped);
    ASSERT_EQ(scanned, expected);
    ASSERT_EQ(heaped, expected);
  }
}

TEST(Bpe, ARepeatedCharacterOfAMillionBytesIsMerged) {
  const MergeTable table = make_table({{0, 0, 1}, {1, 1, 2}, {2, 2, 3}});
  std::vector<int32_t> ids(1000003, 0);
  merge_by_heap(table, ids);
  ASSERT_EQ(ids.size(), 125002u);
  EXPECT_EQ(ids.front(), 3);
  EXPECT_EQ(ids[125000], 1);  // what is left of 3: a pair and a single
  EXPECT_EQ(ids.back(), 0);
}

TEST(MergeTable, FindsWhatWasAddedAndNothingElse) {
  Rng rng(5);
  std::map<std::pair<int32_t, int32_t>, int32_t> expected;
  MergeTable table(5000);
  for (int32_t i = 0; i < 5000; ++i) {
    const auto left = static_cast<int32_t>(rng.below(200));
    const auto right = static_cast<int32_t>(rng.below(200));
    table.add(left, right, i);
    expected[{left, right}] = i;  // the later one of a repeated pair counts
  }
  for (int32_t left = 0; left < 200; ++left) {
    for (int32_t right = 0; right < 200; ++right) {
      const auto it = expected.find({left, right});
      const uint32_t rank = table.rank(left, right);
      ASSERT_EQ(rank != MergeTable::kNoRank, it != expected.end());
      if (it != expected.end()) {
        ASSERT_EQ(table.merged(rank), it->second);
      }
    }
  }
}

TEST(PieceCache, NeverAnswersForAnotherPiece) {
  std::vector<std::string> words;
  for (int i = 0; i < 2000; ++i) words.push_back("word" + std::to_string(i));
  PieceCache cache(256);  // far fewer slots than words
  for (int round = 0; round < 2; ++round) {
    for (int32_t i = 0; i < std::ssize(words); ++i) {
      const auto known = cache.find(words[i]);
      if (!known.empty()) {
        ASSERT_EQ(known[0], i);
      }
      cache.store(words[i], std::vector<int32_t>{i});
      const auto stored = cache.find(words[i]);
      ASSERT_EQ(stored.size(), 1u);
      ASSERT_EQ(stored[0], i);
    }
  }
  cache.store(words[0], std::vector<int32_t>(100, 1));
  EXPECT_LT(cache.find(words[0]).size(), 100u);
}

}  // namespace
}  // namespace chunkllm

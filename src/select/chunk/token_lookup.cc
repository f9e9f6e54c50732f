#include "select/chunk/token_lookup.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>

namespace chunkllm {
namespace {

constexpr size_t kLeastSlots = 1024;  // a power of two
constexpr float kLeastWeight = 1.0f;  // of a chunk that is preferred

}  // namespace

bool TokenLookup::same_run(int64_t a, int64_t b) const {
  const auto* run_a = tokens_.data() + a + 1 - kGram;
  return std::equal(run_a, run_a + kGram, tokens_.data() + b + 1 - kGram);
}

size_t TokenLookup::home_of(int64_t position) const {
  uint64_t hash = 0;
  for (int64_t i = position + 1 - kGram; i <= position; ++i) {
    hash = (hash ^ static_cast<uint32_t>(tokens_[static_cast<size_t>(i)])) * 0x9E3779B97F4A7C15u;
    hash ^= hash >> 32;
  }
  return static_cast<size_t>(hash) & (slots_.size() - 1);
}

size_t TokenLookup::slot_of(int64_t position) const {
  size_t slot = home_of(position);
  while (slots_[slot] >= 0 && !same_run(slots_[slot], position)) {
    slot = (slot + 1) & (slots_.size() - 1);
  }
  return slot;
}

void TokenLookup::add_run(int64_t position) {
  if (position + 1 < kGram) return;
  int32_t& last = slots_[slot_of(position)];
  if (last < 0) ++n_runs_;
  previous_[static_cast<size_t>(position)] = last;
  last = static_cast<int32_t>(position);
}

void TokenLookup::extend(int64_t first, std::span<const int32_t> tokens) {
  const int64_t begin = n_tokens();
  if (begin - first >= std::ssize(tokens)) return;
  const auto added = tokens.subspan(static_cast<size_t>(begin - first));
  tokens_.insert(tokens_.end(), added.begin(), added.end());
  previous_.resize(tokens_.size(), -1);
  // At most half of the slots are in use.
  size_t n_slots = std::max(slots_.size(), kLeastSlots);
  while (n_slots < 2 * (static_cast<size_t>(n_runs_) + added.size())) n_slots *= 2;
  int64_t next = begin;
  if (n_slots != slots_.size()) {
    slots_.assign(n_slots, -1);
    n_runs_ = 0;
    next = 0;
  }
  for (; next < n_tokens(); ++next) add_run(next);
}

// Moves what stands behind the slot forward, as far as probing would not find it any more.
void TokenLookup::empty_slot(size_t slot) {
  const size_t mask = slots_.size() - 1;
  for (size_t next = (slot + 1) & mask; slots_[next] >= 0; next = (next + 1) & mask) {
    const size_t home = home_of(slots_[next]);
    if (((next - home) & mask) < ((next - slot) & mask)) continue;
    slots_[slot] = slots_[next];
    slot = next;
  }
  slots_[slot] = -1;
  --n_runs_;
}

void TokenLookup::remove_last_run() {
  const int64_t position = n_tokens() - 1;
  if (position + 1 >= kGram) {
    const size_t slot = slot_of(position);
    const int32_t before = previous_[static_cast<size_t>(position)];
    if (before >= 0) {
      slots_[slot] = before;
    } else {
      empty_slot(slot);
    }
  }
  tokens_.pop_back();
  previous_.pop_back();
}

void TokenLookup::truncate(int64_t n_tokens) {
  while (this->n_tokens() > n_tokens) remove_last_run();
}

void TokenLookup::find(int64_t position, int64_t limit, std::vector<Place>& places) const {
  places.clear();
  for (int64_t t = std::max(kGram - 1, position + 1 - kRecent); t <= position; ++t) {
    const size_t first = places.size();
    int64_t place = previous_[static_cast<size_t>(t)];
    while (place >= limit) place = previous_[static_cast<size_t>(place)];
    for (; place >= 0; place = previous_[static_cast<size_t>(place)]) {
      if (static_cast<int64_t>(places.size() - first) == kMostPlaces) {
        places.resize(first);
        break;
      }
      places.push_back({.position = place});
    }
    const auto n_places = static_cast<float>(places.size() - first);
    const float decay = std::exp2(-static_cast<float>(position - t) / kHalfLife);
    for (size_t i = first; i < places.size(); ++i) {
      places[i].weight = 1 / n_places;
      places[i].urgency = decay / n_places;
    }
  }
}

int64_t TokenLookup::best_place() const {
  if (tokens_.empty()) return -1;
  const int64_t last = n_tokens() - 1;
  int64_t best = -1;
  int64_t most_agreed = 0;
  int64_t n_looked_at = 0;
  for (int64_t place = previous_[static_cast<size_t>(last)];
       place >= 0 && n_looked_at < kMostAgreed && most_agreed < kMostAgreed;
       place = previous_[static_cast<size_t>(place)], ++n_looked_at) {
    int64_t agreed = kGram;
    while (agreed < kMostAgreed && agreed <= place &&
           tokens_[static_cast<size_t>(place - agreed)] ==
               tokens_[static_cast<size_t>(last - agreed)]) {
      ++agreed;
    }
    if (agreed > most_agreed) {
      most_agreed = agreed;
      best = place;
    }
  }
  return best;
}

int64_t TokenLookup::size_bytes() const {
  return static_cast<int64_t>((tokens_.size() + previous_.size() + slots_.size()) *
                              sizeof(int32_t));
}

std::vector<int64_t> preferred_chunks(const TokenLookup& lookup, const ChunkTrack& track,
                                      int64_t position, Range eligible, int64_t most_rows) {
  if (eligible.empty()) return {};
  std::vector<TokenLookup::Place> places;
  lookup.find(position, track.chunk(eligible.end - 1).end, places);
  struct Sum {
    float weight = 0;
    float urgency = 0;
  };
  std::map<int64_t, Sum> sums;  // by chunk
  const auto add = [&](int64_t chunk, const TokenLookup::Place& place) {
    if (!eligible.contains(chunk)) return;
    sums[chunk].weight += place.weight;
    sums[chunk].urgency += place.urgency;
  };
  for (const TokenLookup::Place& place : places) {
    const int64_t chunk = track.n_closed_at(place.position);
    const int64_t next = track.n_closed_at(place.position + 1);
    add(chunk, place);
    if (next != chunk) add(next, place);
  }
  std::vector<std::pair<float, int64_t>> best;
  for (const auto& [chunk, sum] : sums) {
    if (sum.weight >= kLeastWeight) best.emplace_back(-sum.urgency, chunk);
  }
  std::ranges::sort(best);
  std::vector<int64_t> chosen;
  int64_t n_rows = 0;
  for (const auto& [_, chunk] : best) {
    n_rows += track.chunk(chunk).size();
    if (n_rows > most_rows && !chosen.empty()) break;
    chosen.push_back(chunk);
  }
  std::ranges::sort(chosen);
  return chosen;
}

}  // namespace chunkllm

// What the server counts.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

namespace chunkllm::serve {

// Sums since the start, and what is now. Read by any thread.
struct Metrics {
  std::atomic<int64_t> jobs{0};
  std::atomic<int64_t> failed_jobs{0};
  std::atomic<int64_t> cancelled_jobs{0};
  std::atomic<int64_t> prompt_tokens{0};  // that ran
  std::atomic<int64_t> cached_tokens{0};  // that did not have to
  std::atomic<int64_t> prefix_hits{0};    // jobs with any of those
  std::atomic<int64_t> generated_tokens{0};
  std::atomic<int64_t> refreshes{0};
  std::atomic<double> prefill_seconds{0};
  std::atomic<double> decode_seconds{0};
  std::atomic<int64_t> passes{0};
  std::atomic<double> retention_sum{0};
  std::atomic<double> kv_bytes_attended_sum{0};
  std::atomic<int64_t> missed_mass_samples{0};  // refreshes that were looked at
  std::atomic<double> missed_mass_sum{0};       // of the shares of attention they missed
  std::atomic<int64_t> queued{0};
  std::atomic<int64_t> reading{0};
  std::atomic<int64_t> writing{0};
  std::atomic<int64_t> kv_bytes_stored{0};    // of slots
  std::atomic<int64_t> kv_bytes_resident{0};  // of these, in memory
  std::atomic<int64_t> kv_bytes_parked{0};    // of other sequences in memory
  std::atomic<int64_t> kv_bytes_on_disk{0};   // of those in files
  std::atomic<int64_t> failed_saves{0};
};

// In the text format of Prometheus, under names that begin with "chunkllm:".
std::string metrics_text(const Metrics& metrics);

}  // namespace chunkllm::serve
